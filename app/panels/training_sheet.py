"""The page that trains a dictionary: settings on the left, what was measured after each round on the right."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QEvent, QSize, Slot
from PySide6.QtWidgets import (
    QCheckBox,
    QDialog,
    QDoubleSpinBox,
    QFormLayout,
    QGridLayout,
    QHBoxLayout,
    QPushButton,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from app.dialogs import Ask
from app.experiments.plots import Lines
from app.panels.plain import MutedLabel, PlainLabel, tip
from app.training import Asked, TrainingDesk

if TYPE_CHECKING:
    from app.window import MainWindow

_FVU = "The share of an MLP's variance that the dictionary leaves over, on text that was held out; 0 is everything."
_L0 = "Features active at a token, the mean over tokens of held-out text."
_DEAD = "The share of features that were not active once at the last 50,000 tokens trained on."
_CE = "1 where replacing all MLPs at once costs no prediction of the next token, 0 where it is as bad as removing them."


# Of the page in lines of text: four curves can be read beside the settings, however large the text is.
_WIDE, _HIGH = 60, 35


class TrainingSheet(QDialog):
    """Settings, Start and Stop, and four curves; closing it leaves a training running."""

    def __init__(self, desk: TrainingDesk, window: MainWindow) -> None:
        super().__init__(window)
        self.setObjectName("training-sheet")
        self.setWindowTitle("Train a dictionary")
        self._desk, self._room = desk, window
        self._out: Path | None = None
        self._text: Path | None = None
        self.width_box = self._whole("Width", 16, 131_072, 2048, "Features a layer: more explain more, take longer")
        self.k = self._whole("Active features", 1, 1024, 32, "Features active at a token, on average (k of TopK)")
        self.tokens = self._whole("Tokens", 1000, 100_000_000, 400_000, "Different tokens that are read, at most")
        self.minutes = QDoubleSpinBox()
        self.minutes.setRange(0, 10_000)
        self.minutes.setSpecialValueText("No limit")
        self.minutes.setValue(30)
        self._describe(self.minutes, "Minutes", "The training ends after so long, making text not counted")
        self.skip = QCheckBox("Affine &skip")
        self._describe(
            self.skip, "Affine skip", "A linear map beside the features; it explains a part that is no feature"
        )
        self.skip.setChecked(True)
        self.crossing = QCheckBox("&Cross-layer")
        self._describe(self.crossing, "Cross-layer", "Features write to their own layer and every later one")
        self.sample = QCheckBox("Half of it written by the &model")
        self._describe(self.sample, "Half of it written by the model", "Slower; the dictionary then fits what it says")
        self.sample.setChecked(True)
        self.text, self.out = QPushButton("The text that ships"), QPushButton("Choose a folder…")
        self._describe(self.text, "Text", "A folder with .txt or .md files to train on instead of the text that ships")
        self._describe(self.out, "Where it goes", "The folder that the dictionary is written to, with its card")
        self.start, self.stop, self.put_away = QPushButton("&Train"), QPushButton("St&op"), QPushButton("Close")
        self._describe(self.start, "Train", "Begin, or go on with what the folder holds unfinished")
        self._describe(self.stop, "Stop", "Stop now; what was done until the last checkpoint is kept")
        self._describe(self.put_away, "Close", "Put the page away; a training goes on (Esc)")
        self.start.setDefault(True)
        self.said, self.latest = MutedLabel("", wrap=True), PlainLabel("")
        self.latest.setWordWrap(True)
        self.plots = {
            "fvu": self._plot("FVU", _FVU, yMin=0),
            "l0": self._plot("L0", _L0, yMin=0, minYRange=2),
            "dead": self._plot("Dead share", _DEAD, yMin=0, minYRange=0.05),
            "ce_recovered": self._plot("CE recovered", _CE, minYRange=0.05),
        }
        self._lay_out()
        self._connect()
        self._follow()

    def _whole(self, name: str, low: int, high: int, value: int, about: str) -> QSpinBox:
        box = QSpinBox()
        box.setRange(low, high)
        box.setValue(value)
        box.setGroupSeparatorShown(True)
        self._describe(box, name, about)
        return box

    @staticmethod
    def _describe(widget: QWidget, name: str, about: str) -> None:
        widget.setAccessibleName(name)
        widget.setToolTip(tip(about))

    @staticmethod
    def _plot(name: str, about: str, **limits: float) -> Lines:
        plot = Lines(f"{name} after each round", "steps", name)
        plot.setToolTip(tip(about))
        # Shares are read as they are, not in thousandths, and noughts are no curve of their own height.
        plot.getAxis("left").enableAutoSIPrefix(False)
        plot.getViewBox().setLimits(**limits)
        return plot

    def _lay_out(self) -> None:
        form = QFormLayout()
        form.addRow("&Where", self.out)
        form.addRow("Te&xt", self.text)
        form.addRow("", self.sample)
        form.addRow("&Width", self.width_box)
        form.addRow("&k", self.k)
        form.addRow("", self.skip)
        form.addRow("", self.crossing)
        form.addRow("To&kens", self.tokens)
        form.addRow("&Minutes", self.minutes)
        buttons = QHBoxLayout()
        for button in (self.start, self.stop, self.put_away):
            buttons.addWidget(button)
        left = QVBoxLayout()
        left.addLayout(form)
        left.addWidget(self.said)
        left.addStretch(1)
        left.addLayout(buttons)
        grid = QGridLayout()
        for number, plot in enumerate(self.plots.values()):
            grid.addWidget(plot, number // 2, number % 2)
        right = QVBoxLayout()
        right.addLayout(grid, 1)
        right.addWidget(self.latest)
        row = QHBoxLayout(self)
        row.addLayout(left)
        row.addLayout(right, 1)

    def _connect(self) -> None:
        self.out.clicked.connect(self._choose_out)
        self.text.clicked.connect(self._choose_text)
        self.start.clicked.connect(self._start)
        self.stop.clicked.connect(self._desk.stop)
        self.put_away.clicked.connect(self.close)
        self._desk.changed.connect(self._follow)
        self._desk.measured.connect(self._draw)

    def popup(self) -> None:
        """Show how things stand."""
        self._follow()
        if not self.isVisible():
            self.resize(self.sizeHint().expandedTo(self._roomy()))
        self.show()
        self.raise_()
        self.activateWindow()

    def changeEvent(self, event: QEvent) -> None:
        """Larger text needs a larger page."""
        super().changeEvent(event)
        if event.type() == QEvent.Type.FontChange and self.isVisible():
            self.resize(self.size().expandedTo(self._roomy()))

    def _roomy(self) -> QSize:
        """Wide enough for four curves that can be read, and no wider than the window."""
        line = self.fontMetrics().lineSpacing()
        return QSize(_WIDE * line, _HIGH * line).boundedTo(self._room.size())

    def asked(self) -> Asked | None:
        """What is chosen; None without a folder."""
        if self._out is None:
            return None
        settings: dict[str, Any] = {
            "width": self.width_box.value(),
            "k": self.k.value(),
            "skip": self.skip.isChecked(),
            "cross_layer": self.crossing.isChecked(),
            "tokens": self.tokens.value(),
            "minutes": self.minutes.value() or None,
            "sampled_share": 0.5 if self.sample.isChecked() else 0.0,
        }
        return Asked(self._out, self._text, settings)

    @Slot()
    def _choose_out(self) -> None:
        folder = Ask.open_folder(self, "The folder that the dictionary is written to")
        if folder is not None:
            self._out = folder
            self.out.setText(folder.name or str(folder))
            self._follow()

    @Slot()
    def _choose_text(self) -> None:
        self._text = Ask.open_folder(self, "Train on a folder of texts (.txt, .md)")
        self.text.setText("The text that ships" if self._text is None else self._text.name)

    @Slot()
    def _start(self) -> None:
        asked = self.asked()
        if asked is not None:
            self._desk.start(asked)

    @Slot()
    def _follow(self) -> None:
        running = self._desk.running
        self.start.setEnabled(not running and self._out is not None)
        self.stop.setEnabled(running)
        for field in (self.out, self.text, self.sample, self.width_box, self.k, self.skip, self.crossing, self.tokens):
            field.setEnabled(not running)
        self.minutes.setEnabled(not running)
        said = "Choose the folder that the dictionary goes to." if self._out is None else ""
        if running:
            said = "Training. Traces that you ask for meanwhile wait until it is done or stopped."
        self.said.setText(self._desk.said or said)
        self._draw()

    @Slot()
    def _draw(self) -> None:
        rounds = self._desk.rounds
        steps = [one["steps"] for one in rounds]
        for name, plot in self.plots.items():
            plot.show_curves(curves_of(name, steps, rounds))
        if rounds:
            last = rounds[-1]
            self.latest.setText(
                f"{last['share']:.0%} done, {last['positions']:,} tokens: FVU {_mean(last['fvu']):.3f}, "
                f"L0 {_mean(last['l0']):.1f}, dead {_mean(last['dead']):.1%}, CE recovered {last['ce_recovered']:.3f}. "
                "Thick: the mean over layers; thin: the best and the worst layer."
            )
        else:
            self.latest.setText("After each round the curves grow by a point.")


def curves_of(
    name: str, steps: list[int], rounds: list[dict[str, Any]]
) -> list[tuple[str, list[float], list[float], str]]:
    """The mean over layers, and the lowest and highest layer beside it; one curve where there is one number."""
    across = [float(one) for one in steps]
    values = [one[name] for one in rounds]
    if not values:
        return []
    if not isinstance(values[0], list):
        return [("all layers", across, values, "first")]
    return [
        ("mean", across, [_mean(one) for one in values], "first"),
        ("lowest layer", across, [min(one) for one in values], "quiet"),
        ("highest layer", across, [max(one) for one in values], "quiet"),
    ]


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
