"""A `Theme` as Qt wants it: one QPalette for Fusion and a small stylesheet for what a palette cannot say."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from PySide6.QtGui import QColor, QPalette

from app.theme.tokens import Theme

_ROLES: tuple[tuple[QPalette.ColorRole, str], ...] = (
    (QPalette.ColorRole.Window, "window"),
    (QPalette.ColorRole.WindowText, "text"),
    (QPalette.ColorRole.Base, "base"),
    (QPalette.ColorRole.AlternateBase, "panel"),
    (QPalette.ColorRole.Text, "text"),
    (QPalette.ColorRole.PlaceholderText, "muted"),
    (QPalette.ColorRole.Button, "raised"),
    (QPalette.ColorRole.ButtonText, "text"),
    (QPalette.ColorRole.BrightText, "error"),
    (QPalette.ColorRole.ToolTipBase, "raised"),
    (QPalette.ColorRole.ToolTipText, "text"),
    (QPalette.ColorRole.Highlight, "accent"),
    (QPalette.ColorRole.HighlightedText, "accent_text"),
    (QPalette.ColorRole.Accent, "accent"),
    (QPalette.ColorRole.Link, "link"),
    (QPalette.ColorRole.LinkVisited, "link"),
    (QPalette.ColorRole.Light, "raised"),
    (QPalette.ColorRole.Midlight, "hover"),
    (QPalette.ColorRole.Mid, "border"),
    (QPalette.ColorRole.Dark, "border"),
)
_WHEN_DISABLED = (
    QPalette.ColorRole.WindowText,
    QPalette.ColorRole.Text,
    QPalette.ColorRole.ButtonText,
    QPalette.ColorRole.PlaceholderText,
)


def make_palette(theme: Theme) -> QPalette:
    """Every role of Fusion from the theme's tokens."""
    palette = QPalette()
    for role, token in _ROLES:
        palette.setColor(role, QColor(getattr(theme, token)))
    palette.setColor(QPalette.ColorRole.Shadow, QColor("#000000" if theme.dark else theme.disabled))
    disabled = QPalette.ColorGroup.Disabled
    for role in _WHEN_DISABLED:
        palette.setColor(disabled, role, QColor(theme.disabled))
    palette.setColor(disabled, QPalette.ColorRole.Highlight, QColor(theme.border))
    palette.setColor(disabled, QPalette.ColorRole.HighlightedText, QColor(theme.disabled))
    return palette


def _tick(theme: Theme) -> str:
    """The tick of a checked box, in the colour of text on the accent; style sheets take it only as a file."""
    name = "tick-dark.svg" if theme.dark else "tick-light.svg"
    return Path(str(files("resources") / "indicators" / name)).as_posix()


def make_stylesheet(theme: Theme) -> str:
    """Hairlines, tool tips, quiet tool buttons and a visible keyboard focus; sizes follow the font (em)."""
    t = theme
    return f"""
QToolTip {{ background: {t.raised}; color: {t.text}; border: 1px solid {t.border}; padding: 4px 6px; }}
QMainWindow::separator {{ background: {t.border}; width: 1px; height: 1px; }}
QMainWindow::separator:hover {{ background: {t.accent}; }}
QSplitter::handle {{ background: {t.border}; }}
QSplitter::handle:hover {{ background: {t.accent}; }}
QDockWidget::title {{ background: {t.window}; padding: 5px 8px; }}
QStatusBar {{ border-top: 1px solid {t.border}; }}
QStatusBar::item {{ border: none; }}
QMenu {{ background: {t.raised}; border: 1px solid {t.border}; padding: 4px 0; }}
QMenu::item {{ padding: 4px 24px 4px 20px; }}
QMenu::item:selected {{ background: {t.accent}; color: {t.accent_text}; }}
QMenu::item:disabled {{ color: {t.disabled}; background: transparent; }}
QMenu::separator {{ height: 1px; background: {t.border}; margin: 4px 0; }}
QMenu::icon {{ padding-left: 6px; }}
QToolBar {{ border: none; border-bottom: 1px solid {t.border}; padding: 3px 6px; spacing: 4px; }}
QToolButton {{ border: 1px solid transparent; border-radius: 4px; padding: 3px; icon-size: 1.1em; }}
QToolButton:hover {{ background: {t.hover}; }}
QToolButton:checked, QToolButton:pressed {{ background: {t.selection}; }}
QToolButton:focus {{ border-color: {t.accent}; }}
QHeaderView::section {{ background: {t.panel}; color: {t.muted}; border: none; border-bottom: 1px solid {t.border};
    padding: 3px 6px; }}
QTableView, QTreeView, QListView {{ border: 1px solid {t.border}; gridline-color: {t.border}; }}
QCheckBox::indicator {{ width: 0.95em; height: 0.95em; border: 1px solid {t.muted}; border-radius: 3px;
    background: {t.base}; }}
QCheckBox::indicator:checked {{ background: {t.accent}; border-color: {t.accent}; image: url({_tick(t)}); }}
QCheckBox::indicator:focus {{ border: 2px solid {t.accent}; }}
QCheckBox::indicator:disabled {{ border-color: {t.border}; background: {t.panel}; }}
QLineEdit, QPlainTextEdit, QTextEdit {{ background: {t.base}; border: 1px solid {t.border}; border-radius: 3px;
    padding: 2px; }}
QLineEdit:focus, QPlainTextEdit:focus, QTextEdit:focus {{ border-color: {t.accent}; }}
QLabel[problem="true"] {{ color: {t.error}; }}
QWidget[alert="true"] {{ background: {t.error_panel}; }}
QWidget[alert="true"] > QLabel {{ color: {t.error}; background: {t.error_panel}; }}
QToolButton::menu-indicator {{ image: none; }}
QDialogButtonBox {{ dialogbuttonbox-buttons-have-icons: 0; }}
QProgressBar {{ background: {t.hover}; border: none; border-radius: 3px; min-height: 6px; text-align: center; }}
QProgressBar::chunk {{ background: {t.accent}; border-radius: 3px; }}
"""
