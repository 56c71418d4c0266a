from __future__ import annotations

import json
import re
import threading
from pathlib import Path

import pytest
from PySide6.QtGui import QImage
from pytestqt.qtbot import QtBot

from app.canvas.picture import write_drawing
from app.dialogs import Ask
from app.jobs import Cancelled, Outcome
from app.window import MainWindow
from engine.errors import Cancelled as CancelledError
from engine.graphs import NodeKind, prune
from engine.graphs.circuit import Circuit
from engine.graphs.figures import graph_figure
from engine.progress import Progress, checkpoint
from tests.app.conftest import as_trace
from tests.graph_builder import build_graph


def export(
    window: MainWindow, command: str, path: Path, monkeypatch: pytest.MonkeyPatch, qtbot: QtBot, *, replace: bool = True
) -> None:
    """Choose an export, answer where, and wait until it is written."""
    monkeypatch.setattr(Ask, "save_file", lambda *arguments: path)
    monkeypatch.setattr(Ask, "confirm", lambda *arguments: replace)
    window.registry.run(command)
    qtbot.waitUntil(lambda: not window.exports.host.busy, timeout=20_000)


@pytest.fixture
def circuit_window(open_window: MainWindow) -> MainWindow:
    """With three pinned features, two of them a group, and a label."""
    graph = open_window.session.graph
    assert graph is not None
    features = [int(node) for node in graph.of_kind(NodeKind.FEATURE)[:3]]
    open_window.edits.pin(features)
    open_window.edits.label(features[0], "says <Texas>")
    open_window.edits.group(features[1:], "capitals")
    return open_window


@pytest.mark.command("file.export_picture", "file.export_circuit")
def test_graph_and_circuit_are_drawn_in_three_forms(
    circuit_window: MainWindow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, qtbot: QtBot
) -> None:
    for command, legend in (("file.export_picture", ">feature<"), ("file.export_circuit", "No edges run between")):
        paths = [tmp_path / f"{command}.{ending}" for ending in ("svg", "pdf", "png")]
        for path in paths:
            export(circuit_window, command, path, monkeypatch, qtbot)
            assert circuit_window.statusBar().currentMessage() == f"Wrote {path.name}"
        text = paths[0].read_text(encoding="utf-8")
        assert "The capital of Texas is" in text
        assert legend in text
        assert "completeness" in text  # the caption
        if command == "file.export_picture":
            assert circuit_window.area.strip.readout.text() in text, "how much of the graph is in the picture"
        assert paths[1].read_bytes().startswith(b"%PDF-")
        assert QImage(str(paths[2])).width() > 400
    assert len(list(tmp_path.glob("file.export*"))) == 6


def test_a_circuits_figure_says_what_it_explains(
    circuit_window: MainWindow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, qtbot: QtBot
) -> None:
    path = tmp_path / "a.svg"
    export(circuit_window, "file.export_circuit", path, monkeypatch, qtbot)
    text = path.read_text(encoding="utf-8")
    node = circuit_window.session.annotations.groups[0].nodes[0]
    graph = circuit_window.session.graph
    assert graph is not None
    assert f"· {int(graph.feature[node])} " in text
    assert "says &lt;Texas&gt;" in text
    assert re.search(r"3 of \d+ nodes; replacement \d\.\d\d \(graph \d\.\d\d\)", text)


@pytest.mark.command("file.export_report")
def test_a_report_holds_the_circuit_with_its_evidence(
    circuit_window: MainWindow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, qtbot: QtBot
) -> None:
    session = circuit_window.session
    node = session.annotations.pins[0]
    assert session.project is not None
    assert session.graph is not None
    circuit_window.investigation.note.setPlainText("a <b>note</b>")
    circuit_window.settle()
    effects = {"top": [[" Austin", 0.4], [" Houston", 0.2]], "bottom": [[" Paris", -0.3]]}
    session.project.save_effects(circuit_window.effects.key(node), effects)
    path = tmp_path / "a.html"
    export(circuit_window, "file.export_report", path, monkeypatch, qtbot)
    text = path.read_text(encoding="utf-8")
    assert "a &lt;b&gt;note&lt;/b&gt;" in text
    assert "<script" not in text
    sign = session.graph.activation[node]
    assert ("raises &#x27;␣Austin&#x27;" in text or "raises &#x27; Austin&#x27;" in text) == bool(sign > 0)
    assert text.count("<img") == 2  # the circuit and the whole graph
    assert "capitals" in text


@pytest.mark.command("file.export_notebook")
def test_a_notebook_repeats_the_trace_or_says_why_not(
    circuit_window: MainWindow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, qtbot: QtBot
) -> None:
    path = tmp_path / "a.ipynb"
    export(circuit_window, "file.export_notebook", path, monkeypatch, qtbot)
    # This graph was made for a test and says nothing of settings.
    assert not path.exists()
    assert "not traced here" in circuit_window.area.banner.sentence.text()
    circuit_window.area.banner.close_button.click()
    graph = circuit_window.session.graph
    assert graph is not None
    settings = {"prompt": {"text": "The capital"}, "target": {"kind": "auto"}, "max_nodes": 100}
    graph.meta.update(settings=settings, model={"name": "m", "fingerprint": "f"}, features={"name": "neurons"})
    export(circuit_window, "file.export_notebook", path, monkeypatch, qtbot)
    document = json.loads(path.read_text(encoding="utf-8"))
    assert document["nbformat"] == 4
    assert any("supernodes" in cell["source"] for cell in document["cells"])


