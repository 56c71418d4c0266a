from __future__ import annotations

import json
import shutil
from pathlib import Path

import psutil
import pytest

from engine.cli import main
from engine.errors import MachineError, RequestError
from engine.models import memory
from engine.models.downloads import download_size
from engine.models.opened import opened
from engine.places import HOME_VARIABLE, preferences_file
from engine.preferences import Preferences, read_preferences, write_preferences


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path / "home"))
    return tmp_path / "home"


def test_what_was_chosen_is_read_again() -> None:
    assert read_preferences() == Preferences()
    chosen = Preferences("cpu", 3.5, ("/models", "/more"), network=False)
    write_preferences(chosen)
    assert read_preferences() == chosen


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", Preferences()),
        ("[1]", Preferences()),
        ("[" * 100_000, Preferences()),
        ('{"device": "toaster", "memory_limit": "much", "model_folders": 3}', Preferences()),
        ('{"memory_limit": NaN, "model_folders": [1, "", "/a"]}', Preferences(model_folders=("/a",))),
        ('{"memory_limit": true}', Preferences()),
        ('{"network": "maybe"}', Preferences(network=False)),
    ],
)
def test_a_damaged_file_counts_as_not_chosen_and_opens_no_network(text: str, expected: Preferences) -> None:
    preferences_file().parent.mkdir(parents=True)
    preferences_file().write_text(text, encoding="utf-8")
    assert read_preferences() == expected


def test_no_more_memory_is_free_than_the_limit_leaves() -> None:
    before, total = memory.available_bytes(), memory.total_bytes()
    used = psutil.Process().memory_info().rss
    limit = (used + 50_000_000) / (1 << 30)
    assert before > 100_000_000
    write_preferences(Preferences(memory_limit=limit))
    assert memory.available_bytes() <= 60_000_000
    assert memory.total_bytes() == round(limit * (1 << 30)) < total
    import torch

    with pytest.raises(MachineError, match="settings allow"):
        memory.require_memory("A model", 100_000_000, "float32", torch.device("cpu"))
    write_preferences(Preferences(memory_limit=0.001))
    assert memory.available_bytes() == 0


def test_without_a_network_no_download_begins(capsys: pytest.CaptureFixture[str]) -> None:
    write_preferences(Preferences(network=False))
    with pytest.raises(RequestError, match="turned off in the settings"):
        download_size("google/gemma-2-2b", "http://127.0.0.1:9")
    assert main(["models", "--download", "google/gemma-2-2b", "--yes"]) == 2
    assert "turned off in the settings" in capsys.readouterr().err


def test_models_in_the_chosen_folders_are_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from engine.models.starters import STARTER_ID, prepare_starter

    folder = tmp_path / "models"
    folder.mkdir()
    shutil.copytree(prepare_starter(STARTER_ID), folder / "mine", copy_function=_link)
    (folder / "notes.txt").write_text("no model")
    write_preferences(Preferences(model_folders=(str(folder), str(tmp_path / "gone"))))
    assert opened("models") == [folder / "mine"]
    report = tmp_path / "report.json"
    assert main(["models", "--report", str(report)]) == 0
    assert str(folder / "mine") in capsys.readouterr().out
    assert str(folder / "mine") in [entry["id"] for entry in json.loads(report.read_text())["models"]]


def _link(source: str, target: str) -> None:
    Path(target).symlink_to(source)
