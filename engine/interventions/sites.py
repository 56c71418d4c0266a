"""What a dictionary does at one layer of a changed run: read single features there, and write them.

Shapes: b runs that go through at once, T' positions from `start` on, d residual width, k features asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from engine.dictionaries.features import Features
from engine.dictionaries.linearisation import slope_through_origin
from engine.dictionaries.matrices import take_rows
from engine.dictionaries.transcoder_set import TranscoderFeatures
from engine.dictionaries.transcoders import Transcoder, WriteSite, read_at
from engine.models.recording import Recording
from engine.models.weights import LayerWeights, ModelWeights


@dataclass(frozen=True)
class Reading:
    """What a layer's features read in b runs: `x` (b, T', d), and `before` it the recorded positions (start, d)."""

    x: Tensor
    start: int
    before: Tensor


class Site(Protocol):
    """One layer's features."""

    width: int
    writes: WriteSite
    layers_written: int
    skips: bool

    def reads(self, mid: Tensor, mlp_input: Tensor) -> Tensor:
        """(..., d) what the features read."""

    def linear(self, reading: Reading, run: Tensor, position: Tensor, feature: Tensor) -> Tensor:
        """(k,) pre-activations, or neurons' values; positions count from `start`."""

    def divided(self, reading: Reading, run: Tensor, position: Tensor, feature: Tensor) -> Tensor:
        """(k,) the linear form that edges divide: pre-activations, or neurons' values with gates as recorded."""

    def active(self, reading: Reading, run: Tensor, position: Tensor, feature: Tensor, linear: Tensor) -> Tensor:
        """(k,) bool: which of those count as activations; the others' are 0."""

    def decoder(self, feature: Tensor, place: int) -> Tensor:
        """(k, d) what a unit of each feature writes so many layers further up."""

    def offset(self, feature: Tensor, place: int) -> Tensor | None:
        """(k,) what is added to an active value before it is written there."""

    def skip(self, change: Tensor) -> Tensor:
        """What a change (..., d) of what is read becomes through the linear bypass."""


class NeuronSite:
    """The neurons of one MLP."""

    writes: WriteSite = "mlp_output"
    layers_written = 1
    skips = False

    def __init__(self, layer: LayerWeights, recorded: Tensor) -> None:
        self._mlp, self._recorded = layer.mlp, recorded  # (T, d) what the MLP read in the recorded run
        self.width = layer.mlp.width

    def reads(self, mid: Tensor, mlp_input: Tensor) -> Tensor:
        """What the MLP reads."""
        return mlp_input

    def linear(self, reading: Reading, run: Tensor, position: Tensor, feature: Tensor) -> Tensor:
        """(k,) phi(gate) up, or phi(up)."""
        w, x = self._mlp, reading.x[run, position]
        up = _dot(x, w.w_up, w.b_up, feature)
        if w.w_gate is None:
            return up * slope_through_origin(up, w.activation)
        gate = _dot(x, w.w_gate, w.b_gate, feature)
        return gate * slope_through_origin(gate, w.activation) * up

    def divided(self, reading: Reading, run: Tensor, position: Tensor, feature: Tensor) -> Tensor:
        """(k,) phi(z)/z as recorded times z; of a gated neuron half through each factor, the other as recorded."""
        w, x, before = self._mlp, reading.x[run, position], self._recorded[position + reading.start]
        up, up_before = (_dot(one, w.w_up, w.b_up, feature) for one in (x, before))
        if w.w_gate is None:
            return up * slope_through_origin(up_before, w.activation)
        gate, gate_before = (_dot(one, w.w_gate, w.b_gate, feature) for one in (x, before))
        return 0.5 * slope_through_origin(gate_before, w.activation) * (up_before * gate + gate_before * up)

    def active(self, reading: Reading, run: Tensor, position: Tensor, feature: Tensor, linear: Tensor) -> Tensor:
        """Every neuron counts."""
        return torch.ones_like(linear, dtype=torch.bool)

    def decoder(self, feature: Tensor, place: int) -> Tensor:
        """Columns of the down projection."""
        return self._mlp.w_down[:, feature].T

    def offset(self, feature: Tensor, place: int) -> Tensor | None:
        """Neurons have none."""
        return None

    def skip(self, change: Tensor) -> Tensor:
        """Neurons have no bypass."""
        raise AssertionError("neurons have no bypass")