@pytest.mark.command("file.export_graph")
def test_the_graph_goes_to_other_programs(
    open_window: MainWindow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, qtbot: QtBot
) -> None:
    export(open_window, "file.export_graph", tmp_path / "graph.json", monkeypatch, qtbot)
    document = json.loads((tmp_path / "graph.json").read_text(encoding="utf-8"))
    assert document["nodes"]
    assert document["links"]


EVERY = ("picture", "circuit", "report", "notebook", "graph")


@pytest.mark.parametrize("what", EVERY)
def test_nothing_is_replaced_without_a_yes(
    circuit_window: MainWindow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, qtbot: QtBot, what: str
) -> None:
    ending = {"report": ".html", "notebook": ".ipynb", "graph": ".json"}.get(what, ".svg")
    (tmp_path / f"a{ending}").write_text("mine")
    export(circuit_window, f"file.export_{what}", tmp_path / "a", monkeypatch, qtbot, replace=False)
    assert (tmp_path / f"a{ending}").read_text() == "mine"


@pytest.mark.parametrize("what", [one for one in EVERY if one != "notebook"])
def test_what_cannot_be_written_is_one_sentence_beside_the_graph(
    circuit_window: MainWindow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, qtbot: QtBot, what: str
) -> None:
    export(circuit_window, f"file.export_{what}", tmp_path / "missing" / "a", monkeypatch, qtbot)
    banner = circuit_window.area.banner
    assert banner.isVisible()
    assert "folder" in banner.sentence.text()
    assert banner.sentence.text().count(".") <= 3
    banner.close_button.click()
    assert not banner.isVisible()


def test_a_circuit_is_offered_once_there_is_one(open_window: MainWindow) -> None:
    action = open_window.registry.action("file.export_circuit")
    action.refresh()
    assert not action.isEnabled()
    open_window.edits.pin([12])
    action.refresh()
    assert action.isEnabled()


def test_a_running_job_does_not_hold_an_export_up(
    open_window: MainWindow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, qtbot: QtBot
) -> None:
    ended = []
    open_window.host.submit("wait", "Waiting", lambda progress, cancel: cancel.wait(20), ended.append)
    export(open_window, "file.export_picture", tmp_path / "a.svg", monkeypatch, qtbot)
    assert (tmp_path / "a.svg").stat().st_size > 1000
    assert not ended
    open_window.host.cancel()
    qtbot.waitUntil(lambda: not open_window.host.busy, timeout=10_000)


@pytest.mark.command("file.stop_writing", "file.export_graph")
@pytest.mark.parametrize("ending", ["graphml", "zip", "csv"])
def test_a_long_export_says_where_it_is_and_can_be_stopped(
    window: MainWindow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, qtbot: QtBot, ending: str
) -> None:
    graph = build_graph(n_features=2000, n_edges=600_000)
    window.session.add_trace(as_trace(graph), "a large one", "neurons")
    host, told = window.beside, []
    qtbot.waitUntil(lambda: not host.busy)
    stop = window.registry.action("file.stop_writing")
    host.progressed.connect(lambda stage, fraction, _left: told.append((stage, fraction)))
    path = tmp_path / f"a.{ending}"
    monkeypatch.setattr(Ask, "save_file", lambda *arguments: path)
    window.registry.run("file.export_graph")
    qtbot.waitUntil(lambda: any(fraction > 0 for _, fraction in told), timeout=20_000)
    stop.refresh()
    assert stop.isEnabled()
    assert told[-1][0] == f"Writing {path.name}"
    window.registry.run("file.stop_writing")
    qtbot.waitUntil(lambda: not host.busy, timeout=20_000)
    assert window.statusBar().currentMessage() == "Stopped: nothing was written"
    edges = tmp_path / "a.edges.csv"
    assert not path.exists() and not edges.exists()
    assert not list(tmp_path.glob(".*")), "nothing half written is left"


def test_the_status_bar_shows_what_is_being_written(open_window: MainWindow, qtbot: QtBot) -> None:
    strip, begun, on = open_window.status.writing, threading.Event(), threading.Event()
    outcomes: list[Outcome] = []

    def slow(progress: Progress, cancel: threading.Event) -> None:
        progress("Writing a.svg", 0.25)
        begun.set()
        while not cancel.is_set() and not on.is_set():
            cancel.wait(0.01)
        checkpoint(cancel)

    open_window.beside.submit("export a.svg", "Writing a.svg", slow, outcomes.append)
    qtbot.waitUntil(lambda: strip.isVisible() and strip.bar.value() == 250, timeout=20_000)
    assert begun.is_set() and strip.stage.text() == "Writing a.svg"
    assert not open_window.status.job.isVisible()
    strip.cancel.click()
    qtbot.waitUntil(lambda: bool(outcomes), timeout=20_000)
    assert outcomes == [Cancelled()]
    assert not strip.isVisible()


@pytest.mark.parametrize("ending", ["png", "pdf"])
def test_a_picture_is_stopped_between_its_pieces(tmp_path: Path, ending: str) -> None:
    graph, cancel, told = build_graph(n_features=60), threading.Event(), []
    text = graph_figure(graph, prune(graph), Circuit(), "a", "b")

    def progress(stage: str, fraction: float) -> None:
        told.append(fraction)
        if fraction > 0.3:
            cancel.set()

    with pytest.raises(CancelledError):
        write_drawing(text, tmp_path / f"a.{ending}", progress=progress, cancel=cancel)
    assert 0.3 < told[-1] < 0.9
    assert not list(tmp_path.iterdir())
