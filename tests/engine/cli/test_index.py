"""`circuit-loupe index`: from a folder of texts to a file that the window finds, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.cli.main import main
from engine.evidence.index_places import find_index
from engine.models.language_model import LanguageModel
from engine.places import HOME_VARIABLE


@pytest.fixture(autouse=True)
def cheap(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Labels from logits and likeness cost the same however short a text is: not what is tested here."""
    monkeypatch.setattr("engine.evidence.index_pages.MOST_READ", 0.0)
    monkeypatch.setattr("engine.evidence.index_pages.MOST_COMPARED", 0)
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path / "home"))


def test_an_index_of_some_layers(tmp_path: Path, capsys: pytest.CaptureFixture[str], smollm: LanguageModel) -> None:
    texts = tmp_path / "texts"
    texts.mkdir()
    (texts / "a.txt").write_text("The capital of Texas is Austin, and that of France is Paris. " * 4)
    options = ["--layers", "0-1,7", "--examples", "3", "--samples", "1", "--window", "4,2"]
    assert main(["index", "--text", str(texts), *options]) == 0
    said = capsys.readouterr().out
    assert "Features:   4,608 in 3 layers" in said
    assert "61 tokens: the texts in texts" in said or "tokens: the texts in texts" in said
    index = find_index(f"neurons:{smollm.fingerprint}", smollm.fingerprint)
    assert index is not None
    assert str(index.file.path) in said
    assert index.head.layers == (0, 1, 7)
    example = index.page(7, 100).sides[0].examples[0]
    assert example.value > 0
    index.close()
    assert not list(index.file.path.parent.glob("*.part"))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--text", "nowhere"], "There is no folder nowhere"),
        (["--layers", "x-3"], "'x-3' names no layers"),
        (["--layers", "99"], "no layer 99; the layers of SmolLM2-135M-Instruct are 0 to 29"),
        (["--window", "5"], "'5' is no window"),
        (["--examples", "99"], "keeps 1 to 16 examples"),
        (["--features", "/nowhere/at/all"], "no dictionary at /nowhere/at/all"),
    ],
)
def test_refusals_are_one_sentence(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["index", "--tokens", "50", *arguments]) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert "Traceback" not in error
