"""Every control says what it means, and its shortcut where it has one."""

from __future__ import annotations

from PySide6.QtGui import QKeySequence
from PySide6.QtWidgets import (
    QAbstractButton,
    QAbstractItemView,
    QAbstractSlider,
    QAbstractSpinBox,
    QComboBox,
    QHeaderView,
    QLineEdit,
    QPlainTextEdit,
    QScrollBar,
    QTabBar,
    QTextEdit,
    QToolButton,
    QWidget,
)

from app.commands import CommandAction
from app.explained import MEANING
from app.window import MainWindow

CONTROLS = (
    QAbstractButton,
    QComboBox,
    QLineEdit,
    QAbstractSlider,
    QAbstractSpinBox,
    QPlainTextEdit,
    QTextEdit,
    QAbstractItemView,
)


def controls(root: QWidget) -> list[QWidget]:
    """What a person can use, without the parts that Qt makes of one control."""
    return [
        widget
        for widget in root.findChildren(QWidget)
        if isinstance(widget, CONTROLS) and not isinstance(widget, QScrollBar | QHeaderView) and not _is_part(widget)
    ]


def _is_part(widget: QWidget) -> bool:
    parent = widget.parentWidget()
    names = [type(one).__name__ for one in _parents(widget)]
    inner = isinstance(parent, QAbstractSpinBox | QComboBox | QTabBar | QLineEdit)
    return inner or widget.objectName().startswith("qt_") or "QComboBoxPrivateContainer" in names or _is_popup(widget)


def _is_popup(widget: QWidget) -> bool:
    """The list that a combo box opens: the box explains it."""
    parents = _parents(widget)
    return len(parents) > 1 and isinstance(parents[1], QComboBox)


def _parents(widget: QWidget) -> list[QWidget]:
    found, parent = [], widget.parentWidget()
    while parent is not None:
        found.append(parent)
        parent = parent.parentWidget()
    return found


def tool_tip(widget: QWidget) -> str:
    action = widget.defaultAction() if isinstance(widget, QToolButton) else None
    return widget.toolTip() if action is None else action.toolTip()


def named(widget: QWidget) -> str:
    above = " in ".join(type(one).__name__ for one in _parents(widget)[:3])
    return f"{type(widget).__name__} “{widget.accessibleName() or widget.objectName()}” in {above}"


def test_every_control_has_a_tool_tip(open_window: MainWindow) -> None:
    everywhere = [open_window]
    for command in ("edit.settings", "help.guide", "help.glossary", "help.about"):
        open_window.registry.run(command)
    without = [named(one) for root in everywhere for one in controls(root) if not tool_tip(one).strip()]
    assert not without, "controls without a tool tip (app/explained.py has a table):\n" + "\n".join(sorted(without))
    for dialog in open_window.findChildren(QWidget):
        if dialog.isWindow() and dialog.isVisible():
            dialog.close()


def test_a_control_that_runs_a_command_says_its_shortcut(open_window: MainWindow) -> None:
    checked = 0
    for button in open_window.findChildren(QToolButton):
        action = button.defaultAction()
        if isinstance(action, CommandAction) and action.command.shortcuts:
            keys = QKeySequence(action.command.shortcuts[0]).toString(QKeySequence.SequenceFormat.NativeText)
            assert keys in action.toolTip(), action.command.id
            checked += 1
    assert checked > 5


def test_the_table_names_only_what_is_there(open_window: MainWindow) -> None:
    there = {widget.accessibleName() for widget in open_window.findChildren(QWidget)}
    assert set(MEANING) <= there, sorted(set(MEANING) - there)
