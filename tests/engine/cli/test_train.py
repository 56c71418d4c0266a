"""`circuit-loupe train`: what it writes and prints, and one sentence for what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine import models
from engine.cli import main
from engine.cli import train as train_command
from engine.dictionaries import load_features
from tests.engine.cli.test_cli import refusal
from tests.engine.training.tiny_training import small_model, text_folder

SMALL = "--width 64 --k 6 --tokens 3000 --passes 3 --sample-share 0 --context 24 --batch 128 --buffer-gb 0.01"


def test_a_set_is_trained_and_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = small_model()
    monkeypatch.setattr(models, "load_model", lambda *_, **__: model, raising=False)
    monkeypatch.setattr(train_command, "_sample_prompts", list)
    out = tmp_path / "set"
    assert main(["train", str(out), "--text", str(text_folder(tmp_path / "text")), *SMALL.split()]) == 0
    said = capsys.readouterr()
    assert "3 layers of 64 features; mean FVU 0." in said.out
    assert f"--features {out}" in said.out
    assert said.err.count("FVU 0.") >= 10
    assert load_features(out, model, trust=True).kind == "transcoders"


def test_wrong_requests_are_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "set")
    for words, sentence in (
        (["--text", str(tmp_path / "nothing")], "There is no folder"),
        (["--width", "8", "--k", "8"], "smaller than the width"),
        (["--minutes", "-1"], "more than 0"),
        (["--keep", "20"], "keep more than the 32 active ones"),
        (["--keep", "200", "--cross-layer"], "keep all of a cross-layer set"),
        (["--sample-share", "1.5"], "between 0 and 1"),
        (["--cross-layer", "--storage", "int8"], "store a cross-layer set in bfloat16"),
    ):
        assert main(["train", out, *words]) == 2
        assert sentence in refusal(capsys)
    assert not Path(out).exists()
