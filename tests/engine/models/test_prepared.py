"""A prepared folder appears whole or not at all, and damage to it is seen."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from engine.errors import Cancelled, MachineError, RequestError
from engine.models import cache, prepared, starters
from engine.models.prepared import Origin, damage, prepare_gguf, to_bfloat16
from tests.engine.models.gguf_samples import llama_tensors, write_llama

ORIGIN = Origin("tiny", "tiny.gguf", "0" * 64, "Apache-2.0", {"NOTICE.txt": "Modified.\n"})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    target = tmp_path / "models" / "tiny"
    prepare_gguf(write_llama(tmp_path / "tiny.gguf"), target, ORIGIN)
    return target


@pytest.fixture(scope="module")
def tiny_bytes(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return write_llama(tmp_path_factory.mktemp("gguf") / "tiny.gguf").read_bytes()


# Halves of a step, and one bit to each side, are where rounding can go wrong.
LOW_BITS = st.one_of(st.sampled_from([0x0000, 0x7FFF, 0x8000, 0x8001, 0xFFFF]), st.integers(0, 0xFFFF))


@given(st.lists(st.tuples(st.integers(0, 0x7F00), st.booleans(), LOW_BITS), min_size=1))
def test_rounding_to_bfloat16_is_torchs(parts: list[tuple[int, bool, int]]) -> None:
    words = np.array([sign << 31 | high << 16 | low for high, sign, low in parts], np.uint32)
    values = words.view(np.float32)
    bits = to_bfloat16(values)
    assert bits is not None
    expected = torch.from_numpy(values).to(torch.bfloat16).view(torch.int16).numpy().view(np.uint16)
    assert np.array_equal(bits, expected)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 3.4e38])
def test_what_is_not_a_number_is_not_rounded(bad: float) -> None:
    assert to_bfloat16(np.array([1.0, bad, 2.0], np.float32)) is None


def test_the_folder_holds_the_weights_in_bfloat16(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    tensors = llama_tensors()
    expected = torch.from_numpy(tensors["blk.0.attn_k.weight"]).to(torch.bfloat16)
    assert torch.equal(weights["model.layers.0.self_attn.k_proj.weight"], expected)
    assert len(weights) == len(tensors)
    assert (folder / "NOTICE.txt").read_text() == "Modified.\n"
    assert damage(folder) is None
    assert damage(folder, checksums="always") is None


def test_progress_grows_to_one_and_nothing_is_left_beside(tmp_path: Path) -> None:
    seen: list[float] = []
    path = write_llama(tmp_path / "tiny.gguf")
    prepare_gguf(path, tmp_path / "models" / "tiny", ORIGIN, lambda stage, share: seen.append(share))
    assert seen == sorted(seen)
    assert seen[0] == 0.0
    assert seen[-1] == 1.0
    assert len(seen) > 5
    assert [entry.name for entry in (tmp_path / "models").iterdir()] == ["tiny"]


def test_cancel_at_any_moment_leaves_nothing(tmp_path: Path) -> None:
    path = write_llama(tmp_path / "tiny.gguf")
    for stop_after in (1, 2, 9, 20):
        cancel, calls = threading.Event(), 0

        def report(stage: str, share: float, cancel: threading.Event = cancel, stop_after: int = stop_after) -> None:
            nonlocal calls
            calls += 1
            if calls == stop_after:
                cancel.set()

        with pytest.raises(Cancelled):
            prepare_gguf(path, tmp_path / "models" / "tiny", ORIGIN, report, cancel)
        assert list((tmp_path / "models").iterdir()) == []


def test_a_file_with_values_that_are_no_numbers_is_refused(tmp_path: Path) -> None:
    tensors = llama_tensors()
    tensors["blk.1.ffn_up.weight"][3, 4] = np.nan
    path = write_llama(tmp_path / "tiny.gguf", tensors=tensors)
    with pytest.raises(RequestError, match=r"blk\.1\.ffn_up\.weight holds values that are not numbers"):
        prepare_gguf(path, tmp_path / "models" / "tiny", ORIGIN)
    assert list((tmp_path / "models").iterdir()) == []


def test_every_kind_of_damage_is_seen(folder: Path) -> None:
    weights = folder / "model.safetensors"
    data = weights.read_bytes()
    weights.write_bytes(data[:-1])
    assert "bytes instead of" in str(damage(folder))
    weights.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert damage(folder) == "the checksum of model.safetensors differs"
    weights.write_bytes(data)
    assert damage(folder) is None
    (folder / "tokenizer.json").unlink()
    assert damage(folder) == "tokenizer.json is missing or cannot be read"
    (folder / prepared.MANIFEST).write_text("{}")
    assert "list of checksums" in str(damage(folder))


def test_damage_with_the_old_size_and_time_needs_the_thorough_check(folder: Path) -> None:
    weights = folder / "model.safetensors"
    stat, data = weights.stat(), weights.read_bytes()
    weights.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    os.utime(weights, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert damage(folder) is None
    assert damage(folder, checksums="always") == "the checksum of model.safetensors differs"


def test_a_touched_folder_is_checked_once_and_remembered(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.utime(folder / "model.safetensors", ns=(1, 1))
    assert damage(folder, checksums="never") is None
    assert damage(folder) is None

    def refuse(*args: object, **kwargs: object) -> str:
        raise AssertionError("a checksum was computed again")

    monkeypatch.setattr("engine.models.fingerprint.file_sha256", refuse)
    assert damage(folder) is None


@pytest.mark.parametrize("name", ["../config.json", "/etc/hostname"])
def test_a_manifest_that_points_elsewhere_counts_for_nothing(folder: Path, name: str) -> None:
    manifest = prepared.read_manifest(folder)
    assert manifest is not None
    manifest["files"][name] = {"size": 1, "sha256": "0"}
    cache.write_json(folder / prepared.MANIFEST, manifest)
    assert prepared.read_manifest(folder) is None


def test_a_damaged_folder_is_replaced(folder: Path, tmp_path: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"")
    prepare_gguf(tmp_path / "tiny.gguf", folder, ORIGIN)
    assert damage(folder, checksums="always") is None
    assert [entry.name for entry in folder.parent.iterdir()] == ["tiny"]


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    path = write_llama(tmp_path / "tiny.gguf")
    (tmp_path / "models").write_text("a file where the folder should be")
    with pytest.raises(MachineError, match=r"cannot be written .*CIRCUIT_LOUPE_CACHE"):
        prepare_gguf(path, tmp_path / "models" / "tiny", ORIGIN)


def test_too_little_room_is_seen_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_llama(tmp_path / "tiny.gguf")
    monkeypatch.setattr(prepared, "_SPARE", 1 << 60)
    with pytest.raises(MachineError, match=r"[MG]B free and about .* GB are needed"):
        prepare_gguf(path, tmp_path / "models" / "tiny", ORIGIN)
    assert list((tmp_path / "models").iterdir()) == []


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS])
def test_a_disk_that_fills_up_half_way_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    path = write_llama(tmp_path / "tiny.gguf")

    def fail(descriptor: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fail)
    words = "is full" if code in (errno.ENOSPC, errno.EDQUOT) else "cannot be written"
    with pytest.raises(MachineError, match=words):
        prepare_gguf(path, tmp_path / "models" / "tiny", ORIGIN)
    assert list((tmp_path / "models").iterdir()) == []


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_damage_to_a_header_is_prepared_or_refused(tmp_path: Path, tiny_bytes: bytes, data: st.DataObject) -> None:
    damaged = bytearray(tiny_bytes)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(24, 9000))
        new = data.draw(st.one_of(st.binary(min_size=1, max_size=8), st.sampled_from([b"\xff" * 4, b"\0" * 8])))
        damaged[at : at + len(new)] = new
    (tmp_path / "damaged.gguf").write_bytes(damaged)
    target = tmp_path / "models" / "damaged"
    try:
        prepare_gguf(tmp_path / "damaged.gguf", target, ORIGIN)
    except RequestError:
        assert not target.exists()
    else:
        assert damage(target) is None
        shutil.rmtree(target)


@pytest.mark.skipif(sys.platform == "win32", reason="a limit on the size of files is a matter of Unix")
def test_a_disk_that_is_really_full_is_one_sentence(tmp_path: Path) -> None:
    """In a process of its own that may write 50 kB a file."""
    code = """
