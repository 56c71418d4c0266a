"""What is said about numbers that were measured: p-values against controls, many edges at once, agreement, spread.

Everything is plain numpy in float64, and every function says what it returns where a number does not exist (NaN).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

RESAMPLES = 2000
_ROWS_AT_ONCE = 1000


def permutation_p(effect: float, controls: ArrayLike) -> float:
    """(1 + controls as good or better) / (n + 1): how often chance does as well (Phipson and Smyth 2010).

    One-sided: larger is better. Never 0, so that n controls cannot claim more than 1 / (n + 1).
    """
    values = np.asarray(controls, dtype=np.float64)
    return float((1 + np.count_nonzero(values >= effect)) / (len(values) + 1))


def benjamini_hochberg(p_values: ArrayLike) -> Array:
    """Adjusted p-values (n,), in the order given: at most q of those at or below q are false (Benjamini and Hochberg
    1995).
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    scaled = p[order] * len(p) / np.arange(1, len(p) + 1)
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    return adjusted


@dataclass(frozen=True)
class Interval:
    """A mean and the range that holds it with the given confidence; over n values. Of fewer than two, no range."""

    mean: float
    low: float
    high: float
    n: int
    confidence: float = 0.95


def bootstrap_interval(
    values: ArrayLike,
    *,
    seed: int = 0,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    statistic: Callable[[Array], Array] = lambda drawn: drawn.mean(axis=-1),
) -> Interval:
    """Percentile bootstrap (Efron 1979) over paraphrases or seeds: what was measured once for each.

    `statistic` gives one number for each row of an array (resamples, n).
    """
    sample = np.asarray(values, dtype=np.float64)
    n = len(sample)
    point = float(statistic(sample[None])[0]) if n else float("nan")
    if n < 2:
        return Interval(point, float("nan"), float("nan"), n, confidence)
    drawn = sample[np.random.default_rng(seed).integers(0, n, size=(resamples, n))]
    low, high = np.quantile(statistic(drawn), [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(point, float(low), float(high), n, confidence)


def mean_intervals(rows: ArrayLike, *, seed: int = 0, confidence: float = 0.95) -> list[Interval]:
    """`bootstrap_interval` of the mean of each row of (k, n), all with the same draws: the same numbers, at once."""
    samples = np.asarray(rows, dtype=np.float64)
    if samples.ndim != 2 or samples.shape[1] < 2:
        return [bootstrap_interval(row, seed=seed, confidence=confidence) for row in samples]
    n = samples.shape[1]
    drawn = np.random.default_rng(seed).integers(0, n, size=(RESAMPLES, n))
    counts = np.zeros((RESAMPLES, n))
    np.add.at(counts, (np.arange(RESAMPLES)[:, None], drawn), 1.0 / n)
    ends = [(1 - confidence) / 2, (1 + confidence) / 2]
    found: list[Interval] = []
    for start in range(0, len(samples), _ROWS_AT_ONCE):
        some = samples[start : start + _ROWS_AT_ONCE]
        lows, highs = np.quantile(counts @ some.T, ends, axis=0)
        pieces = zip(some.mean(axis=1), lows, highs, strict=True)
        found += [Interval(float(mean), float(low), float(high), n, confidence) for mean, low, high in pieces]
    return found


def share_interval(count: int, n: int, confidence: float = 0.95) -> Interval:
    """A share `count / n` with the score interval of Wilson (1927), which stays within [0, 1] for few values too."""
    if n < 1:
        return Interval(float("nan"), float("nan"), float("nan"), n, confidence)
    z, share = NormalDist().inv_cdf((1 + confidence) / 2), count / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return Interval(share, max(0.0, middle - half), min(1.0, middle + half), n, confidence)


@dataclass(frozen=True)
class Agreement:
    """How well n predictions meet n measurements; NaN where one of them does not vary.

    `same_sign`: the share of pairs of one sign, among those that are both large enough to have one. `slope`: of the
    line through the origin, measured = slope * predicted.
    """

    n: int
    pearson: float
    spearman: float
    same_sign: float
    slope: float


def agreement(predicted: ArrayLike, measured: ArrayLike) -> Agreement:
    """Correlation, rank correlation, sign agreement and slope of two lists of equal length."""
    x, y = np.asarray(predicted, dtype=np.float64), np.asarray(measured, dtype=np.float64)
    signed = (np.abs(x) > _tiny(x)) & (np.abs(y) > _tiny(y))
    same = float((np.sign(x[signed]) == np.sign(y[signed])).mean()) if signed.any() else float("nan")
    square = float(x @ x)
    return Agreement(
        n=len(x),
        pearson=pearson(x, y),
        spearman=pearson(ranks(x), ranks(y)),
        same_sign=same,
        slope=float(x @ y) / square if square > 0 else float("nan"),
    )


def pearson(x: ArrayLike, y: ArrayLike) -> float:
    """Correlation of two lists; NaN for fewer than two pairs, or where one list does not vary."""
    a, b = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if len(a) < 2:
        return float("nan")
    a, b = a - a.mean(), b - b.mean()
    size = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / size if size > 0 else float("nan")


def spearman(x: ArrayLike, y: ArrayLike) -> float:
    """Rank correlation: Pearson's of the ranks, ties sharing their mean rank."""
    return pearson(ranks(x), ranks(y))


def ranks(values: ArrayLike) -> Array:
    """(n,) ranks from 1, ties sharing their mean."""
    x = np.asarray(values, dtype=np.float64)
    _, group, count = np.unique(x, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    return ((2 * last - count + 1) / 2)[group].astype(np.float64)


def _tiny(values: Array) -> float:
    """What counts as nothing beside the largest: a millionth of it."""
    return 1e-6 * float(np.abs(values).max(initial=0.0))
