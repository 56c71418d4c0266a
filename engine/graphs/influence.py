"""Influence of nodes on the targets by back-substitution, and cumulative thresholds.

Ameisen et al. 2025, "Graph pruning": rows of |A| are normalised, influence is the sum over all paths,
I = w (Â + Â² + …). Edges only go up in layers, so one pass from the top layer down is exact: no power iteration.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.graphs.graph import EDGES_AT_ONCE, AttributionGraph, NodeKind


def target_weight(graph: AttributionGraph) -> NDArray[np.float64]:
    """(N,) the weight of each logit node: its probability (1 for a difference or direction); 0 elsewhere."""
    weight = np.zeros(graph.n_nodes)
    weight[graph.of_kind(NodeKind.LOGIT)] = graph.logit_probability
    return weight


def row_scale(graph: AttributionGraph, size: NDArray[np.floating], *, count_rest: bool = True) -> NDArray[np.float64]:
    """(N,) one over each target's sum of `size` (E,), so that an edge's size times it is its share of the row.

    With `count_rest` the sum includes what the row does not keep, so that nothing is explained by leaving it out;
    without, it is circuit-tracer's normalisation over the edges at hand.
    """
    total = graph.sum_by_target(size)
    if count_rest:
        total = np.maximum(graph.input_mass.astype(np.float64), total)
    return 1 / np.maximum(total, 1e-10)


def propagate(
    graph: AttributionGraph,
    size: NDArray[np.floating],
    edges: NDArray[np.int64] | None = None,
    *,
    scale: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """(N,) influence of every node; logit nodes get 0 as in circuit-tracer.

    `size` (E,) holds each edge's share of its row, or its size where `scale` (N,) makes shares of it (`row_scale`).
    With `edges` it holds one entry for each of these edge numbers and the others count as absent.
    """
    source, target = (graph.source, graph.target) if edges is None else (graph.source[edges], graph.target[edges])
    weight = target_weight(graph)
    flow = weight.copy()
    for step in _from_the_top(graph) if edges is None else _sorted_from_the_top(graph.layer[target]):
        from_above = flow if scale is None else flow * scale
        passed = size[step] * from_above[target[step]]
        flow += np.bincount(source[step], weights=passed, minlength=graph.n_nodes)
    return flow - weight


def influence(graph: AttributionGraph, *, count_rest: bool = True) -> NDArray[np.float64]:
    """(N,) influence of every node over all edges of the graph, rows normalised as `row_scale` says; 0 at logits."""
    size = np.abs(graph.weight)
    return propagate(graph, size, scale=row_scale(graph, size, count_rest=count_rest))


def _from_the_top(graph: AttributionGraph) -> list[slice] | list[NDArray[np.int64]]:
    """The edges of each target's layer, the highest layer first: slices where rows lie by layer, as in most graphs.

    A layer's edges come in pieces: none of them leads to another of the same layer.
    """
    rows = np.flatnonzero(np.diff(graph.row_start))
    depth = graph.layer[rows]
    if not len(rows) or (np.diff(depth) < 0).any():
        return _sorted_from_the_top(graph.layer[graph.target])
    ends = [0, *graph.row_start[rows[np.flatnonzero(np.diff(depth)) + 1]].tolist(), graph.n_edges]
    return [
        slice(start, min(start + EDGES_AT_ONCE, last))
        for first, last in zip(ends[-2::-1], ends[:0:-1], strict=True)
        for start in range(first, last, EDGES_AT_ONCE)
    ]


def _sorted_from_the_top(depth: NDArray[np.integer]) -> list[NDArray[np.int64]]:
    if not len(depth):
        return []
    order = np.argsort(-depth, kind="stable")
    return [np.asarray(part) for part in np.split(order, np.flatnonzero(np.diff(depth[order])) + 1)]


def cumulative_cut(scores: NDArray[np.float64], share: float) -> float:
    """The largest value v such that scores >= v hold at least `share` of their sum (circuit-tracer's threshold).

    Exact, without sorting everything: values are summed by the leading 16 bits of their float32 pattern, and only the
    bin in which the mark falls is sorted.
    """
    total = float(scores.sum())
    if total <= 0 or share <= 0 or len(scores) == 0:
        return 0.0 if len(scores) == 0 or share > 0 else float(scores.max(initial=0))
    mark = min(share, 1.0) * total
    key = scores.astype(np.float32).view(np.uint32) >> np.uint32(16)
    mass = np.bincount(key, weights=scores, minlength=1 << 16)[::-1]
    running = np.cumsum(mass)
    bin_from_top = int(np.searchsorted(running, mark))
    if bin_from_top >= len(mass):  # rounding: the mark is the sum of everything
        return 0.0
    inside = np.sort(scores[key == (1 << 16) - 1 - bin_from_top])[::-1]
    missing = mark - (running[bin_from_top] - mass[bin_from_top])
    return float(inside[min(int(np.searchsorted(np.cumsum(inside), missing)), len(inside) - 1)])


def cumulative_share(scores: NDArray[np.floating]) -> NDArray[np.float64]:
    """(N,) for each score the share held by it and all larger ones; small means important (the form of graph files)."""
    order = np.argsort(-scores, kind="stable")
    total = max(float(scores.sum()), 1e-30)
    shares = np.empty(len(scores))
    shares[order] = np.cumsum(scores[order], dtype=np.float64) / total
    return shares
