"""A change at many doses, or with many ranges of layers held: measured beside predicted."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import Qt, Slot
from PySide6.QtWidgets import QSplitter, QWidget

from app.experiments.plots import Lines
from app.experiments.tables import Figures
from app.experiments.words import probability_words
from app.panels.plain import tip
from app.reading import number
from app.theme import theme_watcher

DOSES_TIP = (
    "How far the watched number moves when every change becomes so many times its recorded value: 1 changes nothing, "
    "0 ablates, −1 flips. Filled: the range around 1 in which it stays within 10 % of a straight line."
)
LAYERS_TIP = (
    "How far the watched number moves when MLPs are held from the first changed layer to this one, and all above is "
    "free."
)


class SweepView(QSplitter):
    """The plot and its table; the strong line is what was measured."""

    def __init__(self, over: str, parent: QWidget | None = None) -> None:
        super().__init__(Qt.Orientation.Horizontal, parent)
        self.setChildrenCollapsible(False)
        self._over = over
        doses = over == "doses"
        word = "Dose" if doses else "Last layer"
        self.plot = Lines(f"Change by {word.lower()}", word.lower(), "change")
        self.plot.setToolTip(tip(DOSES_TIP if doses else LAYERS_TIP))
        meaning = ("", "How far the watched number moved", "How far it was predicted to move", "Of the watched token",
                   "Over the whole vocabulary, in nats")  # fmt: skip
        self.table = Figures(
            f"Change by {word.lower()} as a table",
            (word, "Measured", "Predicted", "Probability", "KL"),
            meaning,
            whole_names=True,
        )
        self.addWidget(self.plot)
        self.addWidget(self.table)
        self.setSizes([230, 370])
        theme_watcher().changed.connect(self._restyle)

    def show_result(self, settings: dict[str, Any], result: dict[str, Any]) -> None:
        """Show what a project kept."""
        names = ("values", "measured", "predicted", "probability", "kl")
        values, measured, predicted, probability, kl = ([float(one) for one in result[name]] for name in names)
        linear = result["linear"]
        band = None if linear is None or linear[0] == linear[1] else (float(linear[0]), float(linear[1]))
        curves = [("measured", values, measured, "first"), ("predicted", values, predicted, "second")]
        self.plot.show_curves(curves, band=band, level=0)
        ending = "×" if self._over == "doses" else ""
        rows = zip(values, measured, predicted, probability, kl, strict=True)
        self.table.fill(
            [
                (f"{number(value)}{ending}", number(one), number(other), probability_words(share), number(nats))
                for value, one, other, share, nats in rows
            ]
        )
        self._restyle()

    @Slot()
    def _restyle(self) -> None:
        icons = self.plot.swatches()
        for column, icon in enumerate(icons, start=1):
            self.table.headerItem().setIcon(column, icon)
