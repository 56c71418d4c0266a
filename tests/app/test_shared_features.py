"""What several traces share: chosen in the list, listed in a panel, opened with a click."""

from __future__ import annotations

import pytest
from PySide6.QtCore import QItemSelectionModel, QPoint, Qt
from pytestqt.qtbot import QtBot

from app.canvas.scene import Mark
from app.samples import load_samples
from app.window import MainWindow
from engine.graphs import AttributionGraph
from engine.models.language_model import LanguageModel
from engine.projects import TreeRef
from tests.app.conftest import as_trace
from tests.app.test_comparison import varied
from tests.app.test_window_with_model import SECONDS, loaded_window
from tests.graph_builder import build_graph


def choose(window: MainWindow, rows: list[int]) -> None:
    traces = window.investigation.tree
    model = traces.selectionModel()
    model.clearSelection()
    for row in rows:
        model.select(traces.model().index(row, 0), QItemSelectionModel.SelectionFlag.Select)


def find(window: MainWindow, qtbot: QtBot, rows: list[int]) -> None:
    choose(window, rows)
    window.registry.run("trace.shared")
    qtbot.waitUntil(lambda: window.shared.table is not None, timeout=SECONDS)


@pytest.fixture
def three(window: MainWindow, graph: AttributionGraph) -> MainWindow:
    """Two traces that share three quarters of their features, and one that shares none."""
    session = window.session
    session.add_trace(as_trace(graph), "One", "neurons")
    session.add_trace(as_trace(varied(graph)), "Two", "neurons")
    session.add_trace(as_trace(build_graph(n_layers=4, n_positions=5, n_features=20, seed=7)), "Three", "neurons")
    session.open_trace(1)
    return window


@pytest.mark.command("trace.shared")
def test_chosen_traces_are_counted_feature_by_feature(three: MainWindow, qtbot: QtBot) -> None:
    find(three, qtbot, [0, 1, 2])
    panel, table = three.shared_panel, three.shared.table
    assert table is not None
    assert panel.isVisible()
    assert three.area.is_in_front(panel)
    rows = panel.features
    titles = [rows.headerData(i, Qt.Orientation.Horizontal) for i in range(rows.columnCount())]
    assert titles == ["Feature", "In", "Influence", "Spread", "One", "Two", "Three", "Label"]
    assert rows.rowCount() == len(table.rows) >= 25
    assert rows.data(rows.index(0, 1)) in ("2 of 3", "3 of 3")
    assert all(len(row.found.graphs) >= 2 for row in table.rows)
    ordered = [table.rows[rows.row_at(i)].found for i in range(rows.rowCount())]
    assert [(-len(f.graphs), -f.influence) for f in ordered] == sorted((-len(f.graphs), -f.influence) for f in ordered)
    assert panel.count.text() == f"{len(table.rows)} of {len(table.rows)} shared features"


def test_a_click_opens_the_feature_in_the_trace_that_was_clicked(three: MainWindow, qtbot: QtBot) -> None:
    find(three, qtbot, [0, 1])
    panel, session, table = three.shared_panel, three.session, three.shared.table
    assert table is not None
    for column, trace in ((5, 2), (4, 1), (0, 1)):
        index = panel.features.index(3, column)
        panel.table.scrollTo(index)
        at: QPoint = panel.table.visualRect(index).center()
        qtbot.mouseClick(panel.table.viewport(), Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, at)
        found = table.rows[panel.features.row_at(3)].found
        assert session.trace_id == trace
        assert session.graph is not None
        assert (session.graph.layer[session.selected], session.graph.feature[session.selected]) == (
            found.layer,
            found.feature,
        )


@pytest.mark.command("trace.shared")
def test_the_list_stays_in_front_while_one_goes_from_trace_to_trace(three: MainWindow, qtbot: QtBot) -> None:
    three.edits.pin([12])
    find(three, qtbot, [0, 1])
    for number in (1, 0, 1):
        three.shared.open(2, number)
        assert three.session.trace_id == number + 1
        assert three.area.is_in_front(three.shared_panel)


