"""Oracle: relevance equals autograd through a model whose MLPs are replaced by their RelP linearisation."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from engine.models.recording import record
from engine.tracing.run import sweep_prompt
from engine.tracing.spec import Prompt, Target, TraceSpec
from tests.engine.tracing.tiny_models import (
    FAMILIES,
    TinyModel,
    down_rows,
    features_of,
    neuron_inputs,
    nonlinearity,
    tiny_model,
)

PROMPT = [0, 5, 9, 3, 17]
TOKENS = (4, 11)


def relp_gradients(model: TinyModel, token: int) -> tuple[list[Tensor], Tensor, list[Tensor]]:
    """Per layer h * d logit / dh (T, m); embedding * d logit / d embedding (T,); per layer the neuron values."""
    hf, probes, hidden = model.hf, [], []
    leaf: dict[str, Tensor] = {}

    def embed(module: Any, args: Any, kwargs: Any) -> Any:
        leaf["embedding"] = args[0].detach().requires_grad_()
        return (leaf["embedding"], *args[1:]), kwargs

    handle = model.blocks[0].register_forward_pre_hook(embed, with_kwargs=True)
    for block in model.blocks:
        probe = torch.zeros(len(PROMPT), len(down_rows(block.mlp)), dtype=torch.float64, requires_grad=True)
        probes.append(probe)

        def forward(x: Tensor, mlp: Any = block.mlp, probe: Tensor = probe, block: Any = block) -> Tensor:
            gate, up = neuron_inputs(mlp, x)
            if gate is None:
                held = nonlinearity(mlp)(up).detach() / up.detach() * up
            else:
                slope = nonlinearity(mlp)(gate).detach() / gate.detach()
                held = 0.5 * slope * (up.detach() * gate + gate.detach() * up)
            hidden.append(held[0].detach())
            result: Tensor = model.places.in_block(mlp, "down")(held + probe)
            return result

        block.mlp.forward = forward
    try:
        logits = hf(input_ids=torch.tensor([PROMPT]), use_cache=False).logits[0, -1]
    finally:
        handle.remove()
        for block in model.blocks:
            del block.mlp.forward
    target = logits[token] - logits.mean()
    slopes = torch.autograd.grad(target, [*probes, leaf["embedding"]])
    features = [slope * value for slope, value in zip(slopes[:-1], hidden, strict=True)]
    embedding = leaf["embedding"].detach()[0]
    if hasattr(hf, "transformer"):  # GPT-2's learned positions are bias nodes
        embedding = embedding - hf.transformer.wpe.weight[: len(PROMPT)]
    return features, (slopes[-1][0] * embedding).sum(-1), hidden


@pytest.mark.parametrize("family", FAMILIES)
def test_relevance_equals_autograd(family: str) -> None:
    model = tiny_model(family)
    spec = TraceSpec(Prompt(token_ids=tuple(PROMPT)), Target(top_logits=2, logit_mass=1.0), max_nodes=1)
    recording = record(model.weights, PROMPT, first_position=1)
    swept, _ = sweep_prompt(model, features_of(family, "neurons"), spec, recording)  # type: ignore[arg-type]
    expected_features = [torch.zeros(len(PROMPT), 20, dtype=torch.float64) for _ in range(3)]
    expected_embedding = torch.zeros(len(PROMPT), dtype=torch.float64)
    for token, weight in zip(swept.targets.token.tolist(), swept.targets.weight.tolist(), strict=True):
        features, embedding, _ = relp_gradients(model, token)
        for layer, one in enumerate(features):
            expected_features[layer] += weight * one.abs()
        expected_embedding += weight * embedding.abs()
    for layer, one in enumerate(expected_features):
        assert torch.allclose(swept.ranked.features[layer], one.reshape(-1), rtol=1e-7, atol=1e-10)
    assert torch.allclose(swept.ranked.embedding, expected_embedding, rtol=1e-7, atol=1e-10)


def test_without_biases_the_tokens_total_effects_sum_to_the_logit() -> None:
    """RelP conserves end to end: what the method promises for neurons, checked on the reference itself."""
    model = tiny_model("llama")
    for token in TOKENS:
        _, embedding, _ = relp_gradients(model, token)
        logits = model.hf(input_ids=torch.tensor([PROMPT])).logits[0, -1]
        assert float(embedding.sum()) == pytest.approx(float(logits[token] - logits.mean()), rel=1e-9)
