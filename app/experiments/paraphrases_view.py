"""The same change on several prompts: each one's figures, and how far over all of them the number moves."""

from __future__ import annotations

from typing import Any

from PySide6.QtWidgets import QTabWidget, QWidget

from app.experiments.plots import Scatter
from app.experiments.tables import Figures
from app.experiments.words import probability_words
from app.panels.plain import tip
from app.reading import number
from engine.graphs.visible_text import visible_text

CHANGE_TIP = (
    "How far the watched number moved. The sentence above gives the mean over all prompts, and the range in which 95 % "
    "of the means of 2,000 resamples of the prompts lie (bootstrap)."
)
RANDOM_TIP = "The median of how far random changes move it that are like this one, drawn on that prompt."
PLOT_TIP = "One point a prompt: what the graph predicts there beside what was measured. The square is the traced one."


class ParaphrasesView(QTabWidget):
    """The table, and predicted beside measured."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setDocumentMode(True)
        self.table = Figures(
            "The change on each prompt",
            ("Prompt", "Probability", "Change", "Random", "p", "Active"),
            (
                "",
                "Of the watched token, before and after",
                CHANGE_TIP,
                RANDOM_TIP,
                "(1 + random changes that move it as far) / (random changes + 1)",
                "How many of the changed features are active there at all",
            ),
        )
        self.plot = Scatter("Predicted and measured on each prompt", "predicted", "measured")
        self.plot.setToolTip(tip(PLOT_TIP))
        self.addTab(self.table, "Prompts")
        self.addTab(self.plot, "Predicted")
        self.setTabToolTip(0, "What the change does on each prompt")
        self.setTabToolTip(1, PLOT_TIP)

    def show_result(self, settings: dict[str, Any], result: dict[str, Any]) -> None:
        """Show what a project kept."""
        prompts = list(result["prompts"])
        changes = [float(one["changed"]) - float(one["recorded"]) for one in prompts]
        rows = [_row(one, change) for one, change in zip(prompts, changes, strict=True)]
        tips = [f"{one['prompt']}\nChanged at {one['where']}" for one in prompts]
        self.table.fill(rows, tips)
        predicted = [float(one["predicted"]) for one in prompts]
        self.plot.show_points(predicted, changes, [at == 0 for at in range(len(prompts))])


def _row(one: dict[str, Any], change: float) -> tuple[str, ...]:
    before, after = float(one["probability"]), float(one["probability_changed"])
    median, p = one["median"], one["p"]
    return (
        visible_text(str(one["prompt"])),
        f"{probability_words(before)} → {probability_words(after)}",
        number(change),
        "" if median is None else number(float(median)),
        "" if p is None else f"{float(p):.2g}",
        f"{int(one['active'])} of {int(one['features'])}",
    )
