"""Random sets of changes that are like given ones: the same doses on other nodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from engine.errors import RequestError
from engine.interventions.case import Case
from engine.interventions.changes import Change, Settings
from engine.interventions.controls import WIDENINGS, ControlSets, FeatureAt
from engine.interventions.predicted_changes import writes_of
from engine.interventions.statistics import permutation_p

# Fewer controls than this are not evidence.
LEAST_CONTROLS = 100


@dataclass(frozen=True)
class Matched:
    """n random sets of changes, and what they were matched in."""

    sets: tuple[tuple[Change, ...], ...]
    sentence: str
    distinct: int
    widened: dict[str, int]  # how many of the members came from each widening


@dataclass(frozen=True)
class Controlled:
    """An effect beside n controls' own. `p` = (1 + as good or better) / (n + 1)."""

    effect: float
    n: int
    seed: int
    distinct: int
    sentence: str
    widened: dict[str, int]
    effects: tuple[float, ...]
    p: float

    @property
    def median(self) -> float:
        """The controls' median effect."""
        return float(np.median(self.effects)) if self.effects else float("nan")


def controlled(effect: float, effects: Sequence[float], matched: Matched, seed: int) -> Controlled:
    """An effect and its controls', larger being better."""
    values = tuple(float(one) for one in effects)
    p = permutation_p(effect, values)
    return Controlled(effect, len(values), seed, matched.distinct, matched.sentence, matched.widened, values, p)


def matched_sets(
    case: Case,
    changes: Sequence[Change],
    settings: Settings,
    count: int,
    seed: int,
    exclude: Sequence[FeatureAt] = (),
) -> Matched:
    """`count` random sets for some changes; the same seed gives the same.

    A feature becomes one that is like it, changed by the same dose; a value that is set becomes the same multiple of
    the other's activation. Errors, embeddings, heads and features that are not active become random directions as long
    as what the change writes. Raises `RequestError` where fewer than `LEAST_CONTROLS` are asked for.
    """
    if count < LEAST_CONTROLS:
        raise RequestError(
            f"{count} controls are too few to tell chance from an effect; ask for {LEAST_CONTROLS} or more."
        )
    single = _one_position_each(case, changes)
    members = [_member(one) for one in single if _is_active(case, one)]
    held = settings.range_for(changes, case.frozen.n_layers) if settings.mode == "constrained" else None
    drawn: ControlSets | None = None
    if members:
        drawn = case.pools.draw(members, count, seed=seed, exclude=exclude, layers=held)
    lengths = (
        _lengths(case, single, settings)
        if drawn is None or len(members) < len(single) or any(None in one for one in drawn.sets[:1])
        else {}
    )
    generator = np.random.default_rng([seed, 1])
    sets = []
    for number in range(count):
        others = iter(() if drawn is None else drawn.sets[number])
        new: list[Change] = []
        for at, one in enumerate(single):
            other = next(others) if _is_active(case, one) else None
            if other is None:
                new.append(_direction(one, lengths.get(at, 0.0), int(generator.integers(1 << 31))))
            else:
                new.append(_moved(case, one, other))
        sets.append(tuple(new))
    apart = len(single) - len(members)
    widened = {name: 0 for name in WIDENINGS}
    for widening in () if drawn is None else drawn.widening:
        widened[WIDENINGS[widening]] += 1
    widened[WIDENINGS[-1]] += apart
    return Matched(tuple(sets), _sentence(count, drawn, apart), count if drawn is None else drawn.distinct, widened)


def _sentence(count: int, drawn: ControlSets | None, apart: int) -> str:
    directions = f"{count:,} sets of {apart} random directions, each as long as what it stands for"
    if drawn is None:
        return directions
    return drawn.sentence if not apart else f"{drawn.sentence}; beside them {directions}"


def _one_position_each(case: Case, changes: Sequence[Change]) -> list[Change]:
    n = case.recording.n_positions
    return [
        replace(one, position=position, last=None, onward=False)
        for one in changes
        for position in one.positions(n)
        if one.last is None or one.kind != "feature" or _is_active(case, replace(one, position=position))
    ]


def _member(change: Change) -> FeatureAt:
    return change.layer, change.position, change.index


def _is_active(case: Case, change: Change) -> bool:
    return change.kind == "feature" and case.pools.holds(_member(change))


def _moved(case: Case, change: Change, other: FeatureAt) -> Change:
    layer, position, feature = other
    if change.how == "set":
        multiple = change.value / case.pools.signed(_member(change))
        return replace(change, layer=layer, position=position, index=feature, how="scale", value=multiple)
    return replace(change, layer=layer, position=position, index=feature)


def _direction(change: Change, length: float, seed: int) -> Change:
    layer = max(change.layer, 0) if change.kind != "embedding" else 0
    return Change("random", layer, change.position, seed, "set", length)


def _lengths(case: Case, changes: Sequence[Change], settings: Settings) -> dict[int, float]:
    """How long the vector is that each change moves the residual stream by, at the layer where it first writes."""
    found: dict[int, float] = {}
    for number, write in writes_of(case, [[one] for one in changes], settings):
        length = float(torch.linalg.vector_norm(write.vector))
        found.setdefault(number, length)
    return found
