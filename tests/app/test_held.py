"""What the file does not take is held: put there later, or into a copy, and never left without a question."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pytestqt.qtbot import QtBot

from app.dialogs import Ask
from app.file_watch import IS_FREE
from app.growing import Growth
from app.jobs import Value
from app.window import MainWindow
from engine.errors import MachineError
from engine.graphs import AttributionGraph
from engine.interventions.kept import Record
from engine.projects import Project
from engine.projects.project_file import ProjectFile
from tests.app.conftest import as_trace

SECONDS = 20_000
RECORD = Record("intervention", "Without Texas", {"trace": {}}, {"sentence": "It fell.", "evidence": "untested"})


@pytest.fixture
def named(open_window: MainWindow, tmp_path: Path) -> MainWindow:
    """A window with a project that has a name, Mine.loupe, and one trace."""
    assert open_window.files.save_to(tmp_path / "Mine.loupe")
    return open_window


@contextmanager
def full_disk(window: MainWindow) -> Iterator[None]:
    """No room for another page, as SQLite says it of a full disk."""
    project = window.session.project
    assert project is not None
    with project._file.reading() as db:
        (pages,) = db.conn.execute("PRAGMA page_count").fetchone()
        db.conn.execute(f"PRAGMA max_page_count={pages}")
    yield
    if window.session.project is project:
        with project._file.reading() as db:
            db.conn.execute("PRAGMA max_page_count=1000000")


def said(window: MainWindow) -> str:
    banner = window.project_banner
    return banner.sentence.text() if banner.isVisible() else ""


def answers(monkeypatch: pytest.MonkeyPatch, answer: bool | None, elsewhere: Path | None = None) -> list[str]:
    """Answer the question before something is left; the questions that were asked."""
    asked: list[str] = []

    def leave(parent: Any, text: str) -> bool | None:
        asked.append(text)
        return answer

    monkeypatch.setattr(Ask, "leave", leave)
    monkeypatch.setattr(Ask, "save_file", lambda *arguments: elsewhere)
    return asked


def finish_trace(window: MainWindow, graph: AttributionGraph) -> None:
    """A trace ends, as the engine's thread tells it."""
    window.runs._traced(Growth(window.session, "neurons"), None, None, Value(as_trace(graph)))


LONG = "x" * 200_000


def test_a_note_on_a_full_disk_is_held_until_there_is_room(named: MainWindow) -> None:
    with full_disk(named):
        named.investigation.note.setPlainText(LONG)
        named.settle()
        assert "The disk is full" in said(named)
        assert "Held in this window until it can be kept: the note on this trace." in said(named)
        named.session.heartbeat()
        assert "Held" in said(named)
    named.session.heartbeat()
    assert named.session.annotations.note == LONG
    assert not said(named)
    assert not named.session.file.held


def test_what_is_written_anew_takes_the_place_of_what_is_held(named: MainWindow) -> None:
    with full_disk(named):
        named.edits.note(LONG)
        named.edits.label(1, LONG[:900])
        assert named.edits.note("short"), "which there is room for"
    named.session.heartbeat()
    assert named.session.annotations.note == "short"


def test_what_is_taken_back_is_held_no_more(named: MainWindow) -> None:
    with full_disk(named):
        named.edits.note(LONG)
        named.edits.note("")
    named.session.heartbeat()
    assert named.session.annotations.note == ""


