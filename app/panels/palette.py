"""Ctrl+K: every command in one list, found by a few letters."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QObject, QSize, Qt, Slot
from PySide6.QtGui import QKeyEvent, QKeySequence
from PySide6.QtWidgets import QDialog, QLineEdit, QListWidget, QListWidgetItem, QVBoxLayout, QWidget

from app.commands import CommandAction, Registry

ACTION_ROLE = Qt.ItemDataRole.UserRole


def match(typed: str, text: str) -> int | None:
    """How badly `typed` matches `text`: None when a letter is missing, lower is better. Whole words count most."""
    typed, text = typed.lower(), text.lower()
    if not typed:
        return 0
    found = text.find(typed)
    if found >= 0:
        return found
    at, gaps = -1, 0
    for letter in typed.replace(" ", ""):
        after = text.find(letter, at + 1)
        if after < 0:
            return None
        gaps += after - at - 1
        at = after
    return 100 + gaps


class CommandPalette(QDialog):
    """A line to type in and what fits; Enter runs, Escape leaves."""

    def __init__(self, registry: Registry, parent: QWidget) -> None:
        super().__init__(parent, Qt.WindowType.Popup)
        self.setObjectName("palette")
        self.setWindowTitle("All commands")
        self._registry = registry
        self.line = QLineEdit()
        self.line.setPlaceholderText("Type a few letters of a command")
        self.line.setAccessibleName("Find a command")
        self.list = QListWidget()
        self.list.setAccessibleName("Commands")
        self.list.setFrameShape(QListWidget.Shape.NoFrame)
        self.list.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.list.setIconSize(QSize(16, 16))
        column = QVBoxLayout(self)
        column.setContentsMargins(8, 8, 8, 8)
        column.addWidget(self.line)
        column.addWidget(self.list)
        self.line.textChanged.connect(self._filter)
        self.line.returnPressed.connect(self._run)
        self.list.itemClicked.connect(self._run)
        self.line.installEventFilter(self)

    def popup(self) -> None:
        """Show the palette at the top of the window, empty."""
        self._registry.refresh()
        self.line.clear()
        self._filter("")
        window = self.parentWidget()
        assert window is not None
        width = min(560, window.width() - 40)
        self.resize(width, min(420, window.height() - 80))
        corner = window.mapToGlobal(window.rect().topLeft())
        self.move(corner.x() + (window.width() - width) // 2, corner.y() + 60)
        self.show()
        self.line.setFocus()

    @Slot(str)
    def _filter(self, typed: str) -> None:
        ranked: list[tuple[int, int, CommandAction]] = []
        for order, action in enumerate(self._registry.actions()):
            words = f"{action.command.words}  {action.command.menu.replace('&', '')}"
            score = match(typed, words)
            if score is not None:
                ranked.append((score + (0 if action.isEnabled() else 1000), order, action))
        self.list.clear()
        for _, _, action in sorted(ranked, key=_rank):
            keys = action.shortcut().toString(QKeySequence.SequenceFormat.NativeText) or action.command.shown_keys
            item = QListWidgetItem(action.icon(), f"{action.command.words}    {keys}".rstrip())
            item.setData(ACTION_ROLE, action.command.id)
            item.setToolTip(action.toolTip())
            if not action.isEnabled():
                item.setFlags(item.flags() & ~Qt.ItemFlag.ItemIsEnabled)
            self.list.addItem(item)
        self.list.setCurrentRow(0)

    @Slot()
    def _run(self) -> None:
        item = self.list.currentItem()
        if item is None or not item.flags() & Qt.ItemFlag.ItemIsEnabled:
            return
        command = str(item.data(ACTION_ROLE))
        self.close()
        self._registry.run(command)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Up and Down move in the list while the line has the focus."""
        if watched is self.line and isinstance(event, QKeyEvent) and event.type() == QEvent.Type.KeyPress:
            step = {Qt.Key.Key_Down: 1, Qt.Key.Key_Up: -1}.get(Qt.Key(event.key()))
            if step is not None:
                row = self.list.currentRow() + step
                self.list.setCurrentRow(max(0, min(self.list.count() - 1, row)))
                return True
        return super().eventFilter(watched, event)


def _rank(entry: tuple[int, int, CommandAction]) -> tuple[int, int]:
    return entry[0], entry[1]
