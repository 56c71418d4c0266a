"""Which of the sample projects to open: each with what the model says and whether its circuit is needed."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Slot
from PySide6.QtWidgets import QDialog, QDialogButtonBox, QVBoxLayout, QWidget

from app.experiments.tables import Figures
from app.panels.plain import Hint, tip
from app.samples import SampleProject
from engine.graphs.visible_text import visible_text

WORDS = (
    "Each holds a traced prompt, the circuit that was found for its answer, and what came of testing it. A copy is "
    "opened: change it as you like."
)
TITLES = ("Prompt", "Says", "Circuit", "p", "Needed", "Model")
TIPS = (
    "",
    "The token that the model says, and that the circuit is for",
    "Neurons of the circuit: the smallest set found that keeps the asked share of the answer",
    "(1 + random sets that do as much when they are ablated) / (random sets + 1)",
    "Whether p is below 0.01",
    "The model that is needed to run its experiments again; reading them needs none",
)


class SampleSheet(QDialog):
    """A table; Enter or a double-click opens the row in hand."""

    def __init__(self, samples: Sequence[SampleProject], parent: QWidget) -> None:
        super().__init__(parent)
        self.setObjectName("sample-sheet")
        self.setWindowTitle("Sample projects")
        self.table = Figures("Sample projects", TITLES, TIPS)
        self.table.fill(
            [
                (
                    visible_text(one.prompt, 60),
                    visible_text(one.says),
                    f"{one.circuit:,} of {one.universe:,}",
                    f"{one.p:.2g}",
                    "yes" if one.needed else "not shown",
                    one.model,
                )
                for one in samples
            ]
        )
        self.table.setToolTip(tip("Projects that come with the program; Enter opens a copy of the one in hand"))
        self.table.choose(0)
        kinds = QDialogButtonBox.StandardButton
        buttons = QDialogButtonBox(kinds.Open | kinds.Cancel)
        buttons.accepted.connect(self.accept)
        buttons.rejected.connect(self.reject)
        self.table.itemActivated.connect(self._activated)
        column = QVBoxLayout(self)
        column.addWidget(Hint(WORDS))
        column.addWidget(self.table, 1)
        column.addWidget(buttons)
        rows = (len(samples) + 2) * (self.fontMetrics().height() + 8)
        self.resize(52 * self.fontMetrics().averageCharWidth() + 480, rows + 120)

    @Slot()
    def _activated(self) -> None:
        self.accept()

    @property
    def chosen(self) -> int:
        """The row in hand, or -1."""
        return self.table.row()