def test_a_slider_on_a_full_disk_says_so(named: MainWindow, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_all(monkeypatch, reading=False)
    named.area.strip.influence.setValue(500)
    named.settle()
    assert "The drive is gone" in said(named)


def refuse_all(monkeypatch: pytest.MonkeyPatch, *, reading: bool) -> None:
    @contextmanager
    def refused(file: ProjectFile) -> Iterator[Any]:
        raise MachineError("The drive is gone; check it.")
        yield

    monkeypatch.setattr(ProjectFile, "writing", refused)
    if reading:
        monkeypatch.setattr(ProjectFile, "reading", refused)


def test_a_drive_that_cannot_be_read_is_no_fault_of_ours(named: MainWindow, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_all(monkeypatch, reading=True)
    named.session.refresh()
    assert "The drive is gone" in said(named)
    named.registry.refresh_now()
    assert not named.registry.action("edit.undo").isEnabled()
    named.project_banner.dismiss()
    named.session.report_refusal(MachineError("The drive is gone; check it."))
    assert "The drive is gone" in said(named)


def test_a_finished_trace_is_held_and_saved_elsewhere(
    named: MainWindow, graph: AttributionGraph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "Mine.loupe").unlink()
    finish_trace(named, graph)
    assert "was deleted, moved or replaced" in said(named)
    assert "the trace The capital of Texas is" in said(named)
    monkeypatch.setattr(Ask, "save_file", lambda *arguments: tmp_path / "Saved.loupe")
    named.project_banner.help_button.click()
    assert not named.session.file.held
    assert named.runs.has_ready, "it waits to be opened"
    named.runs.open_ready()
    assert named.session.trace_id == 2
    with Project.open(tmp_path / "Saved.loupe", read_only=True) as saved:
        assert len(saved.traces()) == 2
        assert saved.setting("prompt/2")["features"] == "neurons"


def test_a_trace_that_ends_while_another_is_read_is_held_too(
    named: MainWindow, graph: AttributionGraph, monkeypatch: pytest.MonkeyPatch
) -> None:
    growth = Growth(named.session, "neurons")
    finish_trace(named, graph)  # which is open now
    with monkeypatch.context() as patch:
        refuse_all(patch, reading=False)
        named.runs._traced(growth, None, None, Value(as_trace(graph)))
        assert "the trace" in said(named)
    named.session.heartbeat()
    assert named.runs.has_ready


@pytest.mark.parametrize("read_only", [False, True])
def test_an_experiment_is_shown_and_held(
    named: MainWindow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read_only: bool
) -> None:
    if read_only:
        named.session.open_project(tmp_path / "Mine.loupe", read_only=True)
    else:
        (tmp_path / "Mine.loupe").unlink()
    named.experiments.keep(1, RECORD)
    shown = named.experiments.shown
    assert shown is not None
    assert shown.title == "Without Texas"
    assert ("the experiment Without Texas" in said(named)) == (not read_only)
    assert named.files.save_to(tmp_path / "Saved.loupe")
    with Project.open(tmp_path / "Saved.loupe", read_only=True) as saved:
        assert [one.title for one in saved.experiments.all(1)] == ["Without Texas"]


Leaving = Callable[[MainWindow, Path], object]
LEAVING: dict[str, Leaving] = {
    "close": lambda window, other: window.close(),
    "new": lambda window, other: window.registry.run("file.new"),
    "open": lambda window, other: window.files.open_path(other),
}


@pytest.mark.parametrize("way", LEAVING)
def test_what_is_in_no_file_is_not_left_unasked(
    named: MainWindow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    other = tmp_path / "Other.loupe"
    Project.create(other).close()
    named.edits.note("before")
    (tmp_path / "Mine.loupe").unlink()
    asked = answers(monkeypatch, None)
    LEAVING[way](named, other)
    assert len(asked) == 1
    assert asked[0].startswith("Mine.loupe was deleted, moved or replaced by another program")
    assert named.isVisible()
    assert named.session.annotations.note == "before", "Cancel leaves everything where it is"
    answers(monkeypatch, True)  # and then no place is chosen
    LEAVING[way](named, other)
    assert named.session.annotations.note == "before"
    answers(monkeypatch, True, tmp_path / "Saved.loupe")
    LEAVING[way](named, other)
    assert named.session.project is None or named.session.project.path == other
    with Project.open(tmp_path / "Saved.loupe") as saved:
        assert saved.annotations(1).note == "before"


def test_leaving_without_it_is_possible(named: MainWindow, monkeypatch: pytest.MonkeyPatch) -> None:
    with full_disk(named):
        named.edits.note(LONG)
        asked = answers(monkeypatch, False)
        named.registry.run("file.new")
    assert asked == ["Mine.loupe could not be written. Not in any file: the note on this trace."]
    assert named.session.project is None
    assert not named.session.file.held


def test_nobody_is_asked_when_the_system_ends_the_program(named: MainWindow, tmp_path: Path, home: Path) -> None:
    named.edits.note("before")
    (tmp_path / "Mine.loupe").unlink()
    named.edits.label(1, "held")
    named.end()
    assert not named.isVisible()
    (aside,) = (home / "data" / "unsaved").glob("*.loupe")
    assert named.memory.recent_projects()[0] == aside
    with Project.open(aside) as project:
        assert project.annotations(1).note == "before"
        assert project.annotations(1).labels == {1: "held"}


@pytest.mark.command("file.edit_here")
def test_a_project_that_another_program_lets_go_of_is_edited_here(
    named: MainWindow, tmp_path: Path, graph: AttributionGraph, qtbot: QtBot
) -> None:
    with Project.create(tmp_path / "Theirs.loupe") as theirs:
        theirs.add_trace(as_trace(graph).report, graph, title="theirs")
        assert named.files.open_path(tmp_path / "Theirs.loupe")
        assert named.session.read_only
        named.session.heartbeat()
        assert IS_FREE not in said(named)
        assert not named.registry.action("file.edit_here").isEnabled()
        theirs.set_note(1, "theirs")
    named.session.heartbeat()
    assert said(named) == IS_FREE
    assert named.project_banner.help_button.text() == "Edit it here"
    named.registry.refresh_now()
    named.registry.run("file.edit_here")
    assert not said(named)
    assert named.session.can_edit
    assert named.session.annotations.note == "theirs", "it is as it is now"


def test_a_window_that_only_reads_follows_what_the_other_program_writes(
    named: MainWindow, tmp_path: Path, graph: AttributionGraph
) -> None:
    with Project.create(tmp_path / "Theirs.loupe") as theirs:
        theirs.add_trace(as_trace(graph).report, graph, title="theirs")
        assert named.files.open_path(tmp_path / "Theirs.loupe")
        named.session.select(7)
        theirs.set_note(1, "written meanwhile")
        theirs.pin(1, [11])
        second = theirs.add_trace(as_trace(graph).report, graph, title="traced meanwhile")
        named.session.heartbeat()
        assert named.session.annotations.note == "written meanwhile"
        assert named.investigation.note.toPlainText() == "written meanwhile"
        assert named.session.annotations.pins == (11,)
        assert named.session.selected == 7, "who reads is left alone"
        assert named.session.trace_numbers() == [1, second]
        refreshed: list[bool] = []
        named.session.tracesChanged.connect(lambda: refreshed.append(True))
        named.session.heartbeat()
        assert not refreshed, "nothing was written since"
        theirs.delete_trace(1)
        named.session.heartbeat()
        assert named.session.trace_id == second and refreshed
