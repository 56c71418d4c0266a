"""What was opened from a path is remembered for window and terminal; what cannot be traced is in no list."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from engine.models.catalogue import find_models
from engine.models.families import known_model_types
from engine.models.family_names import FAMILY_NAMES
from engine.models.opened import MOST, opened, remember_opened
from engine.places import HOME_VARIABLE, opened_file
from tests.engine.models.gguf_samples import write_llama


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path / "home"))
    return tmp_path / "home"


def test_every_family_has_a_name() -> None:
    assert set(FAMILY_NAMES) == set(known_model_types())


def test_the_newest_comes_first_and_what_is_gone_is_left_out(tmp_path: Path) -> None:
    assert opened("models") == opened("dictionaries") == []
    paths = [tmp_path / f"m{i}" for i in range(MOST + 3)]
    for path in paths:
        path.mkdir()
        remember_opened("models", path)
    assert opened("models") == paths[: -MOST - 1 : -1]
    remember_opened("models", paths[-3])
    paths[-1].rmdir()
    assert opened("models")[:2] == [paths[-3], paths[-2]]
    assert opened("models").count(paths[-3]) == 1
    assert opened("dictionaries") == []


def test_a_path_is_remembered_from_the_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path)
    remember_opened("dictionaries", Path("here"))
    monkeypatch.chdir("/")
    assert opened("dictionaries") == [tmp_path / "here"]


@pytest.mark.parametrize(
    "content", ["", "{", "[1]", "5", '{"models": 3}', '{"models": [1, null, "a\\u0000b"]}', "[" * 5000, '"\\ud800"']
)
def test_a_damaged_list_is_an_empty_one(tmp_path: Path, content: str) -> None:
    opened_file().parent.mkdir(parents=True)
    opened_file().write_text(content)
    assert opened("models") == []
    remember_opened("models", tmp_path)
    assert opened("models") == [tmp_path]


def test_a_list_that_cannot_be_written_costs_nothing(home: Path, tmp_path: Path) -> None:
    home.write_text("a file where the folder should be")
    remember_opened("models", tmp_path)
    assert opened("models") == []


def test_a_family_that_cannot_be_traced_is_not_offered(tmp_path: Path) -> None:
    import numpy as np
    from safetensors.numpy import save_file

    def folder(name: str, config: dict[str, Any]) -> Path:
        path = tmp_path / name
        path.mkdir()
        (path / "config.json").write_text(json.dumps(config))
        (path / "tokenizer.json").write_text("{}")
        save_file({"a.weight": np.ones((4, 8), np.float32)}, path / "model.safetensors")
        return path

    known, unknown = folder("known", {"model_type": "qwen3"}), folder("unknown", {"model_type": "bert"})
    listed = {entry.id: entry for entry in find_models([known, unknown, write_llama(tmp_path / "m.gguf")])}
    assert listed[str(known)].family == "Qwen 3"
    assert listed[str(tmp_path / "m.gguf")].family == "Llama"
    assert str(unknown) not in listed


def test_memory_is_said_for_both_formats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from engine.models import catalogue

    path = write_llama(tmp_path / "m.gguf")

    def entry() -> tuple[bool, bool]:
        (found,) = [one for one in find_models([path]) if one.id == str(path)]
        return found.fits, found.fits_bfloat16

    (found,) = [one for one in find_models([path]) if one.id == str(path)]
    for total, expected in ((found.memory_bytes, (True, True)), (found.memory_bytes - 1, (False, True))):
        monkeypatch.setattr(catalogue, "total_bytes", lambda total=total: total)
        assert entry() == expected
    monkeypatch.setattr(catalogue, "total_bytes", lambda: 1000)
    assert entry() == (False, False)
