"""Two graphs side by side: what a person sees and does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PySide6.QtCore import QItemSelectionModel, QPoint, Qt
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from app.canvas import Mark
from app.canvas.surface import Surface
from app.dialogs import Ask
from app.panels.compare_page import ComparePage
from app.window import MainWindow
from engine.graphs import AttributionGraph, NodeKind
from engine.projects import TreeRef
from tests.app.conftest import as_trace
from tests.graph_builder import build_graph

SECONDS = 20_000


def varied(graph: AttributionGraph) -> AttributionGraph:
    """The same graph with other numbers for a quarter of the features and other strengths for another."""
    features = graph.of_kind(NodeKind.FEATURE)
    feature, activation = graph.feature.copy(), graph.activation.copy()
    feature[features[::4]] += 20_000
    activation[features[1::4]] *= 3
    return replace(graph, feature=feature, activation=activation, tokens=(*graph.tokens[:-1], " here"))


@pytest.fixture
def two(window: MainWindow, graph: AttributionGraph) -> MainWindow:
    """A window with two traces of one dictionary; the first is open."""
    window.session.add_trace(as_trace(graph), "The capital of Texas is → Austin", "neurons")
    window.session.add_trace(as_trace(varied(graph)), "The capital of France is → Paris", "neurons")
    window.session.open_trace(1)
    return window


@pytest.fixture
def page(two: MainWindow, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> ComparePage:
    """The two traces compared, by the palette's command."""
    monkeypatch.setattr(Ask, "choice", lambda *arguments: 0)
    two.session.set_view(node_threshold=0.99)
    two.registry.run("trace.compare")
    qtbot.waitUntil(lambda: two.comparison.pairing is not None, timeout=SECONDS)
    return two.area.compare


def click(qtbot: QtBot, page: ComparePage, right: bool, node: int) -> None:
    canvas = page.right if right else page.left
    surface = canvas.findChild(Surface)
    at = surface.pixel_of(node).toPoint()
    qtbot.mouseClick(surface.viewport(), Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, at)


def marked(page: ComparePage, mark: Mark, right: bool = False) -> int:
    """A node of a class that is shown and can be hit."""
    assert page.desk.pairing is not None
    scene = page.desk.pairing.scenes[1 if right else 0]
    surface = (page.right if right else page.left).findChild(Surface)
    assert scene.marks is not None
    for node in scene.shown[scene.marks[scene.shown] == mark].tolist():
        if scene.graph.kind[node] == NodeKind.FEATURE and surface.node_at(surface.pixel_of(node)) == node:
            return int(node)
    raise AssertionError(f"no {mark} node in sight")


def test_two_graphs_stand_side_by_side_with_counts(page: ComparePage, two: MainWindow) -> None:
    assert page.isVisible() and page.left.isVisible() and page.right.isVisible()
    assert not two.area.canvas.isVisible()
    tops = [canvas.mapTo(page, QPoint(0, 0)).y() for canvas in (page.left, page.right)]
    assert tops[0] == tops[1], "the layer axis is not level"
    found = page.desk.pairing
    assert found is not None
    assert page.left_title.text() == "The capital of Texas is → Austin"
    assert page.right_title.currentText() == "The capital of France is → Paris"
    texts = [button.text() for button in page.filters]
    assert texts == [
        f"All ({len(found.mark)})",
        f"Shared ({found.count(Mark.SHARED)})",
        f"Changed ({found.count(Mark.CHANGED)})",
        "Only left (10)",
        "Only right (10)",
    ]
    assert sum(found.count(mark) for mark in Mark) == len(found.mark)
    assert found.count(Mark.CHANGED) >= 10
    assert page.doubt.isHidden()


def test_selecting_on_one_side_selects_the_partner(page: ComparePage, two: MainWindow, qtbot: QtBot) -> None:
    found = page.desk.pairing
    assert found is not None
    for right in (False, True):
        two.session.select(-1)
        assert page.right.selected() == -1
        node = marked(page, Mark.CHANGED, right)
        click(qtbot, page, right, node)
        left, other = page.left.selected(), page.right.selected()
        assert (other if right else left) == node
        assert found.partner_left[left] == other
        assert two.session.selected == left
        row = page.table.rows.row_at(page.table.currentIndex().row())
        assert (found.left_node[row], found.right_node[row]) == (left, other)
    alone = marked(page, Mark.ONLY_RIGHT, right=True)
    click(qtbot, page, True, alone)
    assert (page.left.selected(), page.right.selected(), two.session.selected) == (-1, alone, -1)
    two.session.select(marked(page, Mark.ONLY_LEFT))
    assert page.right.selected() == -1
    assert page.left.selected() == two.session.selected


