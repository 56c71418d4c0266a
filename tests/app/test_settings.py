"""What a person chooses in the settings, what a start finds of the run before, and what a crash leaves."""

from __future__ import annotations

import faulthandler
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from app.application import LastSession
from app.dialogs import Ask
from app.last_run import RunFile, find_crash
from app.panels.settings_sheet import SettingsSheet
from app.window import MainWindow
from engine.graphs import AttributionGraph
from engine.places import log_file
from engine.preferences import read_preferences
from engine.projects import Project
from tests.app.conftest import as_trace

ROOT = Path(__file__).parent.parent.parent


def sheet_of(window: MainWindow) -> SettingsSheet:
    window.registry.run("edit.settings")
    sheet = window.settings.sheet
    assert sheet is not None and sheet.isVisible()
    return sheet


@pytest.mark.command("edit.settings")
def test_theme_and_text_size_hold_at_once_and_are_remembered(window: MainWindow, qapp: QApplication) -> None:
    sheet = sheet_of(window)
    sheet.theme.setCurrentIndex(sheet.theme.findText("Dark"))
    sheet.theme.activated.emit(sheet.theme.currentIndex())
    assert window.look.is_theme("dark")
    assert qapp.palette().window().color().lightness() < 100
    sheet.text_size.setValue(15.0)
    assert qapp.font().pointSizeF() == 15.0
    assert window.memory.text("theme", "") == "dark"
    assert window.memory.text("text_size", "") == "15.0"


def test_what_the_engine_obeys_is_kept_for_it(window: MainWindow) -> None:
    sheet = sheet_of(window)
    sheet.memory.setValue(6.0)
    sheet.network.setChecked(False)
    sheet.device.setCurrentIndex(sheet.device.findData("cpu"))
    sheet.device.activated.emit(sheet.device.currentIndex())
    chosen = read_preferences()
    assert (chosen.memory_limit, chosen.network, chosen.device) == (6.0, False, "cpu")
    sheet.close()
    again = sheet_of(window)
    assert again.memory.value() == 6.0
    assert not again.network.isChecked()
    assert again.device.currentData() == "cpu"


def test_another_device_lets_the_loaded_model_go_but_not_what_was_chosen(window: MainWindow) -> None:
    window.runs.choose_model("some/model")
    window.runs.wanted_features = "/some/dictionary"
    window.runs.model = object()  # type: ignore[assignment]
    window.settings.choose(device="cpu")
    assert window.runs.model is None
    assert window.runs.wanted_model == "some/model"
    assert window.runs.wanted_features == "/some/dictionary"


def test_a_model_is_loaded_on_the_chosen_device(window: MainWindow, monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    from app.engine_calls import open_model

    asked: list[str] = []

    def load(source: str, *, device: str, **others: object) -> None:
        asked.append(device)
        raise RuntimeError("far enough")

    monkeypatch.setattr("engine.models.loading.load_model", load)
    window.settings.choose(device="mps")
    with pytest.raises(RuntimeError, match="far enough"):
        open_model(window.runs.state, "any", lambda stage, share: None, threading.Event())
    assert asked == ["mps"]


def test_a_folder_of_models_is_added_and_taken_away(
    window: MainWindow, tmp_path: Path, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Ask, "open_folder", lambda *arguments: tmp_path)
    sheet = sheet_of(window)
    qtbot.mouseClick(sheet.add_folder, Qt.MouseButton.LeftButton)
    qtbot.mouseClick(sheet.add_folder, Qt.MouseButton.LeftButton)
    assert read_preferences().model_folders == (str(tmp_path),)
    assert not sheet.remove_folder.isEnabled()
    sheet.folders.setCurrentRow(0)
    qtbot.mouseClick(sheet.remove_folder, Qt.MouseButton.LeftButton)
    assert read_preferences().model_folders == ()
    assert sheet.folders.count() == 0


# ---- the run before ----------------------------------------------------------------------------------------------


@pytest.fixture
def project(tmp_path: Path, graph: AttributionGraph) -> Path:
    path = tmp_path / "Texas.loupe"
    with Project.create(path) as made:
        trace = as_trace(graph)
        made.add_trace(trace.report, trace.graph, title="Austin")
    return path


@pytest.fixture
def start(window: MainWindow) -> Iterator[Callable[[], LastSession]]:
    """Starts runs of this window, and ends them."""
    made: list[LastSession] = []

    def begin() -> LastSession:
        made.append(LastSession(window))
        return made[-1]

    yield begin
    for session in made:
        session.end()
    faulthandler.enable(file=sys.__stderr__)  # as the test runner had it


def test_what_was_open_at_the_end_is_open_at_the_next_start(
    window: MainWindow, project: Path, start: Callable[[], LastSession]
) -> None:
    window.files.open_path(project)
    window.settings.close()
    window.files.new()
    start().restore(None)
    assert window.windowTitle() == "Texas — Circuit Loupe"
    window.files.new()
    window.settings.set_reopens(False)
    start().restore(None)
    assert window.windowTitle() == "Circuit Loupe"


def test_a_run_that_ends_well_leaves_nothing(start: Callable[[], LastSession]) -> None:
    session = start()
    assert list(log_file().parent.glob("run-*.txt"))
    assert find_crash() is None, "this run lives: it is no crash"
    session.end()
    assert not list(log_file().parent.glob("run-*.txt"))


@pytest.mark.command("file.reopen")
def test_after_a_crash_the_next_start_has_a_report_and_offers_the_project(
    window: MainWindow, project: Path, start: Callable[[], LastSession]
) -> None:
    code = (
        "import faulthandler, sys\nfrom pathlib import Path\nfrom app.last_run import RunFile\n"
        f"run = RunFile(); run.begin(); run.note_project(Path({str(project)!r}))\n"
        "import ctypes; ctypes.string_at(0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env={**os.environ}, capture_output=True, check=False)
    assert done.returncode == -signal.SIGSEGV
    session = start()
    session.restore(None)
    banner = window.start.banner
    assert banner.isVisible()
    assert "Texas was open" in banner.sentence.text()
    report = next(log_file().parent.glob("crash-*.txt"))
    assert str(report) in banner.sentence.text()
    text = report.read_text(encoding="utf-8")
    assert "Circuit Loupe " in text and "Segmentation fault" in text and "ctypes" in text
    assert window.session.project is None, "it is offered, not opened"
    banner.help_button.click()
    assert window.windowTitle() == "Texas — Circuit Loupe"
    assert not window.settings.has_left()
    session.end()
    assert find_crash() is None, "a crash is told of once"


def test_a_killed_run_says_that_there_is_no_stack(home: Path) -> None:
    run = RunFile()
    run.begin()
    run.end()
    run.path.write_text("Circuit Loupe 0\nProcess: 999999999 1\nProject: /gone.loupe\n", encoding="utf-8")
    crash = find_crash()
    assert crash is not None
    assert crash.project is None
    assert "killed" in crash.report.read_text(encoding="utf-8")
    assert "was open" not in crash.sentence
