"""What the inspector knows of a feature without a corpus: its rank, its label and who gave it, and its like."""

from __future__ import annotations

import numpy as np
import pytest
from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot

from app.reading import activation_rank, similar_features
from app.window import MainWindow
from engine.evidence.pages import Near
from engine.graphs import AttributionGraph, NodeKind
from engine.graphs.similarity import role_similarity
from tests.app.conftest import as_trace
from tests.app.test_window_with_model import SECONDS, ready, type_prompt, wait_until_idle

__all__ = ["ready"]


def listed(window: MainWindow) -> list[tuple[str, str, str]]:
    rows = window.inspector.similar.rows
    items = [rows.topLevelItem(row) for row in range(rows.topLevelItemCount())]
    return [(item.text(0), item.text(1), item.text(2)) for item in items if item is not None]


def test_the_rank_of_an_activation_is_among_its_layer(open_window: MainWindow, graph: AttributionGraph) -> None:
    for node in graph.of_kind(NodeKind.FEATURE).tolist():
        same = [
            abs(float(graph.activation[one]))
            for one in graph.of_kind(NodeKind.FEATURE)
            if graph.layer[one] == graph.layer[node]
        ]
        rank = activation_rank(graph, node)
        assert rank is not None
        assert rank.count == len(same)
        assert rank.below == pytest.approx(sum(one < abs(float(graph.activation[node])) for one in same) / len(same))
    error = int(graph.of_kind(NodeKind.ERROR)[0])
    assert activation_rank(graph, error) is None
    open_window.session.select(node)
    assert f"of {len(same):,} in its layer" in open_window.inspector.activation.text()
    assert "do not count" in open_window.inspector.activation.toolTip()


def test_what_is_not_known_yet_is_said_without_a_button(open_window: MainWindow, graph: AttributionGraph) -> None:
    inspector = open_window.inspector
    open_window.session.select(int(graph.of_kind(NodeKind.FEATURE)[0]))
    assert inspector.examples.isVisible()
    assert "Not known yet" in inspector.examples.state.text()
    open_window.session.select(int(graph.of_kind(NodeKind.ERROR)[0]))
    assert not inspector.examples.isVisible()
    assert not inspector.similar.isVisible()


@pytest.mark.command("edit.label_history")
def test_labels_have_givers_and_a_history(open_window: MainWindow, graph: AttributionGraph, qtbot: QtBot) -> None:
    window, line = open_window, open_window.inspector.label_line
    session = window.session
    node = int(graph.of_kind(NodeKind.FEATURE)[0])
    assert session.project is not None
    assert session.trace_id is not None
    session.project.set_label(session.trace_id, node, "found by a program", source="automatic")
    session.refresh()
    session.select(node)
    assert line.given.text() == "given by an automatic labeller"
    assert not line.history.isVisible()
    line.edit.setFocus()
    line.edit.selectAll()
    qtbot.keyClicks(line.edit, "says Texas")
    qtbot.keyClick(line.edit, Qt.Key.Key_Return)
    assert line.given.text() == "given by a person"
    assert line.history.isVisible()
    window.registry.run("edit.label_history")
    assert line.menu.isVisible()
    texts = [action.text().split("\t")[0] for action in line.menu.actions()]
    assert texts == ["“says Texas”", "“found by a program”"]
    assert "an automatic labeller" in line.menu.actions()[1].text()
    assert not line.menu.actions()[0].isEnabled()
    qtbot.keyClick(line.menu, Qt.Key.Key_Down)
    qtbot.keyClick(line.menu, Qt.Key.Key_Return)
    assert session.annotations.labels == {node: "found by a program"}
    assert line.edit.text() == "found by a program"
    window.registry.run("edit.undo")
    assert line.edit.text() == "says Texas"
    session.select(int(graph.of_kind(NodeKind.FEATURE)[1]))
    assert not line.given.isVisible()
    assert not window.registry.action("edit.label_history").isEnabled()


