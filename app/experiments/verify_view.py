"""Whether a graph can be believed: the parts of the verdict, and what each was measured on."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QSplitter, QTabWidget, QWidget

from app.experiments.plots import Lines, Scatter
from app.experiments.tables import Figures
from app.panels.plain import tip
from app.reading import number

PARTS = {
    "conservation": "Every traced row of the graph must sum to its target’s value: the largest error of all rows.",
    "edges": "With everything else held, features are changed by 1 % and everything later is read: to first order, "
    "what edges predict must be what is measured.",
    "by layer": "The residual stream is pushed a little, in the model and in what the graph stands for (features in "
    "place of MLPs, norms held): how alike the two change, layer by layer (cosine, 1 is alike). Three pushes: along "
    "what a feature reads, in a random direction, and by what a feature writes.",
    "influence": "Features are ablated one by one: whether those that the graph ranks highest move the target most "
    "(Spearman’s rank correlation).",
}


# Kinds of pushes, and how their curves are drawn.
PUSHES = {"encoder": "first", "upstream": "second", "random": "quiet"}


class VerifyView(QSplitter):
    """The parts at the left, their pictures at the right."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(Qt.Orientation.Horizontal, parent)
        self.setChildrenCollapsible(False)
        self.parts = Figures("Parts of the verdict", ("Part", "Found", "Needed", ""), whole_names=True)
        self.edges = Scatter("Predicted and measured small changes", "predicted", "measured")
        self.layers = Lines("Cosine by layer", "layers above the change", "cosine")
        self.influence = Scatter("Influence and effect", "influence", "effect", diagonal=False)
        self.tabs = QTabWidget()
        self.tabs.setDocumentMode(True)
        for name, plot in (("edges", self.edges), ("by layer", self.layers), ("influence", self.influence)):
            self.tabs.addTab(plot, name.capitalize())
            plot.setToolTip(tip(PARTS[name]))
        self.addWidget(self.parts)
        self.addWidget(self.tabs)
        self.setSizes([300, 280])

    def show_result(self, settings: dict[str, Any], result: dict[str, Any]) -> None:
        """Show what a project kept."""
        parts = list(result["parts"])
        self.parts.fill([_row(one) for one in parts], [_meaning(one) for one in parts])
        predicted, measured = ([float(one) for one in result[name]] for name in ("predicted", "measured"))
        self.edges.show_points(predicted, measured, [False] * len(predicted))
        curves = [_curve(result["cosines"], push, role) for push, role in PUSHES.items()]
        self.layers.show_curves(curves, level=0)
        influence, effect = ([float(one) for one in result[name]] for name in ("influence", "effect"))
        self.influence.show_points(influence, effect, [False] * len(influence))


def _curve(cosines: list[dict[str, Any]], push: str, role: str) -> tuple[str, list[float], list[float], str]:
    """The median cosines of one kind of push."""
    mine = [one for one in cosines if one.get("push", "upstream") == push and one["median"] is not None]
    return push, [float(one["above"]) for one in mine], [float(one["median"]) for one in mine], role


def _row(one: dict[str, Any]) -> tuple[str, str, str, str]:
    least = one["name"] != "conservation"
    value = "–" if one["value"] is None else number(float(one["value"]))
    return (
        str(one["name"]),
        value,
        f"{'≥' if least else '≤'} {number(float(one['needed']))}",
        "holds" if one["passed"] else "does not hold",
    )


def _meaning(one: dict[str, Any]) -> str:
    return f"{str(one['sentence']).capitalize()}.\n{PARTS.get(str(one['name']), '')}"
