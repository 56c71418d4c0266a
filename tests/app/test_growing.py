"""The graph on screen while its trace runs: it grows, stays calm, and is the project's only when it is done."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PySide6.QtCore import QPointF, Qt
from pytestqt.qtbot import QtBot

from app.engine_calls import LoadedModel
from app.jobs import Value
from app.window import MainWindow
from engine.errors import RequestError
from engine.graphs import AttributionGraph, NodeKind
from engine.models.language_model import LanguageModel
from engine.projects import TreeRef
from engine.tracing import hand_out
from tests.app.conftest import as_trace
from tests.graph_builder import build_graph

SECONDS = 60_000
STEPS = (0, 12, 25, 40)


def up_to(graph: AttributionGraph, n_features: int) -> AttributionGraph:
    """A trace stopped early: the topmost `n_features` features have rows, the others are no nodes."""
    features = graph.of_kind(NodeKind.FEATURE)
    gone = features[: len(features) - n_features]
    kept = np.setdiff1d(np.arange(graph.n_nodes), gone)
    number = np.full(graph.n_nodes, -1, np.int32)
    number[kept] = np.arange(len(kept))
    edges = (number[graph.source] >= 0) & (number[graph.target] >= 0)
    rows = number[graph.traced] >= 0
    columns = {name: getattr(graph, name)[kept] for name in ("kind", "layer", "position", "feature")}
    return replace(
        graph,
        **columns,
        activation=graph.activation[kept],
        influence=graph.influence[kept],
        source=number[graph.source[edges]],
        target=number[graph.target[edges]],
        weight=graph.weight[edges],
        traced=number[graph.traced[rows]],
        value=graph.value[rows],
        rest=graph.rest[rows],
        rest_absolute=graph.rest_absolute[rows],
        meta={**as_trace(graph).report, "complete": False, "feature_nodes": n_features},
    )


class Run:
    """A trace in the engine's thread that goes on when it is told to."""

    def __init__(self, window: MainWindow, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> None:
        self.window, self.qtbot = window, qtbot
        self.graph = build_graph(n_layers=4, n_positions=5, n_features=40, n_logits=3)
        self.next = threading.Semaphore(0)
        self.end: Callable[[], Any] = self.whole
        monkeypatch.setattr("app.runs.run_trace", self.job)

    def whole(self) -> Any:
        return as_trace(self.graph, complete=True, feature_nodes=40)

    def job(self, state: Any, spec: Any, features: str, trust: bool, on_graph: Any, progress: Any, cancel: Any) -> Any:
        for step in STEPS:
            if not self.next.acquire(timeout=30):
                raise AssertionError("the test forgot the trace")
            if cancel.is_set():
                break
            on_graph(up_to(self.graph, step))
            progress(f"Tracing layer {4 - STEPS.index(step)}", step / 40)
        return self.end()

    def start(self) -> None:
        from engine.tracing.spec import Prompt, TraceSpec

        self.window.runs.submit_trace(TraceSpec(Prompt("x")), "a trace", None)

    def step(self) -> None:
        """Let the trace hand out its next graph, and wait until it is shown."""
        before = self.window.session.graph
        self.next.release()
        self.qtbot.waitUntil(lambda: self.window.session.graph is not before, timeout=SECONDS)

    def finish(self) -> None:
        self.next.release(2 * len(STEPS))
        self.qtbot.waitUntil(lambda: not self.window.host.busy, timeout=SECONDS)


@pytest.fixture
def run(window: MainWindow, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setattr("app.jobs.SHOWING_SHARE", float("inf"))
    return Run(window, qtbot, monkeypatch)


def traces(window: MainWindow) -> list[int]:
    return [] if window.session.project is None else [row.id for row in window.session.project.traces()]


def test_rows_appear_as_they_are_found_and_the_whole_graph_takes_their_place(run: Run) -> None:
    window = run.window
    run.start()
    counts = []
    for _ in STEPS[:-1]:
        run.step()
        graph = window.session.graph
        assert graph is not None
        counts.append(len(graph.of_kind(NodeKind.FEATURE)))
        assert window.area.stack.currentIndex() == 1
        assert window.status.scores[0].text() == f"so far {counts[-1]} features"
        assert window.status.scores[0].isVisible()
        said = [label.text() for label in window.status.scores if label.isVisible()]
        assert len(said) <= 2, "what the status bar says of an unfinished graph must not push the window wider"
        assert traces(window) == [], "an unfinished graph is in the project"
        assert not window.session.can_edit
        assert window.area.table.nodes.rowCount() > 0
    assert counts == list(STEPS[:-1])
    run.finish()
    assert window.session.graph is not None
    assert len(window.session.graph.of_kind(NodeKind.FEATURE)) == 40
    assert not window.status.scores[0].text().startswith("so far")
    assert traces(window) == [window.session.trace_id]
    assert window.session.can_edit


def test_zoom_and_selection_stay_calm(run: Run, qtbot: QtBot) -> None:
    window = run.window
    canvas, session = window.area.canvas, window.session
    run.start()
    run.step()
    run.step()
    assert session.graph is not None
    node = int(session.graph.of_kind(NodeKind.FEATURE)[-1])
    name = session.graph.describe(node)
    session.select(node)
    canvas.zoom_in()
    canvas.zoom_in()
    surface = canvas._surface
    scales = surface.camera.scales()
    pixel = surface.pixel_of(node)
    for step in (run.step, run.finish):
        step()
        assert session.graph is not None
        assert session.graph.describe(session.selected) == name
        assert canvas.selected() == session.selected
        assert surface.camera.scales() == pytest.approx(scales)
        now = surface.pixel_of(session.selected)
        assert (now.x(), now.y()) == pytest.approx((pixel.x(), pixel.y()), abs=1.0)
        assert window.inspector.name.text().endswith(f"of layer {int(session.graph.layer[session.selected])}")
    assert session.visited._nodes == [session.selected]


def test_where_one_looked_stays_without_a_selection(run: Run) -> None:
    window = run.window
    surface = window.area.canvas._surface
    run.start()
    run.step()
    run.step()
    window.area.canvas.zoom_in()
    window.area.canvas.zoom_in()
    middle = surface.camera.inner().center()

    def cell() -> tuple[int, int]:
        scene = surface.stage.scene
        assert scene is not None
        point = surface.camera.point_at(QPointF(middle))
        column = int(np.searchsorted(scene.layout.column_edges, point.x())) - 1
        row = int(np.searchsorted(scene.layout.row_edges, point.y())) - 1
        return int(scene.layout.positions[column]), int(scene.layout.layers[row])

    before, scales = cell(), surface.camera.scales()
    run.step()
    assert (cell(), surface.camera.scales()) == (before, pytest.approx(scales))
    run.finish()


def test_what_is_hovered_stays_hovered(run: Run, qtbot: QtBot) -> None:
    window = run.window
    run.start()
    run.step()
    run.step()
    assert window.session.graph is not None
    node = int(window.session.graph.of_kind(NodeKind.LOGIT)[0])
    window.area.canvas._hover(node)
    qtbot.keyClick(window.area.canvas, Qt.Key.Key_Space)
    run.step()
    graph = window.session.graph
    assert graph is not None
    assert window.session.hovered == window.area.canvas.hovered() == int(graph.of_kind(NodeKind.LOGIT)[0]) != node
    assert window.area.canvas._card.isVisible()
    run.finish()


def test_sliders_moved_meanwhile_are_kept(run: Run) -> None:
    run.start()
    run.step()
    run.window.session.set_view(node_threshold=0.5)
    run.finish()
    session = run.window.session
    assert session.settings.node_threshold == 0.5
    assert session.project is not None
    assert session.trace_id is not None
    assert session.project.view(session.trace_id)["node_threshold"] == 0.5


def test_cancel_keeps_what_was_found(run: Run) -> None:
    window = run.window
    run.end = lambda: as_trace(up_to(run.graph, 12), complete=False, feature_nodes=12)
    run.start()
    run.step()
    run.step()
    window.registry.run("trace.cancel")
    run.finish()
    assert len(traces(window)) == 1
    assert "Stopped early" in window.area.banner.sentence.text()
    assert window.session.graph is not None
    assert len(window.session.graph.of_kind(NodeKind.FEATURE)) == 12


def fail() -> Any:
    raise RequestError("It went wrong; try another prompt.")


def test_a_run_that_fails_gives_back_what_was_open(run: Run) -> None:
    window = run.window
    first = window.session.add_trace(as_trace(run.graph), "the one before", "neurons")
    run.end = fail
    run.start()
    run.step()
    assert window.session.growing
    assert window.session.trace_id is None
    run.finish()
    assert window.session.trace_id == first
    assert not window.session.growing
    assert "It went wrong" in window.prompt_bar.banner.sentence.text()


def test_a_failed_first_run_leaves_the_start_page(run: Run) -> None:
    run.end = fail
    run.start()
    run.step()
    run.finish()
    assert run.window.session.graph is None
    assert run.window.area.stack.currentIndex() == 0


@pytest.mark.command("trace.open_ready")
def test_a_person_who_turns_to_another_trace_is_left_in_peace(run: Run, qtbot: QtBot) -> None:
    window = run.window
    first = window.session.add_trace(as_trace(run.graph), "the one before", "neurons")
    run.start()
    run.step()
    window.session.open_trace(first)
    shown = window.session.graph
    with qtbot.waitSignal(window.host.progressed, check_params_cb=lambda stage, share, left: share > 0):
        run.next.release()
    assert window.session.graph is shown
    assert window.session.trace_id == first
    window.session.prompt.edit(text="what is typed meanwhile")
    run.finish()
    assert len(traces(window)) == 2
    assert window.session.trace_id == first, "it must not open over what the person reads"
    assert window.session.graph is shown
    assert window.session.prompt.draft.text == "what is typed meanwhile"
    button = window.status.ready
    assert button.isVisible() and button.text().startswith("Trace ready: ")
    button.click()
    assert window.session.trace_id == traces(window)[1]
    assert window.session.prompt.draft.text == "", "the prompt it was asked of"
    assert not button.isVisible()
    assert not window.registry.action("trace.open_ready").isEnabled()


def test_a_person_who_turns_away_before_the_first_rows_is_left_in_peace(run: Run) -> None:
    window = run.window
    one, two = (window.session.add_trace(as_trace(run.graph), title, "neurons") for title in ("one", "two"))
    run.start()
    window.session.open_trace(one)
    run.finish()
    assert window.session.trace_id == one
    assert window.runs.ready is not None
    window.tree_edits.delete([TreeRef("trace", window.runs.ready[0])])
    assert not window.status.ready.isVisible(), "what is gone cannot be opened"
    window.session.open_trace(two)
    run.start()
    run.finish()
    assert window.session.trace_id not in (one, two), "nobody turned away: it is opened"


def test_a_label_being_typed_goes_to_the_trace_it_was_typed_for(run: Run, qtbot: QtBot) -> None:
    window = run.window
    first = window.session.add_trace(as_trace(run.graph), "the one before", "neurons")
    window.session.select(3)
    window.inspector.label.setFocus()
    qtbot.keyClicks(window.inspector.label, "Texas")
    run.start()
    run.step()
    run.finish()
    assert window.session.project is not None
    assert window.session.trace_id != first
    assert window.session.project.annotations(first).labels == {3: "Texas"}
    assert window.session.annotations.labels == {}


def test_graphs_of_a_run_that_was_replaced_never_show(run: Run, qtbot: QtBot) -> None:
    """The older run hands out once more after the newer was asked for; the window must not take it."""
    window = run.window
    run.start()
    run.step()
    old = window.host.current
    assert old is not None
    run.start()
    late = up_to(run.graph, 40)
    assert old.mailbox is not None
    old.mailbox.put(late)
    window.host._report()
    assert window.session.graph is not late
    run.finish()
    assert len(traces(window)) == 1


def test_closing_meanwhile_loses_nothing(run: Run) -> None:
    run.start()
    run.step()
    run.next.release(len(STEPS))
    run.window.close()
    run.qtbot.waitUntil(lambda: not run.window.isVisible(), timeout=SECONDS)


def test_a_real_trace_shows_its_logits_first(
    window: MainWindow, smollm: LanguageModel, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hand_out, "SPACING", 0.0)
    monkeypatch.setattr(hand_out, "SHARE", float("inf"))
    window.runs.choose_model("SmolLM2-135M-Instruct")
    window.runs.state.model = smollm
    facts = LoadedModel(
        "SmolLM2-135M-Instruct", smollm.name, smollm.fingerprint, "cpu", "float32", 30, smollm.tokenizer
    )
    window.runs._model_opened(Value(facts))
    window.runs.max_nodes = 60
    window.prompt_bar.editor.setPlainText("The capital of Texas is")
    counts: list[int] = []

    def note() -> None:
        if window.session.growing:
            assert window.session.graph is not None
            counts.append(len(window.session.graph.of_kind(NodeKind.FEATURE)))

    window.session.traceChanged.connect(note)
    window.registry.run("trace.run")
    qtbot.waitUntil(lambda: window.session.trace_id is not None, timeout=SECONDS)
    assert counts
    assert counts == sorted(counts)
    assert window.session.graph is not None
    assert len(window.session.graph.of_kind(NodeKind.FEATURE)) == 60
