"""How far the local replacement model follows the real one: the same small push in both, layer by layer.

Ameisen et al. 2025, "Circuit Tracing", faithfulness: the residual stream is pushed (a) along a feature's encoder so far
that its activation rises by 0.1, (b) in a random direction by as much, (c) by an upstream feature that rises by 0.1.
Attention patterns are held in both models. In the real one norms and MLPs answer; in the replacement model norm
denominators are held too, features are read anew from the pushed residual stream, and errors stay. Neurons answer by
their slopes, which is what predictions are made of.

Of each later layer: the cosine of the two changes, and |real - replacement|^2 / |real|^2.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from engine.dictionaries.matrices import take_rows
from engine.dictionaries.neurons import NeuronLayer
from engine.dictionaries.transcoder_layer import TranscoderLayer
from engine.dictionaries.transcoder_set import TranscoderFeatures
from engine.dictionaries.transcoders import read_at, site_input
from engine.interventions.block import NormName, run_block
from engine.interventions.case import Case
from engine.interventions.controls import FeatureAt
from engine.interventions.heads import HeldAttention
from engine.models.mlp import mlp
from engine.models.norms import normalise
from engine.models.recording import FrozenNorm
from engine.progress import Progress, checkpoint, part, silent

Push = Literal["encoder", "random", "upstream"]
PUSHES: tuple[Push, ...] = ("encoder", "random", "upstream")
# By how much an activation rises.
RISE = 0.1


@dataclass(frozen=True)
class Followed:
    """How well the replacement model follows one push: for n layers above it, the cosine and the squared error."""

    push: Push
    feature: FeatureAt
    cosine: tuple[float, ...]
    error: tuple[float, ...]


@dataclass(frozen=True)
class Pushed:
    """A vector (d,) put into the residual stream at a position: where a layer's MLP reads, or what a layer writes."""

    layer: int
    position: int
    vector: Tensor
    written: bool


def follow(
    case: Case,
    features: Sequence[FeatureAt],
    *,
    seed: int = 0,
    progress: Progress = silent,
    cancel: threading.Event | None = None,
) -> list[Followed]:
    """Push at each feature in the three ways, and compare the two models in every layer above.

    Raises `RequestError` for a feature that is not active, `Cancelled` between layers.
    """
    with torch.no_grad():
        pushes = [(push, one, pushed_by(case, push, one, seed)) for push in PUSHES for one in features]
        vectors = [pushed for _, _, pushed in pushes]
        real = changes(case, vectors, RealModel(case), part(progress, 0, 0.5), cancel)
        local = changes(case, vectors, ReplacementModel(case), part(progress, 0.5, 1), cancel)
    found = []
    for row, (push, one, _) in enumerate(pushes):
        pairs = [(real[layer][row], local[layer][row]) for layer in range(one[0] + 1, case.frozen.n_layers)]
        cosines = tuple(_cosine(a, b) for a, b in pairs)
        found.append(Followed(push, one, cosines, tuple(_error(a, b) for a, b in pairs)))
    return found


def pushed_by(case: Case, push: Push, feature: FeatureAt, seed: int = 0) -> tuple[Pushed, ...]:
    """The push of one kind at a feature: one vector, or one for each layer that the feature writes to."""
    layer, position = feature[:2]
    here, at = case.layers[layer], case.pools.number(feature)
    number = torch.tensor([at], device=case.recording.final.device)
    if push == "upstream":
        share = RISE / here.activation[at]
        if isinstance(here, TranscoderLayer) and not here.can_list:
            writes = [(other, here.written_at(other)[at]) for other in here.write_layers]
        else:
            writes = [(layer, here.written_rows(slice(at, at + 1))[0])]
        return tuple(Pushed(other, position, row * share, written=True) for other, row in writes)
    reads = here.jacobian_vectors(number)[0]
    vector = reads * (RISE / reads.square().sum().clamp_min(1e-12))
    if push == "random":
        drawn = torch.from_numpy(np.random.default_rng([seed, *feature]).standard_normal(len(vector))).to(vector)
        vector = drawn * (vector.norm() / drawn.norm())
    return (Pushed(layer, position, vector, written=False),)


def changes(
    case: Case,
    pushes: Sequence[Sequence[Pushed]],
    model: RealModel,
    progress: Progress = silent,
    cancel: threading.Event | None = None,
) -> list[Tensor]:
    """Of every layer (b, T, d): how far the residual stream after it is from where it is without a push."""
    start, n_layers = min(one.layer for parts in pushes for one in parts), case.frozen.n_layers
    model.pushes = pushes
    # The last run is not pushed: rounding that all runs share is no change.
    x = case.recording.layers[start].pre.expand(len(pushes) + 1, -1, -1).clone()
    found = [x.new_zeros(len(pushes), *x.shape[1:])] * start
    for layer in range(start, n_layers):
        checkpoint(cancel)
        progress("Pushing the residual stream", (layer - start) / (n_layers - start))
        weights = case.model.weights.layers[layer]
        if weights.parallel:
            x = model.with_pushes(x, layer, written=False)
        x = run_block(model, layer, weights, x, cancel)
        x = model.with_pushes(x, layer, written=True)
        found.append(x[:-1] - x[-1])
    return found


