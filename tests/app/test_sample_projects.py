"""The projects that come with the program: a copy is opened, with its experiments, and the shipped file stays."""

from __future__ import annotations

import hashlib
from importlib.resources import files
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QPushButton
from pytestqt.qtbot import QtBot

from app.dialogs import Ask
from app.experiments.desk import ExperimentDesk
from app.panels.sample_sheet import SampleSheet
from app.samples import SampleProject, load_sample_projects
from app.unsaved import is_unsaved
from app.window import MainWindow
from engine.models.language_model import LanguageModel
from tests.app.test_window_with_model import SECONDS, ready

__all__ = ["ready"]
SAMPLES = load_sample_projects()


def shipped(sample: SampleProject) -> str:
    return hashlib.sha256((files("resources") / "samples" / f"{sample.name}.loupe").read_bytes()).hexdigest()


def open_sample(window: MainWindow, name: str, monkeypatch: pytest.MonkeyPatch) -> SampleProject:
    sample = next(one for one in SAMPLES if one.name == name)
    monkeypatch.setattr(Ask, "sample", lambda *arguments: sample)
    window.registry.run("file.sample")
    return sample


@pytest.mark.command("file.sample")
@pytest.mark.parametrize("name", [one.name for one in SAMPLES])
def test_a_copy_is_opened_with_its_circuit_and_experiments(
    window: MainWindow, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample = open_sample(window, name, monkeypatch)
    before, project, page = shipped(sample), window.session.project, window.area.experiments
    assert project is not None and not project.read_only and is_unsaved(project.path)
    assert project.path.stem.startswith(f"Sample {name}")
    assert window.area.canvas.isVisible() and not window.area.banner.isVisible()
    assert len(window.session.annotations.pins) == sample.circuit
    assert len(window.experiments.rows()) == 2
    # What was measured can be read without the model.
    assert page.stack.currentWidget() is page.views["circuit"]
    assert f"p = {sample.p:.2g}" in page.sentence.text()
    assert page.evidence.text() == ("supported by intervention" if sample.needed else "not borne out")
    # The copy is changed, the shipped one is not; the next copy is as it was.
    window.edits.note("mine")
    assert shipped(sample) == before
    first = project.path
    open_sample(window, name, monkeypatch)
    assert window.session.project is not None and window.session.project.path != first
    assert window.session.annotations.note != "mine" and first.exists()


def test_a_sample_is_run_again_and_held(
    ready: MainWindow, smollm: LanguageModel, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    window = ready
    open_sample(window, "opposite", monkeypatch)
    desk: ExperimentDesk = window.experiments
    desk.show(next(row.id for row in desk.rows() if row.kind == "circuit"))
    # As many random sets as a test has time for: the figures of the circuit itself are what is compared.
    assert desk.shown is not None
    monkeypatch.setitem(desk.shown.settings["experiment"], "controls", 100)
    before = {**desk.shown.result["necessity"], "p": None}
    monkeypatch.setitem(desk.shown.result, "necessity", {**before, "p": 1 / 101})
    window.registry.run("experiment.again")
    qtbot.waitUntil(lambda: not window.host.busy, timeout=SECONDS)
    assert window.area.experiments.held.text().startswith("The result held"), window.area.banner.sentence.text()


def test_the_sheet_opens_the_row_in_hand(window: MainWindow, qtbot: QtBot) -> None:
    sheet = SampleSheet(SAMPLES, window)
    qtbot.addWidget(sheet)
    sheet.open()
    table = sheet.table
    words = [table.topLevelItem(at).text(4) for at in range(table.topLevelItemCount())]  # type: ignore[union-attr]
    assert words == ["yes" if one.needed else "not shown" for one in SAMPLES]
    table.choose(2)
    with qtbot.waitSignal(sheet.accepted):
        qtbot.keyClick(table, Qt.Key.Key_Return)
    assert sheet.chosen == 2


def test_the_start_page_offers_them_and_says_why_one_cannot_be_copied(
    window: MainWindow, monkeypatch: pytest.MonkeyPatch, qtbot: QtBot
) -> None:
    def full(self: SampleProject, path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(SampleProject, "copy_to", full)
    monkeypatch.setattr(Ask, "sample", lambda *arguments: SAMPLES[0])
    (button,) = [one for one in window.start.findChildren(QPushButton) if "sample" in one.text().lower()]
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
    assert "No space left on device" in window.start.banner.sentence.text()
    assert window.session.project is None
