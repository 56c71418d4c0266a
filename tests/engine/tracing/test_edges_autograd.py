"""Oracle: every edge equals autograd's, float64, to 1e-9, for every family and kind of dictionary."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from engine.dictionaries.transcoder_set import TranscoderFeatures
from engine.dictionaries.transcoders import Transcoder
from engine.models.recording import record
from engine.tracing.run import Swept, sweep_prompt
from engine.tracing.spec import Prompt, Target, TraceSpec
from tests.engine.tracing.autograd_reference import Reference, linearised_run
from tests.engine.tracing.tiny_models import (
    FAMILIES,
    KINDS,
    TinyModel,
    down_rows,
    features_of,
    neuron_inputs,
    neuron_values,
    nonlinearity,
    tiny_model,
)

PROMPT = [0, 5, 9, 3, 17]


def swept(model: TinyModel, family: str, kind: str, ids: list[int] = PROMPT) -> Swept:
    spec = TraceSpec(Prompt(token_ids=tuple(ids)), Target(top_logits=3), max_nodes=60)
    first = 1 if model.tokenizer.is_special(ids[0]) else 0
    recording = record(model.weights, ids, first_position=first)
    return sweep_prompt(model, features_of(family, kind), spec, recording)[0]  # type: ignore[arg-type]


def target_form(
    reference: Reference, model: TinyModel, kind: str, family: str, layer: int, place: tuple[int, int]
) -> Tensor:
    """The scalar whose gradient a feature's row must be, written from its definition on the reference's own tensors."""
    position, feature = place
    if kind == "neurons":
        mlp = model.blocks[layer].mlp
        gates, ups = neuron_inputs(mlp, reference.mlp_input[layer][position])
        up = ups[feature]
        if gates is None:
            return nonlinearity(mlp)(up.detach()) * up / up.detach()
        gate = gates[feature]
        value = nonlinearity(mlp)(gate.detach()) * up.detach()
        # phi(g)/g held, half of the product's change to each factor.
        return 0.5 * value * (gate / gate.detach() + up / up.detach())
    features = features_of(family, kind)
    assert isinstance(features, TranscoderFeatures)
    transcoder = features.transcoders[layer]
    assert transcoder is not None
    x = read_input(reference, model, layer, transcoder.reads)
    return transcoder.w_enc[feature] @ x[position] + transcoder.b_enc[feature]


def read_input(reference: Reference, model: TinyModel, layer: int, reads: str) -> Tensor:
    if reads == "residual":
        return reference.mid[layer]
    x = reference.mlp_input[layer]
    if reads == "mlp_input":
        return x
    norm = model.places.in_block(model.blocks[layer], "mlp_reads")
    if not hasattr(norm, "weight"):  # OLMo 2 has no norm before the MLP
        return x
    shift = getattr(norm, "bias", None)
    gain = norm.weight + (1 if "Gemma" in type(norm).__name__ else 0)
    return (x if shift is None else x - shift) / gain


def expected_row(
    reference: Reference, model: TinyModel, family: str, kind: str, trace: Swept, target: Tensor
) -> Tensor:
    """The row of one target over the trace's columns, from autograd and the definitions of the sources."""
    columns, slopes = trace.columns, reference.gradients(target)
    row = torch.zeros(columns.count, dtype=torch.float64)
    for layer, features in enumerate(trace.layers):
        numbers = columns.picked[layer]
        position, feature = features.position[numbers], features.feature[numbers]
        if kind == "neurons":
            mlp = model.blocks[layer].mlp
            hidden = neuron_values(mlp, reference.mlp_input[layer].detach())
            written = hidden[position, feature, None] * down_rows(mlp)[feature]
            effect = (slopes["before_post"][layer][position] * written).sum(-1)
        else:
            effect = transcoder_effects(reference, model, family, kind, layer, slopes, position, feature, row, trace)
        row[columns.feature_columns(layer)] = effect
    slope, embedding = slopes["embedding"][0], reference.embedding.detach()
    if hasattr(model.hf, "transformer"):  # GPT-2 adds learned positions to its tokens
        positions = model.hf.transformer.wpe.weight[: len(embedding)]
        row[columns.position_embedding] = (slope * positions).sum(-1)
        embedding = embedding - positions
    row[columns.embedding] = (slope * embedding).sum(-1)
    return row


def transcoder_effects(
    reference: Reference,
    model: TinyModel,
    family: str,
    kind: str,
    layer: int,
    slopes: dict[str, list[Tensor]],
    position: Tensor,
    feature: Tensor,
    row: Tensor,
    trace: Swept,
) -> Tensor:
    """Effects of a layer's features, whatever layers they write to; the layer's error goes into `row`."""
    features = features_of(family, kind)
    assert isinstance(features, TranscoderFeatures)
    transcoder = features.transcoders[layer]
    if transcoder is None:
        error = reference.branch_output[layer]
        _put(row, trace.columns.error[layer], (slopes["after_mlp"][layer] * error).sum(-1))
        return torch.zeros(len(feature), dtype=torch.float64)
    before_post = transcoder.writes == "mlp_output"
    slope = slopes["before_post" if before_post else "after_mlp"]
    error = (reference.mlp_output if before_post else reference.branch_output)[layer] - transcoder.b_dec
    for source in range(layer + 1):
        writer = features.transcoders[source]
        if writer is not None and (decoder := decoder_to(writer, source, layer)) is not None:
            error = error - active(reference, model, writer, source) @ decoder
    if transcoder.w_skip is not None:
        error = error - read_input(reference, model, layer, transcoder.reads).detach() @ transcoder.w_skip.T
    error[0] = 0  # position 0 holds a special token: its features and error are left out
    _put(row, trace.columns.error[layer], (slope[layer] * error).sum(-1))
    value, effect = active(reference, model, transcoder, layer)[position, feature], torch.zeros(len(feature))
    for at in range(layer, len(model.blocks)):
        decoder = decoder_to(transcoder, layer, at)
        if decoder is not None:
            effect = effect + value * (slope[at][position] * decoder[feature]).sum(-1)
    return effect


