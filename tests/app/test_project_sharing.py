"""Packages, other projects, label files and damaged projects in the window, and what is said of the project's file."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot

from app.dialogs import Ask
from app.panels.list_sheet import ListSheet
from app.window import MainWindow
from engine.graphs import AttributionGraph, NodeKind
from engine.projects import Project, drives
from tests.app.conftest import as_trace

SECONDS = 20_000
OLD = Path(__file__).parent.parent / "engine" / "projects" / "files" / "version-1.0.loupe"


@pytest.fixture
def other(tmp_path: Path, graph: AttributionGraph) -> Path:
    """Another project: a trace with a pin, a label that holds everywhere and a note; closed."""
    path = tmp_path / "other" / "Other.loupe"
    path.parent.mkdir()
    with Project.create(path) as project:
        trace = as_trace(graph)
        number = project.add_trace(trace.report, trace.graph, title="The capital of France is → Paris")
        project.pin(number, [10])
        project.label_everywhere(number, int(graph.of_kind(NodeKind.FEATURE)[2]), "zebra")
        project.tree.add_note("Why", "written at /home/ada/notes.txt")
    return path


@pytest.fixture
def named(open_window: MainWindow, tmp_path: Path) -> MainWindow:
    """A window with a project that has a name, Mine.loupe, and one trace."""
    assert open_window.files.save_to(tmp_path / "Mine.loupe")
    return open_window


def sheet(window: MainWindow, qtbot: QtBot) -> list[str]:
    qtbot.waitUntil(lambda: any(one.isVisible() for one in window.findChildren(ListSheet)), timeout=SECONDS)
    qtbot.waitUntil(lambda: not window.beside.busy, timeout=SECONDS)
    shown = next(one for one in window.findChildren(ListSheet) if one.isVisible())
    items = [shown.list.item(i) for i in range(shown.list.count())]
    shown.close()
    return [item.text() for item in items if item is not None]


def done(window: MainWindow, qtbot: QtBot) -> None:
    qtbot.waitUntil(lambda: not window.beside.busy, timeout=SECONDS)


@pytest.mark.command("file.save_package")
def test_a_package_is_written_without_places_and_names(
    named: MainWindow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, qtbot: QtBot
) -> None:
    named.edits.note("see /home/ada/notes.txt")
    monkeypatch.setattr(Ask, "save_file", lambda *arguments: tmp_path / "Given")
    monkeypatch.setattr(Ask, "may_replace", lambda parent, paths: True)
    named.registry.run("file.save_package")
    done(named, qtbot)
    assert "no paths, no names" in named.statusBar().currentMessage()
    with Project.open(tmp_path / "Given.loupe") as package:
        assert package.annotations(1).note == "see ~/notes.txt"
        assert package.undo_title is None
    assert named.session.project is not None
    assert named.session.project.path == tmp_path / "Mine.loupe", "work goes on in the project itself"


@pytest.mark.command("file.take_in")
def test_another_project_is_taken_in_and_undone(
    named: MainWindow, other: Path, monkeypatch: pytest.MonkeyPatch, qtbot: QtBot
) -> None:
    monkeypatch.setattr(Ask, "open_project", lambda *arguments: other)
    named.registry.run("file.take_in")
    said = sheet(named, qtbot)
    assert said[0].endswith(" traces: 1; experiments: 0; folders, prompts, notes, circuits: 1.")
    assert said[1] == "Labels that hold everywhere and are new here: 1."
    project, tree = named.session.project, named.investigation.tree
    assert project is not None
    assert tree.currentItem().text(0) == "Other"
    assert [tree.currentItem().child(i).text(0) for i in range(2)] == ["The capital of France is", "Why"]
    assert project.annotations(2).pins == (10,)
    assert list(named.session.annotations.labels.values()) == ["zebra"], "it holds in our trace as well"
    named.registry.run("edit.undo")
    assert [row.id for row in project.traces()] == [1]
    assert named.session.annotations.labels == {}
    monkeypatch.setattr(Ask, "open_project", lambda *arguments: project.path)
    named.registry.run("file.take_in")
    done(named, qtbot)
    assert "this project itself" in named.investigation.banner.sentence.text()


@pytest.mark.command("file.export_labels", "file.import_labels")
def test_labels_go_out_and_come_in(
    named: MainWindow, other: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, qtbot: QtBot
) -> None:
    file = tmp_path / "labels.json"
    assert named.files.open_path(other)
    monkeypatch.setattr(Ask, "save_file", lambda *arguments: tmp_path / "labels")
    monkeypatch.setattr(Ask, "may_replace", lambda parent, paths: True)
    named.registry.run("file.export_labels")
    assert "written to labels.json: 1" in named.statusBar().currentMessage()
    assert named.files.open_path(tmp_path / "Mine.loupe")
    monkeypatch.setattr(Ask, "open_file", lambda *arguments: file)
    named.registry.run("file.import_labels")
    assert sheet(named, qtbot) == ["Labels given, which hold everywhere and which undo takes back: 1."]
    assert list(named.session.annotations.labels.values()) == ["zebra"]
    named.registry.run("file.import_labels")
    assert sheet(named, qtbot)[1] == "Here already: 1."
    file.write_text('{"form": "something else"}', encoding="utf-8")
    named.registry.run("file.import_labels")
    assert "circuit-loupe labels" in named.investigation.banner.sentence.text()


# ---- damaged -------------------------------------------------------------------------------------------------------


@pytest.mark.command("file.rescue")
def test_a_damaged_project_is_rescued_from_the_banner(
    window: MainWindow, other: Path, monkeypatch: pytest.MonkeyPatch, qtbot: QtBot
) -> None:
    whole = other.read_bytes()
    other.write_bytes(whole[:16] + b"\x03\x00" + whole[18:])
    damaged = other.read_bytes()
    assert not window.files.open_path(other)
    banner = window.start.banner
    assert "damaged in its first bytes" in banner.sentence.text()
    assert banner.help_button.text() == "Save what is left of it"
    banner.help_button.click()
    said = sheet(window, qtbot)
    assert said[0] == "Saved traces: 1; labels: 0; folders, prompts, notes, circuits: 1."
    assert said[1] == "Nothing was lost."
    project = window.session.project
    assert project is not None
    assert project.path == other.with_name("Other (rescued).loupe")
    assert window.session.annotations.pins == (10,)
    assert other.with_name("Other (damaged).loupe").read_bytes() == damaged
    monkeypatch.setattr(Ask, "open_project", lambda *arguments: None)
    window.registry.run("file.rescue")  # nothing was found damaged since: asks which
    assert window.session.project is project


def test_what_was_lost_is_said_line_by_line(window: MainWindow, other: Path, qtbot: QtBot) -> None:
    connection = sqlite3.connect(other)
    connection.execute("UPDATE array SET data = x'00' WHERE id = (SELECT min(id) FROM array)")
    connection.commit()
    connection.close()
    assert window.files.open_path(other), "the graph is read when it is shown"
    banner = window.project_banner
    assert banner.isVisible() and "damaged" in banner.sentence.text()
    banner.help_button.click()
    said = sheet(window, qtbot)
    lost = [sentence for sentence in said if sentence.startswith("Lost: ")]
    assert any("the graph is lost; what was written on it is in a note" in sentence for sentence in lost)
    assert any("steps that could be undone" in sentence for sentence in lost)
    assert "Rescued from The capital of France is → Paris" in [
        item.text(0) for item in window.investigation.tree.items()
    ]


# ---- the file itself -----------------------------------------------------------------------------------------------


def said_of_the_file(window: MainWindow) -> str:
    banner = window.project_banner
    return banner.sentence.text() if banner.isVisible() else ""


@pytest.mark.parametrize("what", ["deleted", "replaced"])
def test_a_file_that_is_gone_is_said_and_saved_elsewhere(
    named: MainWindow, other: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    named.edits.note("kept before")
    path = tmp_path / "Mine.loupe"
    if what == "deleted":
        path.unlink()
    else:
        shutil.copy(other, tmp_path / "new")
        (tmp_path / "new").replace(path)
    named.session.heartbeat()
    banner = named.project_banner
    assert "was deleted, moved or replaced" in said_of_the_file(named)
    assert banner.help_button.text() == "Save a copy elsewhere…"
    banner.dismiss()
    named.session.heartbeat()
    assert not said_of_the_file(named), "it was read and put away: said once"
    named.investigation.note.setPlainText("typed after")
    named.settle()
    assert "was deleted, moved or replaced" in said_of_the_file(named), "an edit that cannot be kept says so"
    assert named.session.annotations.note == "kept before"
    monkeypatch.setattr(Ask, "save_file", lambda *arguments: tmp_path / "Saved.loupe")
    monkeypatch.setattr(Ask, "may_replace", lambda parent, paths: True)
    banner.help_button.click()
    assert not said_of_the_file(named)
    assert named.session.annotations.note == "typed after", "what could not be written before is in the copy"
    named.session.heartbeat()
    assert not said_of_the_file(named)
    with Project.open(tmp_path / "Saved.loupe") as saved:
        assert saved.annotations(1).note == "typed after"


def test_a_file_that_comes_back_takes_its_message_away(named: MainWindow, tmp_path: Path) -> None:
    path, away = tmp_path / "Mine.loupe", tmp_path / "away.loupe"
    path.rename(away)
    named.session.heartbeat()
    assert said_of_the_file(named)
    away.rename(path)
    named.session.heartbeat()
    assert not said_of_the_file(named)
    assert named.edits.note("written"), "and it is written again"


def test_the_window_keeps_the_heart_beating(named: MainWindow, tmp_path: Path, qtbot: QtBot) -> None:
    (tmp_path / "Mine.loupe").unlink()
    qtbot.waitUntil(lambda: bool(said_of_the_file(named)), timeout=SECONDS)


def test_a_full_disk_is_said_and_nothing_is_shown_as_done(named: MainWindow) -> None:
    project = named.session.project
    assert project is not None
    with project._file.reading() as db:
        (pages,) = db.conn.execute("PRAGMA page_count").fetchone()
        db.conn.execute(f"PRAGMA max_page_count={pages}")
    assert not named.edits.note("x" * 200_000)
    assert "The disk is full" in said_of_the_file(named)
    assert named.project_banner.help_button.text() == "Save a copy elsewhere…"
    assert named.session.annotations.note == ""
    with project._file.reading() as db:
        db.conn.execute("PRAGMA max_page_count=1000000")
    assert named.edits.note("x" * 200_000)


def test_a_network_drive_is_said_when_it_is_opened(
    window: MainWindow, other: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drives, "network_drive", lambda path: "nfs4")
    assert window.files.open_path(other)
    assert "is on a network drive (nfs4)" in said_of_the_file(window)
    assert window.session.can_edit


def test_a_second_program_is_named(window: MainWindow, other: Path) -> None:
    with Project.open(other):
        assert window.files.open_path(other)
        assert "already open in this program" in said_of_the_file(window)
        assert window.session.read_only
        assert not window.registry.action("file.take_in").isEnabled()


def test_a_project_that_another_program_takes_over_is_open_for_reading(named: MainWindow, tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "Mine.loupe")
    connection.execute("UPDATE owner SET token = 'another'")
    connection.commit()
    connection.close()
    assert not named.edits.note("mine")
    assert "Another program took this project over" in said_of_the_file(named)
    assert named.session.read_only and "reading only" in named.windowTitle()
    assert not named.registry.action("edit.pin").isEnabled()


def test_an_older_file_says_where_it_is_kept_as_it_was(window: MainWindow, tmp_path: Path) -> None:
    path = tmp_path / "Old.loupe"
    shutil.copy(OLD, path)
    assert window.files.open_path(path)
    assert "kept as it was in Old (format 1.0).loupe" in said_of_the_file(window)
    assert not window.project_banner.help_button.isVisible()


def test_a_newer_file_is_open_for_reading(window: MainWindow, other: Path) -> None:
    connection = sqlite3.connect(other)
    connection.execute(f"PRAGMA user_version={9 << 16}")
    connection.commit()
    connection.close()
    assert window.files.open_path(other)
    assert "A newer Circuit Loupe wrote this project" in said_of_the_file(window)
    assert window.session.read_only
    assert list(window.session.annotations.labels.values()) == ["zebra"]
