from __future__ import annotations

from dataclasses import replace

import pytest
from pytestqt.qtbot import QtBot

from app.window import MainWindow
from engine.graphs import AttributionGraph, NodeKind
from tests.app.test_window_with_model import SECONDS, ready, type_prompt, wait_until_idle

__all__ = ["ready"]


def _trace_the_prompt(window: MainWindow, qtbot: QtBot) -> AttributionGraph:
    type_prompt(qtbot, window, "The capital of Texas is")
    window.registry.run("trace.run")
    qtbot.waitUntil(lambda: window.session.trace_id is not None, timeout=SECONDS)
    wait_until_idle(qtbot, window)
    graph = window.session.graph
    assert graph is not None
    return graph


@pytest.mark.command("trace.feature", "trace.run")
def test_the_selected_feature_is_traced_in_the_graphs_own_prompt(ready: MainWindow, qtbot: QtBot) -> None:
    def possible() -> bool:
        return ready.registry.action("trace.feature").isEnabled()

    graph = _trace_the_prompt(ready, qtbot)
    session = ready.session
    assert not possible()
    session.select(int(graph.of_kind(NodeKind.LOGIT)[0]))
    assert not possible()
    features = graph.of_kind(NodeKind.FEATURE)
    node = int(features[graph.layer[features].argmax()])
    layer, position, feature = int(graph.layer[node]), int(graph.position[node]), int(graph.feature[node])
    session.select(node)
    assert possible()
    # What is typed meanwhile is not what is traced.
    ready.prompt_bar.editor.setPlainText("Something else")
    ready.prompt_bar.commit()
    wait_until_idle(qtbot, ready)
    ready.registry.run("trace.feature")
    qtbot.waitUntil(lambda: session.graph is not graph and not session.growing, timeout=SECONDS)
    wait_until_idle(qtbot, ready)
    found, project = session.graph, session.project
    assert found is not None
    assert project is not None
    assert found.token_ids == graph.token_ids[: position + 1]
    assert found.logit_text == (f"layer {layer} · {feature}",)
    assert float(found.value[-1]) != 0.0
    assert session.report["conservation_error"] < 1e-4
    assert project.traces()[-1].title == f"The capital of Texas is → layer {layer} · {feature}"
    assert session.prompt.draft.text == "The capital of Texas is"
    assert session.features_source == "neurons"
    assert not ready.area.banner.isVisible()


def test_the_graphs_own_model_is_loaded_again_where_another_was_chosen(ready: MainWindow, qtbot: QtBot) -> None:
    graph = _trace_the_prompt(ready, qtbot)
    session = ready.session
    ready.runs.choose_model("another model")
    session.select(int(graph.of_kind(NodeKind.FEATURE)[0]))
    ready.registry.run("trace.feature")
    qtbot.waitUntil(lambda: session.graph is not graph and not session.growing, timeout=SECONDS)
    wait_until_idle(qtbot, ready)
    assert ready.runs.model is not None
    assert ready.runs.model.source == "SmolLM2-135M-Instruct"


def test_a_model_that_has_changed_since_is_said(ready: MainWindow, qtbot: QtBot) -> None:
    graph = _trace_the_prompt(ready, qtbot)
    assert ready.runs.model is not None
    ready.runs.model = replace(ready.runs.model, fingerprint="changed")
    ready.session.select(int(graph.of_kind(NodeKind.FEATURE)[0]))
    ready.registry.run("trace.feature")
    wait_until_idle(qtbot, ready)
    assert "no longer the model" in ready.area.banner.sentence.text()
    assert ready.session.graph is graph


def test_without_the_model_of_the_graph_the_command_is_off(open_window: MainWindow) -> None:
    graph = open_window.session.graph
    assert graph is not None
    open_window.session.select(int(graph.of_kind(NodeKind.FEATURE)[0]))
    assert not open_window.registry.action("trace.feature").isEnabled()