def test_a_row_selects_in_both_graphs_and_brings_hidden_nodes_into_view(
    page: ComparePage, two: MainWindow, qtbot: QtBot
) -> None:
    found = page.desk.pairing
    assert found is not None
    two.session.set_view(node_threshold=0.3)
    qtbot.waitUntil(lambda: len(found.scenes[1].shown) < 30)
    page.everything.click()
    rows = page.table.rows
    assert rows.rowCount() == len(found.mark)
    hidden = next(
        place
        for place in range(rows.rowCount())
        if found.left_node[rows.row_at(place)] < 0
        and not found.scenes[1].node_shown[found.right_node[rows.row_at(place)]]
    )
    node = int(found.right_node[rows.row_at(hidden)])
    page.table.setCurrentIndex(rows.index(hidden, 0))
    assert page.right.selected() == node
    qtbot.waitUntil(lambda: bool(found.scenes[1].node_shown[node]))
    assert page.right.selected() == node


@pytest.mark.command("view.compare.all")
@pytest.mark.parametrize(
    ("command", "mark"),
    [
        pytest.param("only_left", Mark.ONLY_LEFT, marks=pytest.mark.command("view.compare.only_left")),
        pytest.param("only_right", Mark.ONLY_RIGHT, marks=pytest.mark.command("view.compare.only_right")),
        pytest.param("shared", Mark.SHARED, marks=pytest.mark.command("view.compare.shared")),
        pytest.param("changed", Mark.CHANGED, marks=pytest.mark.command("view.compare.changed")),
    ],
)
def test_one_class_alone(page: ComparePage, two: MainWindow, qtbot: QtBot, command: str, mark: Mark) -> None:
    button = next(button for button in page.filters if button.mark == mark)
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
    found = page.desk.pairing
    assert found is not None and button.isChecked() and not page.filters[0].isChecked()
    rows = page.table.rows
    assert rows.rowCount() > 0
    assert {rows.data(rows.index(place, 0)) for place in range(rows.rowCount())} == {command.replace("_", " ")}
    for scene in found.scenes:
        assert scene.marks is not None
        assert (scene.marks[scene.shown] == mark).all()
    message = (page.right if mark is Mark.ONLY_LEFT else page.left)._empty
    assert message.isVisible() == (mark in (Mark.ONLY_LEFT, Mark.ONLY_RIGHT))
    assert not message.isVisible() or "class" in message.text()
    two.registry.run("view.compare.all")
    assert page.filters[0].isChecked() and not button.isChecked()
    assert len(found.scenes[0].shown) > rows.rowCount() - 30


def test_the_table_is_sorted_and_filtered(page: ComparePage, qtbot: QtBot) -> None:
    found, rows = page.desk.pairing, page.table.rows
    assert found is not None
    left, right = found.amounts("influence")
    shown = [rows.row_at(place) for place in range(rows.rowCount())]
    sizes = np.abs(right - left)[shown]
    assert (np.diff(sizes) <= 0).all() and sizes[0] > 0
    for column in range(rows.columnCount()):
        page.table.sortByColumn(column, Qt.SortOrder.AscendingOrder)
        assert sorted(rows.row_at(place) for place in range(rows.rowCount())) == sorted(shown)
    qtbot.keyClicks(page.filter, "changed L3")
    assert 0 < rows.rowCount() < len(shown)
    for place in range(rows.rowCount()):
        assert rows.data(rows.index(place, 0)) == "changed"
        assert "activation" in rows.data(rows.index(place, 4)) or "inputs" in rows.data(rows.index(place, 4))
        assert str(rows.data(rows.index(place, 1))).startswith(("L3 ", "bias L3", "error L3"))
    assert page.count.text() == f"{rows.rowCount()} of {len(found.mark)}"


def test_a_shared_node_is_shown_on_both_sides_or_on_none(page: ComparePage, two: MainWindow, qtbot: QtBot) -> None:
    found = page.desk.pairing
    assert found is not None
    before = len(found.scenes[1].shown)
    two.area.strip.influence.setValue(300)
    qtbot.waitUntil(lambda: len(found.scenes[1].shown) < before)
    ours, theirs = (scene.node_shown for scene in found.scenes)
    assert (ours[found.comparison.left] == theirs[found.comparison.right]).all()
    two.registry.run("trace.compare_close")
    scene, view = two.area.canvas._stage.scene, two.session.view
    assert scene is not None and view is not None
    assert (scene.node_shown == view.nodes).all(), "the one graph does not follow the slider that was moved meanwhile"


