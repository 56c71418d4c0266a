"""Oracle: an edge is the change of its target when its source's vector is added once more, everything else held.

For neurons v_in is checked against its own linear form here; the Jacobian form is checked against finite differences of
the neuron itself.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from engine.dictionaries.neurons import NeuronLayer
from engine.dictionaries.transcoder_set import TranscoderFeatures
from engine.tracing.columns import Columns
from engine.tracing.run import Swept
from tests.engine.tracing.frozen_run import Addition, Run, everything_held, run
from tests.engine.tracing.test_edges_autograd import PROMPT, decoder_to, swept
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

SAMPLED = 10


def additions_of(model: TinyModel, family: str, kind: str, base: Run, trace: Swept) -> list[tuple[int, list[Addition]]]:
    """Some sources: their column, and what they write where, from their definitions."""
    columns, found = trace.columns, []
    features = features_of(family, kind)
    for layer, active in enumerate(trace.layers[:-1]):
        numbers = columns.picked[layer][:SAMPLED]
        for offset, number in enumerate(numbers.tolist()):
            position, feature = int(active.position[number]), int(active.feature[number])
            if isinstance(features, TranscoderFeatures):
                writes = transcoder_writes(features, layer, position, feature, float(active.activation[number]))
            else:
                mlp = model.blocks[layer].mlp
                value = neuron_values(mlp, base.mlp_input[layer])[position, feature]
                writes = [Addition("mlp", layer, position, value * down_rows(mlp)[feature])]
            found.append((columns.first[layer] + offset, writes))
    for position, column in enumerate(columns.embedding.tolist()):
        token = base.embedding[position]
        if hasattr(model.hf, "transformer"):
            token = token - model.hf.transformer.wpe.weight[position]
        found.append((column, [Addition("embedding", -1, position, token)]))
    return found + error_additions(trace, columns)


def transcoder_writes(
    features: TranscoderFeatures, layer: int, position: int, feature: int, activation: float
) -> list[Addition]:
    transcoder = features.transcoders[layer]
    assert transcoder is not None
    place = "mlp" if transcoder.writes == "mlp_output" else "branch"
    decoders = [(at, decoder_to(transcoder, layer, at)) for at in range(layer, len(features.transcoders))]
    return [Addition(place, at, position, activation * rows[feature]) for at, rows in decoders if rows is not None]


def error_additions(trace: Swept, columns: Columns) -> list[tuple[int, list[Addition]]]:
    found = []
    for layer, active in enumerate(trace.layers[:-1]):
        if active.error is not None:
            for position, column in enumerate(columns.error[layer].tolist()):
                if column >= 0:
                    found.append((column, [Addition("branch", layer, position, active.error[position])]))
    return found


def forms(model: TinyModel, family: str, kind: str, base: Run, now: Run, trace: Swept) -> Tensor:
    """The linear form of every traced feature, then of every logit (against the mean), in one run."""
    values: list[Tensor] = []
    features = features_of(family, kind)
    for layer, block in sorted(trace.table.layers.items()):
        at = trace.layers[layer]
        position, feature = at.position[block.numbers], at.feature[block.numbers]
        if isinstance(features, TranscoderFeatures):
            transcoder = features.transcoders[layer]
            assert transcoder is not None
            assert isinstance(transcoder.w_enc, Tensor)
            x = read_input(model, now, layer, transcoder.reads)
            pre = x @ transcoder.w_enc.T + transcoder.b_enc
            values.append(pre[position, feature])
        else:
            values.append(held_neurons(model, base, now, layer)[position, feature])
    logits = now.logits[-1]
    values.append(logits[torch.tensor(trace.targets.token)] - logits.mean())
    return torch.cat(values)


def held_neurons(model: TinyModel, base: Run, now: Run, layer: int) -> Tensor:
    """(T, m) the RelP linear form of every neuron: gates of the first run, inputs of this one."""
    mlp = model.blocks[layer].mlp
    (gate0, up0), (gate, up) = neuron_inputs(mlp, base.mlp_input[layer]), neuron_inputs(mlp, now.mlp_input[layer])
    if gate0 is None or gate is None:
        return nonlinearity(mlp)(up0) / up0 * up
    return 0.5 * nonlinearity(mlp)(gate0) / gate0 * (up0 * gate + gate0 * up)


def read_input(model: TinyModel, now: Run, layer: int, reads: str) -> Tensor:
    if reads == "residual":
        return now.mid[layer]
    x = now.mlp_input[layer]
    norm = model.places.in_block(model.blocks[layer], "mlp_reads")
    if reads == "mlp_input" or not hasattr(norm, "weight"):
        return x
    shift = getattr(norm, "bias", None)
    return (x if shift is None else x - shift) / (norm.weight + (1 if "Gemma" in type(norm).__name__ else 0))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("family", [family for family in FAMILIES if family not in ("gemma2", "gemma3-capped")])
def test_columns_are_interventions(family: str, kind: str) -> None:
    """Families with a softcap are left to autograd: there a logit's edge is a slope, not a finite change."""
    model = tiny_model(family)
    trace = swept(model, family, kind)
    features = features_of(family, kind)
    skips = features.transcoders if isinstance(features, TranscoderFeatures) else None
    base = run(model, PROMPT)
    blocks = [block for _, block in sorted(trace.table.layers.items())] + [trace.table.logits]
    rows = torch.cat([block.rows.kept for block in blocks])
    with everything_held(model):
        before = forms(model, family, kind, base, run(model, PROMPT, base, skips=skips), trace)
        sources = additions_of(model, family, kind, base, trace)
        assert len(sources) > 10
        for column, additions in sources:
            after = forms(model, family, kind, base, run(model, PROMPT, base, additions, skips), trace)
            expected, edge = after - before, rows[:, column]
            scale = torch.maximum(expected.abs().max(), before.abs().max() * 1e-3)
            assert ((edge - expected).abs() / scale).max() < 1e-9
    assert (trace.table.logits.value - before[-len(trace.targets.token) :]).abs().max() < 1e-9


@pytest.mark.parametrize("family", FAMILIES)
def test_the_jacobian_form_of_a_neuron_is_its_true_slope(family: str) -> None:
    """Central differences of the neuron's value, its input moved along random directions before the MLP's norm held."""
    model = tiny_model(family)
    trace = swept(model, family, "neurons")
    base = run(model, PROMPT)
    generator = torch.Generator().manual_seed(0)
    for layer, active in enumerate(trace.layers):
        assert isinstance(active, NeuronLayer)
        index = torch.randperm(len(active.position), generator=generator)[:15]
        position, neuron = active.position[index], active.feature[index]
        vectors = active.jacobian_vectors(index)
        direction = torch.randn(len(PROMPT), 24, dtype=torch.float64, generator=generator)
        step = 1e-5
        norm = trace.model.attention[layer].record.mlp_norm
        moved = norm.apply(direction)
        up, down = (
            neuron_values(model.blocks[layer].mlp, base.mlp_input[layer] + sign * step * moved) for sign in (1, -1)
        )
        slope = ((up - down) / (2 * step))[position, neuron]
        assert torch.allclose((vectors * direction[position]).sum(-1), slope, rtol=1e-6, atol=1e-7)
