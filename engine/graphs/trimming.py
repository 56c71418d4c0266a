"""Keeping the strongest edges of each row; the others go into the row's rest, so that every row still sums."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from engine.graphs.graph import AttributionGraph


def keep_strongest(graph: AttributionGraph, mass: float) -> AttributionGraph:
    """Keep, for each target, the strongest edges until they hold `mass` of the sum of |edges| between nodes.

    The edge that crosses the mark is kept. Signed and absolute sums of the others are added to `rest` and
    `rest_absolute`.
    """
    if mass >= 1:
        return graph
    size = np.abs(graph.weight.astype(np.float64))
    before = np.concatenate([[0.0], np.cumsum(size)])
    start, end = graph.row_start[graph.target], graph.row_start[graph.target + 1]
    kept = before[:-1] - before[start] < mass * (before[end] - before[start])
    lost = _by_target(graph, ~kept, graph.weight)[graph.traced]
    lost_size = _by_target(graph, ~kept, size)[graph.traced]
    return replace(
        graph,
        source=graph.source[kept],
        target=graph.target[kept],
        weight=graph.weight[kept],
        rest=(graph.rest + lost).astype(np.float32),
        rest_absolute=(graph.rest_absolute + lost_size).astype(np.float32),
    )


def _by_target(graph: AttributionGraph, which: NDArray[np.bool_], amount: NDArray[np.floating]) -> NDArray[np.float64]:
    return np.bincount(graph.target[which], weights=amount[which], minlength=graph.n_nodes).astype(np.float64)
