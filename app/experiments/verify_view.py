"""Whether a graph can be believed: the parts of the verdict, and what each was measured on."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import Qt, Slot
from PySide6.QtWidgets import QSplitter, QTabWidget, QVBoxLayout, QWidget

from app.experiments.desk import ExperimentDesk
from app.experiments.draft import node_of
from app.experiments.plots import Lines, Scatter
from app.experiments.tables import Figures
from app.panels.plain import MutedLabel, tip
from app.reading import number, short_name
from app.theme import theme_watcher
from engine.graphs.visible_text import visible_text

PARTS = {
    "conservation": "Every traced row of the graph must sum to its target’s value: the largest error of all rows. "
    "Needed is what rounding in float32 explains.",
    "edges": "With everything else held, features are changed by 1 % and everything later is read: to first order, "
    "what edges predict must be what is measured. Held to be right where the correlation is 0.99 or more, the slope is "
    "within 0.1 of 1, and 90 % of the edges are within 20 % of their measurement: edges are exact but for rounding, "
    "neurons but for their curvature. Between neurons an edge divides a value and predicts no change: there slopes are "
    "compared, and the graph’s own edges with the change of the value they divide, its gate held.",
    "by layer": "The residual stream is pushed a little, in the model and in what the graph stands for (features in "
    "place of MLPs, norms held): how alike the two change, layer by layer (cosine, 1 is alike). Three pushes: along "
    "what a feature reads, in a random direction, and by what a feature writes. Needed is 0.7 one layer up; papers "
    "report about 0.8 of replacement models that they found good.",
    "influence": "Features are ablated one by one: whether those that the graph ranks highest move the target most "
    "(Spearman’s rank correlation). Needed is 0.5; papers report about 0.7 of graphs of transcoders.",
}


NEEDED_TIP = "Each row says on hovering what was measured, what it needs, and where that bound comes from"
EDGES_TIP = (
    "The edges of the sample one by one, between neurons their slopes; p and q are there where “Edge p” was set before "
    "verifying"
)
EDGE_TIPS = (
    "The feature that was changed by 1 %, all else held",
    "The feature that was read, or the target",
    "What the edge says, for all of the source",
    "What was measured, for all of the source",
    "(1 + random features like the source that move the same target as far) / (their number + 1)",
    "p corrected for the number of edges (Benjamini and Hochberg): of those up to a q, at most that share is false",
)
# Kinds of pushes, and how their curves are drawn.
PUSH_WORDS = {"encoder": "what it reads", "upstream": "what it writes", "random": "random"}
PUSH_TIPS = (
    "How the residual stream was pushed at each of the features",
    "The median cosine one layer above the push",
    "The median cosine in the last layer that a push reaches",
)
PUSHES = {"encoder": "first", "upstream": "second", "random": "quiet"}


class VerifyView(QTabWidget):
    """The parts of the verdict first, then a page for what each was measured on."""

    def __init__(self, desk: ExperimentDesk, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setDocumentMode(True)
        self.desk = desk
        self.parts = Figures(
            "Parts of the verdict", ("Part", "Found", "Needed", ""), ("", *2 * (NEEDED_TIP,)), whole_names=True
        )
        self.said = MutedLabel("", wrap=True)
        self.edges = Scatter("Predicted and measured small changes", "predicted", "measured")
        self.table = Figures("Edges of the sample", ("From", "To", "Predicted", "Measured", "p", "q"), EDGE_TIPS)
        self.layers = Lines("Cosine by layer", "layers above the change", "cosine")
        self.pushes = Figures("Pushes by layer", ("Push", "Next layer", "Last layer"), PUSH_TIPS, whole_names=True)
        self.influence = Scatter("Influence and effect", "influence", "effect", diagonal=False)
        self._lay_out()
        theme_watcher().changed.connect(self._restyle)

    def _lay_out(self) -> None:
        verdict, layers = QWidget(), QSplitter(Qt.Orientation.Horizontal)
        column = QVBoxLayout(verdict)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        self.said.setContentsMargins(8, 0, 8, 4)
        column.addWidget(self.parts, 1)
        column.addWidget(self.said)
        layers.setChildrenCollapsible(False)
        layers.addWidget(self.layers)
        layers.addWidget(self.pushes)
        layers.setSizes([300, 260])
        for plot, name in ((self.edges, "edges"), (self.layers, "by layer"), (self.influence, "influence")):
            plot.setToolTip(tip(PARTS[name]))
        for page, name, words in (
            (verdict, "Verdict", "What was checked, what was found, and what was needed"),
            (self.edges, "Edges", PARTS["edges"]),
            (self.table, "Listed", EDGES_TIP),
            (layers, "By layer", PARTS["by layer"]),
            (self.influence, "Influence", PARTS["influence"]),
        ):
            self.setTabToolTip(self.addTab(page, name), tip(words))

    @Slot()
    def _restyle(self) -> None:
        self.pushes.show_icons(self.layers.swatches())

    def show_result(self, settings: dict[str, Any], result: dict[str, Any]) -> None:
        """Show what a project kept."""
        parts = list(result["parts"])
        self.parts.fill([_row(one) for one in parts], [_meaning(one) for one in parts])
        sample = result["sample"]
        predicted, measured = ([float(one) for one in sample[name]] for name in ("predicted", "measured"))
        self.table.fill(self._edges(sample, predicted, measured))
        # Between neurons the graph's own edges stand beside their slopes; results kept before that have none.
        predicted += [float(one) for one in sample.get("divided_predicted", ())]
        measured += [float(one) for one in sample.get("divided_measured", ())]
        self.edges.show_points(predicted, measured, [False] * len(predicted))
        curves = [_curve(result["cosines"], push, role) for push, role in PUSHES.items()]
        self.layers.show_curves(curves, level=0)
        self.pushes.fill(
            [(PUSH_WORDS[name], *_ends(up)) for name, _, up, _ in curves], [PARTS["by layer"]] * len(curves)
        )
        self._restyle()
        self.said.setText(visible_text(" · ".join(str(one["sentence"]) for one in parts)))
        influence, effect = ([float(one) for one in result[name]] for name in ("influence", "effect"))
        self.influence.show_points(influence, effect, [False] * len(influence))

    def _edges(self, sample: dict[str, Any], predicted: list[float], measured: list[float]) -> list[tuple[str, ...]]:
        """A row an edge, those that stand out most first, else the strongest."""
        p, q = list(sample["p"]), list(sample["q"])
        order = sorted(range(len(measured)), key=lambda at: (float(q[at]) if q else 0.0, -abs(measured[at])))
        sources, targets = ([self._name(one) for one in sample[name]] for name in ("sources", "targets"))
        return [
            (
                sources[int(sample["source"][at])],
                targets[int(sample["target"][at])],
                number(predicted[at]),
                number(measured[at]),
                f"{float(p[at]):.2g}" if p else "",
                f"{float(q[at]):.2g}" if q else "",
            )
            for at in order
        ]

    def _name(self, place: list[int]) -> str:
        """A label, or layer and number; what is watched is the target."""
        layer, position, feature = (int(one) for one in place)
        graph = self.desk.graph
        if feature < 0 or graph is None:
            return "target" if feature < 0 else f"L{layer} · {feature}"
        node = node_of(graph, "feature", layer, position, feature)
        label = self.desk.session.annotations.labels.get(node, "") if node >= 0 else ""
        return visible_text(" ".join(label.split())) or (
            short_name(graph, node) if node >= 0 else f"L{layer} · {feature}"
        )


def _ends(values: list[float]) -> tuple[str, str]:
    """The first and the last of some cosines."""
    return (f"{values[0]:.2f}", f"{values[-1]:.2f}") if values else ("–", "–")


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
