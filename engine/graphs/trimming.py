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
    size, start = np.abs(graph.weight), graph.row_start
    before = np.concatenate([[0.0], np.cumsum(size, dtype=np.float64)])
    mark = before[start[:-1]] + mass * np.diff(before[start])
    end = np.clip(np.searchsorted(before, mark), start[:-1], start[1:])
    kept = _runs(end - start[:-1], start[1:] - end)
    lost = graph.sum_by_target(np.where(kept, 0, graph.weight))[graph.traced]
    lost_size = graph.sum_by_target(np.where(kept, 0, size))[graph.traced]
    return replace(
        graph,
        source=graph.source[kept],
        target=graph.target[kept],
        weight=graph.weight[kept],
        rest=(graph.rest + lost).astype(np.float32),
        rest_absolute=(graph.rest_absolute + lost_size).astype(np.float32),
    )


def _runs(kept: NDArray[np.int64], left: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(E,) for each row in turn: so many True, then so many False."""
    return np.repeat(np.tile([True, False], len(kept)), np.stack([kept, left], axis=1).reshape(-1))
