"""Changed runs by hooks in transformers' own forward pass, from the definitions of docs/interventions.md.

One run of the whole model for each set of changes, nothing reused, nothing batched, float64. It knows the dictionaries'
weights and the models' modules, and nothing of how the engine runs changes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from engine.dictionaries.neurons import NeuronFeatures
from engine.dictionaries.transcoder_set import TranscoderFeatures
from engine.dictionaries.transcoders import Transcoder
from tests.engine.tracing.test_edges_autograd import decoder_to
from tests.engine.tracing.tiny_models import TinyModel, down_rows, neuron_inputs, neuron_values, nonlinearity

AnyFeatures = NeuronFeatures | TranscoderFeatures


@dataclass(frozen=True)
class FeatureValue:
    """A feature or neuron at a position that gets this value."""

    layer: int
    position: int
    feature: int
    value: float


@dataclass(frozen=True)
class Added:
    """A vector (d,) added behind a layer's MLP branch, or with layer -1 to the embedding."""

    layer: int
    position: int
    vector: Tensor


@dataclass(frozen=True)
class HeadValue:
    """What a head puts out at a position is replaced by this (h,)."""

    layer: int
    position: int
    head: int
    value: Tensor


@dataclass(frozen=True)
class Asked:
    """One set of changes and what is held: attention patterns, all norms, MLP outputs of some layers."""

    features: Sequence[FeatureValue] = ()
    added: Sequence[Added] = ()
    heads: Sequence[HeadValue] = ()
    attention: bool = True
    norms: bool = False
    layers: range = range(0)
    recompute: bool = False


@dataclass
class Seen:
    """What a run left behind."""

    mid: list[Tensor] = field(default_factory=list)
    mlp_input: list[Tensor] = field(default_factory=list)
    mlp_output: list[Tensor] = field(default_factory=list)
    heads: list[Tensor] = field(default_factory=list)  # (T, H, h)
    embedding: Tensor = field(default_factory=lambda: torch.zeros(0))
    logits: Tensor = field(default_factory=lambda: torch.zeros(0))  # (T, V)


NAMES_OF_OUT = ("o_proj", "c_proj", "dense")