@pytest.mark.command("trace.compare", "trace.compare_swap", "trace.compare_close")
def test_closing_brings_everything_back(two: MainWindow, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> None:
    session, canvas = two.session, two.area.canvas
    session.select(12)
    two.edits.pin([12])
    session.set_view(node_threshold=0.7)
    session.keep_view()
    canvas.zoom_in()
    surface = canvas.findChild(Surface)
    before = (surface.camera.viewRange(), session.trace_id, session.selected, session.settings, session.annotations)
    monkeypatch.setattr(Ask, "choice", lambda *arguments: 0)
    two.registry.run("trace.compare")
    qtbot.waitUntil(lambda: two.comparison.pairing is not None, timeout=SECONDS)
    two.registry.run("trace.compare_swap")
    qtbot.waitUntil(lambda: two.comparison.pairing is not None, timeout=SECONDS)
    assert session.trace_id == 2
    two.registry.run("trace.compare_swap")
    qtbot.waitUntil(lambda: two.comparison.pairing is not None, timeout=SECONDS)
    two.area.compare.left.setFocus()
    two.registry.run("trace.compare_close")
    assert canvas.isVisible() and not two.area.compare.isVisible()
    assert (session.trace_id, session.selected, session.settings, session.annotations) == before[1:]


def test_a_comparison_that_is_only_looked_at_moves_nothing(
    two: MainWindow, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    canvas = two.area.canvas
    two.session.select(12)
    canvas.zoom_in()
    surface = canvas.findChild(Surface)
    before = surface.camera.viewRange()
    monkeypatch.setattr(Ask, "choice", lambda *arguments: 0)
    two.registry.run("trace.compare")
    qtbot.waitUntil(lambda: two.comparison.pairing is not None, timeout=SECONDS)
    two.area.compare.left.zoom_in()
    qtbot.keyClick(two.area.compare.table, Qt.Key.Key_Escape)
    assert not two.comparison.is_open
    assert surface.camera.viewRange() == before
    assert not surface.fitted and two.session.selected == 12


def test_exchanging_keeps_the_selected_node(page: ComparePage, two: MainWindow, qtbot: QtBot) -> None:
    click(qtbot, page, True, marked(page, Mark.ONLY_RIGHT, right=True))
    node = page.right.selected()
    two.registry.run("trace.compare_swap")
    qtbot.waitUntil(lambda: two.comparison.pairing is not None, timeout=SECONDS)
    assert (two.session.trace_id, two.session.selected) == (2, node)
    assert page.left.selected() == node
    assert page.left_title.text().endswith("Paris")
    two.registry.run("trace.compare_close")
    assert two.session.trace_id == 1


def test_two_chosen_traces_are_compared_from_their_list(two: MainWindow, qtbot: QtBot) -> None:
    traces = two.investigation.tree
    model = traces.selectionModel()
    for row in range(2):
        model.select(traces.model().index(row, 0), QItemSelectionModel.SelectionFlag.Select)
    two.registry.run("trace.compare")
    qtbot.waitUntil(lambda: two.comparison.pairing is not None, timeout=SECONDS)
    assert (two.session.trace_id, two.comparison.right) == (1, 2)


def test_choosing_several_traces_opens_none(two: MainWindow, qtbot: QtBot) -> None:
    traces = two.investigation.tree
    item = traces.topLevelItem(1)
    assert item is not None
    traces.scrollToItem(item)
    at: QPoint = traces.visualItemRect(item).center()
    qtbot.mouseClick(traces.viewport(), Qt.MouseButton.LeftButton, Qt.KeyboardModifier.ControlModifier, at)
    assert two.session.trace_id == 1
    assert set(traces.chosen()) == {1, 2}


def test_features_of_two_dictionaries_are_not_matched_and_it_is_said(
    window: MainWindow, graph: AttributionGraph, qtbot: QtBot
) -> None:
    other = {"name": "other transcoders", "kind": "transcoders", "fingerprint": "e" * 8}
    window.session.add_trace(as_trace(graph), "one", "neurons")
    window.session.add_trace(as_trace(graph, features=other), "two", "neurons")
    window.comparison.compare(2, 1)
    qtbot.waitUntil(lambda: window.comparison.pairing is not None, timeout=SECONDS)
    page, found = window.area.compare, window.comparison.pairing
    assert found is not None
    assert page.doubt.isVisible()
    assert "different dictionaries" in page.doubt.text() and "other transcoders" in page.doubt.text()
    features = graph.of_kind(NodeKind.FEATURE)
    assert found.count(Mark.ONLY_LEFT) == found.count(Mark.ONLY_RIGHT) == len(features)


def test_pins_are_the_left_graphs(page: ComparePage, two: MainWindow, qtbot: QtBot) -> None:
    node = marked(page, Mark.SHARED)
    click(qtbot, page, False, node)
    qtbot.keyClick(page.left, Qt.Key.Key_P)
    assert two.session.annotations.pins == (node,)
    click(qtbot, page, True, marked(page, Mark.ONLY_RIGHT, right=True))
    qtbot.keyClick(page.right, Qt.Key.Key_P)
    assert two.session.annotations.pins == (node,)
    assert two.area.banner.isVisible() and "left" in two.area.banner.sentence.text()
    two.registry.run("edit.undo")
    assert two.session.annotations.pins == ()
    assert two.comparison.is_open


def test_labels_are_in_the_table_and_found_there(page: ComparePage, two: MainWindow, qtbot: QtBot) -> None:
    node = marked(page, Mark.SHARED)
    two.edits.label(node, "says a capital")
    qtbot.keyClicks(page.filter, "says")
    rows = page.table.rows
    assert rows.rowCount() == 1
    assert rows.data(rows.index(0, 9)) == "says a capital"


@pytest.mark.parametrize("gone", [1, 2])
def test_deleting_either_trace_ends_the_comparison(page: ComparePage, two: MainWindow, gone: int) -> None:
    two.tree_edits.delete([TreeRef("trace", gone)])
    assert not two.comparison.is_open
    assert two.session.trace_id == 3 - gone


def test_the_right_trace_is_chosen_in_its_title(
    page: ComparePage, two: MainWindow, graph: AttributionGraph, qtbot: QtBot
) -> None:
    project = two.session.project
    assert project is not None
    third = as_trace(build_graph(n_layers=4, n_positions=3, n_features=20, seed=9))
    project.add_trace(third.report, third.graph, title="Third")
    two.registry.run("trace.compare_close")
    two.comparison.compare(1, 2)
    qtbot.waitUntil(lambda: two.comparison.pairing is not None, timeout=SECONDS)
    page.right_title.setCurrentText("Third")
    page.right_title.activated.emit(page.right_title.currentIndex())
    qtbot.waitUntil(lambda: two.comparison.pairing is not None, timeout=SECONDS)
    assert two.comparison.right == 3
    assert two.comparison.pairing is not None
    assert two.comparison.pairing.right.graph.n_positions == 3


def test_both_themes_and_large_text_clip_nothing(page: ComparePage, two: MainWindow, qapp: QApplication) -> None:
    font = qapp.font()
    font.setPointSizeF(2 * font.pointSizeF())
    qapp.setFont(font)
    qapp.setStyleSheet(qapp.styleSheet())
    for theme in ("dark", "light"):
        two.registry.run(f"view.theme.{theme}")
        QApplication.processEvents()
        for button in page.filters:
            assert button.height() >= button.fontMetrics().height()
            assert button.width() >= button.fontMetrics().horizontalAdvance(button.text())
            inside = button.mapTo(page, button.rect().bottomRight())
            assert page.rect().contains(inside), button.text()
        tops = [canvas.mapTo(page, QPoint(0, 0)).y() for canvas in (page.left, page.right)]
        assert tops[0] == tops[1]
    assert page.left.width() > 150 and page.right.width() > 150


def test_graphs_of_neurons_speak_of_relevance(
    window: MainWindow, graph: AttributionGraph, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    neurons = replace(graph, measure="relevance")
    influence = neurons.influence.copy()
    changed = neurons.of_kind(NodeKind.FEATURE)[:3]
    influence[changed] *= 5
    window.session.add_trace(as_trace(neurons), "one", "neurons")
    window.session.add_trace(as_trace(replace(neurons, influence=influence)), "other", "neurons")
    monkeypatch.setattr(Ask, "choice", lambda *arguments: 0)
    window.session.set_view(node_threshold=1.0)
    window.registry.run("trace.compare")
    qtbot.waitUntil(lambda: window.comparison.pairing is not None, timeout=SECONDS)
    model = window.area.compare.table.model()
    across, what = Qt.Orientation.Horizontal, Qt.ItemDataRole
    said = {model.index(row, 4).data() for row in range(model.rowCount())}
    assert said == {"", "relevance"}
    assert model.headerData(5, across) == "Relevance left"
    tips = [str(model.headerData(section, across, what.ToolTipRole)) for section in range(model.columnCount())]
    assert any("relevance 2 times" in one for one in tips)
    assert not any("nfluence" in one for one in tips)
