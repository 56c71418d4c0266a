"""What answers to the changes, how many controls are drawn, and how the text goes on."""

from __future__ import annotations

from dataclasses import replace

from PySide6.QtCore import Qt, Slot
from PySide6.QtWidgets import QCheckBox, QComboBox, QDoubleSpinBox, QGridLayout, QSpinBox, QWidget

from app.experiments.desk import ExperimentDesk
from app.experiments.draft import MOST_CONTROLS, MOST_SEEDS, MOST_TOKENS
from app.experiments.words import (
    ATTENTIONS,
    CONTROLS_TIP,
    LAYERS_TIP,
    MODES,
    SAMPLED_TIP,
    SEED_TIP,
    TEMPERATURE_TIP,
    TOKENS_TIP,
)
from app.panels.flow import together
from app.panels.plain import MutedLabel, PlainLabel, tip


class SettingsForm(QWidget):
    """Bound to the desk's draft."""

    def __init__(self, desk: ExperimentDesk, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.desk = desk
        self._filling = False
        self.mode, self.attention = QComboBox(), QComboBox()
        for box, choices in ((self.mode, MODES), (self.attention, ATTENTIONS)):
            for key, word, meaning in choices:
                box.addItem(word, key)
                box.setItemData(box.count() - 1, tip(meaning), Qt.ItemDataRole.ToolTipRole)
        self.ranged = QCheckBox("Layers")
        self.first, self.last = QSpinBox(), QSpinBox()
        self.controls, self.seed, self.tokens, self.sampled = (QSpinBox() for _ in range(4))
        self.temperature = QDoubleSpinBox()
        self._limits()
        self._lay_out()
        for box in (self.mode, self.attention):
            box.activated.connect(self._answers)
        self.ranged.toggled.connect(self._answers)
        for spin in (self.first, self.last):
            spin.valueChanged.connect(self._answers)
        for spin in (self.controls, self.seed, self.tokens, self.sampled):
            spin.valueChanged.connect(self._amounts)
        self.temperature.valueChanged.connect(self._amounts)
        desk.draftChanged.connect(self._show)
        self._show()

    def _limits(self) -> None:
        for spin, most in (
            (self.controls, MOST_CONTROLS),
            (self.seed, 999_999),
            (self.tokens, MOST_TOKENS),
            (self.sampled, MOST_SEEDS),
        ):
            spin.setRange(0, most)
        self.controls.setSingleStep(100)
        self.controls.setSpecialValueText("none")
        self.tokens.setMinimum(1)
        self.sampled.setSpecialValueText("greedy")
        self.sampled.setSuffix(" sampled")
        self.temperature.setRange(0.05, 5.0)
        self.temperature.setSingleStep(0.1)
        for widget in (
            *(self.first, self.last, self.controls, self.seed, self.tokens, self.sampled, self.temperature),
        ):
            widget.setKeyboardTracking(False)

    def _lay_out(self) -> None:
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setHorizontalSpacing(6)
        grid.setVerticalSpacing(3)
        grid.setColumnStretch(1, 1)
        rows: tuple[tuple[QWidget, QWidget, str], ...] = (
            (PlainLabel("Mode"), self.mode, "What is held while the changes act"),
            (PlainLabel("Attention"), self.attention, "Whether attention answers"),
            (self.ranged, together(self.first, MutedLabel("to"), self.last), LAYERS_TIP),
            (PlainLabel("Controls"), self.controls, CONTROLS_TIP),
            (PlainLabel("Seed"), self.seed, SEED_TIP),
            (PlainLabel("Tokens"), together(self.tokens, self.sampled), TOKENS_TIP),
            (PlainLabel("Temperature"), self.temperature, TEMPERATURE_TIP),
        )
        for row, (name, field, meaning) in enumerate(rows):
            grid.addWidget(name, row, 0)
            grid.addWidget(field, row, 1)
            for widget in (name, field):
                widget.setToolTip(tip(meaning))
        self._temperature_name = rows[-1][0]
        self.sampled.setToolTip(tip(SAMPLED_TIP))
        for box, name_heard in (
            (self.mode, "Mode"),
            (self.attention, "Attention"),
            (self.ranged, "Choose the layers that are held"),
            (self.first, "First layer that is held"),
            (self.last, "Last layer that is held"),
            (self.controls, "Number of random controls"),
            (self.seed, "Seed"),
            (self.tokens, "Tokens to generate"),
            (self.sampled, "Sampled runs; 0 is greedy"),
            (self.temperature, "Temperature"),
        ):
            box.setAccessibleName(name_heard)
        for combo in (self.mode, self.attention):
            combo.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
            combo.setMinimumContentsLength(10)

    @Slot()
    def _show(self) -> None:
        draft, graph = self.desk.draft, self.desk.graph
        settings = draft.settings
        self._filling = True
        self.mode.setCurrentIndex([key for key, _, _ in MODES].index(settings.mode))
        self.attention.setCurrentIndex([key for key, _, _ in ATTENTIONS].index(settings.attention))
        self.mode.setToolTip(tip(MODES[self.mode.currentIndex()][2]))
        self.attention.setToolTip(tip(ATTENTIONS[self.attention.currentIndex()][2]))
        self.attention.setEnabled(settings.mode != "direct")
        top = 0 if graph is None else graph.n_layers - 1
        self.ranged.setEnabled(settings.mode == "constrained")
        self.ranged.setChecked(settings.layers is not None)
        layers = [one.layer for one in draft.changes if one.layer >= 0]
        usual = (min(layers), max(layers)) if layers else (0, top)
        for spin, value in zip((self.first, self.last), settings.layers or usual, strict=True):
            spin.setRange(0, top)
            spin.setEnabled(settings.layers is not None)
            spin.setValue(value)
        self.controls.setValue(draft.controls)
        self.seed.setValue(draft.seed)
        self.tokens.setValue(draft.tokens)
        self.sampled.setValue(draft.sampled)
        self.temperature.setValue(draft.temperature)
        for widget in (self.temperature, self._temperature_name):
            widget.setEnabled(draft.sampled > 0)
        self._filling = False

    @Slot()
    def _answers(self) -> None:
        if self._filling:
            return
        layers = None
        if self.ranged.isChecked():
            first, last = self.first.value(), self.last.value()
            layers = (min(first, last), max(first, last))
        self.desk.set_settings(mode=self.mode.currentData(), attention=self.attention.currentData(), layers=layers)

    @Slot()
    def _amounts(self) -> None:
        if self._filling:
            return
        controls = self.controls.value()
        self.desk.set_draft(
            replace(
                self.desk.draft,
                controls=controls if not 0 < controls < 100 else 100,
                seed=self.seed.value(),
                tokens=self.tokens.value(),
                sampled=self.sampled.value(),
                temperature=self.temperature.value(),
            )
        )
