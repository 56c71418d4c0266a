"""Cutting targets into batches that are swept together: as few wasted positions as fixed costs allow.

A batch carries the gradient at every position up to its last target's. Targets of one position share a batch whatever
their layer; neighbouring positions share one where that wastes less than another batch would cost.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Gradient rows (targets x positions) of a batch on a processor: beyond, it leaves the caches and runs slower.
CACHED_ROWS = 1536
# On a graphics card, as many as fill it.
DEVICE_ROWS = 2**17
# Targets that share a product with a position's sources, at least, however long the prompt.
FEWEST = 8
# A step's fixed cost, in gradient rows: small products and the calls themselves, the latter also for each position.
STEP_ROWS = 40


def cut(
    positions: NDArray[np.int64], layers: NDArray[np.int64], rows_at_once: int = CACHED_ROWS
) -> list[NDArray[np.int64]]:
    """Target numbers (n,) of each batch, by falling layer within a batch, the last positions' batch first.

    `layers` is how far down each target has to go, `positions` where it stands.
    """
    order = np.argsort(positions, kind="stable")
    values, starts = np.unique(positions[order], return_index=True)
    ends = np.append(starts[1:], len(order))
    # The cost of one batch over the positions a..b: every target of it is carried at values[b] + 1 positions.
    depth = np.append(0, np.cumsum(layers[order] + 1))[np.append(starts, len(order))]
    best = np.zeros(len(values) + 1)
    came_from = np.zeros(len(values), int)
    top = float(layers.max(initial=0) + 1)
    for last in range(len(values)):
        width = float(values[last] + 1)
        costs = best[: last + 1] + (depth[last + 1] - depth[: last + 1]) * width + top * (STEP_ROWS + width)
        came_from[last] = int(costs.argmin())
        best[last + 1] = costs[came_from[last]]
    batches = []
    last = len(values) - 1
    while last >= 0:
        begin = came_from[last]
        members = order[starts[begin] : ends[last]]
        most = max(rows_at_once // int(values[last] + 1), FEWEST)
        pieces = -(-len(members) // most)
        # Within a band the later positions go together, so that the other pieces may be narrower.
        batches.extend(np.array_split(members, pieces)[::-1])
        last = begin - 1
    return [batch[np.argsort(-layers[batch], kind="stable")] for batch in batches]