@pytest.mark.command("edit.label")
def test_a_label_that_is_written_gives_the_keyboard_back(
    open_window: MainWindow, graph: AttributionGraph, qtbot: QtBot
) -> None:
    window, line = open_window, open_window.inspector.label
    node = int(graph.of_kind(NodeKind.FEATURE)[5])
    window.session.select(node)
    for place in (window.area.canvas, window.area.table.table):
        for key, label in ((Qt.Key.Key_Return, "cities"), (Qt.Key.Key_Escape, "cities")):
            place.setFocus()
            window.registry.run("edit.label")
            assert line.hasFocus()
            line.setText("cities" if key == Qt.Key.Key_Return else "towns")
            qtbot.keyClick(line, key)
            assert place.hasFocus()
            assert window.session.annotations.labels[node] == label
    line.setFocus()  # with the mouse: the graph is what comes next
    qtbot.keyClick(line, Qt.Key.Key_Return)
    assert window.area.canvas.hasFocus()


def test_similar_features_are_listed_by_role_and_lead_on(
    open_window: MainWindow, graph: AttributionGraph, qtbot: QtBot
) -> None:
    window, rows = open_window, open_window.inspector.similar.rows
    node = int(graph.of_kind(NodeKind.FEATURE)[5])
    window.session.select(node)
    wanted = similar_features(graph, node, role_similarity(graph, node), None, 6)
    assert wanted
    assert listed(window) == [], "the window does not wait for it"
    qtbot.waitUntil(lambda: bool(listed(window)))
    assert [text for _, text, _ in listed(window)] == [f"{100 * one.role:.0f} %" for one in wanted if one.role]
    assert all(text == "–" for _, _, text in listed(window))
    assert "with the model loaded" in window.inspector.similar.state.text()
    assert not window.inspector.similar.compare.isVisible()
    rows.setFocus()
    rows.setCurrentItem(rows.topLevelItem(0))
    qtbot.keyClick(rows, Qt.Key.Key_Return)
    assert window.session.selected == wanted[0].node
    qtbot.waitUntil(lambda: bool(listed(window)))
    after = similar_features(graph, wanted[0].node, role_similarity(graph, wanted[0].node), None, 6)
    middle = rows.visualItemRect(rows.topLevelItem(1)).center()
    qtbot.mouseClick(rows.viewport(), Qt.MouseButton.LeftButton, pos=middle)
    assert window.session.selected == after[1].node


def test_similar_features_are_other_features_each_once(graph: AttributionGraph) -> None:
    features = graph.of_kind(NodeKind.FEATURE)
    node = int(features[5])
    role = role_similarity(graph, node)
    found = similar_features(graph, node, role, None, 1000)
    names = [(int(graph.layer[one.node]), int(graph.feature[one.node])) for one in found]
    assert len(set(names)) == len(names)
    assert (int(graph.layer[node]), int(graph.feature[node])) not in names
    likeness = [float(role[one.node]) for one in found]
    assert likeness == sorted(likeness, reverse=True)
    cosines = np.zeros(len(features))
    cosines[9] = 1.0
    first = similar_features(graph, node, role, cosines, 1)[0]
    assert (first.node, first.decoder) == (int(features[9]), 1.0)


def test_features_active_at_the_same_tokens_are_more_alike(graph: AttributionGraph) -> None:
    features = graph.of_kind(NodeKind.FEATURE)
    node, other = int(features[5]), int(features[9])
    near = [Near(int(graph.layer[other]), int(graph.feature[other]), 0.9)]
    roles = np.full(graph.n_nodes, 0.2)
    first = similar_features(graph, node, roles, None, 1, near)[0]
    assert (first.node, first.examples, first.role) == (other, 0.9, 0.2)
    assert similar_features(graph, node, roles, None, 1)[0].examples is None


