"""Sweeps, the matrix of groups and the verification of a graph: against single runs, and identities."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from engine.errors import Cancelled, RequestError
from engine.graphs.graph import AttributionGraph, NodeKind
from engine.interventions.again import compare, run_again
from engine.interventions.changes import Change, Settings, Watched
from engine.interventions.edge_sample import reachable, reaching_p
from engine.interventions.matched import matched_sets
from engine.interventions.matrix import MatrixSpec, group_effects, read_matrix
from engine.interventions.run import intervene
from engine.interventions.sweeps import SweepSpec, linear_range, read_sweep, record_sweep, sweep
from engine.interventions.verify import VerifySpec, near_share, read_verify, record_verify, verify_graph
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
    sample = result.sample
    assert len(sample.predicted) + len(sample.divided_predicted) == result.edges.n
    assert len(sample.divided_predicted) == len(sample.divided_measured) and bool(sample.divided_predicted) == (
        kind == "neurons"
    )
    # What edges divide is linear: no curvature is left.
    assert np.allclose(sample.divided_predicted, sample.divided_measured, rtol=1e-3, atol=1e-5)
    assert any(result.sample.in_graph) and result.near >= 0.9
    assert read_verify(record_verify(case, spec, result, "neurons", "x").settings["experiment"]) == spec
    assert {one.push for one in result.cosines} == {
        "encoder",
        "random",
        "upstream",
    } and result.sample.p == result.sample.q == ()
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


def shuffled(graph: AttributionGraph) -> AttributionGraph:
    """Every row's weights go to other sources: each row still sums to its value."""
    weight = graph.weight.copy()
    for row in graph.traced.tolist():
        weight[graph.inputs(row)] = np.roll(weight[graph.inputs(row)], 1)
    return replace(graph, weight=weight)


def shuffled_between_features(graph: AttributionGraph) -> AttributionGraph:
    """The same of features' rows and of sources that are features: all that goes into the target is as it was."""
    weight = graph.weight.copy()
    for row in graph.traced.tolist():
        if graph.kind[row] == NodeKind.FEATURE:
            inputs = graph.inputs(row)
            among = inputs[graph.kind[graph.source[inputs]] == NodeKind.FEATURE]
            weight[among] = np.roll(weight[among], 1)
    return replace(graph, weight=weight)


# Each leaves what a trace reports of itself as it was.
BREAKS: dict[str, tuple[Callable[[AttributionGraph], AttributionGraph], str]] = {
    "an edge is another": (
        lambda graph: replace(graph, weight=np.where(np.arange(graph.n_edges) == 3, 5.0, graph.weight)),
        "conservation",
    ),
    "a rest is gone": (lambda graph: replace(graph, rest=np.zeros_like(graph.rest)), "conservation"),
    "edges are half as large again": (
        lambda graph: replace(graph, weight=graph.weight * 1.5, rest=graph.rest * 1.5, value=graph.value * 1.5),
        "edges",
    ),
    "edges are of other sources": (shuffled, "edges"),
    "edges between features are of other sources": (shuffled_between_features, "edges"),
    "edges have the other sign": (
        lambda graph: replace(graph, weight=-graph.weight, rest=-graph.rest, value=-graph.value),
        "edges",
    ),
}


@pytest.mark.parametrize("name", BREAKS)
@pytest.mark.parametrize("kind", ["neurons", "relu", "cross-layer"])
def test_a_graph_that_was_broken_afterwards_is_found_out(kind: str, name: str) -> None:
    case = tiny_case("llama", kind)
    graph = trace(case.model, case.features, SPEC).graph
    breaks, part = BREAKS[name]
    spec = VerifySpec(sources=6, ablated=10, watched=30)
    assert all(one.passed for one in verify_graph(case, graph, 0.0, spec).parts[:2])
    result = verify_graph(case, breaks(graph), 0.0, spec)
    assert not {one.name: one for one in result.parts}[part].passed, result.parts
    assert "Do not rely on this graph: " in result.sentence and part in result.sentence


def test_a_graph_of_another_run_is_refused() -> None:
    case = tiny_case("llama", "relu")
    graph = trace(case.model, case.features, SPEC).graph
    with pytest.raises(RequestError, match="another model, dictionary or version"):
        verify_graph(case, replace(graph, activation=graph.activation * 1.2), 0.0, VerifySpec())


def test_an_edge_is_near_its_measurement_or_not() -> None:
    assert near_share([1.0, -2.0, 0.5, 4.0], [1.1, 2.0, 0.5, 4.7]) == 0.75
    assert near_share([1000.0, 0.5], [1000.0, -0.5]) == 1.0, "next to nothing"
    assert np.isnan(near_share([0.0], [0.0]))


def test_a_control_that_cannot_reach_the_target_does_not_count() -> None:
    ends = [(2, 3, 1), (1, 2, 1), (4, 4, -1)]
    can = reachable([(1, 3, 0), (0, 2, 0), (2, 0, 0), (0, 4, 0)], ends)
    assert can.tolist() == [[True, False, True], [True, True, True], [False, False, True], [False, False, True]]
    moved = np.array([[5.0, 0.0, 1.0], [0.5, 2.0, 1.0], [0.0, 0.0, 3.0], [0.0, 0.0, 0.0]])
    found = reaching_p(np.array([1.0, 1.0, 2.0]), moved, can)
    assert found == [(1 + 1) / 3, (1 + 1) / 2, (1 + 1) / 5]


@pytest.mark.parametrize("kind", ["neurons", "relu"])
def test_edges_are_compared_with_random_features_and_corrected_for_their_number(kind: str) -> None:
    case = tiny_case("llama", kind)
    graph = trace(case.model, case.features, SPEC).graph
    result = verify_graph(case, graph, 0.0, VerifySpec(sources=4, ablated=10, watched=10, controls=100, seed=2))
    sample, p = result.sample, result.sample.p
    assert len(p) == len(sample.q) == len(sample.measured)
    # The procedure step by step: the largest rank k with p <= k q / m decides.
    for one, found in zip(p, sample.q, strict=True):
        ranked = sorted(p)
        assert found == pytest.approx(
            min(min(1.0, ranked[k] * len(p) / (k + 1)) for k in range(len(p)) if ranked[k] >= one)
        )
    count = sum(q < 0.05 for q in sample.q)
    assert f"{count} of {len(p)} edges move their target more than 100 random features" in result.settings
    # One edge by hand: the source, and random features that are like it, with all else held.
    at = next(at for at, end in enumerate(sample.target) if sample.targets[end][2] >= 0)
    source, target = sample.sources[sample.source[at]], sample.targets[sample.target[at]]
    drawn = matched_sets(case, [Change("feature", *source, "scale", 0.99)], Settings("direct"), 100, 2).sets
    below = [one for one in drawn if one[0].layer < target[0] and one[0].position <= target[1]]
    moved = [
        intervene(case.model, case.recording, case.features, [changes], Settings("direct"), watched=[Watched(*target)])
        for changes in [(Change("feature", *source, "scale", 0.99),), *below]
    ]
    sizes = [abs(float(one.linear[0, 0] - one.recorded_linear[0])) for one in moved]
    assert sizes[0] == pytest.approx(0.01 * abs(sample.measured[at]), rel=1e-6)
    assert p[at] == (1 + sum(one >= sizes[0] for one in sizes[1:])) / (len(below) + 1)
