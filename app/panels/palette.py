"""Ctrl+K: every command in one list, found by a few letters."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QObject, QSize, Qt, Slot
from PySide6.QtGui import QBrush, QColor, QIcon, QKeyEvent, QKeySequence, QPixmap
from PySide6.QtWidgets import QDialog, QHeaderView, QLineEdit, QTreeWidget, QTreeWidgetItem, QVBoxLayout, QWidget

from app.commands import CommandAction, Registry
from app.panels.plain import tip
from app.theme import current_theme, icon

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
        self.list = QTreeWidget()
        self.list.setAccessibleName("Commands")
        self.list.setHeaderHidden(True)
        self.list.setRootIsDecorated(False)
        self.list.setIndentation(0)
        self.list.setUniformRowHeights(True)
        self.list.setColumnCount(3)
        header = self.list.header()
        header.setStretchLastSection(False)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        header.setSectionResizeMode(1, QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(2, QHeaderView.ResizeMode.ResizeToContents)
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
        # Commands without an icon stand in line with the others.
        empty = QPixmap(16, 16)
        empty.fill(Qt.GlobalColor.transparent)
        self._no_icon = QIcon(empty)

    def popup(self) -> None:
        """Show the palette at the top of the window, empty."""
        self.setStyleSheet(f"#palette {{ border: 1px solid {current_theme().border}; }}")
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
        muted = QBrush(QColor(current_theme().muted))
        for _, _, action in sorted(ranked, key=_rank):
            keys = action.shortcut().toString(QKeySequence.SequenceFormat.NativeText) or action.command.shown_keys
            item = QTreeWidgetItem([action.command.words, action.command.menu.replace("&", ""), keys])
            item.setIcon(0, icon(action.command.icon) if action.command.icon else self._no_icon)
            item.setForeground(1, muted)
            item.setTextAlignment(2, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
            item.setData(0, ACTION_ROLE, action.command.id)
            item.setToolTip(0, tip(action.toolTip()))
            item.setDisabled(not action.isEnabled())
            self.list.addTopLevelItem(item)
        self._go(0)

    def _go(self, row: int) -> None:
        row = max(0, min(self.list.topLevelItemCount() - 1, row))
        item = self.list.topLevelItem(row)
        if item is not None:
            self.list.setCurrentItem(item)

    @Slot()
    def _run(self) -> None:
        item = self.list.currentItem()
        if item is None or item.isDisabled():
            return
        command = str(item.data(0, ACTION_ROLE))
        self.close()
        self._registry.run(command)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Up and Down move in the list while the line has the focus."""
        if watched is self.line and isinstance(event, QKeyEvent) and event.type() == QEvent.Type.KeyPress:
            step = {Qt.Key.Key_Down: 1, Qt.Key.Key_Up: -1}.get(Qt.Key(event.key()))
            if step is not None:
                self._go(self.list.indexOfTopLevelItem(self.list.currentItem()) + step)
                return True
        return super().eventFilter(watched, event)


def _rank(entry: tuple[int, int, CommandAction]) -> tuple[int, int]:
    return entry[0], entry[1]