def test_decoders_are_compared_where_the_model_is_loaded(ready: MainWindow, qtbot: QtBot) -> None:
    type_prompt(qtbot, ready, "The capital of Texas is")
    ready.registry.run("trace.run")
    qtbot.waitUntil(lambda: ready.session.trace_id is not None, timeout=SECONDS)
    wait_until_idle(qtbot, ready)
    graph = ready.session.graph
    assert graph is not None
    node = int(graph.of_kind(NodeKind.FEATURE)[5])
    ready.session.select(node)
    wait_until_idle(qtbot, ready)
    compare = ready.inspector.similar.compare
    assert compare.isVisible()
    compare.click()
    wait_until_idle(qtbot, ready)
    assert not compare.isVisible()
    assert not ready.inspector.similar.state.isVisible()
    model = ready.runs.state.model
    assert model is not None
    found = ready.inspector.similar.desk.of(node, 1)
    assert found is not None
    first = found[0]
    vectors = [
        model.weights.layers[int(graph.layer[n])].mlp.w_down[:, int(graph.feature[n])] for n in (node, first.node)
    ]
    cosine = float((vectors[0] @ vectors[1]) / (vectors[0].norm() * vectors[1].norm()))
    assert first.decoder == pytest.approx(max(cosine, 0.0), abs=1e-4)
    assert listed(ready)[0][2].endswith("%")


def test_a_trace_without_features_of_its_own_shows_none(window: MainWindow, graph: AttributionGraph) -> None:
    window.session.add_trace(as_trace(graph), "Austin", "neurons")
    window.session.select(int(graph.of_kind(NodeKind.LOGIT)[0]))
    assert not window.inspector.similar.isVisible()


def test_a_label_holds_in_this_trace_or_everywhere(open_window: MainWindow, graph: AttributionGraph) -> None:
    window, session = open_window, open_window.session
    first, line = session.trace_id, window.inspector.label_line
    node = int(graph.of_kind(NodeKind.FEATURE)[3])
    session.add_trace(as_trace(graph), "The capital of France is → Paris", "neurons")
    session.select(node)
    assert line.scope.isVisible() and line.scope.currentText() == "in this trace"

    def choose(words: str) -> None:
        line.scope.setCurrentText(words)
        line.scope.activated.emit(line.scope.currentIndex())

    choose("everywhere")
    line.edit.setText("a capital")
    line.edit.editingFinished.emit()
    assert session.annotations.labels == {node: "a capital"}
    assert first is not None
    session.open_trace(first)
    session.select(node)
    assert line.edit.text() == "a capital" and line.scope.currentText() == "everywhere"
    # Wherever labels are shown, it is shown.
    assert window.area.canvas._stage.scene.labels == {node: "a capital"}  # type: ignore[union-attr]
    assert session.node_name(node) == "a capital"
    assert session.circuit.labels == {node: "a capital"}

    choose("in this trace")  # the label of this trace goes before the one that holds everywhere
    line.edit.setText("Austin")
    line.edit.editingFinished.emit()
    assert session.annotations.labels == {node: "Austin"}
    assert "everywhere else “a capital”" in line.given.text()
    project = session.project
    assert project is not None
    assert project.annotations(2).labels == {node: "a capital"}
    window.registry.run("edit.label_history")
    said = [action.text() for action in line.menu.actions()]
    line.menu.close()
    assert [text.partition("\t")[0] for text in said] == ["“Austin”", "“a capital”", "“a capital”"]
    assert ["everywhere" in text for text in said] == [False, False, True]
    line.menu.actions()[2].trigger()
    assert session.annotations.labels == {node: "a capital"} and node in session.annotations.everywhere
    window.registry.run("edit.undo")
    assert session.annotations.labels == {node: "Austin"}
    line.edit.setText("")
    line.edit.editingFinished.emit()
    assert line.edit.text() == "a capital", "without its own label the node is called what it is called everywhere"

    session.select(int(graph.of_kind(NodeKind.EMBEDDING)[0]))
    assert not line.scope.isVisible(), "only features have a name everywhere"


def test_a_label_that_holds_everywhere_is_found_and_gone_to(open_window: MainWindow, graph: AttributionGraph) -> None:
    window, session = open_window, open_window.session
    node = int(graph.of_kind(NodeKind.FEATURE)[3])
    window.edits.label(node, "zebra", everywhere=True)
    window.investigation.search.setText("zebra")
    results = window.investigation.results
    results.itemClicked.emit(results.topLevelItem(0), 0)
    assert session.selected == node
