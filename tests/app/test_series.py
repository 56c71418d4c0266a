"""A graph for each token of an answer: run, kept in a folder, stepped through with a slider."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from app.engine_calls import NextToken, SeriesSoFar
from app.session import DRAFT_KEY
from app.window import MainWindow
from engine.errors import Cancelled, RequestError
from engine.graphs import AttributionGraph, NodeKind
from engine.models.language_model import LanguageModel
from engine.projects import TreeRef
from tests.app.conftest import as_trace
from tests.app.test_window_with_model import SECONDS, loaded_window
from tests.graph_builder import build_graph

ANSWER = (" Austin", ",", " the", " state")


def step_graph(step: int) -> AttributionGraph:
    """The graph of one token of the answer: a token longer each time; the third lacks every other feature."""
    graph = build_graph(n_layers=4, n_positions=5, n_features=40, n_logits=1)
    longer = replace(
        graph,
        tokens=(*graph.tokens, *ANSWER[:step]),
        token_ids=(*graph.token_ids, *range(900, 900 + step)),
        logit_text=(ANSWER[step],),
    )
    if step != 2:
        return longer
    feature = longer.feature.copy()
    feature[longer.of_kind(NodeKind.FEATURE)[::2]] += 30_000
    return replace(longer, feature=feature)


def tree(window: MainWindow) -> list[tuple[str, list[str]]]:
    """What the list of traces shows: entries at the top, and what is under each."""
    traces = window.investigation.tree
    items = [traces.topLevelItem(i) for i in range(traces.topLevelItemCount())]
    return [(item.text(0), [item.child(i).text(0) for i in range(item.childCount())]) for item in items if item]


@pytest.fixture
def stored(window: MainWindow) -> MainWindow:
    """A series of four tokens in a folder, beside another trace; its first token is open."""
    session = window.session
    session.add_trace(as_trace(build_graph(n_layers=4, seed=8)), "Before → x", "neurons")
    project = session.project
    assert project is not None
    refs = []
    for step in range(len(ANSWER)):
        trace = as_trace(step_graph(step))
        refs.append(TreeRef("trace", project.add_trace(trace.report, trace.graph, title=f"Step {step} → y")))
    project.tree.gather(refs, "Texas: token by token", content={"series": True})
    session.refresh()
    session.open_trace(2)
    return window


def shown(window: MainWindow) -> tuple[str, str]:
    return window.area.time.token.text(), window.area.time.count.text()


def drag(window: MainWindow, qtbot: QtBot, place: int) -> None:
    """Move the slider, and wait until the graph is there."""
    window.area.time.slider.setValue(place)
    qtbot.waitUntil(lambda: window.session.trace_id == 2 + place, timeout=SECONDS)


def test_the_slider_is_there_for_a_series_only(stored: MainWindow) -> None:
    strip = stored.area.time
    assert strip.isVisible() and (strip.slider.minimum(), strip.slider.maximum()) == (0, 3)
    assert shown(stored) == ("␣Austin", "1 of 4")
    assert tree(stored) == [("Before", []), ("Texas: token by token", [f"Step {i}" for i in range(4)])]
    stored.session.open_trace(1)
    assert not strip.isVisible()


@pytest.mark.command("go.earlier", "go.later")
def test_stepping_keeps_the_selected_node_where_it_exists(stored: MainWindow, qtbot: QtBot) -> None:
    session = stored.session
    assert session.graph is not None
    node = int(session.graph.of_kind(NodeKind.FEATURE)[4])  # one of those that the third graph does not have
    key = tuple(int(column[node]) for column in (session.graph.layer, session.graph.feature, session.graph.position))
    session.select(node)
    drag(stored, qtbot, 1)
    assert session.selected >= 0
    graph = session.graph
    assert (graph.layer[session.selected], graph.feature[session.selected], graph.position[session.selected]) == key
    stored.registry.run("go.later")
    qtbot.waitUntil(lambda: session.trace_id == 4, timeout=SECONDS)
    assert session.selected == -1
    assert shown(stored) == ("␣the", "3 of 4")
    qtbot.keyClick(stored, Qt.Key.Key_Right, Qt.KeyboardModifier.AltModifier)
    qtbot.waitUntil(lambda: session.trace_id == 5, timeout=SECONDS)
    graph = session.graph
    assert (graph.layer[session.selected], graph.feature[session.selected], graph.position[session.selected]) == key
    assert not stored.registry.action("go.later").isEnabled()
    stored.registry.run("go.earlier")
    qtbot.waitUntil(lambda: session.trace_id == 4, timeout=SECONDS)


def test_what_is_chosen_on_the_way_counts_from_then_on(stored: MainWindow, qtbot: QtBot) -> None:
    session = stored.session
    session.select(12)
    drag(stored, qtbot, 1)
    session.select(-1)
    drag(stored, qtbot, 3)
    assert session.selected == -1


def test_zoom_stays_and_the_graph_is_read_off_the_window(
    stored: MainWindow, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    from engine.projects import Project

    readers: list[str] = []
    load = Project.load_graph

    def note(self: Project, number: int) -> AttributionGraph:
        readers.append(threading.current_thread().name)
        return load(self, number)

    monkeypatch.setattr(Project, "load_graph", note)
    surface = stored.area.canvas._surface
    stored.area.canvas.zoom_in()
    before = surface.camera.scales()
    for place in (3, 1, 2):
        drag(stored, qtbot, place)
    assert surface.camera.scales() == pytest.approx(before)
    assert readers and threading.main_thread().name not in readers


def test_the_folder_is_one_step_of_undo(stored: MainWindow) -> None:
    stored.registry.run("edit.undo")
    assert [title for title, _ in tree(stored)] == ["Before", "Step 0", "Step 1", "Step 2", "Step 3"]
    assert not stored.area.time.isVisible()
    stored.registry.run("edit.redo")
    assert stored.area.time.isVisible()


def test_a_deleted_token_leaves_the_slider(stored: MainWindow, qtbot: QtBot) -> None:
    stored.tree_edits.delete([TreeRef("trace", 3)])
    assert shown(stored) == ("␣Austin", "1 of 3")
    stored.area.time.slider.setValue(1)
    qtbot.waitUntil(lambda: stored.session.trace_id == 4, timeout=SECONDS)


class Run:
    """A series in the engine's thread that goes on when it is told to."""

    def __init__(self, window: MainWindow, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> None:
        self.window, self.qtbot = window, qtbot
        self.next = threading.Semaphore(0)
        self.fail_at = -1
        self.answer: Any = None
        monkeypatch.setattr("app.series.run_series", self.job)
        monkeypatch.setattr("app.jobs.SHOWING_SHARE", float("inf"))
        monkeypatch.setattr(window.runs, "with_model", lambda then: then())
        monkeypatch.setattr(window.runs, "has_prompt", lambda: True)

    def job(
        self,
        state: Any,
        project: Any,
        spec: Any,
        features: str,
        trust: bool,
        answer: Any,
        tell: Callable[[SeriesSoFar], None],
        progress: Any,
        cancel: threading.Event,
    ) -> SeriesSoFar:
        self.answer = answer
        so_far = SeriesSoFar(tuple(NextToken(i, text, 0.5) for i, text in enumerate(ANSWER)))
        for step in range(len(ANSWER)):
            if not self.next.acquire(timeout=30):
                raise AssertionError("the test forgot the series")
            if cancel.is_set():
                raise Cancelled
            if step == self.fail_at:
                raise RequestError("The prompt is longer than the model can read; shorten it.")
            trace = as_trace(step_graph(step))
            number = project.add_trace(trace.report, trace.graph, title=f"Step {step}")
            so_far = replace(so_far, stored=(*so_far.stored, (number, trace.graph)))
            tell(so_far)
            progress(f"Token {step + 1}", (step + 1) / len(ANSWER))
        return so_far

    def start(self) -> None:
        self.window.registry.run("trace.series")
        self.qtbot.waitUntil(lambda: self.window.host.busy, timeout=SECONDS)

    def step(self) -> None:
        before = self.window.investigation.tree.topLevelItemCount()
        self.next.release()
        self.qtbot.waitUntil(lambda: self.window.investigation.tree.topLevelItemCount() > before, timeout=SECONDS)

    def wait(self) -> None:
        self.qtbot.waitUntil(lambda: not self.window.host.busy, timeout=SECONDS)


@pytest.fixture
def run(window: MainWindow, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> Run:
    window.session.prompt.edit(text="The capital of Texas is")
    return Run(window, qtbot, monkeypatch)


def test_tokens_appear_one_by_one_and_end_in_a_folder(run: Run) -> None:
    run.start()
    assert run.answer is None or run.answer == run.window.prompt_bar.count.value()
    run.step()
    assert run.window.session.trace_id == 1
    assert shown(run.window) == ("␣Austin", "1 of 1")
    run.step()
    assert shown(run.window) == ("␣Austin", "1 of 2")
    run.window.area.time.slider.setValue(1)
    run.qtbot.waitUntil(lambda: run.window.session.trace_id == 2, timeout=SECONDS)
    run.next.release(2)
    run.wait()
    assert tree(run.window) == [("The capital of Texas is: token by token", [f"Step {i}" for i in range(4)])]
    assert shown(run.window) == (",", "2 of 4")
    project = run.window.session.project
    assert project is not None
    assert [project.setting(f"{DRAFT_KEY}/{n}")["traced"] for n in range(1, 5)] == [0, 1, 2, 3]
    assert run.window.registry.action("edit.undo").text().startswith("Undo Add folder")


def test_cancelling_keeps_what_is_finished(run: Run) -> None:
    run.start()
    run.step()
    run.step()
    run.window.registry.run("trace.cancel")
    run.next.release()
    run.wait()
    assert tree(run.window) == [("The capital of Texas is: token by token", ["Step 0", "Step 1"])]
    assert shown(run.window) == ("␣Austin", "1 of 2")


def test_a_failure_midway_keeps_what_is_finished_and_is_said(run: Run) -> None:
    run.fail_at = 1
    run.start()
    run.next.release(2)
    run.wait()
    assert tree(run.window) == [("The capital of Texas is: token by token", ["Step 0"])]
    banner = run.window.prompt_bar.banner
    assert banner.isVisible() and "shorten it" in banner.sentence.text()


def test_a_series_does_not_take_the_screen_from_another_trace(run: Run) -> None:
    run.window.session.add_trace(as_trace(build_graph(n_layers=4)), "Mine", "neurons")
    run.start()
    run.window.session.add_trace(as_trace(build_graph(n_layers=4)), "Newer", "neurons")
    run.next.release(4)
    run.wait()
    assert run.window.session.trace_id == 2


def test_another_project_stops_it(run: Run) -> None:
    run.start()
    run.step()
    run.window.files.new()
    run.next.release(3)
    run.wait()
    assert run.window.session.project is None or run.window.session.project.traces() == []


@pytest.mark.command("trace.series")
def test_each_token_of_a_real_answer_is_traced(window: MainWindow, smollm: LanguageModel, qtbot: QtBot) -> None:
    loaded_window(window, smollm, "SmolLM2-135M-Instruct", 30)
    window.runs.max_nodes = 40
    window.prompt_bar.editor.setPlainText("The capital of Texas is")
    window.prompt_bar.count.setValue(2)
    window.registry.run("trace.series")
    qtbot.waitUntil(lambda: window.host.busy, timeout=SECONDS)
    qtbot.waitUntil(lambda: not window.host.busy, timeout=SECONDS)
    [(folder, titles)] = tree(window)
    assert folder == "The capital of Texas is: token by token"
    assert titles == ["The capital of Texas is", "The capital of Texas is Austin"]
    assert next(chip.text for chip in window.session.prompt.chips if chip.generated) == " Austin"
    assert shown(window) == ("␣Austin", "1 of 2")
    assert window.session.prompt.traced == 6
    drag_to_last = window.area.time.slider
    drag_to_last.setValue(1)
    qtbot.waitUntil(lambda: window.area.time.desk.place == 1, timeout=SECONDS)
    graph = window.session.graph
    assert graph is not None and graph.tokens[-1] == " Austin"
    assert window.session.prompt.traced == 7
    assert np.max(graph.conservation_error) < 1e-4


def test_large_text_clips_nothing(stored: MainWindow, qapp: QApplication) -> None:
    font = qapp.font()
    font.setPointSizeF(2 * font.pointSizeF())
    qapp.setFont(font)
    qapp.setStyleSheet(qapp.styleSheet())
    QApplication.processEvents()
    strip = stored.area.time
    for label in (strip.token, strip.count):
        assert label.width() >= label.fontMetrics().horizontalAdvance(label.text())
        assert label.height() >= label.fontMetrics().height()
    assert strip.slider.width() >= 80
