"""Influence of nodes on the targets by back-substitution, and cumulative thresholds.

Ameisen et al. 2025, "Graph pruning": rows of |A| are normalised, influence is the sum over all paths,
I = w (Â + Â² + …). Edges only go up in layers, so one pass from the top layer down is exact: no power iteration.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.graphs.graph import AttributionGraph, NodeKind


def target_weight(graph: AttributionGraph) -> NDArray[np.float64]:
    """(N,) the weight of each logit node: its probability (1 for a difference or direction); 0 elsewhere."""
    weight = np.zeros(graph.n_nodes)
    weight[graph.of_kind(NodeKind.LOGIT)] = graph.logit_probability
    return weight


def row_share(
    graph: AttributionGraph, *, edges: NDArray[np.bool_] | None = None, count_rest: bool = True
) -> NDArray[np.float64]:
    """(E,) |edge| over its target's sum of |edges|; 0 for edges masked out.

    With `count_rest` the sum includes what the row does not keep, so that nothing is explained by leaving it out;
    without, it is circuit-tracer's normalisation over the edges at hand.
    """
    size = np.abs(graph.weight)
    if edges is not None:
        size = np.where(edges, size, 0)
    total = graph.sum_by_target(size)
    if count_rest:
        total = np.maximum(graph.input_mass.astype(np.float64), total)
    return np.multiply(size, np.repeat(1 / np.maximum(total, 1e-10), np.diff(graph.row_start)), dtype=np.float64)


def propagate(
    graph: AttributionGraph, share: NDArray[np.float64], edges: NDArray[np.int64] | None = None
) -> NDArray[np.float64]:
    """(N,) influence of every node given row-normalised edges; logit nodes get 0 as in circuit-tracer.

    With `edges`, `share` holds one entry for each of these edge numbers and the others count as absent.
    """
    source, target = (graph.source, graph.target) if edges is None else (graph.source[edges], graph.target[edges])
    weight = target_weight(graph)
    influence = weight.copy()
    for step in _from_the_top(graph.layer[target]):
        passed = share[step] * influence[target[step]]
        influence += np.bincount(source[step], weights=passed, minlength=graph.n_nodes)
    return influence - weight


def _from_the_top(depth: NDArray[np.integer]) -> list[slice] | list[NDArray[np.int64]]:
    """The edges of each target's layer, the highest layer first: slices where they lie by layer, as in most graphs."""
    if not len(depth):
        return []
    step = np.diff(depth)
    if (step >= 0).all():
        ends = [0, *(np.flatnonzero(step) + 1).tolist(), len(depth)]
        return [slice(first, last) for first, last in zip(ends[-2::-1], ends[:0:-1], strict=True)]
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
