"""What cannot be asked of a run, each refused in one sentence that says what to do."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

import torch

from engine.dictionaries.features import Features
from engine.errors import RequestError
from engine.interventions.changes import Change, Settings, Watched
from engine.interventions.plan import Subject, activation_at
from engine.interventions.sites import Site, recorded_reading


@dataclass(frozen=True)
class Limits:
    """What there is in a model, a prompt and a dictionary."""

    n_layers: int
    n_positions: int
    n_heads: tuple[int, ...]
    vocab_size: int
    sites: Sequence[Site | None]
    has_errors: bool

    def feature(self, name: str, layer: int, index: int) -> None:
        """Refuse a feature that does not exist."""
        self.layer(name, layer)
        site = self.sites[layer]
        if site is None:
            raise RequestError(f"{name} does not exist: the dictionary has no features in layer {layer}.")
        if not 0 <= index < site.width:
            raise RequestError(
                f"{name} does not exist: layer {layer} has the features 0 to {site.width - 1}; choose one of them."
            )

    def layer(self, name: str, layer: int) -> None:
        """Refuse a layer that does not exist."""
        if not 0 <= layer < self.n_layers:
            raise RequestError(f"{name} does not exist: the layers go from 0 to {self.n_layers - 1}; choose one.")

    def position(self, name: str, position: int) -> None:
        """Refuse a position outside the prompt."""
        if not 0 <= position < self.n_positions:
            raise RequestError(
                f"{name} lies outside the prompt, whose {self.n_positions} tokens are 0 to {self.n_positions - 1}; "
                "choose a position among them."
            )


def limits_of(features: Features, subject: Subject) -> Limits:
    """The limits of what is changed."""
    weights = subject.weights
    return Limits(
        weights.n_layers,
        subject.recording.n_positions,
        tuple(layer.attention.n_heads for layer in weights.layers),
        weights.vocab_size,
        subject.sites,
        features.has_errors,
    )


def check_settings(settings: Settings, n_layers: int) -> None:
    """Refuse settings that contradict each other."""
    if settings.mode not in ("constrained", "iterative", "direct"):
        raise RequestError(f"{settings.mode!r} is no mode; choose constrained, iterative or direct.")
    if settings.attention not in ("frozen", "live"):
        raise RequestError(f"Attention is frozen or live, not {settings.attention!r}; choose one of them.")
    if settings.mode == "direct" and settings.attention == "live":
        raise RequestError("Direct effects hold attention; choose frozen attention or another mode.")
    if settings.layers is None:
        return
    if settings.mode != "constrained":
        raise RequestError(
            f"A range of layers belongs to the mode constrained, not to {settings.mode}; leave the range out or "
            "choose constrained."
        )
    first, last = settings.layers
    if not 0 <= first <= last < n_layers:
        raise RequestError(
            f"Layers {first}-{last} are no range of this model's, which are 0 to {n_layers - 1}; give two of them, "
            "the lower one first."
        )


def check_sets(sets: Sequence[Sequence[Change]], settings: Settings, limits: Limits) -> None:
    """Refuse changes of what does not exist, and sets that contradict themselves or the settings."""
    for changes in sets:
        seen: set[tuple[str, int, int, int]] = set()
        for change in changes:
            _check_change(change, limits)
            _check_range(change, settings, limits)
            layer = -1 if change.kind == "embedding" else change.layer
            for position in change.positions(limits.n_positions):
                key = (change.kind, layer, position, change.index)
                if key in seen and change.kind != "random":
                    raise RequestError(
                        f"{change.name} is changed twice at position {position}; leave one of the two out."
                    )
                seen.add(key)


def check_watched(watched: Sequence[Watched], positions: Sequence[int], limits: Limits) -> None:
    """Refuse features and positions to look at that do not exist."""
    for one in watched:
        name = f"L{one.layer}/P{one.position}/F{one.feature}"
        limits.feature(name, one.layer, one.feature)
        limits.position(name, one.position)
    for position in positions:
        limits.position(f"Position {position}", position)


def _check_change(change: Change, limits: Limits) -> None:
    name = change.name
    if change.kind == "feature":
        limits.feature(name, change.layer, change.index)
    elif change.kind != "embedding":
        limits.layer(name, change.layer)
    if change.kind == "head" and not 0 <= change.index < limits.n_heads[change.layer]:
        raise RequestError(
            f"{name} does not exist: layer {change.layer} has the heads 0 to {limits.n_heads[change.layer] - 1}; "
            "choose one of them."
        )
    if change.kind == "error" and not limits.has_errors:
        raise RequestError(f"{name} does not exist: neurons leave nothing to error nodes; change a neuron instead.")
    _check_positions(change, limits)
    _check_value(change)
    if change.source is not None:
        _check_source(change, limits)


def _check_positions(change: Change, limits: Limits) -> None:
    limits.position(change.name, change.position)
    if change.last is None:
        return
    if change.onward:
        raise RequestError(f"{change.name} ends at position {change.last} and goes on for ever; choose one of the two.")
    limits.position(change.name, change.last)
    if change.last < change.position:
        raise RequestError(f"{change.name} ends before it begins; give the lower position first.")


def _check_value(change: Change) -> None:
    if not math.isfinite(change.value):
        raise RequestError(f"The dose of {change.name} is {change.value}, which is no number; give a finite one.")
    if change.how == "set" and change.kind not in ("feature", "random"):
        raise RequestError(
            f"{change.name} writes a vector and has no single value to set; give a multiple such as 0x or -1x, or swap."
        )
    if change.kind == "random" and (change.how != "set" or change.onward or change.index < 0):
        raise RequestError(f"{change.name} is a random direction; give the length that it is set to, and no more.")
    if change.onward and change.kind in ("error", "embedding"):
        raise RequestError(
            f"{change.name} has nothing to change in what is generated; give positions of the prompt alone."
        )
    if (change.how == "swap") != (change.source is not None):
        raise RequestError(f"{change.name} is swapped with nothing; say which prompt and position it is taken from.")


def _check_source(change: Change, limits: Limits) -> None:
    assert change.source is not None
    ids = change.source.token_ids
    if not ids or not all(0 <= one < limits.vocab_size for one in ids):
        raise RequestError(f"{change.name} is swapped with a prompt that the model cannot read; give another prompt.")
    if not 0 <= change.source.position < len(ids):
        raise RequestError(
            f"{change.name} is swapped with position {change.source.position} of a prompt whose tokens are 0 to "
            f"{len(ids) - 1}; choose a position among them."
        )


def _check_range(change: Change, settings: Settings, limits: Limits) -> None:
    """A change that nothing would be written of contradicts the range."""
    if settings.mode != "constrained" or settings.layers is None or change.kind in ("embedding", "head"):
        return
    first, last = settings.layers
    site = limits.sites[change.layer] if change.kind == "feature" else None
    reach = change.layer + (1 if site is None else site.layers_written) - 1
    if reach < first or change.layer > last:
        raise RequestError(
            f"{change.name} writes outside the layers {first}-{last}, where alone changes count; widen the range or "
            "leave it out."
        )


def check_active(changes: Sequence[Change], subject: Subject) -> None:
    """Refuse a multiple of a feature that is not active anywhere in its span: that would be no change at all."""
    n, device = subject.recording.n_positions, subject.weights.device
    for change in changes:
        if change.kind != "feature" or change.onward or change.multiple in (None, 0.0):
            continue
        site = subject.sites[change.layer]
        assert site is not None
        position = torch.tensor(list(change.positions(n)), device=device)
        feature, run = torch.full_like(position, change.index), torch.zeros_like(position)
        reading = recorded_reading(site, subject.recording, change.layer)
        if not bool(activation_at(site, reading, run, position, feature)[1].any()):
            _refuse_inactive(change)


def _refuse_inactive(change: Change) -> NoReturn:
    raise RequestError(
        f"{change.name} is not active there, so that a multiple of it changes nothing; give a value, such as 4, or "
        "choose an active feature."
    )