import resource, sys
from pathlib import Path
from engine.errors import MachineError
from engine.models.prepared import Origin, prepare_gguf
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
try:
    prepare_gguf(Path(sys.argv[1]), Path(sys.argv[2]), Origin("tiny", "tiny", "0", "", {}))
except MachineError as error:
    print(error.sentence)
"""
    path, target = write_llama(tmp_path / "tiny.gguf"), tmp_path / "models" / "tiny"
    command = [sys.executable, "-c", code, str(path), str(target)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.startswith(f"The disk that holds {target} is full: about ")
    assert done.stderr == ""
    assert list(target.parent.iterdir()) == []


def test_the_starter_in_the_cache_is_what_is_written_today(tmp_path: Path) -> None:
    """If this fails, what is written has changed: raise RECIPE, so that every user's folder is made again."""
    kept = prepared.read_manifest(starters.prepare_starter())
    (path,) = starters.starter_parts(starters.SMOLLM)
    prepare_gguf(path, tmp_path / "new", Origin("", "", "", "", {"NOTICE.txt": starters.SMOLLM.notice}))
    new = prepared.read_manifest(tmp_path / "new")
    assert kept is not None
    assert new is not None
    for name, entry in kept["files"].items():
        assert new["files"][name]["sha256"] == entry["sha256"], name


def test_leftovers_of_a_killed_process_go_after_a_day(tmp_path: Path) -> None:
    old, new = tmp_path / "models" / ".tiny.aa.partial", tmp_path / "models" / ".tiny.bb.partial"
    for leftover in (old, new):
        leftover.mkdir(parents=True)
    os.utime(old, (1, 1))
    prepare_gguf(write_llama(tmp_path / "tiny.gguf"), tmp_path / "models" / "tiny", ORIGIN)
    assert not old.exists()
    assert new.exists()
