"""A token to explain, or one to set it against: chosen from the likeliest, or typed."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal, Slot
from PySide6.QtWidgets import QComboBox, QWidget

from app.engine_calls import NextToken
from engine.graphs.visible_text import visible_text


class TokenPicker(QComboBox):
    """An editable box; empty text means what `empty` says ("auto")."""

    submitted = Signal()

    def __init__(self, name: str, empty: str, explained: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setEditable(True)
        self.setInsertPolicy(QComboBox.InsertPolicy.NoInsert)
        self.setAccessibleName(name)
        self.setToolTip(explained)
        self.setMinimumContentsLength(7)
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        edit = self.lineEdit()
        assert edit is not None
        edit.setPlaceholderText(empty)
        edit.setAccessibleName(name)
        edit.returnPressed.connect(self._returned)
        completer = self.completer()
        if completer is not None:
            completer.setCaseSensitivity(Qt.CaseSensitivity.CaseSensitive)
        self.setCurrentIndex(-1)

    def show_tokens(self, tokens: tuple[NextToken, ...]) -> None:
        """Offer the likeliest tokens; what is typed stays."""
        typed = self.currentText()
        self.clear()
        self.addItems([visible_text(token.text) for token in tokens])
        self.setCurrentIndex(-1)
        self.setEditText(typed)

    @property
    def token(self) -> str:
        """What was typed or chosen; empty for the default."""
        return self.currentText().strip()

    @Slot()
    def _returned(self) -> None:
        self.submitted.emit()
