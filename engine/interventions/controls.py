"""Random sets of features that are like a chosen one: as many, in the same layers, at the same positions, as active.

Each member of a set is replaced by a feature of the same layer and position whose activation is as large within a
factor. Where too few exist the pool is widened: other positions of the layer, then neighbouring layers; where that
does not help either, the member becomes a random direction that is as long as what the member writes. How far each
member's pool was widened is part of the answer.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from engine.errors import RequestError

if TYPE_CHECKING:
    from engine.dictionaries.features import LayerFeatures

# (layer, position, feature)
FeatureAt = tuple[int, int, int]

# Activations are alike within this factor.
ACTIVATION_FACTOR = 1.5
# A member needs at least so many features to be drawn from.
SMALLEST_POOL = 8
# How often a set that was drawn before is drawn anew.
TRIES = 30
# How far away a neighbouring layer may be.
NEAR_LAYERS = 2

WIDENINGS = ("same layer and position", "other positions", "neighbouring layers", "random directions")


@dataclass(frozen=True)
class ControlSets:
    """n random sets for the k members of a set.

    `sets[i][j]` stands for member j; None where it is a random direction. `widening[j]` is the number in `WIDENINGS`
    of member j's pool, `pool[j]` its size. `distinct`: how many of the sets differ.
    """

    members: tuple[FeatureAt, ...]
    sets: tuple[tuple[FeatureAt | None, ...], ...]
    widening: tuple[int, ...]
    pool: tuple[int, ...]
    distinct: int
    seed: int

    @property
    def sentence(self) -> str:
        """What the sets were matched in, for a person."""
        count = Counter(self.widening)
        matched = (
            f"{len(self.sets):,} random sets of {len(self.members)}, matched in size, layer, position and activation"
        )
        wider = [f"{count[number]} from {WIDENINGS[number]}" for number in range(1, len(WIDENINGS)) if count[number]]
        return f"{matched}; too few were alike for some members, which came {', '.join(wider)}" if wider else matched


class FeaturePools:
    """The active features of one recorded prompt, ready to be drawn from.

    `baseline` is what each layer's features (S,) are changed to, zeros by default: features are alike whose
    activations are as far from it.
    """

    def __init__(
        self,
        layers: Sequence[LayerFeatures],
        first_position: int = 0,
        baseline: Sequence[NDArray[np.float32]] | None = None,
    ) -> None:
        self._position = [layer.position.cpu().numpy() for layer in layers]
        self._feature = [layer.feature.cpu().numpy() for layer in layers]
        self._activation = [layer.activation.float().cpu().numpy() for layer in layers]
        self._change = [
            here if baseline is None else here - baseline[layer] for layer, here in enumerate(self._activation)
        ]
        self._size = [np.abs(one) for one in self._change]
        self._first = first_position

    def draw(
        self,
        members: Sequence[FeatureAt],
        count: int,
        *,
        seed: int = 0,
        exclude: Sequence[FeatureAt] = (),
        layers: range | None = None,
    ) -> ControlSets:
        """`count` random sets for these members, none of which holds a member or a feature of `exclude`.

        With `layers` neighbouring layers outside of them are left out. The same seed gives the same sets. Raises
        `RequestError` for a member that is not active on the prompt.
        """
        if not members:
            raise RequestError("There is nothing to draw controls for; choose at least one feature.")
        barred = {*members, *exclude}
        generator = np.random.default_rng(seed)
        together = Counter(member[:2] for member in members)
        pools = [self._pool(one, barred, _enough(together[one[:2]], len(members), count), layers) for one in members]
        sets, seen = [], set[frozenset[FeatureAt]]()
        for _ in range(count):
            for _ in range(TRIES):
                one = _one_set(pools, generator)
                named = frozenset(feature for feature in one if feature is not None)
                # Directions differ by themselves.
                if None in one or named not in seen:
                    break
            seen.add(named)
            sets.append(one)
        distinct = count if None in sets[0] else len(seen)
        return ControlSets(
            tuple(members),
            tuple(sets),
            tuple(widening for widening, _ in pools),
            tuple(len(pool) for _, pool in pools),
            distinct,
            seed,
        )

    def holds(self, member: FeatureAt) -> bool:
        """Whether a feature is active there."""
        return self._number(member) is not None

    def signed(self, member: FeatureAt) -> float:
        """The activation of an active feature (neurons': signed); raises `RequestError` for one that is not active."""
        return float(self._activation[member[0]][self.number(member)])

    def number(self, member: FeatureAt) -> int:
        """Which of its layer's active features it is; raises `RequestError` for one that is not active."""
        number = self._number(member)
        if number is None:
            raise _not_active(member)
        return number

    def _number(self, member: FeatureAt) -> int | None:
        layer, position, feature = member
        if not 0 <= layer < len(self._position):
            return None
        # Features are sorted by position, and within one by their number.
        start, end = np.searchsorted(self._position[layer], [position, position + 1])
        at = start + int(np.searchsorted(self._feature[layer][start:end], feature))
        return int(at) if at < end and self._feature[layer][at] == feature else None

    def _pool(
        self, member: FeatureAt, barred: set[FeatureAt], enough: int, layers: range | None
    ) -> tuple[int, NDArray[np.int64]]:
        """Which widening was needed, and (p, 3) the features to draw from."""
        layer, position, _ = member
        size = float(self._size[layer][self.number(member)])
        near = [layer + step for step in range(-NEAR_LAYERS, NEAR_LAYERS + 1)]
        allowed = range(len(self._position)) if layers is None else layers
        here = [one for one in near if one in allowed]
        for widening, (these, at) in enumerate([([layer], position), ([layer], None), (here, None)]):
            found = np.concatenate([self._alike(one, at, size, position) for one in these])
            keep = [tuple(row) not in barred for row in found.tolist()]
            if sum(keep) >= enough:
                return widening, found[np.array(keep)]
        return len(WIDENINGS) - 1, np.empty((0, 3), dtype=np.int64)

    def _alike(self, layer: int, position: int | None, size: float, own: int) -> NDArray[np.int64]:
        sizes, positions = self._size[layer], self._position[layer]
        alike = (sizes >= size / ACTIVATION_FACTOR) & (sizes <= size * ACTIVATION_FACTOR) & (sizes > 0)
        # The first position is a place of its own (attention rests there): nothing else is compared with it.
        alike &= positions >= max(self._first, min(own, 1)) if position is None else positions == position
        number = np.flatnonzero(alike)
        return np.stack([np.full(len(number), layer), positions[number], self._feature[layer][number]], axis=1)


def _not_active(member: FeatureAt) -> RequestError:
    layer, position, feature = member
    return RequestError(
        f"Feature {feature} of layer {layer} is not active at position {position} of this prompt; leave it out or use "
        "the prompt that it was named for."
    )


def _enough(beside: int, size: int, count: int) -> int:
    """How many features a member's pool needs so that there are at least twice `count` sets to draw.

    `beside` members of one layer and position draw from much the same pool; `size` members in all.
    """
    pool = SMALLEST_POOL + beside - 1
    while math.comb(pool, beside) ** (size / beside) < 2 * count:
        pool += 1
    return pool


def _one_set(
    pools: Sequence[tuple[int, NDArray[np.int64]]], generator: np.random.Generator
) -> tuple[FeatureAt | None, ...]:
    taken: set[FeatureAt] = set()
    chosen: list[FeatureAt | None] = []
    for _, pool in pools:
        free = [one for one in _some(pool, generator, len(taken)) if one not in taken]
        one = free[0] if free else None
        if one is not None:
            taken.add(one)
        chosen.append(one)
    return tuple(chosen)


def _some(pool: NDArray[np.int64], generator: np.random.Generator, taken: int) -> list[FeatureAt]:
    """Enough different features of a pool, in random order, that one is free whatever was taken before."""
    if not len(pool):
        return []
    picked = generator.choice(len(pool), size=min(taken + 1, len(pool)), replace=False)
    return [(int(row[0]), int(row[1]), int(row[2])) for row in pool[picked]]
