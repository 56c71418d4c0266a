"""Necessity, sufficiency and search: identities that hold whatever the model, and brute force on a small universe."""

from __future__ import annotations

import itertools
import json
import threading

import numpy as np
import pytest

from engine.errors import Cancelled, RequestError
from engine.interventions.baselines import baseline_of
from engine.interventions.circuit_evidence import CircuitSpec, examine_circuit, read_circuit
from engine.interventions.circuit_search import (
    SearchSpec,
    faithfulness_curve,
    find_circuit,
    read_search,
)
from engine.interventions.experiment import LIVE
from engine.interventions.measure import measure
from engine.models.language_model import LanguageModel
from engine.tracing.spec import Prompt, Target, TraceSpec
from tests.engine.interventions.cases import OTHER, some_features, tiny_case


@pytest.mark.parametrize(("kind", "errors"), [("neurons", "kept"), ("relu", "kept"), ("relu", "ablated")])
def test_the_whole_universe_is_enough_and_nothing_is_not(kind: str, errors: str) -> None:
    case = tiny_case("llama", kind)
    universe = tuple(some_features(case, 5))
    spec = CircuitSpec(universe, universe, "zero", errors=errors, controls=100)  # type: ignore[arg-type]
    result = examine_circuit(case, spec)
    assert result.faithfulness == 1.0 and result.completeness == 0.0
    assert result.alone == result.full and result.without == result.nothing
    assert result.sufficiency is None and result.necessity.effect == pytest.approx(result.full - result.nothing)
    kept, left = (one.curve for one in result.curves)
    assert kept.values[0] == left.values[-1] == pytest.approx(0, abs=1e-5)
    assert kept.values[-1] == left.values[0] == pytest.approx(1, abs=1e-5)
    said = "error nodes " + errors if kind == "relu" else "no error nodes"
    assert said in result.ablation and "set to zero" in result.ablation
    if errors == "kept":
        assert result.full == pytest.approx(float(case.metric.of(case.prediction.logits[None].float().numpy())[0]))


