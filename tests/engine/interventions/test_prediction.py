"""Oracle: predictions equal autograd through transformers' own forward pass, its attention patterns and norms held.

The tiny models hold those two for autograd by themselves. Neurons answer with their own nonlinearity; with `nowhere`,
MLP outputs are constants, as for edges.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from engine.errors import RequestError
from engine.interventions.prediction import Write, everywhere, nowhere, predicted_effects
from engine.models.recording import record
from engine.tracing.run import Swept, sweep_prompt
from engine.tracing.spec import Prompt, Target, TraceSpec
from tests.engine.tracing.tiny_models import FAMILIES, TinyModel, down_rows, features_of, neuron_inputs, nonlinearity
from tests.engine.tracing.tiny_models import tiny_model as tiny

PROMPT = (0, 5, 9, 3, 17)
TARGET = (2, 4, 7)  # a neuron of the last layer
SOURCES = [(0, 1, 3), (1, 2, 5), (1, 4, 11), (2, 4, 2)]


def traced(family: str, kind: str) -> Swept:
    spec = TraceSpec(Prompt(token_ids=PROMPT), Target(top_logits=2, logit_mass=1.0), max_nodes=40)
    model = tiny(family)
    recording = record(model.weights, PROMPT, first_position=1)
    return sweep_prompt(model, features_of(family, kind), spec, recording)[0]  # type: ignore[arg-type]


def slopes(model: TinyModel, tokens: list[int], *, frozen: bool) -> Tensor:
    """(3, sources + 1): d target / d source times the source's value; the last source is a write after attention."""
    probes, hidden = [], {}
    write = torch.zeros(len(PROMPT), model.weights.d_model, dtype=torch.float64, requires_grad=True)
    for layer, block in enumerate(model.blocks):
        probe = torch.zeros(len(PROMPT), len(down_rows(block.mlp)), dtype=torch.float64, requires_grad=True)
        probes.append(probe)

        def forward(
            x: Tensor, mlp: Any = block.mlp, probe: Tensor = probe, block: Any = block, layer: int = layer
        ) -> Tensor:
            gate, up = neuron_inputs(mlp, x)
            value = nonlinearity(mlp)(up) if gate is None else nonlinearity(mlp)(gate) * up
            hidden[layer] = value[0]
            result: Tensor = model.places.in_block(mlp, "down")((value.detach() if frozen else value) + probe)
            return result

        block.mlp.forward = forward

    def attention(module: Any, args: Any, output: Any) -> Any:
        return (output[0] + write, *output[1:]) if isinstance(output, tuple) else output + write

    handle = model.places.in_block(model.blocks[1], "attention_end").register_forward_hook(attention)
    try:
        logits = model.hf(input_ids=torch.tensor([list(PROMPT)]), use_cache=False).logits[0, -1]
    finally:
        handle.remove()
        for block in model.blocks:
            del block.mlp.forward
    layer, position, feature = TARGET
    rows = []
    for target in [hidden[layer][position, feature], *(logits[one] - logits.mean() for one in tokens)]:
        found = torch.autograd.grad(
            target, [*probes, write], retain_graph=True, allow_unused=True, materialize_grads=True
        )
        row = [found[s][p, f] * hidden[s][p, f].detach() for s, p, f in SOURCES]
        rows.append(torch.stack([*row, found[-1][3] @ direction(model)]))
    return torch.stack(rows)


def direction(model: TinyModel) -> Tensor:
    return torch.linspace(-1, 2, model.weights.d_model, dtype=torch.float64)


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("family", [one for one in FAMILIES if one not in ("gemma2", "gemma3-capped")])
def test_neurons_change_as_autograd_says(family: str, frozen: bool) -> None:
    model, swept = tiny(family), traced(family, "neurons")
    through = nowhere if frozen else everywhere
    sources = [*SOURCES, Write("attention", 1, 3, direction(model))]
    found = predicted_effects(swept.model, sources, [TARGET], swept.targets, through=through)
    expected = slopes(model, swept.targets.token.tolist(), frozen=frozen)
    # The target neuron lies beside the last source, in one layer, and does not feel it.
    assert found[0, 3] == 0
    assert torch.allclose(torch.from_numpy(found), expected.detach(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", ["relu", "skip", "cross-layer", "cross-layer-skip-before-post-norm"])
@pytest.mark.parametrize("family", ["llama", "gemma3", "neox"])
def test_direct_predictions_of_transcoders_are_the_graphs_edges(family: str, kind: str) -> None:
    swept = traced(family, kind)
    layer = max(swept.table.layers)
    block = swept.table.layers[layer]
    at = swept.layers[layer]
    number = int(block.numbers[0])
    target = (layer, int(at.position[number]), int(at.feature[number]))
    below = [(one, int(number)) for one in range(layer) for number in swept.columns.picked[one][:5]]
    sources = [
        (one, int(swept.layers[one].position[number]), int(swept.layers[one].feature[number])) for one, number in below
    ]
    columns = [
        swept.columns.first[one] + int(torch.searchsorted(swept.columns.picked[one], number)) for one, number in below
    ]
    found = predicted_effects(swept.model, sources, [target], swept.targets, through=nowhere)
    assert len(sources) > 3
    assert torch.allclose(torch.from_numpy(found[0]), block.rows.kept[0, columns].double(), atol=1e-12)
    assert torch.allclose(torch.from_numpy(found[1:]), swept.table.logits.rows.kept[:, columns].double(), atol=1e-12)


def test_a_clamped_layer_passes_nothing_on() -> None:
    swept = traced("llama", "neurons")
    every, some = [
        predicted_effects(swept.model, [(0, 1, 3)], [], swept.targets, through=through)
        for through in (everywhere, lambda layer: layer > 1)
    ]
    direct = predicted_effects(swept.model, [(0, 1, 3)], [], swept.targets, through=nowhere)
    assert abs(every - some).max() > 1e-6 and abs(some - direct).max() > 1e-6


def test_what_is_not_there_is_refused() -> None:
    swept = traced("llama", "relu")
    with pytest.raises(RequestError, match="not active"):
        predicted_effects(swept.model, [(0, 1, 99)], [], swept.targets)
