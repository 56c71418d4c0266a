"""A circuit that was found: how much of the behaviour is kept by how many features, beside other orders."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import Qt, Slot
from PySide6.QtWidgets import QSplitter, QWidget

from app.experiments.circuit_view import curve_of
from app.experiments.plots import Lines
from app.experiments.tables import Figures
from app.panels.plain import tip
from app.theme import theme_watcher

CURVE_TIP = (
    "Faithfulness by size: how much of the behaviour is kept when only so many features stay and the rest of the graph "
    "is ablated, for features taken in several orders. The level is the share that was asked for."
)
AREA_TIP = (
    "CPR: the area under the curve, higher is better. CMD: the area between the curve and 100 %, lower is better "
    "(Mueller et al. 2025)."
)


class SearchView(QSplitter):
    """The curves, and their areas."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(Qt.Orientation.Horizontal, parent)
        self.setChildrenCollapsible(False)
        self.plot = Lines("Faithfulness by size", "features kept", "faithfulness")
        self.plot.setToolTip(tip(CURVE_TIP))
        self.areas = Figures("Areas of the curves", ("Order", "CPR", "CMD"), (CURVE_TIP, AREA_TIP, AREA_TIP))
        self.addWidget(self.plot)
        self.addWidget(self.areas)
        self.setSizes([340, 220])
        theme_watcher().changed.connect(self._restyle)

    @Slot()
    def _restyle(self) -> None:
        self.areas.show_icons(self.plot.swatches())

    def show_result(self, settings: dict[str, Any], result: dict[str, Any]) -> None:
        """Show what a project kept."""
        share = float(settings["experiment"]["share"])
        curves = []
        for at, one in enumerate(result["curves"]):
            role = "first" if at == 0 else "second" if at == 1 else "quiet"
            curves.append(curve_of(one, role))
        self.plot.show_curves(curves, level=share, logarithmic=True)
        self.areas.fill(
            [(str(one["name"]), f"{float(one['cpr']):.2f}", f"{float(one['cmd']):.2f}") for one in result["curves"]]
        )
        self.areas.show_icons(self.plot.swatches())