def decoder_to(transcoder: Transcoder, layer: int, at: int) -> Tensor | None:
    """(n, d) the decoder with which features of `layer` write at `at`."""
    assert isinstance(transcoder.w_dec, Tensor)
    if transcoder.w_dec.ndim == 3:
        return transcoder.w_dec[:, at - layer]
    return transcoder.w_dec if at == layer else None


def active(reference: Reference, model: TinyModel, transcoder: Transcoder, layer: int) -> Tensor:
    """(T, n) activations by the definitions of ReLU, JumpReLU and TopK; none at position 0."""
    assert isinstance(transcoder.w_enc, Tensor)
    x = read_input(reference, model, layer, transcoder.reads).detach()
    pre = x @ transcoder.w_enc.T + transcoder.b_enc
    floor = transcoder.threshold if transcoder.threshold is not None else torch.zeros(transcoder.width)
    gate = pre > floor
    if transcoder.top_k is not None:
        gate &= pre >= pre.sort(-1, descending=True).values[:, transcoder.top_k - 1, None]
    gate[0] = False
    return torch.where(gate, pre, 0)


def _put(row: Tensor, column: Tensor, effect: Tensor) -> None:
    row[column[column >= 0]] = effect[column >= 0]


def not_bias(trace: Swept) -> Tensor:
    """Columns that autograd's reference fills: all but biases, which conservation checks."""
    mask = torch.ones(trace.columns.count, dtype=torch.bool)
    for column in trace.columns.bias:
        mask[column[column >= 0]] = False
    mask[trace.columns.own] = False
    return mask


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("family", FAMILIES)
def test_feature_rows_equal_autograd(family: str, kind: str) -> None:
    model = tiny_model(family)
    trace = swept(model, family, kind)
    features = features_of(family, kind)
    skips = features.transcoders if isinstance(features, TranscoderFeatures) else None
    reference = linearised_run(model, PROMPT, skips)
    here = not_bias(trace)
    compared = 0
    for layer, block in trace.table.layers.items():
        at = trace.layers[layer]
        for number, row in list(zip(block.numbers.tolist(), block.rows.kept, strict=True))[:12]:
            place = (int(at.position[number]), int(at.feature[number]))
            target = target_form(reference, model, kind, family, layer, place)
            expected = expected_row(reference, model, family, kind, trace, target)
            scale = expected.abs().max().clamp_min(1e-6)
            assert ((row - expected)[here].abs() / scale).max() < 1e-9
            compared += 1
    assert compared >= 6


@pytest.mark.parametrize("kind", ["neurons", "relu", "skip", "cross-layer"])
@pytest.mark.parametrize("family", FAMILIES)
def test_logit_rows_equal_autograd(family: str, kind: str) -> None:
    model = tiny_model(family)
    trace = swept(model, family, kind)
    features = features_of(family, kind)
    skips = features.transcoders if isinstance(features, TranscoderFeatures) else None
    reference = linearised_run(model, PROMPT, skips)
    logits = reference.logits[-1]
    for number, token in enumerate(trace.targets.token.tolist()):
        expected = expected_row(reference, model, family, kind, trace, logits[token] - logits.mean())
        row = trace.table.logits.rows.kept[number]
        assert ((row - expected)[not_bias(trace)].abs() / expected.abs().max()).max() < 1e-9


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("ids", [PROMPT, [4, 8, 15]], ids=["bos", "no-bos"])
def test_every_row_conserves(family: str, kind: str, ids: list[int]) -> None:
    model = tiny_model(family)
    trace = swept(model, family, kind, ids)
    for block in [trace.table.logits, *trace.table.layers.values()]:
        assert len(block.value)
        scale = torch.maximum(block.value.abs(), 1e-3 * block.rows.absolute)
        assert ((block.rows.signed - block.value).abs() / scale).max() < 1e-9


@pytest.mark.parametrize("family", FAMILIES)
def test_values_are_the_models_own(family: str) -> None:
    """The linear forms equal what the unmodified model computes: neuron values and (uncapped) demeaned logits."""
    model = tiny_model(family)
    trace = swept(model, family, "neurons")
    caught: dict[int, Tensor] = {}
    handles = [
        model.places.in_block(block.mlp, "down").register_forward_pre_hook(
            lambda module, args, layer=layer: caught.__setitem__(layer, args[0][0])
        )
        for layer, block in enumerate(model.blocks)
    ]
    model.hf(input_ids=torch.tensor([PROMPT]))
    for handle in handles:
        handle.remove()
    for layer, block in trace.table.layers.items():
        at = trace.layers[layer]
        real = caught[layer][at.position[block.numbers], at.feature[block.numbers]]
        assert torch.allclose(block.value, real, rtol=1e-9, atol=1e-12)
