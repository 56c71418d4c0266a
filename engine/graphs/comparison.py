"""Two graphs side by side, and what several graphs share.

Nodes are the same if kind, layer, feature and position counted from the end of the prompt are the same: prompts of
different length then meet at the token that is traced. Errors and biases have no feature, tokens and logits their
token's number. A feature's number means nothing in another dictionary, so that between two dictionaries only the other
kinds meet.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.graphs.graph import NO_POSITION, AttributionGraph, NodeKind
from engine.graphs.pruning import GraphView, prune, strong_nodes

Index = NDArray[np.int64]
Array = NDArray[np.float64]
ANYWHERE = 2**31 - 1  # stands for the position of what belongs to no token


@dataclass(frozen=True)
class Limits:
    """From when on a shared node or edge counts as changed: the larger of two sizes over the smaller, or a sign."""

    activation: float = 1.5  # times
    influence: float = 2.0  # times
    share: float = 0.05  # of an edge's share of its target's input, absolute


@dataclass(frozen=True)
class Comparison:
    """Which nodes and edges two graphs share, in the left graph's order.

    Shared nodes (K,): `left`, `right` node numbers; `activation_changed`, `influence_changed`, `edges_changed` say what
    is different (the last: some edge into the node is). Other nodes: `only_left`, `only_right`.
    Shared edges (M,): `left_edges`, `right_edges` edge numbers, `edge_changed`. `lost_edges` and `new_edges` are edges
    of the left and of the right graph between shared nodes that the other does not have. `same_dictionary` is False
    where features were not compared because the two come from different dictionaries.
    """

    left: Index
    right: Index
    only_left: Index
    only_right: Index
    activation_changed: NDArray[np.bool_]
    influence_changed: NDArray[np.bool_]
    edges_changed: NDArray[np.bool_]
    left_edges: Index
    right_edges: Index
    edge_changed: NDArray[np.bool_]
    lost_edges: Index
    new_edges: Index
    same_dictionary: bool

    @property
    def changed(self) -> NDArray[np.bool_]:
        """(K,) whether anything about a shared node is different."""
        return self.activation_changed | self.influence_changed | self.edges_changed


def compare(
    left: AttributionGraph,
    right: AttributionGraph,
    limits: Limits | None = None,
    *,
    same_dictionary: bool | None = None,
) -> Comparison:
    """Align two graphs: prompts, targets or dictionaries may differ.

    Unless told, two graphs whose traces name different dictionaries do not share features; a graph from a file that
    names none is taken to be of the same.
    """
    limits = limits or Limits()
    same = _same_dictionary(left, right) if same_dictionary is None else same_dictionary
    one, other = _aligned(left, right, same)
    back = np.full(right.n_nodes, -1, dtype=np.int64)  # (N right,) the same node of the left graph
    back[other] = one
    fore = np.full(left.n_nodes, -1, dtype=np.int64)
    fore[one] = other
    mine, theirs = _shared_edges(left, right, back, fore)
    edge_changed = np.abs(left.share[mine] - right.share[theirs]) > limits.share
    lost, new = _others(left, fore, mine), _others(right, back, theirs)
    touched = np.zeros(left.n_nodes, dtype=np.bool_)
    touched[left.target[mine[edge_changed]]] = True
    touched[left.target[lost[np.abs(left.share[lost]) > limits.share]]] = True
    touched[back[right.target[new[np.abs(right.share[new]) > limits.share]]]] = True
    return Comparison(
        left=one,
        right=other,
        only_left=np.flatnonzero(fore < 0),
        only_right=np.flatnonzero(back < 0),
        activation_changed=_differ(left.activation[one], right.activation[other], limits.activation),
        influence_changed=_differ(left.influence[one], right.influence[other], limits.influence),
        edges_changed=touched[one],
        left_edges=mine,
        right_edges=theirs,
        edge_changed=edge_changed,
        lost_edges=lost,
        new_edges=new,
        same_dictionary=same,
    )


def paired_views(
    left: AttributionGraph,
    right: AttributionGraph,
    comparison: Comparison,
    node_threshold: float = 0.8,
    edge_threshold: float = 0.98,
    *,
    hide_errors: bool = False,
    hide_bos: bool = False,
    hide: tuple[NDArray[np.bool_] | None, NDArray[np.bool_] | None] = (None, None),
    keep: tuple[Sequence[int], Sequence[int]] = ((), ()),
) -> tuple[GraphView, GraphView]:
    """Both graphs at the same thresholds. A shared node that one of them shows is shown in both.

    `hide` are masks over the nodes of each, for what is not wanted; `keep` are nodes of the left and of the right graph
    that always stay (pins, the selected).
    """
    hiding = {"hide_errors": hide_errors, "hide_bos": hide_bos}
    strong = [
        strong_nodes(graph, node_threshold, hide=mask, **hiding)
        for graph, mask in zip((left, right), hide, strict=True)
    ]
    for nodes, own in zip(strong, keep, strict=True):
        nodes[list(own)] = True
    both = strong[0][comparison.left] | strong[1][comparison.right]
    ours, theirs = [*comparison.left[both], *keep[0]], [*comparison.right[both], *keep[1]]
    return (
        prune(left, node_threshold, edge_threshold, hide=hide[0], keep=ours, **hiding),
        prune(right, node_threshold, edge_threshold, hide=hide[1], keep=theirs, **hiding),
    )


@dataclass(frozen=True)
class SharedFeature:
    """A feature that several graphs have.

    `influences` has for each graph what it has there, at all positions together, 0 where it is missing; `influence` is
    their mean and `spread` their standard deviation. `nodes` are, for each graph, its node numbers, and `positions` the
    same nodes' positions from the end (-1 is the last token).
    """

    layer: int
    feature: int
    graphs: tuple[int, ...]  # numbers of the graphs that have it
    influence: float
    spread: float
    activation: tuple[float, ...]  # the largest in each graph, 0 where it is missing
    nodes: tuple[tuple[int, ...], ...]
    positions: tuple[tuple[int, ...], ...]
    influences: tuple[float, ...]


@dataclass(frozen=True)
class _Here:
    """A feature in one graph."""

    nodes: tuple[int, ...] = ()
    positions: tuple[int, ...] = ()
    influence: float = 0.0
    activation: float = 0.0


def shared_features(graphs: Iterable[AttributionGraph], at_least: int = 2) -> tuple[SharedFeature, ...]:
    """Features that `at_least` so many graphs of one dictionary have, at any token.

    Those of most graphs come first, then those of most influence.
    """
    where: dict[tuple[int, int], dict[int, _Here]] = {}
    total = 0
    # One graph at a time: of a thousand, no two need to be in memory together.
    for number, graph in enumerate(graphs):
        total += 1
        for key, here in _features_of(graph).items():
            where.setdefault(key, {})[number] = here
    found = [_shared(layer, feature, own, total) for (layer, feature), own in where.items() if len(own) >= at_least]
    return tuple(sorted(found, key=lambda one: (-len(one.graphs), -one.influence, one.layer, one.feature)))


def _features_of(graph: AttributionGraph) -> dict[tuple[int, int], _Here]:
    nodes: dict[tuple[int, int], list[int]] = {}
    for node in graph.of_kind(NodeKind.FEATURE).tolist():
        nodes.setdefault((int(graph.layer[node]), int(graph.feature[node])), []).append(node)
    return {
        key: _Here(
            nodes=tuple(own),
            positions=tuple(int(graph.position[node]) - graph.n_positions for node in own),
            influence=float(graph.influence[own].sum()),
            activation=float(graph.activation[own].max(initial=0)),
        )
        for key, own in nodes.items()
    }


def _shared(layer: int, feature: int, own: Mapping[int, _Here], total: int) -> SharedFeature:
    everywhere = [own.get(number, _Here()) for number in range(total)]
    influences = tuple(here.influence for here in everywhere)
    return SharedFeature(
        layer=layer,
        feature=feature,
        graphs=tuple(sorted(own)),
        influence=float(np.mean(influences)),
        spread=float(np.std(influences)),
        activation=tuple(here.activation for here in everywhere),
        nodes=tuple(here.nodes for here in everywhere),
        positions=tuple(here.positions for here in everywhere),
        influences=influences,
    )


def _same_dictionary(left: AttributionGraph, right: AttributionGraph) -> bool:
    names = [str((graph.meta.get("features") or {}).get("fingerprint") or "") for graph in (left, right)]
    return not all(names) or names[0] == names[1]


def _aligned(left: AttributionGraph, right: AttributionGraph, same_dictionary: bool) -> tuple[Index, Index]:
    """Pairs of the same node, in the left graph's order; nodes of one name are paired in node order."""
    keys = [_keys(graph) for graph in (left, right)]
    _, code = np.unique(np.concatenate(keys), axis=0, return_inverse=True)
    ours, theirs = (_numbered(part) for part in np.split(code.reshape(-1), [left.n_nodes]))
    n_names = int(code.max(initial=-1)) + 1
    _, one, other = np.intersect1d(
        ours[0] + n_names * ours[1], theirs[0] + n_names * theirs[1], assume_unique=True, return_indices=True
    )
    if not same_dictionary:
        meets = left.kind[one] != NodeKind.FEATURE
        one, other = one[meets], other[meets]
    order = np.argsort(one)
    return one[order].astype(np.int64), other[order].astype(np.int64)