class RealModel:
    """The model itself, attention patterns held."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.pushes: Sequence[Sequence[Pushed]] = ()

    def with_pushes(self, x: Tensor, layer: int, *, written: bool) -> Tensor:
        """With what is pushed there."""
        for run, parts in enumerate(self.pushes):
            for one in parts:
                if (one.layer, one.written) == (layer, written):
                    x[run, one.position] += one.vector.to(x.dtype)
        return x

    def norm(self, number: int, name: NormName, x: Tensor) -> Tensor:
        """A norm; behind attention's the push is put in, where the MLP reads."""
        weights = self.case.model.weights.layers[number]
        out = self._norm(number, name, x)
        if name == "attention_post_norm" and not weights.parallel:
            # Where there is no such norm, attention's own output comes back.
            return self.with_pushes(out.clone(), number, written=False)
        return out

    def _norm(self, number: int, name: NormName, x: Tensor) -> Tensor:
        norm = getattr(self.case.model.weights.layers[number], name)
        return x if norm is None else normalise(norm, x)

    def attention(self, number: int, read: Tensor, cancel: threading.Event | None) -> Tensor:
        """What attention writes with the recorded pattern."""
        w = self.case.model.weights.layers[number].attention
        heads = HeldAttention(w, self.case.recording.layers[number], 0)(read.to(w.w_o.dtype))
        return functional.linear(heads.flatten(2), w.w_o, w.b_o).to(read.dtype)

    def mlp(self, number: int, mlp_input: Tensor) -> Tensor:
        """The MLP."""
        layer = self.case.model.weights.layers[number]
        return mlp(layer.mlp, mlp_input.to(layer.attention.w_o.dtype)).to(mlp_input.dtype)

    def features(self, number: int, mid: Tensor, mlp_input: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Nothing beside the MLP."""
        return None, None


class ReplacementModel(RealModel):
    """The local replacement model: norms held, and features in place of the MLPs."""

    def __init__(self, case: Case) -> None:
        super().__init__(case)
        # What features of lower layers write here more: before the norm after the MLP, and behind it.
        self._before: dict[int, Tensor] = {}
        self._behind: dict[int, Tensor] = {}

    def _norm(self, number: int, name: NormName, x: Tensor) -> Tensor:
        frozen: FrozenNorm | None = getattr(self.case.recording.layers[number], name)
        if frozen is None or getattr(self.case.model.weights.layers[number], name) is None:
            return x
        centred = x - x.mean(-1, keepdim=True) if frozen.centred else x
        out = centred * frozen.scale
        return out if frozen.shift is None else out + frozen.shift

    def mlp(self, number: int, mlp_input: Tensor) -> Tensor:
        """What the MLP wrote in the recorded run."""
        return self.case.recording.layers[number].mlp_output.expand(len(mlp_input), -1, -1).clone()

    def features(self, number: int, mid: Tensor, mlp_input: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """What features write more than they did."""
        here = self.case.layers[number]
        if isinstance(here, NeuronLayer):
            return here.push_jacobian(mlp_input - self.case.recording.layers[number].mlp_input), None
        features = self.case.features
        if isinstance(features, TranscoderFeatures) and features.transcoders[number] is not None:
            self._read(features, number, mid, mlp_input)
        return self._before.pop(number, None), self._behind.pop(number, None)

    def _read(self, features: TranscoderFeatures, number: int, mid: Tensor, mlp_input: Tensor) -> None:
        """Read a layer's features anew, and put what they write more where they write it."""
        transcoder, record, first = features.transcoders[number], self.case.recording.layers[number], self._first
        assert transcoder is not None
        gain = features.gains[number]
        recorded = site_input(record, gain, transcoder.reads)
        x = read_at(mid, mlp_input, record.mlp_norm.shift, gain, transcoder.reads)
        before = transcoder.activations(recorded)
        change = torch.stack([transcoder.activations(one) - before for one in x])  # (b, T, n)
        change[:, :first] = 0
        gates = torch.stack([(transcoder.activations(one) != 0).to(x) - (before != 0).to(x) for one in x])
        used = (change != 0).any(0).any(0).nonzero()[:, 0]
        for place in range(min(transcoder.layers_written, self.case.frozen.n_layers - number)):
            rows = take_rows(transcoder.w_dec, used, place if len(transcoder.w_dec.shape) == 3 else None).to(x.dtype)
            amount = change[..., used]
            if transcoder.offset is not None:
                amount = amount + gates[..., used] * transcoder.offset[place, used].to(x.dtype)
            self._add(number + place, transcoder.writes, amount @ rows)
        if transcoder.w_skip is not None:
            self._add(number, transcoder.writes, (x - recorded) @ transcoder.w_skip.to(x.dtype).T)

    @property
    def _first(self) -> int:
        return self.case.recording.first_position

    def _add(self, layer: int, writes: str, written: Tensor) -> None:
        room = self._before if writes == "mlp_output" else self._behind
        room[layer] = room[layer] + written if layer in room else written


def _cosine(a: Tensor, b: Tensor) -> float:
    size = float(a.norm() * b.norm())
    return float((a * b).sum()) / size if size > 0 else float("nan")


def _error(real: Tensor, local: Tensor) -> float:
    size = float(real.square().sum())
    return float((real - local).square().sum()) / size if size > 0 else float("nan")
