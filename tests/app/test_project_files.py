from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from app.dialogs import Ask
from app.unsaved import is_unsaved, new_unsaved_path
from app.window import MainWindow
from engine.graphs import AttributionGraph
from engine.places import HOME_VARIABLE
from engine.projects import Project
from tests.app.conftest import as_trace

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def saved(tmp_path: Path, graph: AttributionGraph) -> Path:
    """A project with one trace and one pin, closed."""
    path = tmp_path / "Texas.loupe"
    with Project.create(path) as project:
        trace = as_trace(graph)
        number = project.add_trace(trace.report, trace.graph, title="The capital of Texas is → Austin")
        project.pin(number, [10])
    return path


def test_a_project_opens_without_its_model(window: MainWindow, saved: Path) -> None:
    assert window.files.open_path(saved)
    assert window.session.annotations.pins == (10,)
    assert window.windowTitle() == "Texas — Circuit Loupe"
    assert window.runs.model is None
    window.session.select(12)
    assert window.inspector.page.isVisible()
    assert window.memory.recent_projects() == [saved]


def test_save_as_gives_an_unsaved_project_a_name(open_window: MainWindow, tmp_path: Path) -> None:
    window = open_window
    window.edits.pin([10, 11])
    window.edits.label(10, "says Texas")
    project = window.session.project
    assert project is not None
    nameless = project.path
    target = tmp_path / "My findings.loupe"
    assert window.files.save_to(target)
    assert window.session.project is not None
    assert window.session.project.path == target
    assert not nameless.exists()
    assert window.session.annotations.pins == (10, 11)
    window.registry.run("edit.undo")
    assert not window.session.annotations.labels
    assert window.windowTitle().startswith("My findings")
    assert not window.session.unsaved


def test_save_as_of_a_named_project_goes_on_in_the_copy(window: MainWindow, saved: Path, tmp_path: Path) -> None:
    window.files.open_path(saved)
    copy = tmp_path / "Copy.loupe"
    assert window.files.save_to(copy)
    window.edits.pin([11])
    with Project.open(saved) as first:
        assert first.annotations(first.traces()[0].id).pins == (10,)
    assert window.session.annotations.pins == (10, 11)


@pytest.mark.command("file.save_as")
def test_save_as_asks_where_and_adds_the_ending(
    open_window: MainWindow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Ask, "save_file", lambda *arguments: tmp_path / "Named")
    open_window.registry.run("file.save_as")
    assert (tmp_path / "Named.loupe").is_file()


def test_save_as_into_a_folder_that_is_not_there_keeps_everything(open_window: MainWindow, tmp_path: Path) -> None:
    assert not open_window.files.save_to(tmp_path / "missing" / "a.loupe")
    assert open_window.area.banner.isVisible()
    assert open_window.session.unsaved
    assert open_window.session.graph is not None


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "empty"), (b"hello, this is text", "not"), (b"SQLite format 3\0" + bytes(84), "not")],
)
def test_a_file_that_is_no_project_is_one_sentence_on_the_page(
    window: MainWindow, tmp_path: Path, content: bytes, words: str
) -> None:
    path = tmp_path / "bad.loupe"
    path.write_bytes(content)
    assert not window.files.open_path(path)
    banner = window.start.banner
    assert banner.isVisible()
    assert words in banner.sentence.text()
    assert banner.help_button.isVisible()
    assert window.session.project is None


def test_a_missing_file_leaves_the_open_graph_alone(open_window: MainWindow, tmp_path: Path) -> None:
    assert not open_window.files.open_path(tmp_path / "missing.loupe")
    assert open_window.area.banner.isVisible()
    assert open_window.session.graph is not None


