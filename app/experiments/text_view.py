"""The text that follows the prompt, without the changes and with them."""

from __future__ import annotations

from typing import Any

from PySide6.QtGui import QColor, QTextCharFormat, QTextCursor
from PySide6.QtWidgets import QSplitter, QTextEdit, QVBoxLayout, QWidget

from app.panels.plain import Heading
from app.theme import current_theme, theme_watcher
from engine.graphs.visible_text import visible_text


class TextView(QSplitter):
    """Two texts side by side; from the first token that differs, the changed one is marked."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setChildrenCollapsible(False)
        self._pairs: list[dict[str, Any]] = []
        self.without, self.changed = QTextEdit(), QTextEdit()
        for title, box in (("Without the changes", self.without), ("With the changes", self.changed)):
            box.setReadOnly(True)
            box.setTabChangesFocus(True)
            box.setAccessibleName(f"Text {title.lower()}")
            box.setMinimumHeight(60)
            side = QWidget()
            column = QVBoxLayout(side)
            column.setContentsMargins(6, 2, 6, 4)
            column.setSpacing(2)
            column.addWidget(Heading(title))
            column.addWidget(box, 1)
            self.addWidget(side)
        theme_watcher().changed.connect(self._draw)

    def show_result(self, settings: dict[str, Any], result: dict[str, Any]) -> None:
        """Show what a project kept."""
        pairs = list(result["pairs"])
        for pair in pairs:
            _ = int(pair["same"]), [str(one) for one in (*pair["without"]["tokens"], *pair["changed"]["tokens"])]
        self._pairs = pairs
        self._draw()

    def _draw(self) -> None:
        for key, box in (("without", self.without), ("changed", self.changed)):
            box.clear()
            cursor = box.textCursor()
            for pair in self._pairs:
                self._write(cursor, pair[key], int(pair["same"]), marked=key == "changed")
            box.moveCursor(QTextCursor.MoveOperation.Start)

    @staticmethod
    def _write(cursor: QTextCursor, text: dict[str, Any], same: int, *, marked: bool) -> None:
        theme = current_theme()
        quiet, plain, other = QTextCharFormat(), QTextCharFormat(), QTextCharFormat()
        quiet.setForeground(QColor(theme.muted))
        other.setBackground(QColor(theme.selection))
        if text["seed"] is not None:
            cursor.insertText(f"seed {text['seed']}: ", quiet)
        for number, token in enumerate(text["tokens"]):
            words = "\n".join(visible_text(line).replace("␣", " ") for line in str(token).split("\n"))
            cursor.insertText(words, other if marked and number >= same else plain)
        cursor.insertText("\n", plain)
