"""What the canvas shows, without Qt: a graph, a view of it, annotations, and what is selected and hovered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from itertools import pairwise
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from app.canvas.picking import NodeBins
from engine.graphs.edge_ranking import LIVE_EDGES, EdgeRanking
from engine.graphs.glyphs import SIZES, size_levels
from engine.graphs.graph import AttributionGraph, NodeKind
from engine.graphs.layout import Layout, lay_out, with_shared_rows
from engine.graphs.visible_text import visible_text

NOTHING = -1
PINNED_EDGES = 600
HOVERED_EDGES = 500  # of a hovered node, over those of what is selected or pinned


class GraphView(Protocol):
    """Which nodes and edges of a graph are shown; engine.graphs.pruning makes it."""

    @property
    def nodes(self) -> NDArray[np.bool_]:
        """(N,)."""

    @property
    def edges(self) -> NDArray[np.bool_]:
        """(E,)."""


class Group(Protocol):
    """A supernode as a project keeps it."""

    @property
    def name(self) -> str:
        """Its text."""

    @property
    def colour(self) -> str:
        """'#rrggbb'."""

    @property
    def nodes(self) -> tuple[int, ...]:
        """Node numbers."""


class Mark(IntEnum):
    """Which of two compared graphs a node is in."""

    SHARED = 0
    ONLY_LEFT = 1
    ONLY_RIGHT = 2
    CHANGED = 3


class SizeBy(StrEnum):
    """What the size of a feature's glyph says."""

    INFLUENCE = "influence"
    ACTIVATION = "activation"
    NONE = "none"


