"""Whether two graphs of one prompt are the same: node by node, and edge by edge within a tolerance."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.graphs.graph import AttributionGraph

# Of the largest edge into the same node: what float32 sums differ by when they are taken in another order.
TOLERANCE = 1e-4
_COLUMNS = (
    *("kind", "layer", "position", "feature", "activation", "influence"),
    *("source", "target", "weight", "traced", "value", "rest", "rest_absolute"),
    *("logit_token", "logit_probability"),
)


@dataclass(frozen=True)
class Sameness:
    """How two graphs differ. `identical`: every array is equal, bit for bit."""

    identical: bool
    only_first: int  # nodes that only the first has
    only_second: int
    edges_compared: int  # between nodes that both have
    edges_beyond: int  # of these, whose weights differ by more than the tolerance
    largest: float  # difference of two weights, as a share of the largest edge into the same node

    @property
    def same(self) -> bool:
        """The same nodes, and every edge within the tolerance."""
        return not (self.only_first or self.only_second or self.edges_beyond)


def compare_graphs(first: AttributionGraph, second: AttributionGraph, tolerance: float = TOLERANCE) -> Sameness:
    """Compare two graphs of one prompt.

    Nodes are the same by kind, layer, position and feature number. An edge that only one graph kept counts as zero in
    the other, up to the smallest edge that the other kept into that node: there its cut fell.
    """
    ours, theirs = _node_keys(first), _node_keys(second)
    numbers = {key: node for node, key in enumerate(theirs)}
    match = np.array([numbers.get(key, -1) for key in ours], dtype=np.int64)
    known = int((match >= 0).sum())
    own = np.full(second.n_nodes, -1, dtype=np.int64)
    own[match[match >= 0]] = match[match >= 0]
    one, other = _edges(first, match, second.n_nodes), _edges(second, own, second.n_nodes)
    keys = np.array(sorted(one.keys() | other.keys()), dtype=np.int64)
    a = np.array([one.get(key, 0.0) for key in keys.tolist()])
    b = np.array([other.get(key, 0.0) for key in keys.tolist()])
    target = keys // max(second.n_nodes, 1)
    share = _difference(a, b, target, second.n_nodes)
    return Sameness(
        identical=_identical(first, second),
        only_first=first.n_nodes - known,
        only_second=second.n_nodes - known,
        edges_compared=len(keys),
        edges_beyond=int((share > tolerance).sum()),
        largest=float(share.max(initial=0.0)),
    )


def _difference(
    a: NDArray[np.float64], b: NDArray[np.float64], target: NDArray[np.int64], n_nodes: int
) -> NDArray[np.float64]:
    """(E,): |a - b| as a share of the largest edge into the same node, less what a cut may explain."""
    largest = np.zeros(n_nodes)
    np.maximum.at(largest, target, np.maximum(np.abs(a), np.abs(b)))
    difference = np.abs(a - b)
    for kept, lost in ((a, b), (b, a)):
        cut = np.full(n_nodes, np.inf)
        there = lost != 0
        np.minimum.at(cut, target[there], np.abs(lost[there]))
        cut[~np.isfinite(cut)] = 0.0
        gone = (lost == 0) & (kept != 0)
        difference[gone] = np.maximum(difference[gone] - cut[target[gone]], 0.0)
    return np.divide(difference, largest[target], out=np.zeros_like(difference), where=largest[target] > 0)


def _node_keys(graph: AttributionGraph) -> list[tuple[int, ...]]:
    """What a node is; several that are the same (directions among the targets) are told apart by their order."""
    columns = [getattr(graph, name).tolist() for name in ("kind", "layer", "position", "feature")]
    seen: Counter[tuple[int, ...]] = Counter()
    keys = []
    for key in zip(*columns, strict=True):
        keys.append((*key, seen[key]))
        seen[key] += 1
    return keys


def _edges(graph: AttributionGraph, number: NDArray[np.int64], n_nodes: int) -> dict[int, float]:
    """Weights by target * n_nodes + source, in the numbers given (-1: left out)."""
    source, target = number[graph.source], number[graph.target]
    inside = (source >= 0) & (target >= 0)
    keys = (target * n_nodes + source)[inside]
    return dict(zip(keys.tolist(), graph.weight[inside].tolist(), strict=True))


def _identical(first: AttributionGraph, second: AttributionGraph) -> bool:
    columns = [(getattr(first, name), getattr(second, name)) for name in _COLUMNS]
    return all(one.dtype == other.dtype and np.array_equal(one, other) for one, other in columns)