def _keys(graph: AttributionGraph) -> Index:
    """(N, 4): kind, layer, feature, position from the end."""
    position = np.where(graph.position == NO_POSITION, ANYWHERE, graph.position.astype(np.int64) - graph.n_positions)
    # The logits' row counts as one row, whatever the number of layers.
    layer = np.where(graph.kind == NodeKind.LOGIT, ANYWHERE, graph.layer.astype(np.int64))
    return np.stack([graph.kind.astype(np.int64), layer, graph.feature.astype(np.int64), position], axis=1)


def _numbered(code: Index) -> tuple[Index, Index]:
    """The codes, and for each entry how many entries before it have its code."""
    order = np.argsort(code, kind="stable")
    ordered = code[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]]) if len(code) else np.empty(0, dtype=np.int64)
    rank = np.empty(len(code), dtype=np.int64)
    rank[order] = np.arange(len(code)) - np.repeat(starts, np.diff(np.r_[starts, len(code)]))
    return code, rank


def _inside(graph: AttributionGraph, shared: Index) -> NDArray[np.bool_]:
    """(E,) which edges run between shared nodes, those whose entry is not -1."""
    return np.asarray((shared[graph.source] >= 0) & (shared[graph.target] >= 0), dtype=np.bool_)


def _others(graph: AttributionGraph, shared: Index, found: Index) -> Index:
    """Edges between shared nodes that the other graph does not have."""
    alone = _inside(graph, shared)
    alone[found] = False
    return np.flatnonzero(alone)


def _shared_edges(left: AttributionGraph, right: AttributionGraph, back: Index, fore: Index) -> tuple[Index, Index]:
    """Numbers of the edges that both have, in the left graph's order."""
    ours, theirs = np.flatnonzero(_inside(left, fore)), np.flatnonzero(_inside(right, back))
    our_pair = left.target[ours].astype(np.int64) * left.n_nodes + left.source[ours]
    their_pair = back[right.target[theirs]] * left.n_nodes + back[right.source[theirs]]
    if not len(theirs):
        return ours[:0], theirs
    order = np.argsort(their_pair)
    place = order[np.minimum(np.searchsorted(their_pair, our_pair, sorter=order), len(order) - 1)]
    same = their_pair[place] == our_pair
    return ours[same], theirs[place[same]]


def _differ(left: NDArray[np.float32], right: NDArray[np.float32], times: float) -> NDArray[np.bool_]:
    """Whether signs differ, or one size is more than so many times the other."""
    small, large = np.minimum(np.abs(left), np.abs(right)), np.maximum(np.abs(left), np.abs(right))
    return np.asarray((np.sign(left) != np.sign(right)) | (large > times * small), dtype=np.bool_)
