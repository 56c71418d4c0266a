from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot

from app.dialogs import Ask
from app.panels.list_sheet import ListSheet
from app.window import MainWindow
from engine.graphs import AttributionGraph
from engine.graphs.formats import read_graph_file, save_npz
from engine.projects import Project
from tests.engine.graphs.formats.comparing import assert_same_graph


@pytest.fixture
def arrays(tmp_path: Path, graph: AttributionGraph) -> Path:
    """A graph file with a pin, a group and a label."""
    path = tmp_path / "shared.npz"
    save_npz(graph, path, pins=(10,), groups=(("<b>says</b> Texas", (10, 11)),), labels={12: "a capital"})
    return path


def wait_until_idle(qtbot: QtBot, window: MainWindow) -> None:
    qtbot.waitUntil(lambda: not window.host.busy, timeout=20_000)


def sheet(window: MainWindow) -> ListSheet:
    found = window.findChild(ListSheet)
    assert found is not None
    return found


def said(window: MainWindow) -> list[str]:
    rows = sheet(window).list
    return [item.text() for item in (rows.item(i) for i in range(rows.count())) if item is not None]


@pytest.mark.command("file.import_graph")
def test_an_imported_graph_is_a_trace_with_all_that_came_with_it(
    window: MainWindow, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch, arrays: Path, graph: AttributionGraph
) -> None:
    monkeypatch.setattr(Ask, "open_file", lambda *arguments: arrays)
    window.registry.run("file.import_graph")
    wait_until_idle(qtbot, window)
    session = window.session
    assert session.graph is not None
    assert_same_graph(session.graph, graph)
    assert session.annotations.pins == (10,)
    assert [(group.name, group.nodes) for group in session.annotations.groups] == [("<b>says</b> Texas", (10, 11))]
    assert session.annotations.labels == {12: "a capital"}
    assert window.area.stack.currentIndex() == 1
    assert not sheet(window).isModal()
    sentences = said(window)
    assert f"{graph.n_nodes:,} nodes" in sentences[0]
    assert sentences[1] == "With it came 1 pin, 1 group, 1 label."
    assert any("Conservation was not checked" in sentence for sentence in sentences)
    sheet(window).close()
    # Nobody can trace a feature of it: its model is not known.
    session.select(int(graph.of_kind(0)[0]))  # type: ignore[arg-type]
    assert not window.registry.action("trace.feature").isEnabled()


def test_what_had_to_be_repaired_is_listed(window: MainWindow, qtbot: QtBot, tmp_path: Path) -> None:
    import json

    from tests.engine.graphs.formats.documents import circuit_tracer

    values = circuit_tracer()
    values["links"].append(dict(values["links"][0]))
    path = tmp_path / "from-elsewhere.json"
    path.write_text(json.dumps(values), encoding="utf-8")
    repairs = read_graph_file(path).repairs
    assert repairs
    window.graph_files.read(path)
    wait_until_idle(qtbot, window)
    assert [f"Repaired: {sentence}" for sentence in repairs] == [one for one in said(window) if "Repaired" in one]
    sheet(window).close()


@pytest.mark.parametrize(("content", "words"), [(b"hello", "is no graph file"), (b"SQLite format 3\0", "is a project")])
def test_a_file_that_is_no_graph_is_one_sentence(
    window: MainWindow, qtbot: QtBot, tmp_path: Path, content: bytes, words: str
) -> None:
    path = tmp_path / "odd.json"
    path.write_bytes(content)
    window.graph_files.read(path)
    wait_until_idle(qtbot, window)
    assert words in window.start.banner.sentence.text()
    assert window.session.project is None
    assert window.findChild(ListSheet) is None


def test_a_project_that_can_only_be_read_takes_no_import(window: MainWindow, arrays: Path, tmp_path: Path) -> None:
    path = tmp_path / "Kept.loupe"
    Project.create(path).close()
    window.session.open_project(path, read_only=True)
    window.graph_files.read(arrays)
    assert not window.host.busy
    assert "reading only" in window.start.banner.sentence.text()


def written_out(window: MainWindow, qtbot: QtBot) -> None:
    """Wait until the exports' thread is done."""
    qtbot.waitUntil(lambda: not window.exports.host.busy, timeout=20_000)


