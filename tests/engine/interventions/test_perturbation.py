"""The replacement model against the sweep backwards, the real one against changed runs, pushes by their definition."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from engine.interventions.changes import Change, Settings
from engine.interventions.perturbation import PUSHES, Pushed, RealModel, ReplacementModel, changes, follow, pushed_by
from engine.interventions.plan import random_direction
from engine.interventions.prediction import Write, predicted_effects
from engine.interventions.run import intervene
from engine.models.forward import unembed
from tests.engine.interventions.cases import some_features, tiny_case

FAMILIES = ["llama", "llama-biased", "gemma3", "neox", "gpt2", "olmo2"]


@pytest.mark.parametrize("kind", ["neurons", "jumprelu", "normalised", "before-post-norm", "cross-layer"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_push_reaches_the_target_as_the_sweep_backwards_says(family: str, kind: str) -> None:
    # Pushes so small that no feature begins or ends: the replacement model is then linear.
    case = tiny_case(family, kind)
    vector = torch.linspace(-1, 1, case.model.weights.d_model, dtype=torch.float64) * 1e-7
    pushed = [Pushed(1, 4, vector, written=False), Pushed(0, 3, vector, written=True)]
    parallel = case.model.weights.layers[0].parallel
    # Beside attention the MLP reads what comes before it: a push there is one of the layer below.
    writes = [Write("mlp", 0, 4, vector) if parallel else Write("attention", 1, 4, vector), Write("mlp", 0, 3, vector)]
    expected = predicted_effects(case.frozen, writes, [], case.targets)[0]
    final = changes(case, [[one] for one in pushed], ReplacementModel(case))[-1]
    found = final[:, case.position] @ case.targets.vectors[0]
    assert np.allclose(found.numpy(), expected, rtol=1e-4, atol=1e-13) and np.abs(expected).max() > 1e-9


@pytest.mark.parametrize("family", FAMILIES)
def test_the_real_model_answers_as_in_a_changed_run(family: str) -> None:
    case = tiny_case(family, "neurons")
    vector = random_direction(5, case.recording.final[0]) * 0.7
    final = changes(case, [[Pushed(1, 4, vector, written=True)]], RealModel(case))[-1][0]
    logits = unembed(case.model.weights, case.recording.final + final)[case.position]
    change = Change("random", 1, 4, 5, "set", 0.7)
    outcome = intervene(case.model, case.recording, case.features, [[change]], Settings("iterative", "frozen"))
    assert np.allclose(logits.numpy(), outcome.logits[0, 0], rtol=1e-5, atol=1e-5)
    assert np.abs(outcome.logits - outcome.recorded_logits).max() > 1e-3


@pytest.mark.parametrize("kind", ["neurons", "relu", "cross-layer"])
def test_pushes_are_what_the_protocol_says(kind: str) -> None:
    case = tiny_case("llama", kind)
    feature = some_features(case, 2, layer=1)[0]
    number = torch.tensor([case.pools.number(feature)])
    reads = case.layers[1].jacobian_vectors(number)[0]
    encoder, random, upstream = [pushed_by(case, push, feature) for push in PUSHES]
    assert float(reads @ encoder[0].vector) == pytest.approx(0.1)
    assert torch.nn.functional.cosine_similarity(reads, encoder[0].vector, dim=0) == pytest.approx(1)
    assert float(random[0].vector.norm()) == pytest.approx(float(encoder[0].vector.norm()))
    assert not torch.equal(random[0].vector, encoder[0].vector)
    # A feature that rises by 0.1 writes what it would write at once, at every layer that it writes to.
    assert [one.layer for one in upstream] == list(case.layers[1].write_layers)
    before = case.pools.signed(feature)
    change = Change("feature", *feature, "set", before + 0.1)
    outcome = intervene(case.model, case.recording, case.features, [[change]], Settings("iterative", "frozen"))
    final = changes(case, [upstream], RealModel(case))[-1][0]
    logits = unembed(case.model.weights, case.recording.final + final)[case.position]
    assert np.allclose(logits.numpy(), outcome.logits[0, 0], rtol=1e-5, atol=1e-5)


def test_models_that_are_the_same_follow_each_other_and_others_do_not() -> None:
    case = tiny_case("llama", "neurons")
    features = some_features(case, 2, layer=0)
    found = follow(case, features)
    assert [one.push for one in found] == [push for push in PUSHES for _ in features]
    for one in found:
        assert len(one.cosine) == 2 and all(-1 <= value <= 1.0001 for value in one.cosine)
        assert all(error >= 0 for error in one.error)
    pushes = [pushed_by(case, "random", features[0])]
    real, again = (changes(case, pushes, RealModel(case))[-1] for _ in range(2))
    assert torch.equal(real, again)
    local = changes(case, pushes, ReplacementModel(case))[-1]
    assert not torch.allclose(real, local, rtol=1e-3)
