"""The tracer on the two real models: what they say, and that every row of a trace sums to its own value."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from engine.dictionaries import load_features
from engine.dictionaries.transcoder_set import TranscoderFeatures
from engine.dictionaries.transcoders import Transcoder
from engine.graphs import NodeKind
from engine.tracing import CONSERVATION_BOUND, Prompt, TraceSpec, trace

if TYPE_CHECKING:
    from engine.models import LanguageModel


@pytest.mark.parametrize(
    ("prompt", "says", "probability"),
    [("The capital of Texas is", " Austin", 0.31), ("The opposite of hot is", " cold", 0.26)],
)
def test_smollm_neurons(smollm: LanguageModel, prompt: str, says: str, probability: float) -> None:
    result = trace(smollm, load_features(None, smollm), TraceSpec(Prompt(prompt), max_nodes=150))
    top = result.report["top_tokens"][0]
    assert top["token"] == says
    assert top["probability"] == pytest.approx(probability, abs=0.03)
    assert result.report["conservation_error"] < CONSERVATION_BOUND
    assert result.graph.conservation_error.max() < CONSERVATION_BOUND
    assert len(result.graph.of_kind(NodeKind.FEATURE)) == 150
    assert result.report["replacement"] is None


def test_gemma_neurons(gemma: LanguageModel) -> None:
    prompt = "Fact: Michael Jordan plays the sport of"
    result = trace(gemma, load_features(None, gemma), TraceSpec(Prompt(prompt), max_nodes=60))
    assert result.report["top_tokens"][0]["token"] == " basketball"
    assert result.report["conservation_error"] < CONSERVATION_BOUND


@pytest.mark.parametrize("model_name", ["smollm", "gemma"])
def test_random_transcoders_on_a_real_model(model_name: str, request: pytest.FixtureRequest) -> None:
    """JumpReLU transcoders with an affine skip: errors large, edges exact all the same."""
    model: LanguageModel = request.getfixturevalue(model_name)
    d = model.weights.d_model
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator) / d**0.5

    sets: list[Transcoder | None] = [
        Transcoder(
            random(256, d),
            random(256),
            random(256, d),
            random(d),
            threshold=torch.full((256,), 0.5),
            w_skip=random(d, d),
        )
        for _ in model.weights.layers
    ]
    sets[3] = None
    features = TranscoderFeatures("random", "random", sets, [layer.mlp_gain for layer in model.weights.layers])
    result = trace(model, features, TraceSpec(Prompt("The Eiffel Tower is in the city of"), max_nodes=80))
    assert result.report["conservation_error"] < CONSERVATION_BOUND
    assert len(result.graph.of_kind(NodeKind.FEATURE)) == 80
    errors = result.graph.of_kind(NodeKind.ERROR)
    n = result.graph.n_positions
    # Position 0 holds BOS and has no error, but in the layer without a dictionary everything is error.
    assert len(errors) == (n - 1) * (model.weights.n_layers - 1) + n
    assert 0 <= result.report["replacement"] <= 1
    assert np.isfinite(result.graph.weight).all()
