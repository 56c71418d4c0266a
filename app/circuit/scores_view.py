"""How much the circuit explains, beside what its whole graph does."""

from __future__ import annotations

from PySide6.QtCore import Qt, Slot
from PySide6.QtWidgets import QGridLayout, QVBoxLayout, QWidget

from app.circuit.desk import CircuitDesk
from app.panels.plain import ElidedLabel, Heading, MutedLabel, PlainLabel, tip
from app.reading import plain_percent

NOT_FOR_NEURONS = "Replacement, completeness do not apply"
WHY_NOT = "Neurons are the model itself: they leave nothing to error nodes that could be counted against them."
_MEANING = {
    "Replacement": "The share of paths from the tokens to the output that run through features, none through error "
    "nodes. For the circuit every feature outside of it counts as error.",
    "Completeness": "The share of what goes into the nodes that comes from something other than error nodes, weighted "
    "by influence. For the circuit every feature outside of it counts as error.",
    "Explained": "The share of the influence (neurons: relevance) of all features of this graph that features of the "
    "circuit hold.",
}


class ScoresView(QWidget):
    """A small table: replacement, completeness and what is explained, of the circuit and of the graph."""

    def __init__(self, desk: CircuitDesk, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.desk, self.session = desk, desk.session
        self.setAccessibleName("Scores of the circuit")
        self.values: dict[str, tuple[PlainLabel, PlainLabel]] = {}
        self.note = MutedLabel(wrap=True)
        grid = QGridLayout()
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setHorizontalSpacing(12)
        grid.setVerticalSpacing(2)
        grid.setColumnStretch(0, 1)
        self._heads = [Heading("Scores"), MutedLabel("circuit"), MutedLabel("graph")]
        for column, head in enumerate(self._heads):
            grid.addWidget(head, 0, column, Qt.AlignmentFlag.AlignRight if column else Qt.AlignmentFlag.AlignLeft)
        self._names: dict[str, PlainLabel] = {}
        for row, (name, meaning) in enumerate(_MEANING.items(), start=1):
            own, whole = PlainLabel(), MutedLabel()
            self.values[name], self._names[name] = (own, whole), ElidedLabel(name)
            grid.addWidget(self._names[name], row, 0)
            for column, label in enumerate((own, whole), start=1):
                grid.addWidget(label, row, column, Qt.AlignmentFlag.AlignRight)
            for label in (self._names[name], own, whole):
                label.setToolTip(tip(meaning))
        column_box = QVBoxLayout(self)
        column_box.setContentsMargins(10, 6, 10, 4)
        column_box.setSpacing(3)
        column_box.addLayout(grid)
        column_box.addWidget(self.note)
        desk.scoresChanged.connect(self._show)
        self._show()

    @Slot()
    def _show(self) -> None:
        scores, graph = self.desk.scores, self.session.graph
        self.setVisible(graph is not None and (scores is not None or self.desk.pending))
        apply = graph is None or graph.measure != "relevance"
        for name in ("Replacement", "Completeness"):
            for label in (self._names[name], *self.values[name]):
                label.setVisible(apply)
        for head in self._heads:
            head.setVisible(apply)
        self.values["Explained"][1].setVisible(apply)
        pairs: dict[str, tuple[float | None, float | None]] = {}
        if scores is not None:
            pairs = {
                "Replacement": (scores.circuit.replacement, scores.graph.replacement),
                "Completeness": (scores.circuit.completeness, scores.graph.completeness),
            }
        for name, pair in pairs.items():
            for label, value in zip(self.values[name], pair, strict=True):
                label.setText("–" if value is None else f"{value:.2f}")
        if scores is not None:
            self.values["Explained"][0].setText(plain_percent(scores.explained))
            self.values["Explained"][1].setText("100 %")
        for own, _ in self.values.values():
            own.setEnabled(not self.desk.pending)  # quiet while they are those of the circuit before
            if scores is None:
                own.setText("…")
        self.note.setText("" if apply else NOT_FOR_NEURONS)
        self.note.setToolTip(tip(WHY_NOT))
        self.note.setVisible(not apply)