class HookedRun:
    """One run. `base` is the run without changes, None for that run itself."""

    def __init__(self, model: TinyModel, features: AnyFeatures, asked: Asked, base: Seen | None, first: int) -> None:
        self.model, self.features, self.asked, self.base, self.first = model, features, asked, base, first
        self.seen = Seen()
        self.before: dict[int, list[tuple[int, Tensor]]] = {}
        self.after: dict[int, list[tuple[int, Tensor]]] = {}

    def run(self, ids: Sequence[int]) -> Seen:
        places, handles = self.model.places, []
        has_post = places.branch_end != "mlp"
        handles.append(self.model.blocks[0].register_forward_pre_hook(self.embedding, with_kwargs=True))
        for layer, block in enumerate(self.model.blocks):
            attention = places.in_block(block, "attention")
            out = next(getattr(attention, name) for name in NAMES_OF_OUT if hasattr(attention, name))
            handles.append(out.register_forward_pre_hook(lambda m, a, layer=layer: self.heads(layer, a)))
            reads = places.in_block(block, "mlp_reads")
            handles.append(reads.register_forward_pre_hook(lambda m, a: self.seen.mid.append(a[0][0])))
            handles.append(block.mlp.register_forward_hook(lambda m, a, o, layer=layer: self.mlp(layer, a[0], o)))
            end = places.in_block(block, "branch_end") if has_post else block.mlp
            handles.append(end.register_forward_hook(lambda m, a, o, layer=layer: self.branch(layer, o)))
        try:
            with torch.no_grad(), held(self.model, self.asked if self.base is not None else None):
                self.seen.logits = self.model.hf(input_ids=torch.tensor([list(ids)]), use_cache=False).logits[0]
        finally:
            for handle in handles:
                handle.remove()
        return self.seen

    def embedding(self, module: Any, args: Any, kwargs: Any) -> Any:
        x = args[0].clone()
        self.seen.embedding = args[0][0]
        for one in self.asked.added:
            if one.layer < 0:
                x[0, one.position] += one.vector
        return (x, *args[1:]), kwargs

    def heads(self, layer: int, args: Any) -> Any:
        width = self.model.weights.layers[layer].attention.d_head
        x = args[0].clone().view(1, args[0].shape[1], -1, width)
        self.seen.heads.append(x[0].clone())
        for one in self.asked.heads:
            if one.layer == layer:
                assert self.base is not None
                recorded = self.base.heads[layer][one.position, one.head]
                here = x[0, one.position, one.head]
                x[0, one.position, one.head] = one.value if self.asked.recompute else here + one.value - recorded
        return (x.view(args[0].shape), *args[1:])

    def mlp(self, layer: int, x: Tensor, output: Tensor) -> Tensor:
        self.seen.mlp_input.append(x[0])
        self.seen.mlp_output.append(output[0])
        transcoder = self.transcoder(layer)
        if layer in self.asked.layers:
            assert self.base is not None
            output = self.base.mlp_output[layer][None].clone()
            if transcoder is not None and transcoder.w_skip is not None:
                change = self.read(layer, self.seen, transcoder) - self.read(layer, self.base, transcoder)
                rows = change @ transcoder.w_skip.T
                writes = self.before if transcoder.writes == "mlp_output" else self.after
                writes.setdefault(layer, []).extend(enumerate(rows))
        self.write(layer, x[0])
        return added(output, self.before.get(layer, []))

    def branch(self, layer: int, output: Tensor) -> Tensor:
        rows = self.after.get(layer, []) + [(o.position, o.vector) for o in self.asked.added if o.layer == layer]
        return added(output, rows)

    def write(self, layer: int, x: Tensor) -> None:
        """What the features of a layer write more than they would, at every layer they write to."""
        transcoder = self.transcoder(layer)
        for one in self.asked.features:
            if one.layer != layer:
                continue
            source = self.seen if self.asked.recompute else self.base
            assert source is not None
            current = self.activations(layer, source)[one.position, one.feature]
            for at in range(layer, len(self.model.blocks)):
                if not self.asked.recompute and at not in self.asked.layers:
                    continue
                if transcoder is None:
                    if at > layer:
                        continue
                    row, before = down_rows(self.model.blocks[layer].mlp)[one.feature], True
                else:
                    rows = decoder_to(transcoder, layer, at)
                    if rows is None:
                        continue
                    row, before = rows[one.feature], transcoder.writes == "mlp_output"
                place = self.before if before else self.after
                place.setdefault(at, []).append((one.position, (one.value - current) * row))

    def transcoder(self, layer: int) -> Transcoder | None:
        return self.features.transcoders[layer] if isinstance(self.features, TranscoderFeatures) else None

    def linear(self, layer: int, run: Seen) -> Tensor:
        """(T, n) pre-activations, or neurons' values."""
        transcoder = self.transcoder(layer)
        if transcoder is None:
            return neuron_values(self.model.blocks[layer].mlp, run.mlp_input[layer])
        assert isinstance(transcoder.w_enc, Tensor)
        return self.read(layer, run, transcoder) @ transcoder.w_enc.T + transcoder.b_enc

    def divided(self, layer: int, run: Seen) -> Tensor:
        """(T, n) what edges divide: pre-activations; of neurons phi(z)/z z, that ratio and each factor's partner as in
        the run without changes (half through each of two factors)."""
        if self.transcoder(layer) is not None:
            return self.linear(layer, run)
        mlp, base = self.model.blocks[layer].mlp, self.seen if self.base is None else self.base
        phi, (gate, up) = nonlinearity(mlp), neuron_inputs(mlp, run.mlp_input[layer])
        gate_0, up_0 = neuron_inputs(mlp, base.mlp_input[layer])
        if gate is None or gate_0 is None:
            return phi(up_0) / up_0 * up
        return phi(gate_0) / gate_0 * (gate * up_0 + gate_0 * up) / 2

    def activations(self, layer: int, run: Seen) -> Tensor:
        """(T, n): the definitions of ReLU, JumpReLU and TopK; none where positions are left out."""
        transcoder, pre = self.transcoder(layer), self.linear(layer, run)
        if transcoder is None:
            return pre
        gate = pre > (0 if transcoder.threshold is None else transcoder.threshold)
        if transcoder.top_k is not None:
            gate &= pre >= pre.sort(-1).values[:, -transcoder.top_k, None]
        gate[: self.first] = False
        return pre * gate

    def read(self, layer: int, run: Seen, transcoder: Transcoder) -> Tensor:
        if transcoder.reads == "residual":
            return run.mid[layer]
        x = run.mlp_input[layer]
        norm = self.model.places.in_block(self.model.blocks[layer], "mlp_reads")
        if transcoder.reads == "mlp_input" or not hasattr(norm, "weight"):
            return x
        shift = getattr(norm, "bias", None)
        gain = norm.weight + (1 if "Gemma" in type(norm).__name__ else 0)
        return (x if shift is None else x - shift) / gain


def added(output: Tensor, rows: Sequence[tuple[int, Tensor]]) -> Tensor:
    output = output.clone()
    for position, vector in rows:
        output[0, position] += vector
    return output


@contextmanager
def held(model: TinyModel, asked: Asked | None) -> Iterator[None]:
    """Hold what the last run without changes saw: attention patterns, and all norms' denominators."""
    modules = [] if asked is None else [module for module in model.hf.modules() if hasattr(module, "seen")]
    for module in modules:
        pattern = module.seen.dim() == 4 and "Norm" not in type(module).__name__
        module.kept = module.seen
        if asked is not None and (asked.attention if pattern else asked.norms):
            module.held = module.seen
    try:
        yield
    finally:
        for module in modules:
            module.held, module.seen = None, module.kept
