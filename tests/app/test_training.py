"""Training in the window, as a person does it: choose a folder, start, watch the curves, get the dictionary."""

from __future__ import annotations

from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot

from app.dialogs import Ask
from app.engine_calls import LoadedModel
from app.panels.training_sheet import TrainingSheet, curves_of
from app.window import MainWindow
from tests.engine.training.tiny_training import small_model, text_folder

SECONDS = 60_000


@pytest.fixture
def sheet(window: MainWindow, qtbot: QtBot) -> TrainingSheet:
    """The page, with a small model in memory."""
    qtbot.waitUntil(lambda: not window.host.busy, timeout=SECONDS)
    model = small_model()
    window.runs.state.model = model
    window.runs.model = LoadedModel("tiny", "tiny", "tiny", "cpu", "float64", 3, model.tokenizer)
    window.registry.run("training.show")
    found = window.training.sheet
    assert found is not None and found.isVisible()
    return found


def choose(sheet: TrainingSheet, monkeypatch: pytest.MonkeyPatch, out: Path, text: Path) -> None:
    for button, folder in ((sheet.out, out), (sheet.text, text)):
        monkeypatch.setattr(Ask, "open_folder", lambda *_, folder=folder: folder)
        button.click()
    sheet.width_box.setValue(48)
    sheet.k.setValue(4)
    sheet.tokens.setValue(4000)
    sheet.minutes.setValue(0.02)
    sheet.sample.setChecked(False)


@pytest.mark.command("training.show")
def test_a_dictionary_is_trained_and_opened(
    sheet: TrainingSheet, window: MainWindow, qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not sheet.start.isEnabled() and "Choose the folder" in sheet.said.text()
    out = tmp_path / "set"
    choose(sheet, monkeypatch, out, text_folder(tmp_path / "text", 6000))
    sheet.skip.setChecked(False)
    sheet.start.click()
    assert not sheet.start.isEnabled() and sheet.stop.isEnabled() and not sheet.k.isEnabled()
    qtbot.waitUntil(lambda: not window.training.desk.running, timeout=SECONDS)
    assert "Trained" in sheet.said.text(), sheet.said.text()
    rounds = window.training.desk.rounds
    assert rounds
    assert f"FVU {sum(rounds[-1]['fvu']) / 3:.3f}" in sheet.latest.text()
    assert all(plot.getPlotItem().listDataItems() for plot in sheet.plots.values())
    assert (out / "README.md").exists()
    assert window.runs.wanted_features == str(out)
    assert sheet.start.isEnabled()


def test_larger_text_leaves_room_for_the_curves(sheet: TrainingSheet, window: MainWindow, qtbot: QtBot) -> None:
    window.resize(1440, 900)
    for _ in range(10):
        window.registry.run("view.larger")
    line = sheet.fontMetrics().lineSpacing()
    qtbot.waitUntil(lambda: all(plot.width() > 9 * line for plot in sheet.plots.values()), timeout=SECONDS)
    assert sheet.width() <= window.width()
    sheet.close()
    window.registry.run("training.show")
    assert all(plot.width() > 9 * line for plot in sheet.plots.values())
    window.registry.run("view.normal")


def test_a_training_is_stopped_and_goes_on(
    sheet: TrainingSheet, window: MainWindow, qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.training.run._CHECKPOINT_EVERY", 0.0)
    choose(sheet, monkeypatch, tmp_path / "set", text_folder(tmp_path / "text", 6000))
    sheet.minutes.setValue(0)
    sheet.start.click()
    qtbot.waitUntil(lambda: bool(window.training.desk.rounds), timeout=SECONDS)
    sheet.stop.click()
    qtbot.waitUntil(lambda: not window.training.desk.running, timeout=SECONDS)
    assert "goes on from the last checkpoint" in sheet.said.text()
    first = window.training.desk.rounds[0]["steps"]
    sheet.start.click()
    qtbot.waitUntil(lambda: bool(window.training.desk.rounds), timeout=SECONDS)
    assert window.training.desk.rounds[0]["steps"] > first
    qtbot.waitUntil(lambda: not window.training.desk.running, timeout=SECONDS)
    assert (tmp_path / "set" / "config.yaml").exists()


def test_what_cannot_be_trained_is_said_there(
    sheet: TrainingSheet, window: MainWindow, qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    choose(sheet, monkeypatch, tmp_path / "set", empty)
    sheet.start.click()
    qtbot.waitUntil(lambda: not window.training.desk.running, timeout=SECONDS)
    assert "no text" in sheet.said.text()


def test_curves_are_the_mean_and_the_extreme_layers() -> None:
    rounds = [{"fvu": [0.2, 0.6, 0.4], "ce_recovered": 0.5}, {"fvu": [0.1, 0.3, 0.2], "ce_recovered": 0.7}]
    mean, low, high = curves_of("fvu", [10, 20], rounds)
    assert mean[1:3] == ([10, 20], [pytest.approx(0.4), pytest.approx(0.2)])
    assert (low[2], high[2]) == ([0.2, 0.1], [0.6, 0.3])
    assert curves_of("ce_recovered", [10, 20], rounds) == [("all layers", [10, 20], [0.5, 0.7], "first")]
    assert curves_of("fvu", [], []) == []