def test_the_circuits_own_features_come_first_in_its_curves() -> None:
    case = tiny_case("llama", "neurons")
    universe = tuple(some_features(case, 5))
    universe = universe[: len(universe) // 2 * 2]
    # Half of the universe is one of the sizes: at it, the curves are the circuit's own figures.
    for circuit in (universe[::2], universe[1::2]):
        result = examine_circuit(case, CircuitSpec(circuit, universe, "zero", controls=100))
        kept, left = (one.curve for one in result.curves)
        half = kept.sizes.index(len(circuit))
        assert kept.values[half] == pytest.approx(result.faithfulness, abs=1e-5)
        assert left.values[half] == pytest.approx(result.completeness, abs=1e-5)


def test_ablated_errors_are_gone_from_both_models() -> None:
    case = tiny_case("llama", "relu")
    universe = tuple(some_features(case, 5))
    kept, gone = [
        examine_circuit(case, CircuitSpec(universe[:3], universe, "zero", errors=errors, controls=100))  # type: ignore[arg-type]
        for errors in ("kept", "ablated")
    ]
    assert abs(kept.full - gone.full) > 1e-3 and abs(kept.nothing - gone.nothing) > 1e-3


def test_a_counterfactual_ablation_gives_the_other_prompts_values() -> None:
    case = tiny_case("llama", "neurons")
    other = tiny_case("llama", "neurons", TraceSpec(Prompt(token_ids=OTHER), Target(token="4", against="11")))
    baseline = baseline_of(case, "counterfactual", OTHER)
    some = some_features(case, 4)
    for one, change in zip(some, baseline.ablated(some), strict=True):
        assert change.how == "set" and change.value == pytest.approx(other.pools.signed(one), rel=1e-5)
    # Where features differ from prompt to prompt, those that are not active there become zero.
    sparse = tiny_case("llama", "relu")
    there = tiny_case("llama", "relu", TraceSpec(Prompt(token_ids=OTHER), Target(token="4", against="11")))
    features = some_features(sparse, 30)
    values = [change.value for change in baseline_of(sparse, "counterfactual", OTHER).ablated(features)]
    expected = [there.pools.signed(one) if there.pools.holds(one) else 0.0 for one in features]
    assert np.allclose(values, expected, rtol=1e-5) and 0.0 in values and any(values)
    with pytest.raises(RequestError, match="as many tokens"):
        baseline_of(case, "counterfactual", OTHER[:3])


def test_a_mean_ablation_gives_the_mean_over_the_built_in_text(smollm: LanguageModel) -> None:
    from engine.dictionaries.fidelity import built_in_recording
    from engine.dictionaries.neurons import NeuronFeatures
    from engine.interventions.case import open_case
    from engine.models.mlp import neurons

    case = open_case(smollm, NeuronFeatures(smollm.weights), TraceSpec(Prompt("The capital"), Target(token=" of")))
    recording = built_in_recording(smollm)
    values = neurons(smollm.weights.layers[7].mlp, recording.layers[7].mlp_input[1:])
    change = baseline_of(case, "mean").ablated([(7, 2, 40)])[0]
    assert change.value == pytest.approx(float(values[:, 40].double().mean()), rel=1e-4)


def test_the_search_finds_a_set_that_brute_force_confirms() -> None:
    case = tiny_case("qwen2", "neurons")
    universe = tuple(some_features(case, 3))
    baseline = baseline_of(case, "zero")
    subsets = [one for size in range(len(universe) + 1) for one in itertools.combinations(universe, size)]
    sets = [baseline.ablated([one for one in universe if one not in subset]) for subset in subsets]
    metrics = measure(case, sets, LIVE).metric
    f = dict(zip(map(frozenset, subsets), (metrics - metrics[0]) / (metrics[-1] - metrics[0]), strict=True))
    smallest = min(len(one) for one, value in f.items() if value >= 0.8)
    sizes = {}
    for method in ("greedy", "beam"):
        found = find_circuit(case, SearchSpec(universe, 0.8, method, "zero"))  # type: ignore[arg-type]
        assert found.reached and found.faithfulness >= 0.8
        assert found.faithfulness == pytest.approx(f[frozenset(found.features)], abs=1e-5)
        # Nothing more can be taken away.
        assert all(f[frozenset(found.features) - {one}] < 0.8 for one in found.features)
        sizes[method] = len(found.features)
    assert smallest <= sizes["beam"] <= sizes["greedy"] <= smallest + 1
    # The curves of every order begin at nothing and end at the whole model.
    assert all(one.curve.values[0] == 0 and one.curve.values[-1] == 1 for one in found.curves)
    assert len(found.random) == 20 and {"activation", "random 1"} <= {one.name for one in found.curves}


def test_a_curve_is_measured_in_the_order_given() -> None:
    case = tiny_case("llama", "relu")
    order, baseline = some_features(case, 4), baseline_of(case, "zero")
    curve = faithfulness_curve(case, baseline, order)
    half = curve.sizes[len(curve.sizes) // 2]
    metrics = measure(case, [baseline.ablated(order), baseline.ablated(order[half:]), ()], LIVE).metric
    expected = (metrics[1] - metrics[0]) / (metrics[2] - metrics[0])
    assert curve.values[curve.sizes.index(half)] == pytest.approx(expected, abs=1e-5)


def test_a_search_can_be_cancelled() -> None:
    case = tiny_case("llama", "neurons")
    cancel = threading.Event()
    told: list[str] = []

    def progress(stage: str, share: float) -> None:
        told.append(stage)
        cancel.set()

    with pytest.raises(Cancelled):
        find_circuit(case, SearchSpec(tuple(some_features(case, 5)), 0.5, ablation="zero"), progress, cancel)
    assert told


def test_specs_are_kept_and_bad_ones_refused() -> None:
    case = tiny_case("llama", "relu")
    features = tuple(some_features(case, 2))
    circuit = CircuitSpec(features[:2], features, "counterfactual", OTHER, "ablated", controls=200, seed=3)
    search = SearchSpec(features, 0.9, "beam", "counterfactual", OTHER)
    assert read_circuit(json.loads(json.dumps(circuit.plain()))) == circuit
    assert read_search(json.loads(json.dumps(search.plain()))) == search
    with pytest.raises(ValueError, match="no ablation"):
        read_circuit({**circuit.plain(), "ablation": "none"})
    with pytest.raises(RequestError, match="too few"):
        examine_circuit(case, CircuitSpec(features, features, controls=10))
    neurons = tiny_case("llama", "neurons")
    some = tuple(some_features(neurons, 2))
    with pytest.raises(RequestError, match="Neurons leave nothing"):
        examine_circuit(neurons, CircuitSpec(some, some, "zero", errors="ablated", controls=100))
    with pytest.raises(RequestError, match="at least two"):
        find_circuit(case, SearchSpec(features[:1]))
