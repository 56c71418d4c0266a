"""An order in which edges can be followed: every edge into a node comes before every edge out of it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.errors import RequestError
from engine.graphs.graph import AttributionGraph

Index = NDArray[np.int64]


def bundles(graph: AttributionGraph) -> tuple[Index, ...]:
    """Edge numbers in bundles, lowest targets first: a bundle's sources are targets of earlier bundles only.

    Raises `RequestError` where edges within one layer run in a circle, which only a graph from a file can have.
    """
    level = _levels(graph)[graph.target]
    order = np.argsort(level, kind="stable")
    cuts = np.flatnonzero(np.diff(level[order])) + 1
    return tuple(part for part in np.split(order, cuts) if len(part))


def _levels(graph: AttributionGraph) -> Index:
    """(N,) numbers that rise along every edge: by layer, and within a layer along the edges inside it."""
    step = np.zeros(graph.n_nodes, dtype=np.int64)
    inside = np.flatnonzero(graph.layer[graph.source] == graph.layer[graph.target])
    source, target = graph.source[inside], graph.target[inside]
    for _ in range(len(np.unique(target)) + 1):
        before = step.copy()
        np.maximum.at(step, target, step[source] + 1)
        if (step == before).all():
            return graph.layer.astype(np.int64) * (int(step.max(initial=0)) + 1) + step
    raise RequestError("Edges of this graph run in a circle within one layer, so that they cannot be followed.")
