"""Token after token behind a changed prompt: what is changed onwards is changed at each new position too.

The prompt's own keys and values are those of its changed run. A new position has no record: attention is live there,
a multiple is one of what the run itself has there, and a value replaces it. Shapes: b runs, one position, d width.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.interventions.block import NormName, run_block
from engine.interventions.changes import Change
from engine.interventions.elsewhere import Others
from engine.interventions.plan import Subject, activation_at, too_large
from engine.interventions.sites import Reading
from engine.interventions.written import Writes, overflowing
from engine.models.attention import attend
from engine.models.forward import KeyValueCache, embed, unembed
from engine.models.mlp import mlp
from engine.models.norms import normalise
from engine.models.weights import NormWeights


@dataclass(frozen=True)
class _Features:
    """k features of one layer, all (k,): a value each, or a multiple where `relative`."""

    feature: Tensor
    value: Tensor
    relative: Tensor


@dataclass(frozen=True)
class _Head:
    head: int
    multiple: float | None
    value: Tensor | None  # (h,)


class NextPositions:
    """What reads one new token after another, of several runs that share the changes, behind the keys of `cache`."""

    def __init__(self, subject: Subject, changes: Sequence[Change], others: Others, cache: KeyValueCache) -> None:
        self._subject, self._changes, self._cache = subject, changes, cache
        onward = [one for one in changes if one.onward]
        self._features = {
            layer: _onward_features(subject, [one for one in onward if one.kind == "feature"], layer, others)
            for layer in {one.layer for one in onward if one.kind == "feature"}
        }
        self._heads = {
            layer: [_onward_head(one, others) for one in onward if one.kind == "head" and one.layer == layer]
            for layer in {one.layer for one in onward if one.kind == "head"}
        }
        self._writes = Writes(subject.weights.n_layers, 0)

    def read(self, tokens: Sequence[int], cancel: threading.Event | None) -> Tensor:
        """(b, V) logits after one more token of each run."""
        weights, start = self._subject.weights, self._cache.length
        x = embed(weights, torch.tensor([[one] for one in tokens], device=weights.device), start)
        self._start = start
        self._writes = Writes(weights.n_layers, len(x))
        for number, layer in enumerate(weights.layers):
            x = run_block(self, number, layer, x, cancel)
        if self._writes.overflowed or overflowing(x):
            raise too_large(self._changes)
        return unembed(weights, x[:, -1])

    def norm(self, number: int, name: NormName, x: Tensor) -> Tensor:
        """The layer's own norm."""
        norm: NormWeights | None = getattr(self._subject.weights.layers[number], name)
        return x if norm is None else normalise(norm, x)

    def attention(self, number: int, read: Tensor, cancel: threading.Event | None) -> Tensor:
        """Attention over everything read so far."""
        w, changes = self._subject.weights.layers[number].attention, self._heads.get(number, [])

        def changed(heads: Tensor) -> Tensor:
            heads = heads.clone() if changes else heads
            for one in changes:
                own = heads[:, :, one.head]
                heads[:, :, one.head] = own * (one.multiple or 0.0) if one.value is None else one.value.to(own)
            return heads

        cache = self._cache.layers[number]
        return attend(w, read.to(w.w_o.dtype), cache=cache, cancel=cancel, change=changed)[0].to(read.dtype)

    def mlp(self, number: int, mlp_input: Tensor) -> Tensor:
        """The layer's own MLP."""
        w = self._subject.weights.layers[number]
        return mlp(w.mlp, mlp_input.to(w.attention.w_o.dtype)).to(mlp_input.dtype)

    def features(self, number: int, mid: Tensor, mlp_input: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """What changed features write more."""
        changes, site = self._features.get(number), self._subject.sites[number]
        if changes is not None:
            assert site is not None
            x = site.reads(mid, mlp_input)
            run = torch.arange(len(x), device=x.device).repeat_interleave(len(changes.feature))
            place = (run, torch.zeros_like(run))
            feature, value, relative = (
                one.repeat(len(x)) for one in (changes.feature, changes.value, changes.relative)
            )
            now = activation_at(site, Reading(x, self._start, x[0, :0]), *place, feature)[1]
            value, now_share = value.to(now), (now > 0).to(now)
            share = torch.where(relative, value * now_share, (value > 0).to(now))
            change = (torch.where(relative, value * now, value) - now, share - now_share)
            self._writes.add(number, site, x, place, feature, change, lambda run, layer: torch.ones_like(run) > 0)
        return self._writes.take(number, len(mid))


def _onward_features(subject: Subject, changes: Sequence[Change], layer: int, others: Others) -> _Features:
    here, device = [one for one in changes if one.layer == layer], subject.weights.device
    multiples = [one.multiple for one in here]
    values = [others.feature(one) if m is None else m for one, m in zip(here, multiples, strict=True)]
    return _Features(
        torch.tensor([one.index for one in here], device=device),
        torch.tensor(values, dtype=torch.float64, device=device),
        torch.tensor([m is not None for m in multiples], device=device),
    )


def _onward_head(change: Change, others: Others) -> _Head:
    multiple = change.multiple
    value = None if multiple is not None else others.head(change) * change.value
    return _Head(change.index, multiple, value)