@dataclass
class Scene:
    """State of one canvas. Node numbers everywhere are the graph's; `NOTHING` stands for none."""

    graph: AttributionGraph
    viewport: tuple[float, float] = (960.0, 540.0)
    pins: tuple[int, ...] = ()
    labels: Mapping[int, str] = field(default_factory=dict)
    groups: Sequence[Group] = ()
    selected: int = NOTHING
    hovered: int = NOTHING
    size_by: SizeBy = SizeBy.INFLUENCE
    found: NDArray[np.bool_] | None = None  # (N,) what a search found; None while nothing is looked for
    marks: NDArray[np.uint8] | None = None  # (N,) `Mark` of each node while two graphs are compared
    # The scene whose rows are at the same heights.
    partner: Scene | None = field(default=None, repr=False, compare=False)
    lit: tuple[int, ...] = ()  # nodes shown alone, with the edges from each to the next

    def __post_init__(self) -> None:
        self.ranking = EdgeRanking(self.graph)
        self.ranking.prepare()
        self._group_of: dict[int, Group] = {}
        self.logits: list[int] = self.graph.of_kind(NodeKind.LOGIT).tolist()
        self._logit_texts: dict[int, str] = dict(
            zip(self.logits, map(visible_text, self.graph.logit_text), strict=True)
        )
        self._logit_weights: dict[int, float] = dict(
            zip(self.logits, self.graph.logit_probability.tolist(), strict=True)
        )
        self.show_all()

    # -- what is shown ------------------------------------------------------------------------------------------------

    def show_all(self) -> None:
        """Show every node and edge."""
        self.node_shown = np.ones(self.graph.n_nodes, dtype=np.bool_)
        self.edge_shown = np.ones(self.graph.n_edges, dtype=np.bool_)
        self.lay_out()

    def show(self, view: GraphView) -> None:
        """Show a view. Pinned and selected nodes must be in it to be seen: the pruning's `keep` does that."""
        nodes, edges = np.asarray(view.nodes), np.asarray(view.edges)
        if nodes.shape != (self.graph.n_nodes,) or edges.shape != (self.graph.n_edges,):
            raise ValueError("the view belongs to another graph")
        self.node_shown = nodes
        kept = np.flatnonzero(edges)  # far fewer than there are
        self.edge_shown = edges.copy()
        self.edge_shown[kept] = nodes[self.graph.source[kept]] & nodes[self.graph.target[kept]]
        self.hovered = self.hovered if self.is_shown(self.hovered) else NOTHING
        self.lay_out()

    def lay_out(self) -> None:
        """Place the shown nodes for the viewport."""
        self.own_layout = lay_out(self.graph, self.node_shown, node_size=SIZES[-1], viewport=self.viewport)
        self.layout: Layout = self.own_layout
        if self.partner is not None:
            self.layout, self.partner.layout = with_shared_rows(self.own_layout, self.partner.own_layout)
        self.shown = np.flatnonzero(self.node_shown)
        self._connections: tuple[int, NDArray[np.int64], NDArray[np.float32]] | None = None
        self._bins: NodeBins | None = None

    def nearest(self, x: float, y: float, reach: float, scales: tuple[float, float]) -> int:
        """The shown node nearest to a point of the layout, at most `reach` pixels away, or -1."""
        if self._bins is None:
            self._bins = NodeBins(self.shown, self.layout.x, self.layout.y, 2 * self.layout.pitch)
        return self._bins.nearest(x, y, reach, scales)

    def annotate(self, pins: Sequence[int], labels: Mapping[int, str], groups: Sequence[Group]) -> None:
        """Take pins, labels and supernodes; numbers that are no nodes of this graph are left out."""
        n = self.graph.n_nodes
        self.pins = tuple(node for node in pins if 0 <= node < n)
        self.labels = {node: text for node, text in labels.items() if 0 <= node < n and text}
        self.groups = tuple(groups)
        self._group_of = {node: group for group in self.groups for node in group.nodes if 0 <= node < n}

    def is_shown(self, node: int) -> bool:
        """Whether `node` is a node that can be seen."""
        return 0 <= node < self.graph.n_nodes and bool(self.node_shown[node])

    def shown_found(self) -> NDArray[np.int64]:
        """Nodes found that can be seen, the most influential first."""
        if self.found is None:
            return np.empty(0, dtype=np.int64)
        nodes = np.flatnonzero(self.found & self.node_shown)
        return nodes[np.argsort(-np.nan_to_num(self.graph.influence[nodes]), kind="stable")]

    # -- edges --------------------------------------------------------------------------------------------------------

    def has_focus(self) -> bool:
        """Whether edges of some nodes are shown, and not the strongest of all."""
        return any(self.is_shown(node) for node in (self.selected, self.hovered, *self.pins, *self.lit))

    def hovers(self) -> bool:
        """Whether the pointer is on a node that is not the selected one."""
        return self.hovered != self.selected and self.is_shown(self.hovered)

    def still_edges(self) -> NDArray[np.int64]:
        """(<= LIVE_EDGES,) edges to draw wherever the pointer goes, weakest first; fewer while it is on a node.

        Those of the selected node; else those of pinned nodes, the ones between pins above all; else the strongest of
        the graph, which give way to those of a hovered node. While something is selected, edges between pins stay.
        """
        if self.lit:
            return self.lit_edges()
        ranking, shown, hovered = self.ranking, self.edge_shown, self.hovers()
        most = LIVE_EDGES - HOVERED_EDGES if hovered else LIVE_EDGES
        pins = [node for node in self.pins if self.is_shown(node)]
        chosen = self.is_shown(self.selected)
        if not chosen and not hovered and not pins:
            return ranking.strongest(shown)[::-1]
        between = ranking.between(pins, shown)
        first = ranking.of_node(self.selected, shown, most) if chosen else between
        second = between if chosen else ranking.of_nodes([] if hovered else pins, shown, PINNED_EDGES)
        both = np.concatenate([first, second[~np.isin(second, first)]])[:most]
        return both[::-1]

    def hovered_edges(self, still: NDArray[np.int64]) -> NDArray[np.int64]:
        """(<= HOVERED_EDGES,) edges of the hovered node that are not among `still`, weakest first: they lie on top."""
        if self.lit or not self.hovers():
            return np.empty(0, dtype=np.int64)
        most = HOVERED_EDGES if len(still) else LIVE_EDGES
        found = self.ranking.of_node(self.hovered, self.edge_shown, LIVE_EDGES)
        return found[~np.isin(found, still)][:most][::-1]

    def lit_edges(self) -> NDArray[np.int64]:
        """The edge from each lit node to the next, where there is one."""
        graph, found = self.graph, []
        for source, target in pairwise(self.lit):
            inputs = graph.inputs(target)
            found += inputs[graph.source[inputs] == source][:1].tolist()
        return np.array(found, dtype=np.int64)

    def connections(self) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Nodes connected with the selected one (each once) and the signed share of the strongest edge to each."""
        if not self.is_shown(self.selected):
            return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float32)
        if self._connections is not None and self._connections[0] == self.selected:
            return self._connections[1:]
        edges = self.ranking.of_node(self.selected, self.edge_shown, self.graph.n_edges)
        ends = np.where(self.graph.target[edges] == self.selected, self.graph.source[edges], self.graph.target[edges])
        nodes, first = np.unique(ends, return_index=True)  # the first of each is its strongest
        self._connections = self.selected, nodes.astype(np.int64), self.graph.share[edges[first]]
        return self._connections[1:]

    # -- texts --------------------------------------------------------------------------------------------------------

    def group_of(self, node: int) -> Group | None:
        """The supernode a node is in."""
        return self._group_of.get(node)

    def label_of(self, node: int) -> str:
        """What a person calls the node: its label, else its supernode's name, else nothing. On one line."""
        group = self._group_of.get(node)
        return visible_text(self.labels.get(node, "") or (group.name if group is not None else ""))

    def short_name(self, node: int) -> str:
        """A few characters for a label in the drawing."""
        label = self.label_of(node)
        if label:
            return label
        graph, kind = self.graph, NodeKind(int(self.graph.kind[node]))
        if kind is NodeKind.LOGIT:
            return self.logit_text(node)
        if kind is NodeKind.EMBEDDING:
            return visible_text(graph.tokens[int(graph.position[node])])
        if kind is NodeKind.FEATURE:
            return f"{int(graph.layer[node])} · {int(graph.feature[node])}"
        return kind.name.lower()

    def logit_text(self, node: int) -> str:
        """A logit's token, visible."""
        return self._logit_texts[node]

    def logit_probability(self, node: int) -> float:
        """A logit node's weight: its token's probability."""
        return self._logit_weights[node]

    def size_levels(self) -> NDArray[np.intp]:
        """(N,) index into glyphs.SIZES."""
        return size_levels(self.graph, self.size_by)


def pair(left: Scene, right: Scene) -> None:
    """Draw two scenes with one layer axis from now on."""
    left.partner, right.partner = right, left
    left.lay_out()


def same_place(before: Layout, after: Layout, x: float, y: float) -> tuple[float, float]:
    """The point of another layout of a prompt that lies in the same layer's row and the same token's column."""
    row = float(np.interp(y, before.row_edges, np.arange(len(before.row_edges))))
    column = float(np.interp(x, before.column_edges, np.arange(len(before.column_edges))))
    if len(before.positions):
        number = min(int(column), len(before.positions) - 1)
        column += float(np.searchsorted(after.positions, before.positions[number]) - number)
    return (
        float(np.interp(column, np.arange(len(after.column_edges)), after.column_edges)),
        float(np.interp(row, np.arange(len(after.row_edges)), after.row_edges)),
    )
