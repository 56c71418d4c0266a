"""The interventions that circuit-tracer and this engine are compared on. Used by both sides, knows neither."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

NEW_TOKENS = 5
# Of a real model's vocabulary and features, every so many are kept.
TOKEN_STEP, FEATURE_STEP = 64, 4


@dataclass(frozen=True)
class Mode:
    """circuit-tracer's arguments: constrained layers as shares of the model's depth, and whether attention holds."""

    name: str
    layers: tuple[float, float] | None
    freeze_attention: bool

    def range_of(self, n_layers: int) -> range | None:
        """The constrained layers of a model."""
        return None if self.layers is None else range(int(self.layers[0] * n_layers), int(self.layers[1] * n_layers))


MODES = (
    Mode("iterative", None, True),
    Mode("live", None, False),
    Mode("constrained", (0.25, 0.75), True),
    Mode("direct", (0.0, 1.0), True),
)


@dataclass(frozen=True)
class Row:
    """A feature that gets a value from `position` to `last` inclusive; `last` -1: onwards."""

    layer: int
    position: int
    last: int
    feature: int
    value: float


def rows_for(active: np.ndarray, activation: np.ndarray, n_layers: int, n_positions: int) -> list[Row]:
    """Some interventions within the middle layers: active features turned round, raised and removed, others set.

    `active` (n, 3) are layer, position and feature of what is active, sorted; `activation` (n,).
    """
    low, high = int(0.25 * n_layers), int(0.75 * n_layers) - 1
    rows: list[Row] = []
    for multiple, layer, position in ((-2.0, low, 2), (3.0, high, n_positions - 2), (0.0, low, n_positions - 1)):
        here = np.flatnonzero((active[:, 0] == layer) & (active[:, 1] == position))
        if len(here):
            best = here[activation[here].argmax()]
            rows.append(
                Row(layer, position, position, int(active[best, 2]), float(np.float32(multiple * activation[best])))
            )
    rows += [Row(low, 3, -1, 5, 1.25), Row(high, 1, 3, 9, 0.75), Row(high, 3, -1, 11, -0.5)]
    return rows


def as_array(rows: list[Row]) -> np.ndarray:
    """(k, 5) for a file."""
    return np.array([[row.layer, row.position, row.last, row.feature, row.value] for row in rows], np.float64)


def from_array(values: np.ndarray) -> list[Row]:
    """What `as_array` made."""
    return [Row(int(a), int(b), int(c), int(d), float(e)) for a, b, c, d, e in values]
