"""A kept trace is run again: the same graph, or what is not the same; and everything asked for comes back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engine.dictionaries.neurons import NeuronFeatures
from engine.errors import RequestError
from engine.graphs.sameness import compare_graphs
from engine.projects import Asked, Difference, Project, rerun
from engine.projects.running_again import differences
from engine.tracing.run import Trace, trace
from engine.tracing.spec import Prompt, Target, TraceSpec, read_spec
from tests.engine.projects.conftest import change_file, small_graph
from tests.engine.tracing.tiny_models import TinyModel, tiny_model

SPEC = TraceSpec(Prompt("3 5 7 9"), max_nodes=12)


@pytest.fixture
def model() -> TinyModel:
    return tiny_model("llama")


def made(model: TinyModel, spec: TraceSpec = SPEC) -> Trace:
    return trace(model, NeuronFeatures(model.weights), spec)  # type: ignore[arg-type]


@pytest.fixture
def kept(path: Path, model: TinyModel) -> Iterator[Project]:
    """A project with one real trace of a tiny model."""
    result = made(model)
    with Project.create(path) as project:
        project.add_trace(result.report, result.graph, title="tiny", asked=Asked(result.spec, "neurons"))
        yield project


SPECS = [
    SPEC,
    TraceSpec(Prompt("a", bos=False, chat=True, system="be short"), Target(token=" Austin", against=" Dallas")),
    TraceSpec(Prompt(token_ids=(3, 5)), Target(direction=(0.1, -1e-30, 3.0), position=1), compatible=True),
    TraceSpec(Prompt("a"), Target(weighted=((" a", 1.0), (" b", -0.5))), nodes=((0, 1, 2), (3, 4, 5))),
    TraceSpec(Prompt("a"), Target(feature=(1, 2, 3), top_logits=3, logit_mass=0.5), max_nodes=7, edge_mass=0.9),
]


@pytest.mark.parametrize("spec", SPECS)
def test_everything_asked_for_comes_back(path: Path, spec: TraceSpec) -> None:
    with Project.create(path) as project:
        project.add_trace({}, small_graph(), title="x", asked=Asked(spec, "/somewhere/dictionary"))
    with Project.open(path) as again:
        assert again.asked(1) == Asked(spec, "/somewhere/dictionary")


def test_the_same_model_gives_the_same_graph(kept: Project, model: TinyModel) -> None:
    done = rerun(kept, 1, model, NeuronFeatures(model.weights))  # type: ignore[arg-type]
    assert done.graph.identical
    assert done.graph.same
    assert done.differences == ()
    assert done.sentence == "The graph is the same, bit for bit."
    assert len(kept.traces()) == 1


def test_another_model_gives_another_graph_and_is_named(kept: Project) -> None:
    other = tiny_model("qwen3")
    other.fingerprint = "another"
    done = rerun(kept, 1, other, NeuronFeatures(other.weights))  # type: ignore[arg-type]
    assert not done.graph.same
    assert done.sentence.startswith("The graph is not the same: ")
    assert "model's fingerprint" in [one.what for one in done.differences]


def test_what_is_different_is_said() -> None:
    before = {"versions": {"torch": "2.8", "python": "3.11"}, "machine": {"device": "cuda", "dtype": "float32"}}
    now = {"versions": {"torch": "2.9", "python": "3.11", "new": "1"}, "machine": {"device": "cpu", "dtype": "float32"}}
    assert differences(before, now) == (
        Difference("device", "cuda", "cpu"),
        Difference("version of torch", "2.8", "2.9"),
        Difference("version of new", "", "1"),
    )
    assert differences({"versions": 3}, {}) == ()


def test_graphs_are_compared_edge_by_edge(model: TinyModel) -> None:
    graph = made(model).graph
    edge = int(np.argmax(np.abs(graph.weight)))

    def shifted(share: float) -> np.ndarray:
        weight = graph.weight.copy()
        weight[edge] *= 1 + share
        return weight

    near = compare_graphs(graph, replace(graph, weight=shifted(1e-6)))
    assert (near.identical, near.same, near.edges_beyond) == (False, True, 0)
    far = compare_graphs(graph, replace(graph, weight=shifted(1e-2)))
    assert (far.same, far.edges_beyond) == (False, 1)
    assert far.largest == pytest.approx(0.01, rel=0.02)
    renamed = graph.feature.copy()
    node = int(np.flatnonzero(graph.kind == 0)[0])
    renamed[node] = 19 if renamed[node] != 19 else 18
    others = compare_graphs(graph, replace(graph, feature=renamed))
    assert (others.only_first, others.only_second, others.same) == (1, 1, False)


def test_an_edge_at_the_cut_may_be_kept_once(model: TinyModel) -> None:
    graph = made(model).graph
    counts = np.bincount(graph.target, minlength=graph.n_nodes)
    target = int(np.argmax(counts))
    last = int(graph.row_start[target + 1]) - 1  # the weakest edge into it
    first = int(graph.row_start[target])
    keep = np.ones(graph.n_edges, dtype=bool)

    def without(edge: int) -> object:
        keep[:] = True
        keep[edge] = False
        columns = {name: getattr(graph, name)[keep] for name in ("source", "target", "weight")}
        return compare_graphs(graph, replace(graph, **columns))

    assert without(last).same  # type: ignore[attr-defined]
    assert not without(first).same  # type: ignore[attr-defined]


def test_a_trace_of_the_version_before_is_run_from_its_report(path: Path, model: TinyModel) -> None:
    forced = made(model)
    nodes = tuple(
        (int(forced.graph.layer[n]), int(forced.graph.position[n]), int(forced.graph.feature[n]))
        for n in np.flatnonzero(forced.graph.kind == 0)[:5]
    )
    result = made(model, replace(SPEC, nodes=nodes))
    with Project.create(path) as project:
        for one in (forced, result):
            project.add_trace(one.report, one.graph, title="old")
        assert project.asked(1) == Asked(SPEC, "neurons")
        assert rerun(project, 2, model, NeuronFeatures(model.weights)).graph.identical  # type: ignore[arg-type]


def test_what_cannot_be_run_again_says_so(path: Path) -> None:
    direction = replace(SPEC, target=Target(direction=(1.0, 2.0)))
    reports = [
        ({}, "came from another program"),
        ({"features": {"kind": "neurons"}, "settings": {}}, "does not say how this trace was made"),
        ({"features": {"kind": "neurons"}, "settings": direction.settings()}, "does not hold this trace's direction"),
        ({"features": {"kind": "imported"}, "settings": {}, "imported": {}}, "came from another program"),
    ]
    with Project.create(path) as project:
        for number, (report, sentence) in enumerate(reports, start=1):
            project.add_trace(report, small_graph(), title="x")
            with pytest.raises(RequestError, match=sentence):
                project.asked(number)
        with pytest.raises(RequestError, match="no trace 99"):
            project.asked(99)


@pytest.mark.parametrize(
    "change",
    [
        {"max_nodes": "12"},
        {"max_nodes": True},
        {"edge_mass": None},
        {"prompt": "text"},
        {"prompt": {"text": 3}},
        {"prompt": {"code": "x"}},
        {"target": {"feature": [1, 2]}},
        {"target": {"direction": [1.0, float("nan")]}},
        {"target": {"weighted": [["a"]]}},
        {"nodes": [[1, 2, 3.5]]},
        {"nodes": 5},
        {"another": 1},
        {"features": 7},
    ],
)
def test_settings_that_cannot_be_right(path: Path, change: dict[str, object]) -> None:
    plain = {**SPEC.plain(), "features": "neurons"}
    with Project.create(path) as project:
        project.add_trace({}, small_graph(), title="x", asked=Asked(SPEC, "neurons"))
    change_file(path, "UPDATE trace SET spec = ?", json.dumps({**plain, **change}))
    with Project.open(path) as again, pytest.raises(RequestError, match="is damaged"):
        again.asked(1)


def test_a_spec_is_read_from_json_as_it_was_written() -> None:
    for spec in SPECS:
        assert read_spec(json.loads(json.dumps(spec.plain()))) == spec
