"""Sets of changes laid out layer by layer as tensors: who gets which value where, and what was recorded there."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from engine.errors import RequestError
from engine.interventions.changes import Change, Settings
from engine.interventions.elsewhere import Others
from engine.interventions.heads import recorded_heads
from engine.interventions.pieces import pieces
from engine.interventions.sites import Reading, Site, recorded_reading
from engine.models.recording import Recording
from engine.models.weights import ModelWeights
from engine.progress import checkpoint


@dataclass(frozen=True)
class FeatureEntries:
    """k features of one layer that get a value, each in one set and at one position. All are (k,).

    A set that adds an offset to an active value before it is written counts it `share` times for the new value and
    `recorded_share` times for the recorded one.
    """

    set: Tensor
    position: Tensor
    feature: Tensor
    value: Tensor
    share: Tensor
    recorded: Tensor
    recorded_share: Tensor

    def pick(self, some: Tensor) -> FeatureEntries:
        """Some of them."""
        return FeatureEntries(*(getattr(self, one.name)[some] for one in fields(self)))


@dataclass(frozen=True)
class VectorEntries:
    """k vectors (k, d) that are added after one layer's MLP, or to the embeddings."""

    set: Tensor
    position: Tensor
    vector: Tensor

    def pick(self, some: Tensor) -> VectorEntries:
        """Some of them."""
        return VectorEntries(self.set[some], self.position[some], self.vector[some])


@dataclass(frozen=True)
class HeadEntries:
    """k outputs of heads of one layer, before W_O: the new ones and those recorded, both (k, h)."""

    set: Tensor
    position: Tensor
    head: Tensor
    value: Tensor
    recorded: Tensor

    def pick(self, some: Tensor) -> HeadEntries:
        """Some of them."""
        return HeadEntries(*(getattr(self, one.name)[some] for one in fields(self)))


@dataclass(frozen=True)
class Plan:
    """Everything that S sets change. Layer -1 of `vectors` are the embeddings."""

    sets: Sequence[Sequence[Change]]
    features: dict[int, FeatureEntries]
    vectors: dict[int, VectorEntries]
    heads: dict[int, HeadEntries]
    first_layer: tuple[int, ...]  # (S,) nothing below it differs from the recorded run
    first_position: tuple[int, ...]  # (S,) nothing before it
    held: tuple[range, ...]  # (S,) layers whose MLP outputs are held
    recompute: bool  # "iterative": a value replaces what the changed run has there, not what was recorded


@dataclass(frozen=True)
class Subject:
    """What is changed: a model's recorded run and its features. `errors` by layer, where the changes ask for them."""

    weights: ModelWeights
    recording: Recording
    sites: Sequence[Site | None]
    errors: dict[int, Tensor]


def lay_out(
    subject: Subject,
    sets: Sequence[Sequence[Change]],
    settings: Settings,
    others: Others,
    cancel: threading.Event | None = None,
) -> Plan:
    """Lay out sets that were checked; `RequestError` for values that are too large for the model's numbers."""
    n, n_layers = subject.recording.n_positions, subject.weights.n_layers
    features: dict[int, list[tuple[int, int, Change]]] = defaultdict(list)
    vectors: dict[int, list[tuple[int, int, Change]]] = defaultdict(list)
    heads: dict[int, list[tuple[int, int, Change]]] = defaultdict(list)
    first_layer, first_position, held = [], [], []
    for number, changes in enumerate(sets):
        touched = [(change, position) for change in changes for position in change.positions(n)]
        for change, position in touched:
            kind = {"feature": features, "head": heads}.get(change.kind, vectors)
            kind[-1 if change.kind == "embedding" else change.layer].append((number, position, change))
        first_layer.append(min((0 if c.kind == "embedding" else c.layer for c, _ in touched), default=n_layers))
        first_position.append(min((position for _, position in touched), default=n))
        held.append(settings.range_for(changes, n_layers))
    return Plan(
        sets,
        {layer: _features(subject, layer, found, others, cancel) for layer, found in sorted(features.items())},
        {layer: _vectors(subject, layer, found, others) for layer, found in sorted(vectors.items())},
        {layer: _heads(subject, layer, found, others) for layer, found in sorted(heads.items())},
        tuple(first_layer),
        tuple(first_position),
        tuple(held),
        settings.mode == "iterative",
    )


def activation_at(
    site: Site, reading: Reading, run: Tensor, position: Tensor, feature: Tensor
) -> tuple[Tensor, Tensor]:
    """(k,) pre-activations and (k,) activations of features in runs, at positions counted from the reading's start."""
    linear, active = [], []
    for some in pieces(len(feature)):
        one = site.linear(reading, run[some], position[some], feature[some])
        linear.append(one)
        active.append(site.active(reading, run[some], position[some], feature[some], one))
    found = torch.cat(linear) if linear else reading.x.new_zeros(0)
    gate = torch.cat(active) if active else torch.zeros(0, dtype=torch.bool, device=reading.x.device)
    return found, found * gate


