"""Which attention head is changed: its layer, number and token, since no node of the graph stands for it."""

from __future__ import annotations

from PySide6.QtCore import Signal, Slot
from PySide6.QtWidgets import QComboBox, QSpinBox, QWidget

from app.experiments.words import HEAD_TIP, token_words
from app.panels.flow import FlowRow
from app.panels.plain import MutedLabel, tip
from engine.graphs import AttributionGraph
from engine.interventions.changes import Change

# No model known has more in a layer; one that does not exist is refused by name before anything runs.
MOST_HEADS = 255


class HeadLine(FlowRow):
    """Shown while one head is edited; `chosen` gives layer, position and head."""

    chosen = Signal(int, int, int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent, gap=5)
        self._filling = False
        self.layer, self.head, self.at = QSpinBox(), QSpinBox(), QComboBox()
        for spin, name in ((self.layer, "Layer of the head"), (self.head, "Number of the head")):
            spin.setKeyboardTracking(False)
            spin.setAccessibleName(name)
            spin.setToolTip(tip(HEAD_TIP))
            spin.valueChanged.connect(self._edited)
        self.head.setRange(0, MOST_HEADS)
        self.at.setAccessibleName("Token of the head")
        self.at.setToolTip(tip("The token at which what the head puts out is changed"))
        self.at.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.at.setMinimumContentsLength(8)
        self.at.activated.connect(self._edited)
        for part in (MutedLabel("layer"), self.layer, MutedLabel("head"), self.head, MutedLabel("at"), self.at):
            self.flow.addWidget(part)

    def show_change(self, graph: AttributionGraph, change: Change) -> None:
        """Show the head that a change is about."""
        self._filling = True
        self.layer.setRange(0, graph.n_layers - 1)
        self.layer.setValue(change.layer)
        self.head.setValue(change.index)
        self.at.clear()
        for position in range(len(graph.tokens)):
            self.at.addItem(f"{position} {token_words(graph, position)}", position)
        self.at.setCurrentIndex(change.position)
        self._filling = False

    @Slot()
    def _edited(self) -> None:
        if not self._filling:
            self.chosen.emit(self.layer.value(), int(self.at.currentData() or 0), self.head.value())
