"""The glossary: the field's words, what they mean here, and where they come from."""

from __future__ import annotations

from PySide6.QtCore import Slot
from PySide6.QtWidgets import QDialog, QDialogButtonBox, QLineEdit, QPlainTextEdit, QVBoxLayout, QWidget

from app.glossary import glossary
from app.panels.plain import tip


class GlossarySheet(QDialog):
    """A list to read and to search; closes with Escape."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setObjectName("glossary-sheet")
        self.setWindowTitle("Glossary")
        self.resize(620, 640)
        self.filter = QLineEdit()
        self.filter.setPlaceholderText("Find: influence, supernode…")
        self.filter.setAccessibleName("Find a word")
        self.filter.setToolTip(tip("List only words whose entry holds what you type"))
        self.filter.setClearButtonEnabled(True)
        self.filter.textChanged.connect(self._fill)
        self.text = QPlainTextEdit()
        self.text.setReadOnly(True)
        self.text.setAccessibleName("Glossary")
        self.text.setToolTip(tip("What the words mean in this program, each with its source"))
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        buttons.rejected.connect(self.close)
        for button in buttons.buttons():
            button.setToolTip(tip("Close the glossary (Esc)"))
        column = QVBoxLayout(self)
        column.addWidget(self.filter)
        column.addWidget(self.text, 1)
        column.addWidget(buttons)
        self._fill("")

    @Slot(str)
    def _fill(self, words: str) -> None:
        wanted = words.lower().split()
        entries = [
            f"{word.term.upper()}\n{word.meaning}\nSource: {word.source}"
            for word in glossary()
            if all(one in f"{word.term} {word.meaning}".lower() for one in wanted)
        ]
        self.text.setPlainText("\n\n".join(entries) or "No entry holds these words.")