def watched_at(
    site: Site, reading: Reading, run: Tensor, position: Tensor, feature: Tensor, divided: Tensor
) -> tuple[Tensor, Tensor]:
    """As `activation_at`, but the linear form that edges divide where `divided` (k,) bool says so."""
    linear, activation = activation_at(site, reading, run, position, feature)
    asked = divided.nonzero()[:, 0]
    for piece in pieces(len(asked)):
        some = asked[piece]
        linear[some] = site.divided(reading, run[some], position[some], feature[some])
    return linear, activation


def _features(
    subject: Subject,
    layer: int,
    found: Sequence[tuple[int, int, Change]],
    others: Others,
    cancel: threading.Event | None,
) -> FeatureEntries:
    checkpoint(cancel)
    site, device = subject.sites[layer], subject.weights.device
    assert site is not None
    columns = [[number for number, _, _ in found], [at for _, at, _ in found], [c.index for _, _, c in found]]
    number, position, feature = torch.tensor(columns, dtype=torch.long, device=device)
    reading = recorded_reading(site, subject.recording, layer)
    _, recorded = activation_at(site, reading, torch.zeros_like(number), position, feature)
    multiples = [c.multiple for _, _, c in found]
    given = [0.0 if m is not None else others.feature(c) for m, (_, _, c) in zip(multiples, found, strict=True)]
    dtype = recorded.dtype
    multiple = torch.tensor([0.0 if m is None else m for m in multiples], dtype=torch.float64, device=device)
    own = torch.tensor([m is None for m in multiples], device=device)
    wide = torch.where(own, torch.tensor(given, dtype=torch.float64, device=device), multiple * recorded.double())
    value = wide.to(dtype)
    if not bool(torch.isfinite(value).all()):
        which = found[int((~torch.isfinite(value)).nonzero()[0])][2]
        raise too_large([which])
    active = (recorded > 0).to(dtype)
    share = torch.where(own, (value > 0).to(dtype), multiple.to(dtype) * active)
    return FeatureEntries(number, position, feature, value, share, recorded, active)


def _vectors(subject: Subject, layer: int, found: Sequence[tuple[int, int, Change]], others: Others) -> VectorEntries:
    device = subject.weights.device
    parts = []
    for _, position, change in found:
        own = _own_vector(subject, layer, position, change)
        multiple = change.multiple
        if change.kind == "random":
            new = random_direction(change.index, own) * change.value
        elif multiple is not None:
            new = own * multiple
        else:
            new = others.vector(change).to(own) * change.value
        if not bool(torch.isfinite(new).all()):
            raise too_large([change])
        parts.append(new - own)
    number, position = torch.tensor([[s for s, _, _ in found], [p for _, p, _ in found]], device=device)
    return VectorEntries(number, position, torch.stack(parts))


def _own_vector(subject: Subject, layer: int, position: int, change: Change) -> Tensor:
    first = subject.recording.layers[0].pre[position]
    if change.kind == "random":
        return torch.zeros_like(first)
    if change.kind == "error":
        return subject.errors[layer][position]
    embedded = subject.weights.position_embedding
    return first if embedded is None else first - embedded[position].to(first.dtype)


def random_direction(seed: int, like: Tensor) -> Tensor:
    """A direction (d,) of length 1, the same for the same seed on every device."""
    drawn = torch.randn(len(like), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.nn.functional.normalize(drawn, dim=0).to(like)


def _heads(subject: Subject, layer: int, found: Sequence[tuple[int, int, Change]], others: Others) -> HeadEntries:
    device, attention = subject.weights.device, subject.weights.layers[layer].attention
    outputs = recorded_heads(attention, subject.recording.layers[layer])  # (T, H, h)
    columns = [[number for number, _, _ in found], [at for _, at, _ in found], [c.index for _, _, c in found]]
    number, position, head = torch.tensor(columns, dtype=torch.long, device=device)
    recorded = outputs[position, head]
    values = []
    for own, (_, _, change) in zip(recorded, found, strict=True):
        multiple = change.multiple
        new = own * multiple if multiple is not None else others.head(change).to(own) * change.value
        if not bool(torch.isfinite(new).all()):
            raise too_large([change])
        values.append(new)
    return HeadEntries(number, position, head, torch.stack(values), recorded)


def too_large(changes: Sequence[Change]) -> RequestError:
    """The refusal of a set whose doses overflow; it names the largest."""
    largest = max(changes, key=lambda one: abs(one.value), default=None)
    if largest is None:
        return RequestError("The model's output is not a number, so its weights are damaged; fetch the model again.")
    return RequestError(
        f"The dose of {largest.name} is too large for the model's numbers; give a smaller value than {largest.value:g}."
    )
