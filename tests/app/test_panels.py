from __future__ import annotations

import numpy as np
import pytest
from PySide6.QtCore import Qt
from pytestqt.modeltest import ModelTester
from pytestqt.qtbot import QtBot

from app.engine_calls import NextToken
from app.panels.chips import ChipsModel
from app.panels.connections_model import ConnectionsModel
from app.panels.node_table import COLUMNS, NodeTableModel
from app.panels.plain import tip
from app.panels.status import score_entries
from app.panels.token_bars import TokenBarsModel
from app.prompt_state import Chip
from app.reading import input_shares, number, percent, plain_percent, signed_percent
from app.session import Session
from app.window import MainWindow
from engine.graphs import AttributionGraph, NodeKind
from tests.app.conftest import as_trace

HOSTILE = "<b>bold</b><img src=x> & \u202egnp.exe"


def test_models_keep_qts_rules(open_session: Session, qtmodeltester: ModelTester, graph: AttributionGraph) -> None:
    table, inputs = NodeTableModel(open_session), ConnectionsModel(open_session, inputs=True)
    table.refill()
    inputs.show_node(int(graph.of_kind(NodeKind.LOGIT)[0]))
    grouped = ConnectionsModel(open_session, inputs=True)
    grouped.show_node(int(graph.of_kind(NodeKind.LOGIT)[0]))
    grouped.group_by("layer")
    chips, bars = ChipsModel(), TokenBarsModel()
    chips.set_chips((Chip(1, "<s>", "<s>", True), Chip(2, " a", "␣a", False)), 1)
    bars.set_tokens((NextToken(1, " a", 0.5), NextToken(2, " b", 0.1)))
    for model in (table, inputs, grouped, chips, bars):
        assert model.rowCount() > 0
        qtmodeltester.check(model, force_py=True)


def test_the_table_shows_what_the_graph_shows(open_window: MainWindow, qtbot: QtBot) -> None:
    window, nodes = open_window, open_window.area.table.nodes
    view = window.session.view
    assert view is not None
    assert nodes.rowCount() == int(view.nodes.sum())
    window.session.set_view(node_threshold=0.3)
    fewer = window.session.view
    assert fewer is not None
    assert int(fewer.nodes.sum()) < int(view.nodes.sum())
    qtbot.waitUntil(lambda: nodes.rowCount() == int(fewer.nodes.sum()))  # the graph goes first
    window.area.table.everything.click()
    assert window.session.graph is not None
    assert nodes.rowCount() == window.session.graph.n_nodes


@pytest.mark.parametrize("column", range(len(COLUMNS)))
def test_every_column_sorts_both_ways(open_session: Session, column: int) -> None:
    table = NodeTableModel(open_session)
    table.refill()
    before = sorted(table.row_at(row) for row in range(table.rowCount()))
    table.sort(column, Qt.SortOrder.AscendingOrder)
    rising = [table.row_at(row) for row in range(table.rowCount())]
    table.sort(column, Qt.SortOrder.DescendingOrder)
    falling = [table.row_at(row) for row in range(table.rowCount())]
    assert sorted(rising) == sorted(falling) == before
    keys = table.keys(np.array(rising), column)
    assert all(keys[i] <= keys[i + 1] for i in range(len(keys) - 1))
    keys = table.keys(np.array(falling), column)
    assert all(keys[i] >= keys[i + 1] for i in range(len(keys) - 1))


def test_table_canvas_and_inspector_share_one_selection(open_window: MainWindow) -> None:
    window, table = open_window, open_window.area.table
    table.table.setCurrentIndex(table.nodes.index(3, 0))
    node = table.nodes.row_at(3)
    assert window.session.selected == node
    assert window.area.canvas.selected() == node
    other = table.nodes.row_at(5)
    window.area.canvas.select(other)
    assert window.session.selected == other
    assert table.nodes.row_at(table.table.currentIndex().row()) == other
    assert window.inspector.page.isVisible()


def test_shares_of_the_input_sum_to_one(graph: AttributionGraph) -> None:
    for node in graph.traced:
        shares = input_shares(graph, int(node))
        assert sum(entry.share for entry in shares) == pytest.approx(1.0, abs=2e-3)
    embedding = int(graph.of_kind(NodeKind.EMBEDDING)[0])
    assert input_shares(graph, embedding) == []


@pytest.mark.parametrize("kind", list(NodeKind))
def test_the_inspector_reads_every_kind_of_node(
    open_window: MainWindow, graph: AttributionGraph, kind: NodeKind
) -> None:
    for node in graph.of_kind(kind):
        open_window.session.select(int(node))
        assert open_window.inspector.name.text()
        assert open_window.inspector.where.text()
    assert open_window.inspector.effects_title.isVisible() == (kind is NodeKind.FEATURE)


def test_effects_offer_the_model_when_it_is_not_there(open_window: MainWindow, graph: AttributionGraph) -> None:
    open_window.session.select(int(graph.of_kind(NodeKind.FEATURE)[0]))
    assert open_window.inspector.compute.isVisible()
    assert "model" in open_window.inspector.effects_state.text()


def test_a_label_left_half_typed_belongs_to_its_node(open_window: MainWindow, graph: AttributionGraph) -> None:
    one, two = (int(node) for node in graph.of_kind(NodeKind.FEATURE)[:2])
    open_window.session.select(one)
    open_window.inspector.label.setText("half")
    open_window.session.select(two)
    assert open_window.session.annotations.labels == {one: "half"}
    assert open_window.inspector.label.text() == ""


