"""The find bar: a query and its controls, what lights up, and a way back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot

from app.find_query import LANGUAGE, completions, fitting, last_term, value_of, with_value
from app.finding import names_of
from app.window import MainWindow
from engine.graphs import AttributionGraph, NodeKind
from engine.graphs.search import Names, NodeSearch
from engine.projects import Project
from tests.app.conftest import as_trace


def rows(window: MainWindow) -> list[int]:
    table = window.area.table.nodes
    return [table.row_at(row) for row in range(table.rowCount())]


def find(window: MainWindow, qtbot: QtBot, query: str) -> None:
    window.activateWindow()
    window.area.canvas.setFocus()
    qtbot.keyClick(window.area.canvas, Qt.Key.Key_Slash)
    qtbot.waitUntil(window.area.find_bar.line.hasFocus)
    qtbot.keyClicks(window.area.find_bar.line, query)


def lit(window: MainWindow) -> list[int]:
    """Nodes the canvas draws in full."""
    canvas = window.area.canvas
    scene, faded = canvas._stage.scene, canvas._stage.faded
    assert scene is not None
    return np.flatnonzero(scene.node_shown & ~faded).tolist()


@pytest.mark.command("go.find")
def test_what_is_found_lights_up_fills_the_table_and_is_given_back(
    open_window: MainWindow, graph: AttributionGraph, qtbot: QtBot
) -> None:
    window, bar = open_window, open_window.area.find_bar
    before = rows(window)
    assert not bar.isVisible()
    find(window, qtbot, "kind:error")
    assert window.session.view is not None
    errors = np.flatnonzero((graph.kind == NodeKind.ERROR) & window.session.view.nodes).tolist()
    assert errors
    assert sorted(rows(window)) == lit(window) == errors
    total = int((graph.kind == NodeKind.ERROR).sum())
    assert bar.count.text() == (f"{total} found" + (f", {total - len(errors)} hidden" if total > len(errors) else ""))
    qtbot.keyClick(bar.line, Qt.Key.Key_Escape)
    assert not bar.isVisible()
    assert rows(window) == before
    assert sorted(lit(window)) == sorted(before)
    assert window.area.canvas.hasFocus()
    qtbot.keyClick(window.area.canvas, Qt.Key.Key_Slash)
    assert bar.line.text() == bar.line.selectedText() == "kind:error"
    assert sorted(rows(window)) == errors


@pytest.mark.command("go.find_next", "go.find_previous", "go.find_close")
def test_next_and_previous_go_round_and_say_where(
    open_window: MainWindow, graph: AttributionGraph, qtbot: QtBot
) -> None:
    window, bar = open_window, open_window.area.find_bar
    find(window, qtbot, "kind:feature layer:1")
    wanted = np.flatnonzero((graph.kind == NodeKind.FEATURE) & (graph.layer == 1))
    wanted = wanted[np.argsort(-graph.influence[wanted], kind="stable")].tolist()
    qtbot.keyClick(bar.line, Qt.Key.Key_Return)
    assert window.session.selected == wanted[0]
    assert bar.count.text().startswith(f"1 of {len(wanted)}")
    qtbot.keyClick(bar.line, Qt.Key.Key_Return, Qt.KeyboardModifier.ShiftModifier)
    assert window.session.selected == wanted[-1]
    assert bar.line.hasFocus()
    window.registry.run("go.find_next")
    assert window.session.selected == wanted[0]
    window.registry.run("go.find_previous")
    assert window.session.selected == wanted[-1]
    assert window.area.canvas.selected() == wanted[-1]
    window.registry.run("go.find_close")
    assert not bar.isVisible()
    assert not window.registry.action("go.find_next").isEnabled()
    assert window.session.selected == wanted[-1]


def test_a_query_that_is_not_understood_says_one_sentence_and_keeps_what_was_found(
    open_window: MainWindow, qtbot: QtBot
) -> None:
    window, bar = open_window, open_window.area.find_bar
    find(window, qtbot, "kind:error")
    found = rows(window)
    bar.line.setText("kind:error colour:red")
    assert bar.problem.isVisible()
    assert "does not know 'colour:'" in bar.problem.text()
    assert bar.count.text() == ""
    assert rows(window) == found
    bar.line.setText("kind:error nothing-like-it")
    assert not bar.problem.isVisible()
    assert bar.count.text() == "nothing found"
    assert rows(window) == []
    assert not window.registry.action("go.find_next").isEnabled()


@pytest.mark.command("go.find_filters")
def test_controls_write_terms_and_follow_them(open_window: MainWindow, graph: AttributionGraph, qtbot: QtBot) -> None:
    window, bar = open_window, open_window.area.find_bar
    window.registry.run("go.find_filters")
    controls = bar.filters
    assert controls.isVisible()
    controls.kind.setCurrentText("feature")
    controls.first.setValue(1)
    controls.last.setValue(2)
    controls.token.setCurrentIndex(controls.token.findData("4"))
    controls.sign.setCurrentText("negative")
    qtbot.keyClicks(controls.influence, "1%")
    assert bar.line.text() == "kind:feature layer:1..2 position:4 sign:- influence>=1%"
    assert window.session.finding.search is not None
    wanted = window.session.finding.search.find(bar.line.text())
    assert window.session.finding.found is not None
    assert (window.session.finding.found == wanted).all()
    bar.line.setText("layer:3 activation>=2 -kind:error")
    assert (controls.kind.currentText(), controls.first.value(), controls.last.value()) == ("any", 3, 3)
    assert controls.activation.text() == "2"
    controls.last.setValue(-1)
    assert value_of(bar.line.text(), "layer") == "3.."
    assert "-kind:error" in bar.line.text()
    window.registry.run("go.find_filters")
    assert not controls.isVisible()
    assert bar.isVisible()


def test_a_term_is_completed_while_it_is_typed(open_window: MainWindow, qtbot: QtBot) -> None:
    window, bar = open_window, open_window.area.find_bar
    find(window, qtbot, "layer:1 ki")
    assert bar.line.offered.stringList()[0] == "kind:"
    assert bar.line.popup.isVisible()
    qtbot.keyClicks(bar.line, "nd:f")
    qtbot.keyClick(bar.line.popup, Qt.Key.Key_Down)
    qtbot.keyClick(bar.line.popup, Qt.Key.Key_Return)
    assert bar.line.text() == "layer:1 kind:feature "
    assert not bar.line.popup.isVisible()
    qtbot.keyClicks(bar.line, "zzz")
    assert not bar.line.popup.isVisible()


def test_the_help_inserts_terms_that_are_understood(open_window: MainWindow) -> None:
    window, bar = open_window, open_window.area.find_bar
    window.registry.run("go.find")
    offered = [action for action in bar.language.actions() if action.isVisible()]
    assert len(offered) == len(LANGUAGE) - 1, "how often features are active is not known here"
    for action in offered:
        bar.line.clear()
        bar.language.triggered.emit(action)
        assert bar.line.text() == action.data()
        assert not bar.problem.isVisible(), action.data()


def test_the_search_follows_labels_and_other_traces(open_window: MainWindow, graph: AttributionGraph) -> None:
    window, bar = open_window, open_window.area.find_bar
    node = int(graph.of_kind(NodeKind.FEATURE)[3])
    window.registry.run("go.find")
    bar.line.setText("label:texas")
    assert rows(window) == []
    window.session.select(node)
    window.edits.label(node, "says Texas")
    assert rows(window) == [node]
    window.edits.group([node, node + 1], "cities")
    bar.line.setText("in:cities -is:pinned")
    assert rows(window) == [node, node + 1] or set(rows(window)) == {node, node + 1}
    window.session.add_trace(as_trace(graph), "again", "neurons")
    assert rows(window) == []
    window.registry.run("file.new")
    assert not bar.isVisible()


def test_nested_supernodes_are_all_searched(tmp_path: Path, graph: AttributionGraph) -> None:
    with Project.create(tmp_path / "nested.loupe") as project:
        trace = as_trace(graph)
        number = project.add_trace(trace.report, trace.graph, title="nested")
        one, two, three = (int(node) for node in graph.of_kind(NodeKind.FEATURE)[:3])
        project.add_group(number, "outer", [one, two])
        outer = project.annotations(number).groups[0].id
        project.add_group(number, "inner", [two, three])
        inner = project.annotations(number).groups[-1].id
        project.nest_group(number, inner, outer)
        names = names_of(project.annotations(number))
    assert names.supernodes[three] == ("outer", "inner")
    assert names.supernodes[one] == ("outer",)


def test_help_names_every_term_the_search_knows(graph: AttributionGraph) -> None:
    examples = " ".join(example for example, _ in LANGUAGE)
    search = NodeSearch(graph, density=np.zeros(graph.n_nodes, np.float32))
    for key in search._words:
        assert f"{key}:" in examples
    for example, _ in LANGUAGE:
        search.find(example)


@pytest.mark.parametrize(
    ("query", "key", "text", "sign", "expected"),
    [
        ("", "kind", "error", ":", "kind:error"),
        ("capital kind:error sign:+", "kind", "bias", ":", "capital sign:+ kind:bias"),
        ("-kind:error kind:bias", "kind", "", ":", "-kind:error"),
        ("activation>2", "activation", "3", ">=", "activation>=3"),
        ('"of the"', "token", "New York", ":", '"of the" token:"New York"'),
    ],
)
def test_a_term_is_exchanged_and_the_rest_stays(query: str, key: str, text: str, sign: str, expected: str) -> None:
    assert with_value(query, key, text, sign) == expected


def test_completions_are_of_the_last_term_and_of_this_graph() -> None:
    offered = completions([" Texas", " is"], Names(labels={1: "say a capital"}, supernodes={2: ("cities",)}))
    assert last_term('"a b" ki') == "ki"
    assert last_term('label:"say a') == 'label:"say a'
    assert fitting(offered, "tok")[0] == "token:"
    assert fitting(offered, "token:te") == ["token:Texas"]
    assert fitting(offered, "label:say") == ['label:"say a capital"']
    assert fitting(offered, "-in:c") == ["-in:cities"]
    assert fitting(offered, "kind:error") == []
    assert fitting(offered, "") == []
