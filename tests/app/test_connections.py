"""The lists of inputs and outputs: searched, by sign, in groups with sums, and used with the keyboard."""

from __future__ import annotations

import pytest
from PySide6.QtCore import QModelIndex, Qt
from pytestqt.qtbot import QtBot

from app.panels.connections import GROUPINGS, ConnectionsPanel
from app.panels.connections_model import ConnectionsModel
from app.panels.share_bar import SHARE_ROLE
from app.window import MainWindow
from engine.graphs import AttributionGraph, NodeKind
from engine.graphs.connections import group_connections


def nodes(model: ConnectionsModel, parent: QModelIndex | None = None) -> list[int]:
    above = QModelIndex() if parent is None else parent
    return [model.node_at(model.index(row, 0, above)) for row in range(model.rowCount(above))]


def texts(model: ConnectionsModel, row: int, parent: QModelIndex | None = None) -> list[str]:
    above = QModelIndex() if parent is None else parent
    return [str(model.data(model.index(row, column, above))) for column in range(3)]


@pytest.fixture
def panel(open_window: MainWindow, graph: AttributionGraph) -> ConnectionsPanel:
    """The connections of a logit."""
    open_window.session.select(int(graph.of_kind(NodeKind.LOGIT)[0]))
    return open_window.connections


@pytest.mark.command("go.back")
def test_edges_are_sorted_searched_and_lead_on(
    open_window: MainWindow, panel: ConnectionsPanel, graph: AttributionGraph, qtbot: QtBot
) -> None:
    session = open_window.session
    logit = session.selected
    edges = graph.inputs(logit)
    assert nodes(panel.inputs) == graph.source[edges].tolist()
    weights = [abs(float(graph.weight[edge])) for edge in edges]
    assert weights == sorted(weights, reverse=True)
    assert panel.input_title.text() == f"Inputs ({len(edges):,})"
    assert panel.outputs.rowCount() == 0
    panel.search.setText("kind:error")
    found = nodes(panel.inputs)
    assert found
    assert all(graph.kind[node] == NodeKind.ERROR for node in found)
    assert panel.input_title.text() == f"Inputs ({len(found)} of {len(edges):,})"
    panel.search.setText("kind:mistake")
    assert "'mistake' is no kind of node" in panel.problem.text()
    assert panel.problem.isVisible()
    assert nodes(panel.inputs) == found
    panel.search.setFocus()
    qtbot.keyClick(panel.search, Qt.Key.Key_Escape)
    assert panel.search.text() == ""
    assert not panel.problem.isVisible()
    first = nodes(panel.inputs)[0]
    qtbot.keyClick(panel.search, Qt.Key.Key_Return)
    assert panel.input_table.hasFocus()
    qtbot.keyClick(panel.input_table, Qt.Key.Key_Return)
    assert session.selected == first
    open_window.registry.run("go.back")
    assert session.selected == logit


def test_signs_are_told_apart(panel: ConnectionsPanel, graph: AttributionGraph) -> None:
    edges = graph.inputs(panel.session.selected)
    for text, sign in (("positive", 1), ("negative", -1)):
        panel.sign.setCurrentText(text)
        wanted = graph.source[edges[graph.weight[edges] * sign > 0]].tolist()
        assert nodes(panel.inputs) == wanted
        panel.grouping.setCurrentText("by layer")
        for row in range(panel.inputs.rowCount()):
            lowers, raises = panel.inputs.data(panel.inputs.index(row, 2), SHARE_ROLE)  # type: ignore[misc]
            assert (lowers, raises)[sign > 0] != 0
            assert (lowers, raises)[sign < 0] == 0
        panel.grouping.setCurrentText("no groups")
    panel.sign.setCurrentText("both signs")
    assert len(nodes(panel.inputs)) == len(edges)