def test_a_damaged_project_is_one_sentence(window: MainWindow, saved: Path) -> None:
    whole = saved.read_bytes()
    saved.write_bytes(whole[: len(whole) // 2])
    window.files.open_path(saved)
    assert window.start.banner.isVisible() or window.area.banner.isVisible()
    window.registry.run("file.new")
    assert window.session.project is None


def test_a_project_that_is_taken_opens_for_reading_with_a_way_on(
    window: MainWindow, saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Project.open(saved):
        assert window.files.open_path(saved)
        assert window.session.read_only
        assert "reading only" in window.windowTitle()
        banner = window.project_banner
        assert banner.isVisible()
        assert "already open" in banner.sentence.text()
        assert not window.registry.action("edit.pin").isEnabled()
        monkeypatch.setattr(Ask, "save_file", lambda *arguments: tmp_path / "Mine.loupe")
        banner.help_button.click()
        assert not window.session.read_only
        window.edits.pin([11])
        assert window.session.annotations.pins == (10, 11)


def test_opening_what_is_open_changes_nothing(window: MainWindow, saved: Path) -> None:
    window.files.open_path(saved)
    project = window.session.project
    assert window.files.open_path(saved)
    assert window.session.project is project


def test_recent_projects_are_offered_and_missing_ones_left_out(window: MainWindow, saved: Path, qtbot: QtBot) -> None:
    window.files.open_path(saved)
    window.registry.run("file.new")
    assert window.start.recent.count() == 1
    window.menus.fill_recent()
    assert [action.text() for action in window.menus.recent.actions()] == ["Texas"]
    item = window.start.recent.item(0)
    window.start.recent.itemActivated.emit(item)
    assert window.session.graph is not None
    window.registry.run("file.new")
    saved.unlink()
    window.show_recent()
    assert window.start.recent.count() == 0
    window.menus.fill_recent()
    assert not window.menus.recent.actions()[0].isEnabled()


def test_projects_without_a_name_stay_on_the_start_page(window: MainWindow, saved: Path, tmp_path: Path) -> None:
    nameless = new_unsaved_path("Nameless")
    with Project.create(nameless):
        pass
    window.remember_project(nameless)
    for number in range(12):
        window.remember_project(Path(shutil.copy(saved, tmp_path / f"newer {number}.loupe")))
    assert nameless not in window.memory.recent_projects()
    rows = [window.start.recent.item(row) for row in range(window.start.recent.count())]
    assert [row.text() for row in rows][-1] == "Nameless  (not saved under a name yet)" and len(rows) == 11
    window.start.recent.itemActivated.emit(rows[-1])
    assert window.session.project is not None and window.session.project.path == nameless
    window.registry.run("file.new")
    assert window.start.recent.count() == 10, "once, now that it is the newest"


def test_notes_are_written_after_a_pause_and_when_leaving(window: MainWindow, saved: Path, qtbot: QtBot) -> None:
    window.files.open_path(saved)
    panel = window.investigation
    panel.note.setPlainText("first")
    qtbot.waitUntil(lambda: window.session.annotations.note == "first", timeout=5000)
    panel.note.setPlainText("second")
    window.registry.run("file.new")
    with Project.open(saved) as project:
        assert project.annotations(project.traces()[0].id).note == "second"


def test_closing_writes_what_is_still_being_typed(window: MainWindow, saved: Path) -> None:
    window.files.open_path(saved)
    window.investigation.note.setPlainText("typed and closed at once")
    window.area.strip.influence.setValue(333)
    window.close()
    with Project.open(saved) as project:
        number = project.traces()[0].id
        assert project.annotations(number).note == "typed and closed at once"
        assert project.view(number)["node_threshold"] == 0.333


def test_what_is_remembered_is_there_next_time(qapp: QApplication, window: MainWindow, saved: Path) -> None:
    window.files.open_path(saved)
    window.close()
    other = MainWindow(qapp)
    assert other.memory.recent_projects() == [saved]
    assert other.start.recent.count() == 1
    other.close()
    other.deleteLater()


def test_names_of_unsaved_projects_are_free(home: Path) -> None:
    first = new_unsaved_path()
    first.touch()
    second = new_unsaved_path()
    assert first != second
    assert is_unsaved(first)
    assert is_unsaved(second)
    assert not is_unsaved(home / "other.loupe")


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_a_killed_window_loses_nothing(home: Path, saved: Path, graph: AttributionGraph) -> None:
    code = textwrap.dedent(
        f"""
        import os, signal
        from PySide6.QtWidgets import QApplication
        app = QApplication([])
        from app.window import MainWindow
        from pathlib import Path
        window = MainWindow(app)
        window.show()
        window.files.open_path(Path({str(saved)!r}))
        window.edits.pin([11, 12])
        window.edits.label(11, "says Texas")
        window.edits.group([11, 12], "Texas")
        window.edits.note("half way")
        print("edited", flush=True)
        os.kill(os.getpid(), signal.{signal.SIGKILL.name})
        """
    )
    environment = {**os.environ, HOME_VARIABLE: str(home), "QT_QPA_PLATFORM": "offscreen"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert "edited" in done.stdout
    with Project.open(saved) as project:
        assert not project.read_only
        annotations = project.annotations(project.traces()[0].id)
        assert annotations.pins == (10, 11, 12)
        assert annotations.labels == {11: "says Texas"}
        assert [(group.name, group.nodes) for group in annotations.groups] == [("Texas", (11, 12))]
        assert annotations.note == "half way"
        assert project.undo_title is not None


def test_a_read_only_folder_still_opens(window: MainWindow, saved: Path, tmp_path: Path) -> None:
    folder = tmp_path / "archive"
    folder.mkdir()
    path = folder / "Texas.loupe"
    shutil.copy(saved, path)
    path.chmod(0o444)
    folder.chmod(0o555)
    try:
        assert window.files.open_path(path)
        assert window.session.graph is not None
    finally:
        folder.chmod(0o755)
