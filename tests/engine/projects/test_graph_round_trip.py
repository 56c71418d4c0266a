"""A graph comes out of a project as it went in, to the last bit."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import LoupeError, RequestError
from engine.graphs.graph import AttributionGraph
from engine.projects import Project, arrays, graph_checks, opening
from tests.engine.projects.conftest import REPORT, assert_same_graph, small_graph
from tests.engine.projects.sizes import gzipped_json
from tests.graph_builder import build_graph

ANY_TEXT = st.text(st.characters(), max_size=8) | st.sampled_from(["\0", "\ud800", "\udcff", "🦊", "⏎"])
ANY_FLOAT = st.floats(width=32, allow_nan=False, allow_infinity=False)
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANY_TEXT, inner, max_size=3),
    max_leaves=8,
)


@st.composite
def graphs(draw: st.DrawFn) -> AttributionGraph:
    graph = build_graph(
        n_layers=draw(st.integers(1, 5)),
        n_positions=draw(st.integers(1, 4)),
        n_features=draw(st.integers(0, 25)),
        n_logits=draw(st.integers(1, 3)),
        errors=draw(st.booleans()),
        biases=draw(st.booleans()),
        seed=draw(st.integers(0, 1000)),
    )
    n_tokens, n_logits = graph.n_positions, len(graph.logit_text)
    value = draw(st.lists(ANY_FLOAT, min_size=len(graph.traced), max_size=len(graph.traced)))
    return replace(
        graph,
        tokens=tuple(draw(st.lists(ANY_TEXT, min_size=n_tokens, max_size=n_tokens))),
        token_ids=tuple(draw(st.lists(st.integers(-1, 2**31), min_size=n_tokens, max_size=n_tokens))),
        logit_text=tuple(draw(st.lists(ANY_TEXT, min_size=n_logits, max_size=n_logits))),
        value=np.array(value, dtype=np.float32),
        measure=draw(st.sampled_from(["influence", "relevance"])),
        meta=draw(st.dictionaries(ANY_TEXT, ANY_JSON, max_size=3)),
    )


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    with Project.create(tmp_path_factory.mktemp("round") / "trip.loupe") as project:
        yield project


@settings(max_examples=60, deadline=None)
@given(graph=graphs(), report=st.none() | st.dictionaries(ANY_TEXT, ANY_JSON, max_size=2), title=ANY_TEXT)
def test_any_graph_is_kept_whole(shared: Project, graph: AttributionGraph, report: Any, title: str) -> None:
    number = shared.add_trace(graph.meta if report is None else report, graph, title=title)
    assert_same_graph(shared.load_graph(number), graph)
    assert repr(shared.report(number)) == repr(graph.meta if report is None else report)


def test_an_empty_graph_is_kept(project: Project) -> None:
    full = small_graph()
    none: dict[str, Any] = {"tokens": (), "token_ids": (), "logit_text": ()}
    for name, column in vars(full).items():
        if isinstance(column, np.ndarray):
            none[name] = column[:0]
    graph = replace(full, **none)
    assert_same_graph(project.load_graph(project.add_trace({}, graph, title="nothing")), graph)


def test_a_graph_is_there_after_reopening_and_its_arrays_cannot_be_changed(project: Project) -> None:
    project.close()
    with Project.open(project.path) as again:
        graph = again.load_graph(2)
        assert_same_graph(graph, small_graph(2))
        assert again.report(2) == {**REPORT, "number": 2}
    with pytest.raises(ValueError, match="read-only"):
        graph.weight[0] = 1.0


def test_the_list_of_traces_says_what_each_is(project: Project) -> None:
    graph = small_graph(1)
    row = project.traces()[0]
    assert (row.id, row.title, row.prompt) == (1, "Trace 1", "The capital of Texas is")
    assert (row.n_nodes, row.n_edges) == (graph.n_nodes, graph.n_edges)
    assert row.target == graph.logit_text[int(np.argmax(graph.logit_probability))]
    assert row.created.endswith("Z")


def test_without_settings_the_prompt_is_the_tokens(project: Project) -> None:
    project.add_trace({}, small_graph(), title="bare")
    assert project.traces()[-1].prompt == "".join(small_graph().tokens)


def test_equal_columns_are_kept_once(project: Project) -> None:
    before = project.path.stat().st_size
    big = build_graph(n_features=500, n_edges=20_000)
    project.add_trace({}, big, title="first")
    first = project.path.stat().st_size - before
    project.add_trace({}, big, title="second")
    assert project.path.stat().st_size - before - first < first / 10


def test_a_report_equal_to_the_meta_is_kept_once(project: Project) -> None:
    graph = replace(small_graph(), meta={"text": "x" * 200_000})
    before = project.path.stat().st_size
    number = project.add_trace(graph.meta, graph, title="long")
    assert project.path.stat().st_size - before < 300_000
    assert project.report(number) == project.load_graph(number).meta == graph.meta


def test_a_graph_that_could_not_be_opened_is_not_saved(project: Project) -> None:
    graph = small_graph()
    broken = replace(graph, weight=np.full_like(graph.weight, np.nan))
    with pytest.raises(LoupeError, match="was not saved because the graph's weight"):
        project.add_trace({}, broken, title="broken")
    assert len(project.traces()) == 2


def test_a_graph_larger_than_a_project_opens_is_not_saved(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    for limit in ("MAX_EDGES", "MAX_NODES", "MAX_LAYERS"):
        with monkeypatch.context() as patch:
            patch.setattr(graph_checks, limit, 3)
            with pytest.raises(LoupeError, match="was not saved because the graph's (size|n_layers)"):
                project.add_trace({}, small_graph(), title="large")
    project.add_trace({}, small_graph(), title="not too large")


def test_arrays_of_other_kinds_or_sizes_are_never_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    for array in (np.array([object()]), np.array(["text"]), np.zeros(2, dtype="c8"), np.zeros(2, dtype="f2")):
        with pytest.raises(TypeError, match="are not stored"):
            arrays.pack(array)
    monkeypatch.setattr(arrays, "MAX_BYTES", 100)
    with pytest.raises(RequestError, match="more than a project holds"):
        arrays.pack(np.zeros(26, dtype=np.float32))


def test_arrays_of_the_other_byte_order_are_kept_by_value() -> None:
    packed = arrays.pack(np.arange(5, dtype=">i4"))
    row = dict(vars(packed))
    assert arrays.unpack(row, "int32", (None,)).tolist() == [0, 1, 2, 3, 4]


def test_a_trace_that_is_not_there(project: Project) -> None:
    for ask in (project.load_graph, project.report, project.annotations):
        with pytest.raises(RequestError, match="no trace 99"):
            ask(99)


def test_a_project_takes_less_room_than_its_graphs_as_gzipped_json(path: Path) -> None:
    graphs = [build_graph(n_layers=12, n_positions=8, n_features=1500, n_edges=20_000, seed=seed) for seed in range(4)]
    with Project.create(path) as project:
        empty = path.stat().st_size
        for graph in graphs:
            project.add_trace({}, graph, title="x")
    assert path.stat().st_size - empty < 0.85 * sum(map(gzipped_json, graphs))


def test_a_large_file_is_opened_without_reading_its_graphs(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the content of arrays is left out of what is checked at opening; each has a hash of its own."""
    graph = build_graph(n_layers=12, n_positions=8, n_features=1500, n_edges=20_000)
    number = project.add_trace({}, graph, title="large")
    project.close()
    whole = project.path.read_bytes()
    connection = sqlite3.connect(project.path)
    (blob,) = connection.execute("SELECT data FROM array ORDER BY length(data) DESC LIMIT 1").fetchone()
    (trace,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'trace'").fetchone()
    connection.close()
    inside = next(at for start in range(9_000, len(blob), 500) if (at := whole.find(blob[start : start + 64])) > 0)
    chain = inside // 4096 * 4096  # a page of the blob's chain begins with the number of the next
    for at, seen_if_small, seen_if_large in ((chain, True, False), ((trace - 1) * 4096 + 1, True, True)):
        project.path.write_bytes(whole[:at] + b"\xff\xff\xff" + whole[at + 3 :])
        for limit, seen in ((opening.CHECKED_WHOLE, seen_if_small), (0, seen_if_large)):
            monkeypatch.setattr(opening, "CHECKED_WHOLE", limit)
            if seen:
                with pytest.raises(RequestError, match="is damaged"):
                    Project.open(project.path, read_only=True)
            else:
                with Project.open(project.path, read_only=True) as opened:
                    assert opened.load_graph(1).n_nodes == small_graph(1).n_nodes
                    with pytest.raises(RequestError, match="is damaged"):
                        opened.load_graph(number)
            monkeypatch.undo()
