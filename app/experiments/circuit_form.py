"""How the pinned circuit is tested, and how much of the behaviour one that is looked for must keep."""

from __future__ import annotations

from dataclasses import replace

from PySide6.QtCore import Qt, Slot
from PySide6.QtWidgets import QComboBox, QGridLayout, QSpinBox, QVBoxLayout, QWidget

from app.experiments.desk import ExperimentDesk
from app.experiments.draft import MOST_CONTROLS
from app.experiments.words import ABLATED, CONTROLS_TIP, EDGE_CONTROLS_TIP, ERRORS, METHODS, SHARE_TIP
from app.panels.plain import MutedLabel, PlainLabel, tip
from engine.graphs.visible_text import visible_text


class CircuitForm(QWidget):
    """Bound to the desk's draft."""

    def __init__(self, desk: ExperimentDesk, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.desk, self.session = desk, desk.session
        self._filling = False
        self.about = MutedLabel("", wrap=True)
        self.ablation, self.other, self.errors, self.method = (QComboBox() for _ in range(4))
        for box, choices in ((self.ablation, ABLATED), (self.errors, ERRORS), (self.method, METHODS)):
            for key, word, meaning in choices:
                box.addItem(word, key)
                box.setItemData(box.count() - 1, tip(meaning), Qt.ItemDataRole.ToolTipRole)
        self.controls, self.share, self.edges = QSpinBox(), QSpinBox(), QSpinBox()
        self.edges.setRange(0, MOST_CONTROLS)
        self.edges.setSingleStep(999)
        self.edges.setSpecialValueText("none")
        self.controls.setRange(100, MOST_CONTROLS)
        self.controls.setSingleStep(100)
        self.share.setRange(10, 99)
        self.share.setSuffix(" %")
        self._lay_out()
        for combo in (self.ablation, self.other, self.errors, self.method):
            combo.activated.connect(self._edited)
        for spin in (self.controls, self.share, self.edges):
            spin.setKeyboardTracking(False)
            spin.valueChanged.connect(self._edited)
        desk.draftChanged.connect(self._show)
        self.session.annotationsChanged.connect(self._show)
        self.session.tracesChanged.connect(self._show)
        self._show()

    def _lay_out(self) -> None:
        grid = QGridLayout()
        grid.setHorizontalSpacing(6)
        grid.setVerticalSpacing(3)
        grid.setColumnStretch(1, 1)
        rows: tuple[tuple[str, QWidget, str, str], ...] = (
            ("Ablate", self.ablation, "How features are ablated", "What features become that are ablated"),
            ("Trace", self.other, "The trace of the counterfactual prompt", "Of as many tokens as this one"),
            ("Errors", self.errors, "What becomes of error nodes", "Whether error nodes stay"),
            ("Controls", self.controls, "Number of random sets", CONTROLS_TIP),
            ("Keep", self.share, "The share to keep", SHARE_TIP),
            ("Search", self.method, "How to search", "How a circuit is looked for"),
            ("Edge p", self.edges, "Random features beside each edge when verifying", EDGE_CONTROLS_TIP),
        )
        self._names: dict[str, PlainLabel] = {}
        for row, (word, field, heard, meaning) in enumerate(rows):
            name = self._names[word] = PlainLabel(word)
            field.setAccessibleName(heard)
            grid.addWidget(name, row, 0)
            grid.addWidget(field, row, 1)
            for widget in (name, field):
                widget.setToolTip(tip(meaning))
            if isinstance(field, QComboBox):
                field.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
                field.setMinimumContentsLength(10)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.about)
        column.addLayout(grid)

    @Slot()
    def _show(self) -> None:
        draft, count = self.desk.draft, len(self.desk.watched())
        neurons = self.session.graph is not None and self.session.graph.measure == "relevance"
        self._filling = True
        self.about.setText(
            f"{count:,} pinned or grouped feature{'' if count == 1 else 's'} are tested as a circuit."
            if count
            else "Pin features to test them as a circuit, or let one be found."
        )
        for box, choices, key in (
            (self.ablation, ABLATED, draft.ablation),
            (self.errors, ERRORS, draft.errors),
            (self.method, METHODS, draft.method),
        ):
            box.setCurrentIndex(max(0, box.findData(key)))
            box.setToolTip(tip(choices[box.currentIndex()][2]))
        self.errors.setEnabled(not neurons)
        if neurons:
            self.errors.setToolTip(tip("Neurons leave nothing to error nodes."))
        self.other.clear()
        if draft.ablation == "counterfactual":
            for number, title in self.desk.others():
                self.other.addItem(visible_text(title, 40), number)
            self.other.setCurrentIndex(max(0, self.other.findData(draft.other)))
        for widget in (self.other, self._names["Trace"]):
            widget.setVisible(draft.ablation == "counterfactual")
        self.controls.setValue(max(draft.controls, 100))
        self.share.setValue(round(100 * draft.share))
        self.edges.setValue(draft.edge_controls)
        self._filling = False

    @Slot()
    def _edited(self) -> None:
        if self._filling:
            return
        chosen = self.other.currentData()
        self.desk.set_draft(
            replace(
                self.desk.draft,
                ablation=str(self.ablation.currentData()),
                errors=str(self.errors.currentData()),
                method=str(self.method.currentData()),
                other=0 if chosen is None else int(chosen),
                controls=self.controls.value(),
                share=self.share.value() / 100,
                edge_controls=max(self.edges.value(), 100) if self.edges.value() else 0,
            )
        )