class TranscoderSite:
    """One layer's transcoder. Features of the first positions are left out where those hold special tokens."""

    def __init__(self, transcoder: Transcoder, layer: LayerWeights, first_position: int) -> None:
        self._transcoder, self._first = transcoder, first_position
        self._gain = layer.mlp_gain
        self._shift = None if layer.mlp_norm is None else layer.mlp_norm.shift
        self.width, self.writes = transcoder.width, transcoder.writes
        self.layers_written = transcoder.layers_written
        self.skips = transcoder.w_skip is not None

    def reads(self, mid: Tensor, mlp_input: Tensor) -> Tensor:
        """What the encoder reads."""
        return read_at(mid, mlp_input, self._shift, self._gain, self._transcoder.reads)

    def linear(self, reading: Reading, run: Tensor, position: Tensor, feature: Tensor) -> Tensor:
        """(k,) pre-activations."""
        x = reading.x[run, position]
        rows = take_rows(self._transcoder.w_enc, feature).to(x.dtype)
        return (x * rows).sum(-1) + self._transcoder.b_enc[feature].to(x.dtype)

    def divided(self, reading: Reading, run: Tensor, position: Tensor, feature: Tensor) -> Tensor:
        """(k,) pre-activations: they are linear."""
        return self.linear(reading, run, position, feature)

    def active(self, reading: Reading, run: Tensor, position: Tensor, feature: Tensor, linear: Tensor) -> Tensor:
        """(k,) bool, as the encoder's gate says; TopK asks for all features of the position, or of the prompt."""
        one = self._transcoder
        if one.top_k is None:
            gate = linear > (0 if one.threshold is None else one.threshold[feature].to(linear.dtype))
        elif one.choice == "prompt":
            gate = self._chosen_of_prompt(reading, run, position, feature)
        else:
            length = reading.x.shape[1]
            places, which = torch.unique(run * length + position, return_inverse=True)
            full = one.pre_activations(reading.x[places // length, places % length])
            gate = one.gate(full)[which, feature]
        return gate & (position + reading.start >= self._first)

    def _chosen_of_prompt(self, reading: Reading, run: Tensor, position: Tensor, feature: Tensor) -> Tensor:
        gate = torch.zeros_like(run, dtype=torch.bool)
        for number in torch.unique(run).tolist():
            mine = run == number
            whole = torch.cat([reading.before, reading.x[number]])
            chosen = self._transcoder.gate(self._transcoder.pre_activations(whole))
            gate[mine] = chosen[position[mine] + len(reading.before), feature[mine]]
        return gate

    def decoder(self, feature: Tensor, place: int) -> Tensor:
        """(k, d) decoder rows."""
        stacked = len(self._transcoder.w_dec.shape) == 3
        return take_rows(self._transcoder.w_dec, feature, place if stacked else None)

    def offset(self, feature: Tensor, place: int) -> Tensor | None:
        """(k,) of sets that have offsets."""
        own = self._transcoder.offset
        return None if own is None else own[place, feature]

    def skip(self, change: Tensor) -> Tensor:
        """A change of what is read, times W_skip."""
        assert self._transcoder.w_skip is not None
        return change @ self._transcoder.w_skip.to(change.dtype).T


def sites_of(features: Features, weights: ModelWeights, recording: Recording) -> list[Site | None]:
    """Every layer's features; None where the dictionary has none."""
    if not isinstance(features, TranscoderFeatures):
        records = zip(weights.layers, recording.layers, strict=True)
        return [NeuronSite(layer, record.mlp_input) for layer, record in records]
    return [
        None if one is None else TranscoderSite(one, layer, recording.first_position)
        for one, layer in zip(features.transcoders, weights.layers, strict=True)
    ]


def recorded_reading(site: Site, recording: Recording, layer: int) -> Reading:
    """What a layer's features read in the recorded run."""
    record = recording.layers[layer]
    x = site.reads(record.mid, record.mlp_input)
    return Reading(x[None], 0, x[:0])


def _dot(x: Tensor, weight: Tensor, bias: Tensor | None, feature: Tensor) -> Tensor:
    out = (x * weight[feature].to(x.dtype)).sum(-1)
    return out if bias is None else out + bias[feature].to(x.dtype)