@pytest.mark.parametrize("text", [text for text, by in GROUPINGS if by is not None])
def test_groups_have_sums_and_hold_every_edge_once(
    open_window: MainWindow, panel: ConnectionsPanel, graph: AttributionGraph, text: str
) -> None:
    logit, model = open_window.session.selected, panel.inputs
    one, two = nodes(model)[:2]
    open_window.edits.group([one, two], "cities")
    open_window.edits.label(one, "says Texas")
    panel.grouping.setCurrentText(text)
    by = panel.grouping.currentData()
    names = open_window.session.finding.search
    assert names is not None
    wanted = group_connections(graph, logit, "inputs", by, names.names)
    assert model.rowCount() == len(wanted) > 1
    below: list[int] = []
    for row, group in enumerate(wanted):
        top = model.index(row, 0)
        assert texts(model, row)[0] == f"{group.name} ({len(group.edges)})"
        shown = texts(model, row)[2].removesuffix(" %").replace("−", "-")
        assert float(shown) == pytest.approx(100 * group.share, abs=0.051) and shown[0] in "+-"
        assert model.node_at(top) == -1
        below += nodes(model, top)
    assert sorted(below) == sorted(graph.source[graph.inputs(logit)].tolist())
    if by in ("supernode", "label"):
        assert {"cities", "says Texas"} & {group.name for group in wanted}


def test_groups_open_and_close_with_the_keyboard_and_stay_open_for_the_next_node(
    open_window: MainWindow, panel: ConnectionsPanel, graph: AttributionGraph, qtbot: QtBot
) -> None:
    panel.grouping.setCurrentText("by layer")
    table, model = panel.input_table, panel.inputs
    name = texts(model, 1)[0].split()[0]
    table.setFocus()
    table.setCurrentIndex(model.index(1, 0))
    assert not table.isExpanded(model.index(1, 0))
    qtbot.keyClick(table, Qt.Key.Key_Return)
    assert table.isExpanded(model.index(1, 0))
    open_window.session.select(int(graph.of_kind(NodeKind.LOGIT)[1]))
    rows = {texts(model, row)[0].split()[0]: row for row in range(model.rowCount())}
    assert table.isExpanded(model.index(rows[name], 0))
    table.setCurrentIndex(model.index(rows[name], 0))
    qtbot.keyClick(table, Qt.Key.Key_Down)
    node = model.node_at(table.currentIndex())
    assert node >= 0
    qtbot.keyClick(table, Qt.Key.Key_Return)
    assert open_window.session.selected == node
    open_window.registry.run("go.back")
    table.setCurrentIndex(model.index(rows[name], 0))
    qtbot.keyClick(table, Qt.Key.Key_Left)
    assert not table.isExpanded(model.index(rows[name], 0))


def test_a_search_opens_the_groups_it_is_in(panel: ConnectionsPanel) -> None:
    panel.grouping.setCurrentText("by token")
    panel.search.setText("kind:error")
    assert panel.inputs.rowCount() > 0
    for row in range(panel.inputs.rowCount()):
        assert panel.input_table.isExpanded(panel.inputs.index(row, 0))


def test_a_click_goes_to_the_node_and_a_double_click_no_further(
    open_window: MainWindow, panel: ConnectionsPanel, graph: AttributionGraph, qtbot: QtBot
) -> None:
    session, table, model = open_window.session, panel.input_table, panel.inputs
    row = next(row for row, node in enumerate(nodes(model)) if len(graph.inputs(node)) > 3)
    first = nodes(model)[row]
    table.scrollTo(model.index(row, 0))
    middle = table.visualRect(model.index(row, 0)).center()
    qtbot.mouseClick(table.viewport(), Qt.MouseButton.LeftButton, pos=middle)
    assert session.selected == first
    assert table.indexAt(middle).isValid(), "the second click meets a row of the next node"
    qtbot.mouseDClick(table.viewport(), Qt.MouseButton.LeftButton, pos=middle)
    qtbot.mouseClick(table.viewport(), Qt.MouseButton.LeftButton, pos=middle)
    assert session.selected == first


def test_a_click_opens_a_group(open_window: MainWindow, panel: ConnectionsPanel, qtbot: QtBot) -> None:
    before = open_window.session.selected
    panel.grouping.setCurrentText("by layer")
    table, top = panel.input_table, panel.inputs.index(0, 0)
    qtbot.mouseClick(table.viewport(), Qt.MouseButton.LeftButton, pos=table.visualRect(top).center())
    assert table.isExpanded(top)
    assert open_window.session.selected == before