@pytest.mark.parametrize("ending", [".graphml", ".npz", ".zip", ".csv", ".json"])
def test_the_open_graph_is_written_in_each_form_and_read_again(
    open_window: MainWindow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, qtbot: QtBot, ending: str
) -> None:
    window, graph = open_window, open_window.session.graph
    assert graph is not None
    window.edits.pin([10])
    window.edits.label(10, "a capital")
    path = tmp_path / f"graph{ending}"
    monkeypatch.setattr(Ask, "save_file", lambda *arguments: path)
    window.registry.run("file.export_graph")
    written_out(window, qtbot)
    message = window.statusBar().currentMessage()
    assert message.startswith("Wrote graph")
    written = tmp_path / message.removeprefix("Wrote ").split(", ")[0]
    file = read_graph_file(written)
    assert len(file.pins) == 1
    assert "a capital" in file.labels.values()
    if ending != ".json":
        assert_same_graph(file.graph, graph)
    else:
        assert file.graph.n_nodes <= graph.n_nodes


def test_a_name_without_an_ending_is_json(
    open_window: MainWindow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, qtbot: QtBot
) -> None:
    monkeypatch.setattr(Ask, "save_file", lambda *arguments: tmp_path / "graph 0.5")
    open_window.registry.run("file.export_graph")
    written_out(open_window, qtbot)
    assert (tmp_path / "graph 0.5.json").is_file()


def test_the_sheet_shows_text_of_files_as_it_is(window: MainWindow) -> None:
    shown = ListSheet("Imported", "<b>file</b>", ["Repaired: <i>x</i>"], window)
    item = shown.list.item(0)
    assert item is not None
    assert item.text() == "Repaired: <i>x</i>"
    assert item.flags() & Qt.ItemFlag.ItemIsEnabled
    shown.close()


@pytest.mark.parametrize("there", [".nodes.csv", ".edges.csv", ".graph.json"])
def test_three_tables_are_asked_about_before_any_is_replaced(
    open_window: MainWindow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, qtbot: QtBot, there: str
) -> None:
    old = tmp_path / f"texas{there}"
    old.write_text("mine")
    questions: list[str] = []

    def confirm(*arguments: Any) -> bool:
        questions.append(arguments[2])
        return len(questions) > 1

    monkeypatch.setattr(Ask, "save_file", lambda *arguments: tmp_path / "texas.csv")
    monkeypatch.setattr(Ask, "confirm", confirm)
    open_window.registry.run("file.export_graph")
    assert questions == [f"texas{there} is there already. Replace it?"]
    assert [path.name for path in tmp_path.glob("texas*")] == [old.name]
    assert old.read_text() == "mine"
    open_window.registry.run("file.export_graph")
    written_out(open_window, qtbot)
    assert len(list(tmp_path.glob("texas*"))) == 3
    assert old.read_text() != "mine"
    open_window.registry.run("file.export_graph")
    written_out(open_window, qtbot)
    assert questions[-1] == "texas.nodes.csv, texas.edges.csv and texas.graph.json are there already. Replace them?"


def test_a_file_is_asked_about_by_the_name_it_gets(
    open_window: MainWindow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ending is added after the dialog, which so could not know."""
    for name, command in (
        ("texas.json", "file.export_graph"),
        ("texas.svg", "file.export_picture"),
        ("texas.loupe", "file.save_as"),
    ):
        (tmp_path / name).write_text("mine")
        questions: list[str] = []
        monkeypatch.setattr(Ask, "save_file", lambda *arguments: tmp_path / "texas")
        monkeypatch.setattr(Ask, "confirm", lambda *arguments, asked=questions: bool(asked.append(arguments[2])))
        open_window.registry.run(command)
        assert questions == [f"{name} is there already. Replace it?"]
        assert not open_window.exports.host.busy
        assert (tmp_path / name).read_text() == "mine"


def test_labels_and_groups_of_hidden_nodes_survive_json(
    open_window: MainWindow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, qtbot: QtBot
) -> None:
    window, session = open_window, open_window.session
    graph = session.graph
    assert graph is not None
    session.set_view(node_threshold=0.1)
    assert session.view is not None
    hidden = [int(node) for node in np.flatnonzero(~session.view.nodes)[:4]]
    assert window.edits.label(hidden[0], "hidden, but named")
    assert window.edits.group(hidden[1:3], "hidden pair")
    monkeypatch.setattr(Ask, "save_file", lambda *arguments: tmp_path / "graph.json")
    window.registry.run("file.export_graph")
    written_out(window, qtbot)
    file = read_graph_file(tmp_path / "graph.json")
    assert [file.graph.describe(node) for node in file.labels] == [graph.describe(hidden[0])]
    assert list(file.labels.values()) == ["hidden, but named"]
    ((name, nodes),) = file.groups
    assert name == "hidden pair"
    assert {file.graph.describe(node) for node in nodes} == {graph.describe(node) for node in hidden[1:3]}
    assert not any(file.graph.describe(node) == graph.describe(hidden[3]) for node in range(file.graph.n_nodes))
