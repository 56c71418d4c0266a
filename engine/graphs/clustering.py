"""Grouping by similarity: average linkage with conditions, and how alike two groupings are.

A plain agglomeration over at most a few hundred items. scipy is no dependency of this program, and its linkage knows no
conditions; average linkage is Sokal and Michener 1958.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Members = tuple[int, ...]


def average_linkage(
    similarity: Array, at_least: float, allowed: Callable[[Members, Members], bool] = lambda one, other: True
) -> list[Members]:
    """Clusters of items 0 to n - 1, each in rising order, singles included.

    The two clusters whose members are on average most similar are merged, as long as that mean is `at_least` so much
    and `allowed` says yes; clusters it refuses once are not merged later either. `similarity` is (n, n), symmetric.
    """
    mean = similarity.astype(np.float64).copy()
    np.fill_diagonal(mean, -np.inf)
    clusters: list[Members | None] = [(item,) for item in range(len(mean))]
    while len(mean):
        one, other = sorted(int(i) for i in np.unravel_index(int(np.argmax(mean)), mean.shape))
        if not mean[one, other] >= at_least:  # also where nothing is left
            break
        first, second = clusters[one], clusters[other]
        assert first is not None and second is not None
        if not allowed(first, second):
            mean[one, other] = mean[other, one] = -np.inf
            continue
        merged = (len(first) * mean[one] + len(second) * mean[other]) / (len(first) + len(second))
        mean[one], mean[:, one] = merged, merged
        mean[other], mean[:, other] = -np.inf, -np.inf
        mean[one, one] = -np.inf
        clusters[one], clusters[other] = tuple(sorted(first + second)), None
    return [cluster for cluster in clusters if cluster is not None]


def cluster_numbers(clusters: Sequence[Members], n_items: int) -> NDArray[np.int64]:
    """(n,) the number of each item's cluster."""
    number = np.full(n_items, -1, dtype=np.int64)
    for i, cluster in enumerate(clusters):
        number[list(cluster)] = i
    return number


def adjusted_rand(one: NDArray[np.int64], other: NDArray[np.int64]) -> float:
    """How alike two groupings of the same items are: 1 the same, about 0 by chance (Hubert and Arabie 1985)."""
    table = np.zeros((int(one.max(initial=-1)) + 1, int(other.max(initial=-1)) + 1))
    np.add.at(table, (one, other), 1)
    together = _pairs(table).sum()
    rows, columns = _pairs(table.sum(1)).sum(), _pairs(table.sum(0)).sum()
    expected = rows * columns / max(float(_pairs(np.array(float(len(one))))), 1.0)
    most = (rows + columns) / 2
    return 1.0 if most == expected else float((together - expected) / (most - expected))


def _pairs(count: Array) -> Array:
    return count * (count - 1) / 2
