"""The paraphrases that a change is repeated on: one a line, kept with the draft."""

from __future__ import annotations

from dataclasses import replace

from PySide6.QtCore import Slot
from PySide6.QtWidgets import QVBoxLayout, QWidget

from app.dropped_files import TextBox
from app.experiments.desk import ExperimentDesk
from app.experiments.words import PARAPHRASES_TIP
from app.panels.plain import PlainLabel, tip

LINES = 4


class ParaphrasesBox(QWidget):
    """Bound to the desk's draft."""

    def __init__(self, desk: ExperimentDesk, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.desk = desk
        self.box = TextBox()
        self.box.setAccessibleName("Paraphrases")
        self.box.setPlaceholderText("One a line, with the same words where something is changed")
        self.box.setTabChangesFocus(True)
        self.box.setFixedHeight(LINES * self.fontMetrics().lineSpacing() + 12)
        name = PlainLabel("Paraphrases")
        for widget in (name, self.box):
            widget.setToolTip(tip(PARAPHRASES_TIP))
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(3)
        column.addWidget(name)
        column.addWidget(self.box)
        self.box.textChanged.connect(self._edited)
        desk.draftChanged.connect(self._show)
        self._show()

    def lines(self) -> tuple[str, ...]:
        """What is written, without empty lines."""
        return tuple(line for line in self.box.toPlainText().splitlines() if line.strip())

    @Slot()
    def _show(self) -> None:
        if self.lines() != self.desk.draft.paraphrases:
            self.box.blockSignals(True)
            self.box.setPlainText("\n".join(self.desk.draft.paraphrases))
            self.box.blockSignals(False)

    @Slot()
    def _edited(self) -> None:
        self.desk.set_draft(replace(self.desk.draft, paraphrases=self.lines()))
