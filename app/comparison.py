"""Two graphs side by side, as the window shows them: which node is where, what is said of it, what is doubtful."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.canvas import Mark, Scene
from app.canvas.scene import pair
from app.group_colours import with_colours
from app.reading import KIND_WORDS, kind_of, number, short_name, token_word
from app.session import ViewSettings
from engine.graphs import AttributionGraph, GraphView, NodeKind
from engine.graphs.comparison import Comparison, compare, paired_views
from engine.graphs.visible_text import visible_text
from engine.progress import Progress, checkpoint
from engine.projects import Annotations, Project, dictionary_identity

Index = NDArray[np.int64]
NOTHING = -1
MARK_WORDS = {
    Mark.SHARED: "shared",
    Mark.CHANGED: "changed",
    Mark.ONLY_LEFT: "only left",
    Mark.ONLY_RIGHT: "only right",
}


@dataclass(frozen=True)
class Side:
    """One of two compared traces."""

    trace: int
    title: str
    graph: AttributionGraph
    report: dict[str, Any]
    annotations: Annotations


@dataclass(frozen=True)
class Pairing:
    """Two aligned graphs.

    `partner_left` (N left,) and `partner_right` (N right,) give the same node of the other graph, -1 where there is
    none. One row for each node of either (R,): `left_node` and `right_node`, -1 where that graph has none, and `mark`.
    `texts` (R,) are what a person may type to find a row, labels left out.
    """

    left: Side
    right: Side
    comparison: Comparison
    scenes: tuple[Scene, Scene]
    partner_left: Index
    partner_right: Index
    left_node: Index
    right_node: Index
    mark: NDArray[np.uint8]
    texts: tuple[str, ...]
    doubts: tuple[str, ...]

    def count(self, mark: Mark) -> int:
        """How many rows are of this class."""
        return int((self.mark == mark).sum())

    def views(
        self,
        settings: ViewSettings,
        left: int,
        right: int,
        only: Mark | None,
        hide: tuple[NDArray[np.bool_] | None, NDArray[np.bool_] | None] = (None, None),
    ) -> tuple[GraphView, GraphView]:
        """What of both is shown, without `hide`: with the selected nodes, and of one class or (None) all."""
        keep = (self._kept(self.left, left), self._kept(self.right, right))
        views = paired_views(
            self.left.graph,
            self.right.graph,
            self.comparison,
            settings.node_threshold,
            settings.edge_threshold,
            hide_errors=settings.hide_errors,
            hide_bos=settings.hide_bos,
            hide=hide,
            keep=keep,
        )
        if only is None:
            return views
        one, other = (
            GraphView(view.nodes & (scene.marks == only), view.edges, view.explained)
            for view, scene in zip(views, self.scenes, strict=True)
        )
        return one, other

    @staticmethod
    def _kept(side: Side, selected: int) -> tuple[int, ...]:
        grouped = [node for group in side.annotations.groups for node in group.nodes]
        nodes = (*side.annotations.pins, *grouped, selected)
        return tuple(node for node in nodes if 0 <= node < side.graph.n_nodes)

    def row_of(self, left: int, right: int) -> int:
        """The row of a node, or -1."""
        column, node = (self.left_node, left) if left >= 0 else (self.right_node, right)
        if node < 0:
            return NOTHING
        found = np.flatnonzero(column == node)
        return int(found[0]) if len(found) else NOTHING

    def name(self, row: int) -> str:
        """The node of a row, without its token: "L12 · 503"."""
        graph, node = self.node_of(row)
        kind = kind_of(graph, node)
        if kind is NodeKind.LOGIT:
            return f"logit {token_word(graph, node)}"
        if kind is NodeKind.FEATURE:
            return f"L{int(graph.layer[node])} · {int(graph.feature[node])}"
        layer = int(graph.layer[node])
        return f"{KIND_WORDS[kind]} L{layer}" if layer >= 0 else KIND_WORDS[kind]

    def node_of(self, row: int) -> tuple[AttributionGraph, int]:
        """A graph that has the row's node, the left one if both do."""
        left = int(self.left_node[row])
        return (self.left.graph, left) if left >= 0 else (self.right.graph, int(self.right_node[row]))

    def place(self, row: int) -> str:
        """The token of a row on both sides, and its position from the end: "␣Texas | ␣France  −2"."""
        graph, node = self.node_of(row)
        position = int(graph.position[node])
        if position < 0:
            return "–"
        words = [
            _token_at(side.graph, int(nodes[row]))
            for side, nodes in ((self.left, self.left_node), (self.right, self.right_node))
            if nodes[row] >= 0
        ]
        return f"{' | '.join(dict.fromkeys(words))}  {number(position - graph.n_positions)}"

    @property
    def measure(self) -> str:
        """What the graphs call how much passes through a node: "influence" or "relevance"."""
        return self.left.graph.measure

    def differences(self, row: int) -> str:
        """What is different about a node that both have."""
        if self.mark[row] != Mark.CHANGED:
            return ""
        found = self.comparison
        named = (
            (found.activation_changed, "activation"),
            (found.influence_changed, self.measure),
            (found.edges_changed, "inputs"),
        )
        return ", ".join(word for changed, word in named if changed[row])  # shared rows come first, in this order

    def amounts(self, name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Two columns (R,) of `name` ("activation" or "influence"), 0 where a graph does not have the node."""
        columns = []
        for side, nodes in ((self.left, self.left_node), (self.right, self.right_node)):
            found = getattr(side.graph, name)[np.maximum(nodes, 0)].astype(np.float64)
            columns.append(np.where(nodes >= 0, found, 0.0))
        return columns[0], columns[1]


def open_pair(project: Project, left: int, right: int, progress: Progress, cancel: threading.Event) -> Pairing:
    """Read two traces of a project and align them; for the engine's thread, no model is needed."""
    titles = {row.id: row.title for row in project.traces()}
    sides = []
    for share, trace in ((0.0, left), (0.3, right)):
        progress("Reading the graphs", share)
        graph = project.load_graph(trace)
        annotations = with_colours(project.annotations(trace))
        sides.append(Side(trace, titles.get(trace, ""), graph, project.report(trace), annotations))
        checkpoint(cancel)
    progress("Comparing the graphs", 0.6)
    return pairing(*sides)


def pairing(left: Side, right: Side) -> Pairing:
    """Align two traces."""
    names = [dictionary_identity(side.report) for side in (left, right)]
    same = None if None in names else names[0] == names[1]
    found = compare(left.graph, right.graph, same_dictionary=same)
    partner_left = np.full(left.graph.n_nodes, NOTHING, dtype=np.int64)
    partner_right = np.full(right.graph.n_nodes, NOTHING, dtype=np.int64)
    partner_left[found.left], partner_right[found.right] = found.right, found.left
    shared = np.where(found.changed, Mark.CHANGED, Mark.SHARED)
    alone = [np.full(len(nodes), NOTHING, dtype=np.int64) for nodes in (found.only_right, found.only_left)]
    left_node = np.concatenate([found.left, found.only_left, alone[0]])
    right_node = np.concatenate([found.right, alone[1], found.only_right])
    sides = [np.full(len(alone[1]), Mark.ONLY_LEFT), np.full(len(alone[0]), Mark.ONLY_RIGHT)]
    mark = np.concatenate([shared, *sides]).astype(np.uint8)
    scenes = (Scene(left.graph), Scene(right.graph))
    for scene, nodes in zip(scenes, (left_node, right_node), strict=True):
        scene.marks = np.zeros(scene.graph.n_nodes, dtype=np.uint8)
        scene.marks[nodes[nodes >= 0]] = mark[nodes >= 0]
    pair(*scenes)
    texts = tuple(
        _text(left, right, *row) for row in zip(mark.tolist(), left_node.tolist(), right_node.tolist(), strict=True)
    )
    return Pairing(
        left, right, found, scenes, partner_left, partner_right, left_node, right_node, mark, texts,
        _doubts(left, right, found.same_dictionary),
    )  # fmt: skip


def _text(left: Side, right: Side, mark: int, left_node: int, right_node: int) -> str:
    """Everything a person may type to find a row, in lower case."""
    words = [MARK_WORDS[Mark(mark)]]
    for graph, node in ((left.graph, left_node), (right.graph, right_node)):
        if node >= 0:
            words += [short_name(graph, node), KIND_WORDS[kind_of(graph, node)], graph.describe(node)]
    return " ".join(words).lower()


def _doubts(left: Side, right: Side, same_dictionary: bool) -> tuple[str, ...]:
    sentences = []
    if not same_dictionary:
        names = [_dictionary_name(side) for side in (left, right)]
        which = f" ({names[0]} and {names[1]})" if names[0] != names[1] else ""
        sentences.append(
            f"The features come from different dictionaries{which}, so that their numbers cannot be matched: only "
            "tokens, logits, errors and biases are."
        )
    if left.graph.n_layers != right.graph.n_layers:
        sentences.append("The two models have different numbers of layers, so that rows do not line up.")
    if left.graph.measure != right.graph.measure:
        sentences.append(
            "One graph measures influence and the other relevance; the two cannot be set against each other."
        )
    return tuple(sentences)


def _dictionary_name(side: Side) -> str:
    features, model = side.report.get("features"), side.report.get("model")
    name = str(features.get("name", "")) if isinstance(features, dict) else ""
    owner = str(model.get("name", "")) if isinstance(model, dict) else ""
    return " of ".join(part for part in (name, owner) if part) or "one without a name"


def _token_at(graph: AttributionGraph, node: int) -> str:
    # A logit stands at the last token; its own text is in its name.
    if kind_of(graph, node) is NodeKind.LOGIT:
        return visible_text(graph.tokens[int(graph.position[node])])
    return token_word(graph, node)