def test_labels_are_listed_and_rows_are_sorted_and_filtered(three: MainWindow, qtbot: QtBot) -> None:
    find(three, qtbot, [0, 1])
    table = three.shared.table
    assert table is not None
    node = table.rows[4].found.nodes[0][0]
    three.session.open_trace(1)
    three.edits.label(node, "says large")
    find_again = three.shared.changed
    choose(three, [0, 1])
    with qtbot.waitSignal(find_again, timeout=SECONDS):
        three.registry.run("trace.shared")
    rows = three.shared_panel.features
    qtbot.keyClicks(three.shared_panel.filter, "says LARGE")
    assert rows.rowCount() == 1
    assert rows.data(rows.index(0, rows.columnCount() - 1)) == "says large"
    three.shared_panel.filter.clear()
    three.shared_panel.table.sortByColumn(2, Qt.SortOrder.AscendingOrder)
    table = three.shared.table
    assert table is not None
    amounts = [table.rows[rows.row_at(i)].found.influence for i in range(rows.rowCount())]
    assert amounts == sorted(amounts)


def test_one_trace_shares_nothing_and_it_is_said(three: MainWindow) -> None:
    choose(three, [0])
    three.registry.run("trace.shared")
    banner = three.investigation.banner
    assert banner.isVisible() and "two or more" in banner.sentence.text()
    assert not three.shared_panel.isVisible()


def test_traces_of_two_dictionaries_are_refused(three: MainWindow, graph: AttributionGraph, qtbot: QtBot) -> None:
    other = {"name": "other", "kind": "transcoders", "fingerprint": "e" * 8}
    three.session.add_trace(as_trace(graph, features=other), "Other", "neurons")
    choose(three, [0, 3])
    three.registry.run("trace.shared")
    banner = three.investigation.banner
    qtbot.waitUntil(banner.isVisible, timeout=SECONDS)
    assert "different dictionaries" in banner.sentence.text()


def test_a_deleted_trace_takes_the_table_with_it(three: MainWindow, qtbot: QtBot) -> None:
    find(three, qtbot, [0, 1])
    three.tree_edits.delete([TreeRef("trace", 2)])
    assert three.shared.table is None
    assert three.shared_panel.stack.currentIndex() == 0


def test_large_grand_grande(window: MainWindow, gemma: LanguageModel, qtbot: QtBot) -> None:
    """Three languages ask for one word, at a click; the model has neurons for all three, and two can be compared.

    Ameisen et al. 2025 trace the same question.
    """
    loaded_window(window, gemma, "Gemma-3-270m", 18)
    window.runs.max_nodes = 150
    several = load_samples().several
    window.start.several_button.click()
    qtbot.waitUntil(lambda: window.shared.table is not None, timeout=3 * SECONDS)
    project, table = window.session.project, window.shared.table
    assert project is not None and table is not None
    says = [row.title.partition(" → ")[2].split(",")[0] for row in project.traces()]
    assert says == [sample.says for sample in several.prompts] == ["large", "grand", "grande"]
    assert window.shared_panel.isVisible()
    of_all = [row for row in table.rows if len(row.found.graphs) == 3]
    assert len(of_all) >= 5
    assert table.rows[: len(of_all)] == tuple(of_all)
    window.shared.open(0, 1)
    assert window.session.trace_id == 2
    assert window.session.node_name(window.session.selected).startswith(f"layer {of_all[0].found.layer} ·")
    window.comparison.compare(1, 2)
    qtbot.waitUntil(lambda: window.comparison.pairing is not None, timeout=SECONDS)
    pairing = window.comparison.pairing
    assert pairing is not None and pairing.comparison.same_dictionary
    assert pairing.count(Mark.SHARED) + pairing.count(Mark.CHANGED) >= len(of_all)


def test_the_three_languages_need_their_model_and_stop_with_a_trace(
    window: MainWindow, gemma: LanguageModel, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill = window.models.fill

    def without() -> None:
        fill()
        window.runs.known_models = set()

    with monkeypatch.context() as patched:
        patched.setattr(window.models, "fill", without)
        window.start.several_button.click()
    assert "need Gemma-3-270m, which is not on this machine" in window.start.banner.sentence.text()
    assert not window.host.busy
    loaded_window(window, gemma, "Gemma-3-270m", 18)
    window.runs.max_nodes = 150
    window.start.several_button.click()
    qtbot.waitUntil(lambda: window.host.current is not None and window.host.current.key == "trace", timeout=SECONDS)
    window.host.cancel()
    qtbot.waitUntil(lambda: not window.host.busy, timeout=SECONDS)
    assert window.shared.table is None
    assert window.session.project is None or len(window.session.project.traces()) <= 1
