"""Sweeps, the matrix of groups and the verification of a graph: against single runs, and identities."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from engine.errors import Cancelled, RequestError
from engine.interventions.again import compare, run_again
from engine.interventions.changes import Change, Settings, Watched
from engine.interventions.matrix import MatrixSpec, group_effects, read_matrix
from engine.interventions.run import intervene
from engine.interventions.sweeps import SweepSpec, linear_range, read_sweep, record_sweep, sweep
from engine.interventions.verify import VerifySpec, read_verify, record_verify, verify_graph
from engine.tracing.run import trace
from tests.engine.interventions.cases import SPEC, some_features, tiny_case


@pytest.mark.parametrize("kind", ["neurons", "relu"])
def test_each_dose_is_what_a_run_with_that_dose_gives(kind: str) -> None:
    case = tiny_case("llama", kind)
    places = some_features(case, 1)[:3]
    changes = tuple(Change("feature", *one, "ablate") for one in places)
    spec = SweepSpec(changes, doses=(-1.0, 0.0, 1.0, 2.0))
    result = sweep(case, spec)
    for dose, moved in zip(spec.doses, result.measured, strict=True):
        alone = intervene(
            case.model, case.recording, case.features, [[replace(one, how="scale", value=dose) for one in changes]]
        )
        metric = case.metric.of(alone.logits[0]) - case.metric.of(alone.recorded_logits)
        assert moved == pytest.approx(float(metric[0]), abs=1e-5)
    assert result.measured[2] == pytest.approx(0, abs=1e-6) and result.kl[2] == pytest.approx(0, abs=1e-9)
    # Predictions are a line through nothing at a dose of 1.
    assert result.predicted[2] == 0 and result.predicted[0] == pytest.approx(2 * result.predicted[1])
    assert result.predicted[3] == pytest.approx(-result.predicted[1])
    record = json.loads(json.dumps(record_sweep(case, spec, result, "neurons", "x").settings))
    assert read_sweep(record["experiment"]) == spec
    assert compare("doses", result.plain(), run_again(case, "doses", record, "x").result).held


def test_with_everything_frozen_a_dose_is_linear_throughout() -> None:
    case = tiny_case("llama", "relu")
    (place,) = some_features(case, 1)[:1]
    result = sweep(case, SweepSpec((Change("feature", *place, "ablate"),), settings=Settings("direct")))
    assert result.linear == (-4.0, 4.0)
    assert np.allclose(result.measured, result.predicted, atol=1e-4 * max(map(abs, result.measured)))


@pytest.mark.parametrize(
    ("measured", "found"),
    [
        (lambda x: 3 * x, (-1.0, 3.0)),
        (lambda x: np.where(x < 0.4, x, 0.5), (-1.0, 1.5)),
        (lambda x: x**2, (1.0, 1.0)),
    ],
)
def test_the_linear_range_ends_where_the_line_is_left(measured: Any, found: tuple[float, float]) -> None:
    doses = np.linspace(-1, 3, 9)
    assert linear_range(doses.tolist(), measured(doses - 1).tolist()) == pytest.approx(found, abs=0.51)
    assert linear_range([1.0, 2.0], [0.0, 1.0]) is None


def test_a_sweep_of_layers_is_a_run_with_each_range() -> None:
    case = tiny_case("llama", "neurons")
    (place,) = [one for one in some_features(case, 1) if one[0] == 0][:1]
    spec = SweepSpec((Change("feature", *place, "flip"),), "layers")
    result = sweep(case, spec)
    assert result.values == tuple(float(one) for one in range(case.frozen.n_layers))
    for last, moved in zip(result.values, result.measured, strict=True):
        alone = intervene(case.model, case.recording, case.features, [spec.changes], Settings(layers=(0, int(last))))
        metric = case.metric.of(alone.logits[0]) - case.metric.of(alone.recorded_logits)
        assert moved == pytest.approx(float(metric[0]), abs=1e-6)
    with pytest.raises(RequestError, match="Only the mode constrained"):
        sweep(case, replace(spec, settings=Settings("iterative")))
    with pytest.raises(RequestError, match="changes nothing"):
        sweep(case, SweepSpec(()))


def test_the_matrix_is_what_ablating_each_group_leaves_of_the_others() -> None:
    case = tiny_case("llama", "neurons")
    low = tuple(one for one in some_features(case, 3) if one[0] == 0)
    high = tuple(one for one in some_features(case, 3) if one[0] == 2)
    spec = MatrixSpec(("low", "high"), (low, high))
    result = group_effects(case, spec)
    one = intervene(
        case.model, case.recording, case.features, [[Change("feature", *place, "ablate") for place in low]],
        watched=[Watched(*place) for place in high],
    )  # fmt: skip
    first = min(place[1] for place in low)
    reached = np.array([place[1] >= first for place in high])
    moved = ((one.linear[0] - one.recorded_linear) * np.sign(one.recorded_linear))[reached].sum()
    assert result.effects[0][1] == pytest.approx(moved / np.abs(one.recorded_linear).sum(), rel=1e-4)
    assert np.isnan(result.effects[0][0]) and np.isnan(result.effects[1][0]), "what lies above acts on nothing below"
    assert result.target[0] == pytest.approx(
        float((case.metric.of(one.logits[0]) - case.metric.of(one.recorded_logits))[0]), abs=1e-6
    )
    assert read_matrix(json.loads(json.dumps(spec.plain()))) == spec
    with pytest.raises(RequestError, match="two groups"):
        group_effects(case, MatrixSpec(("low",), (low,)))


@pytest.mark.parametrize("kind", ["neurons", "relu"])
def test_a_graph_is_verified_and_a_wrong_one_is_not(kind: str) -> None:
    case = tiny_case("llama", kind)
    traced = trace(case.model, case.features, SPEC)
    spec = VerifySpec(sources=6, ablated=20, watched=30)
    result = verify_graph(case, traced.graph, traced.report["conservation_error"], spec)
    parts = {one.name: one for one in result.parts}
    assert parts["conservation"].passed and parts["edges"].passed, result.sentence
    assert result.edges.slope == pytest.approx(1, abs=0.05 if kind == "neurons" else 1e-2)
    assert len(result.predicted) == len(result.measured) == result.edges.n
    assert read_verify(record_verify(case, spec, result, "neurons", "x").settings["experiment"]) == spec
    assert {one.push for one in result.cosines} == {"encoder", "random", "upstream"} and result.significant == ()
    wrong = verify_graph(case, traced.graph, 0.3, spec)
    assert not wrong.parts[0].passed
    assert "Do not rely on this graph: conservation" in wrong.sentence and wrong.evidence != "supported"
    # Influence turned upside down no longer says what matters.
    graph = replace(traced.graph, influence=traced.graph.influence.max() - traced.graph.influence)
    assert not {one.name: one for one in verify_graph(case, graph, 0.0, spec).parts}["influence"].passed
    stop = threading.Event()
    stop.set()
    with pytest.raises(Cancelled):
        verify_graph(case, traced.graph, 0.0, spec, cancel=stop)


def test_sources_are_compared_with_random_features_and_corrected_for_their_number() -> None:
    case = tiny_case("llama", "neurons")
    traced = trace(case.model, case.features, SPEC)
    result = verify_graph(case, traced.graph, 0.0, VerifySpec(sources=4, ablated=10, watched=10, controls=100))
    p = [one.p for one in result.significant]
    assert len(p) == 4 and all(round(one * 101) >= 1 for one in p)
    # The procedure step by step: the largest rank k with p <= k q / m decides.
    for one in result.significant:
        q = min(min(1.0, sorted(p)[k] * 4 / (k + 1)) for k in range(4) if sorted(p)[k] >= one.p)
        assert one.q == pytest.approx(q)
    assert "of 4 sources move the target more than 100 random features" in result.settings
    place = (result.significant[0].layer, result.significant[0].position, result.significant[0].feature)
    alone = intervene(case.model, case.recording, case.features, [[Change("feature", *place, "ablate")]])
    moved = case.metric.of(alone.logits[0]) - case.metric.of(alone.recorded_logits)
    assert result.significant[0].effect == pytest.approx(float(moved[0]), abs=1e-5)