@pytest.mark.command("edit.colour.pink", "edit.ungroup")
def test_circuit_lists_groups_and_pins_and_renames_in_place(open_window: MainWindow, graph: AttributionGraph) -> None:
    window, panel = open_window, open_window.circuit
    one, two, three = (int(node) for node in graph.of_kind(NodeKind.FEATURE)[:3])
    assert panel.hint.isVisible()
    window.edits.pin([one, two, three])
    window.edits.group([one, two], "Texas")
    assert panel.tree.topLevelItemCount() == 2
    top = panel.tree.topLevelItem(0)
    assert top is not None
    assert (top.text(0), top.childCount()) == ("Texas", 2)
    top.setText(0, "Capital")
    assert window.session.annotations.groups[0].name == "Capital"
    top = panel.tree.topLevelItem(0)
    assert top is not None
    top.setText(0, "   ")
    top = panel.tree.topLevelItem(0)
    assert top is not None
    assert top.text(0) == "Capital"
    panel.tree.setCurrentItem(top.child(1))
    assert window.session.selected == two
    panel.tree.setCurrentItem(top)
    window.registry.run("edit.colour.pink")
    assert window.session.annotations.groups[0].colour == "#bf6f9f"
    window.registry.run("edit.ungroup")
    assert window.session.annotations.groups == ()
    assert panel.tree.topLevelItemCount() == 3


def test_text_from_files_is_text(window: MainWindow, graph: AttributionGraph) -> None:
    import dataclasses

    hostile = dataclasses.replace(
        graph, tokens=(HOSTILE,) * graph.n_positions, logit_text=(HOSTILE,) * len(graph.logit_text)
    )
    window.session.add_trace(as_trace(hostile), HOSTILE, "neurons")
    node = int(graph.of_kind(NodeKind.FEATURE)[0])
    window.session.select(node)
    window.edits.pin([node])
    window.edits.label(node, HOSTILE)
    window.edits.note(HOSTILE)
    assert "<b>" in window.inspector.where.text()
    assert window.inspector.where.textFormat() == Qt.TextFormat.PlainText
    assert "\u202e" not in window.inspector.where.text()
    assert "<b>" not in tip(HOSTILE)
    table = window.area.table.nodes
    words = table.data(table.index(0, 0), Qt.ItemDataRole.ToolTipRole)
    assert "<img" not in str(words)
    assert window.investigation.note.toPlainText() == HOSTILE


def test_scores_say_what_they_mean_and_warn() -> None:
    good = score_entries({"replacement": 0.62, "completeness": 0.87, "conservation_error": 2e-6, "unexplored": 0.1})
    assert [text.split()[0] for text, _, _ in good] == ["replacement", "completeness", "conservation", "unexplored"]
    assert all(len(words) > 40 for _, words, _ in good)
    assert not any(bad for _, _, bad in good)
    for error in (2e-4, float("nan")):
        (_, _, bad), *_ = score_entries({"conservation_error": error})
        assert bad
    neurons = score_entries({"features": {"kind": "neurons"}, "replacement": None, "completeness": None})
    assert "do not apply" in neurons[0][0]
    assert score_entries({}) == []


def test_numbers_are_short_and_true() -> None:
    assert number(0.0) == "0"
    assert number(-1.4142) == "−1.41"
    assert number(-1140.2) == "−1,140"
    assert number(3.2e-7) == "3.2e−07"
    assert number(float("nan")) == "not a number"
    assert percent(0.314) == "31 %"
    assert percent(0.0312) == "3.1 %"
    assert percent(0.0) == "< 0.1 %"
    assert [plain_percent(share) for share in (0.314, 0.0312, 0.00312, 0.000312)] == [
        "31 %",
        "3.1 %",
        "0.31 %",
        "0.031 %",
    ]
    assert [signed_percent(share) for share in (0.123, -0.0042, 0.00031)] == ["+12.3 %", "−0.42 %", "+0.031 %"]


def test_sliders_and_readout(open_window: MainWindow) -> None:
    strip, session = open_window.area.strip, open_window.session
    strip.influence.setValue(500)
    assert session.settings.node_threshold == 0.5
    strip.hide_errors.click()
    assert session.view is not None
    assert session.graph is not None
    assert not session.view.nodes[session.graph.of_kind(NodeKind.ERROR)].any()
    shown = int(session.view.nodes.sum())
    assert strip.readout.text().startswith(f"{shown:,} of {session.graph.n_nodes:,} nodes, explains")
    strip.commit()
    assert session.project is not None
    assert session.trace_id is not None
    assert session.project.view(session.trace_id)["hide_errors"] is True


def test_canvas_gestures_become_edits(open_window: MainWindow, graph: AttributionGraph) -> None:
    canvas, session = open_window.area.canvas, open_window.session
    one, two = (int(node) for node in graph.of_kind(NodeKind.FEATURE)[:2])
    canvas.pinToggled.emit(one)
    assert session.annotations.pins == (one,)
    canvas.groupRequested.emit([one, two])
    assert session.annotations.groups[0].nodes == (one, two)
    canvas.labelRequested.emit(two)
    assert session.selected == two
    canvas.pinToggled.emit(one)
    assert one not in session.annotations.pins
