"""Files dragged onto the window: projects are opened and graphs imported, wherever they are let go."""

from __future__ import annotations

from pathlib import Path

import pytest
from PySide6.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
from PySide6.QtGui import QDragEnterEvent, QDropEvent
from PySide6.QtWidgets import QApplication, QWidget
from pytestqt.qtbot import QtBot

from app.panels.list_sheet import ListSheet
from app.window import MainWindow
from engine.graphs import AttributionGraph
from engine.graphs.formats import save_npz, write_csv, write_graphml
from engine.projects import Project

BUTTON, KEYS = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier


def files(*paths: Path) -> QMimeData:
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(path)) for path in paths])
    return data


def enters(widget: QWidget, data: QMimeData) -> bool:
    """Whether what is dragged over a widget may be let go there (or above it)."""
    event = QDragEnterEvent(QPoint(5, 5), Qt.DropAction.CopyAction, data, BUTTON, KEYS)
    event.ignore()
    QApplication.sendEvent(widget, event)
    return event.isAccepted()


def drop(window: MainWindow, qtbot: QtBot, *paths: Path) -> None:
    data = files(*paths)
    assert enters(window, data)
    event = QDropEvent(QPointF(5, 5), Qt.DropAction.CopyAction, data, BUTTON, KEYS)
    QApplication.sendEvent(window, event)
    qtbot.waitUntil(lambda: not window.host.busy, timeout=20_000)
    for sheet in window.findChildren(ListSheet):
        sheet.close()


def titles(window: MainWindow) -> list[str]:
    return [] if window.session.project is None else [row.title for row in window.session.project.traces()]


def test_a_dropped_project_is_opened(window: MainWindow, qtbot: QtBot, tmp_path: Path, graph: AttributionGraph) -> None:
    path = tmp_path / "Texas.LOUPE"
    with Project.create(path) as project:
        project.add_trace({"prompt": "x"}, graph, title="a trace")
    drop(window, qtbot, path)
    assert window.session.project is not None
    assert window.session.project.path == path
    assert titles(window) == ["a trace"]


@pytest.mark.parametrize("ending", [".npz", ".graphml", ".zip", ".csv"])
def test_a_dropped_graph_is_imported(
    window: MainWindow, qtbot: QtBot, tmp_path: Path, graph: AttributionGraph, ending: str
) -> None:
    path = tmp_path / f"shared{ending}"
    written = path
    if ending == ".npz":
        save_npz(graph, path, labels={3: "capital"})
    elif ending == ".graphml":
        write_graphml(graph, path, labels={3: "capital"})
    else:
        written = write_csv(graph, path, labels={3: "capital"})[0]
    drop(window, qtbot, written)
    assert len(titles(window)) == 1
    assert window.session.graph is not None
    assert window.session.graph.n_nodes == graph.n_nodes
    assert window.session.annotations.labels == {3: "capital"}


def test_several_files_at_once(window: MainWindow, qtbot: QtBot, tmp_path: Path, graph: AttributionGraph) -> None:
    project = tmp_path / "both.loupe"
    Project.create(project).close()
    one, other = tmp_path / "one.npz", tmp_path / "other.npz"
    save_npz(graph, one)
    save_npz(graph, other)
    drop(window, qtbot, one, project, other)
    assert window.session.project is not None
    assert window.session.project.path == project
    assert len(titles(window)) == 2


def test_a_file_of_another_kind_is_not_taken(window: MainWindow, tmp_path: Path) -> None:
    assert not enters(window, files(tmp_path / "notes.txt"))
    web = QMimeData()
    web.setUrls([QUrl("https://example.org/graph.json")])
    assert not enters(window, web)


def test_a_damaged_file_is_told(window: MainWindow, qtbot: QtBot, tmp_path: Path) -> None:
    path = tmp_path / "broken.json"
    path.write_text("{")
    drop(window, qtbot, path)
    assert "broken.json" in window.start.banner.sentence.text()


@pytest.mark.parametrize("place", ["prompt", "note"])
def test_texts_leave_files_to_the_window(open_window: MainWindow, tmp_path: Path, place: str) -> None:
    """A file let go over the prompt must not become part of it; words may."""
    editor = open_window.prompt_bar.editor if place == "prompt" else open_window.investigation.note
    words = QMimeData()
    words.setText("The capital")
    assert editor.canInsertFromMimeData(words)
    graph_file = files(tmp_path / "graph.json")
    assert not editor.canInsertFromMimeData(graph_file)
    assert enters(editor.viewport(), graph_file), "the window behind takes it"
    assert editor.toPlainText() == ""
