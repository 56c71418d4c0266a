"""Putting a theme on the application, and telling everyone who draws by hand that it changed."""

from __future__ import annotations

import pyqtgraph as pg
from PySide6.QtCore import QObject, Qt, Signal, Slot
from PySide6.QtWidgets import QApplication

from app.theme.palette import make_palette, make_stylesheet
from app.theme.tokens import DARK, LIGHT, Theme

SCHEMES = ("system", "light", "dark")


class ThemeWatcher(QObject):
    """Holds the theme in use; `changed(Theme)` is emitted after the application wears a new one."""

    changed = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.theme = LIGHT
        self.scheme = "light"
        self.colour_blind = False
        self._listening = False

    def apply(self, app: QApplication, scheme: str, colour_blind: bool) -> Theme:
        """Dress `app`; see `apply_theme`."""
        if scheme not in SCHEMES:
            raise ValueError(f"unknown theme {scheme!r}: one of {', '.join(SCHEMES)}")
        if not self._listening:
            app.styleHints().colorSchemeChanged.connect(self._system_changed)
            self._listening = True
        self.scheme, self.colour_blind = scheme, colour_blind
        theme = _chosen(app, scheme)
        if colour_blind:
            theme = theme.with_colour_blind_signs()
        if app.style().objectName() != "fusion":
            app.setStyle("Fusion")
        app.setPalette(make_palette(theme))
        app.setStyleSheet(make_stylesheet(theme))
        pg.setConfigOptions(background=theme.graph.background, foreground=theme.graph.text)
        if theme != self.theme:
            self.theme = theme
            self.changed.emit(theme)
        return theme

    @Slot()
    def _system_changed(self) -> None:
        app = QApplication.instance()
        if self.scheme == "system" and isinstance(app, QApplication):
            self.apply(app, "system", self.colour_blind)


def _chosen(app: QApplication, scheme: str) -> Theme:
    # Offscreen, bare X11 and some Windows report Unknown: light then.
    dark = scheme == "dark" or (scheme == "system" and app.styleHints().colorScheme() == Qt.ColorScheme.Dark)
    return DARK if dark else LIGHT


_watcher: ThemeWatcher | None = None


def theme_watcher() -> ThemeWatcher:
    """The one watcher of this process; connect bound methods of widgets to its `changed`."""
    global _watcher
    if _watcher is None:
        _watcher = ThemeWatcher()
    return _watcher


def current_theme() -> Theme:
    """The theme in use; light until `apply_theme` was called."""
    return theme_watcher().theme


def apply_theme(app: QApplication, scheme: str = "system", *, colour_blind: bool = False) -> Theme:
    """Dress the application: Fusion, our palette, a small stylesheet, and pyqtgraph in the same colours.

    Parameters
    ----------
    app:
        The application; its style, palette and stylesheet are replaced.
    scheme:
        "light", "dark", or "system": what the platform reports, followed when it changes; light where it says nothing.
    colour_blind:
        Orange and blue for the signs instead of purple and green.
    """
    return theme_watcher().apply(app, scheme, colour_blind)
