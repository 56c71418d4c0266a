r"""How much of a behaviour a part of the model keeps: faithfulness, completeness, and the two areas of their curves.

With m a metric, M the model, 0 the model with everything ablated and C a circuit (Mueller et al. 2025, "MIB"; Marks et
al. 2024, "Sparse Feature Circuits"):

    f(C) = (m(C) - m(0)) / (m(M) - m(0)),   completeness = f(M \ C), small where the circuit is all there is,
    CPR = integral of f(C_k) dk (higher is better),   CMD = integral of |1 - f(C_k)| dk (lower is better),

k being the share of the parts that are kept; by the trapezoid rule over the sizes that were run.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

# The shares of parts that MIB integrates over.
MIB_SHARES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)


def faithfulness(kept: ArrayLike, full: float, empty: float) -> NDArray[np.float64]:
    """Of each metric in `kept`: 1 as the whole model, 0 as nothing; NaN where the model does no better than nothing.

    Completeness is the same of what is left when the circuit is taken out.
    """
    values = np.asarray(kept, dtype=np.float64)
    span = full - empty
    return (values - empty) / span if span else np.full_like(values, np.nan)


@dataclass(frozen=True)
class Curve:
    """Faithfulness by size: `shares` (n,) of all parts, rising; `values` (n,)."""

    sizes: tuple[int, ...]
    shares: tuple[float, ...]
    values: tuple[float, ...]

    @property
    def cpr(self) -> float:
        """Area under faithfulness."""
        return float(np.trapezoid(self.values, self.shares))

    @property
    def cmd(self) -> float:
        """Area between faithfulness and 1."""
        return float(np.trapezoid(np.abs(1 - np.asarray(self.values)), self.shares))


def curve_sizes(count: int) -> tuple[int, ...]:
    """The sizes to run for `count` parts: MIB's shares, as whole numbers, each once; nothing first."""
    sizes = {round(share * count) for share in MIB_SHARES}
    return tuple(sorted({0, *sizes}))


def make_curve(sizes: ArrayLike, metrics: ArrayLike, *, count: int, full: float, empty: float) -> Curve:
    """The curve of metrics that were measured with `sizes` of `count` parts kept."""
    order = np.argsort(np.asarray(sizes), kind="stable")
    sorted_sizes = np.asarray(sizes)[order]
    values = faithfulness(np.asarray(metrics, dtype=np.float64)[order], full, empty)
    return Curve(
        tuple(int(size) for size in sorted_sizes),
        tuple(float(size) / count for size in sorted_sizes),
        tuple(float(value) for value in values),
    )


@dataclass(frozen=True)
class NamedCurve:
    """Faithfulness by size for features taken in one order, with its two areas."""

    name: str
    curve: Curve
    cpr: float
    cmd: float
