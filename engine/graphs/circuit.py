"""A circuit: the pinned and grouped part of a graph that a person keeps. Supernodes nest; collapsing is a view.

Node numbers are those of one `AttributionGraph`. Supernodes are a flat list in which each names its parent, the form
in which a table keeps them; nothing here is changed in place.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from engine.errors import RequestError
from engine.graphs.colours import group_colour
from engine.graphs.glyphs import column_name, logit_index, row_name
from engine.graphs.graph import AttributionGraph, NodeKind
from engine.graphs.scores import Scores, scores
from engine.graphs.visible_text import visible_text

# A node's number, or the name of a supernode's place.
PlaceKey = int | str


@dataclass(frozen=True)
class Supernode:
    """Nodes that a person reads as one; `parent` is the supernode it lies in, None at the top."""

    id: int
    name: str
    nodes: tuple[int, ...] = ()  # its own; those of nested supernodes are not repeated
    parent: int | None = None
    colour: str = ""  # '#rrggbb', or "" for one that its number gives
    note: str = ""
    collapsed: bool = True

    @property
    def shown_colour(self) -> str:
        """What it is drawn in, as '#rrggbb'."""
        return group_colour(self.colour, self.id)

    @property
    def place(self) -> str:
        """The key under which a person's position of this supernode is kept."""
        return f"supernode {self.id}"


@dataclass(frozen=True)
class Circuit:
    """Pinned nodes, and a tree of supernodes over them.

    Raises `RequestError` for a supernode that is there twice, lies in one that is missing or in itself, and for a node
    that is in two.
    """

    pins: tuple[int, ...] = ()
    supernodes: tuple[Supernode, ...] = ()
    labels: Mapping[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        by_id = {one.id: one for one in self.supernodes}
        if len(by_id) != len(self.supernodes):
            raise RequestError("Two supernodes have the same number; remove one of them.")
        seen: set[int] = set()
        for one in self.supernodes:
            if not seen.isdisjoint(one.nodes) or len(set(one.nodes)) != len(one.nodes):
                raise RequestError(f"A node of {one.name!r} is in two supernodes; take it out of one of them.")
            seen.update(one.nodes)
            above, parent = {one.id}, one.parent
            while parent is not None:
                if parent in above:
                    raise RequestError(f"The supernode {one.name!r} would lie in itself; choose another one for it.")
                if parent not in by_id:
                    raise RequestError(f"The supernode {one.name!r} lies in one that is not there; move it out.")
                above.add(parent)
                parent = by_id[parent].parent

    def supernode(self, number: int) -> Supernode:
        """The supernode of this number; raises `KeyError`."""
        for one in self.supernodes:
            if one.id == number:
                return one
        raise KeyError(number)

    def children(self, number: int | None) -> tuple[Supernode, ...]:
        """Supernodes that lie directly in this one; with None those at the top."""
        return tuple(one for one in self.supernodes if one.parent == number)

    def members(self, number: int) -> tuple[int, ...]:
        """All nodes of a supernode, those of nested ones after its own."""
        found = list(self.supernode(number).nodes)
        for child in self.children(number):
            found += self.members(child.id)
        return tuple(found)

    @property
    def nodes(self) -> tuple[int, ...]:
        """Every node of the circuit: pins in their order, then members that are not pinned."""
        return tuple(dict.fromkeys([*self.pins, *(node for one in self.supernodes for node in one.nodes)]))

    def mask(self, graph: AttributionGraph) -> NDArray[np.bool_]:
        """(N,) which nodes of the graph are in the circuit; raises `RequestError` for a node that is not there."""
        kept = np.zeros(graph.n_nodes, dtype=np.bool_)
        for node in self.nodes:
            if not 0 <= node < graph.n_nodes:
                raise RequestError(
                    f"The circuit names node {node}, which this graph does not have; open its own graph."
                )
            kept[node] = True
        return kept


@dataclass(frozen=True)
class Box:
    """What is drawn as one: a node, or a collapsed supernode with all its members."""

    key: PlaceKey
    name: str
    nodes: tuple[int, ...]
    supernode: Supernode | None = None
    inside: tuple[int, ...] = ()  # the open supernodes around it, outermost first


def boxes(circuit: Circuit, graph: AttributionGraph, names: Mapping[int, str] | None = None) -> tuple[Box, ...]:
    """What the circuit shows now: pins outside of supernodes, then supernodes, open ones as their contents.

    A node's name is the one in `names`, else its label, else a short one of its own. A collapsed supernode without
    nodes is not shown.
    """
    circuit.mask(graph)
    grouped = {node for one in circuit.supernodes for node in one.nodes}
    names = names or {}

    def node_box(node: int, inside: tuple[int, ...]) -> Box:
        return Box(node, names.get(node) or circuit.labels.get(node) or node_name(graph, node), (node,), None, inside)

    def inside_of(number: int | None, around: tuple[int, ...]) -> Iterable[Box]:
        for one in circuit.children(number):
            members = circuit.members(one.id)
            if one.collapsed:
                if members:
                    yield Box(one.place, one.name, members, one, around)
                continue
            yield from (node_box(node, (*around, one.id)) for node in one.nodes)
            yield from inside_of(one.id, (*around, one.id))

    loose = [node_box(node, ()) for node in circuit.pins if node not in grouped]
    return (*loose, *inside_of(None, ()))


def node_name(graph: AttributionGraph, node: int) -> str:
    """A node's name in a small box: "12 · 503 ␣Texas"."""
    kind, token = NodeKind(int(graph.kind[node])), column_name(graph, int(graph.position[node]))
    if kind is NodeKind.FEATURE:
        return f"{row_name(int(graph.layer[node]), graph.n_layers)} · {int(graph.feature[node])} {token}"
    if kind is NodeKind.LOGIT:
        return f"logit {visible_text(graph.logit_text[logit_index(graph, node)], 40)}"
    if kind is NodeKind.EMBEDDING:
        return f"embedding {token}"
    return f"{kind.name.lower()} {row_name(int(graph.layer[node]), graph.n_layers)} {token}"


@dataclass(frozen=True)
class CircuitScores:
    """How much of the targets the circuit explains, beside the same figures of its whole graph.

    Both are computed on the unpruned graph. `explained` is the share of all features' influence (neurons: relevance)
    on features of the circuit.
    """

    circuit: Scores
    graph: Scores
    explained: float


def circuit_scores(circuit: Circuit, graph: AttributionGraph, *, compatible: bool = False) -> CircuitScores:
    """Replacement and completeness of a circuit: every feature that is not in it counts as error.

    Tokens, errors, biases and targets always count, pinned or not. See `scores`.
    """
    kept = circuit.mask(graph)
    feature = graph.kind == NodeKind.FEATURE
    total = float(graph.influence[feature].sum(dtype=np.float64))
    held = float(graph.influence[feature & kept].sum(dtype=np.float64))
    return CircuitScores(
        circuit=scores(graph, compatible=compatible, kept=kept),
        graph=scores(graph, compatible=compatible),
        explained=held / total if total > 0 else 0.0,
    )
