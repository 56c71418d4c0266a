"""A model folder is checked before anything is loaded: whole, plain, of this folder only."""

from __future__ import annotations

import json
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from engine.errors import RequestError
from engine.models.hf_folder import read_folder

WEIGHTS = {"a.weight": np.ones((4, 8), np.float32), "b.weight": np.zeros(8, np.float16)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    (tmp_path / "tokenizer.json").write_text("{}")
    save_file(WEIGHTS, tmp_path / "model.safetensors")
    return tmp_path


def test_a_whole_folder_tells_its_shapes(folder: Path) -> None:
    found = read_folder(folder)
    assert found.shapes == {"a.weight": (4, 8), "b.weight": (8,)}
    assert found.n_parameters == 40
    assert found.weight_bytes == (folder / "model.safetensors").stat().st_size


def test_shards_are_read_through_their_index(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    for number, name in enumerate(WEIGHTS, 1):
        save_file({name: WEIGHTS[name]}, folder / f"model-{number}.safetensors")
    names = {name: f"model-{number}.safetensors" for number, name in enumerate(WEIGHTS, 1)}
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": names}))
    assert read_folder(folder).n_parameters == 40
    (folder / "model-2.safetensors").unlink()
    with pytest.raises(RequestError, match=r"model-2\.safetensors is missing"):
        read_folder(folder)
    for bad in ("../model-1.safetensors", "/etc/x.safetensors", "model-1.bin", 7):
        index.write_text(json.dumps({"weight_map": {"a": bad}}))
        with pytest.raises(RequestError, match=r"model\.safetensors\.index\.json"):
            read_folder(folder)
    index.write_text('{"weight_map": []}')
    with pytest.raises(RequestError, match="damaged"):
        read_folder(folder)
    index.write_text('{"weight_map": {}}')
    with pytest.raises(RequestError, match="damaged"):
        read_folder(folder)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("config.json", None, "holds no config.json"),
        ("config.json", b"{", "config.json is damaged"),
        ("config.json", b"[]", "does not say which model"),
        ("config.json", b"[" * 100_000, "config.json is damaged"),
        ("config.json", b'{"model_type": "llama", "quantization_config": {"bits": 4}}', "are quantised"),
        ("tokenizer.json", None, "holds no tokenizer.json"),
        ("model.safetensors", None, "holds no weights"),
        ("model.safetensors", b"", "damaged or cut short"),
        ("model.safetensors", struct.pack("<Q", 1 << 62) + b"{}", "damaged or cut short"),
        ("model.safetensors", struct.pack("<Q", 2) + b"{", "damaged or cut short"),
        ("model.safetensors", struct.pack("<Q", 2) + b"{}tail", "damaged or cut short"),
        ("model.safetensors", struct.pack("<Q", 2) + b"[]", "damaged or cut short"),
    ],
)
def test_what_is_missing_or_damaged_is_named(folder: Path, name: str, content: bytes | None, words: str) -> None:
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_bytes(content)
    with pytest.raises(RequestError, match=words) as caught:
        read_folder(folder)
    assert "\n" not in caught.value.sentence


def test_pickled_weights_are_refused_because_they_can_run_code(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(RequestError, match=r"can run code .*safetensors edition"):
        read_folder(folder)


def test_weights_cut_anywhere_are_refused(folder: Path) -> None:
    path = folder / "model.safetensors"
    data = path.read_bytes()
    for length in range(len(data)):
        path.write_bytes(data[:length])
        with pytest.raises(RequestError, match="damaged or cut short"):
            read_folder(folder)


def entry(**changes: Any) -> dict[str, Any]:
    return {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} | changes


@pytest.mark.parametrize(
    "header",
    [
        {"a": entry(shape=[1 << 60])},
        {"a": entry(shape=[-2])},
        {"a": entry(shape=None)},
        {"a": entry(data_offsets=[8, 0])},
        {"a": entry(data_offsets=[0])},
        {"a": entry(dtype="I32")},
        {"a": entry(dtype=[])},
        {"a": entry(), "b": entry()},
        {"a": 3},
    ],
)
def test_headers_that_do_not_fit_the_file_are_refused(folder: Path, header: dict[str, Any]) -> None:
    text = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + b"\0" * 8)
    with pytest.raises(RequestError, match="damaged or cut short"):
        read_folder(folder)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, 250), new=st.binary(min_size=1, max_size=8))
def test_any_damage_to_the_header_is_read_or_refused(folder: Path, at: int, new: bytes) -> None:
    save_file(WEIGHTS, folder / "model.safetensors")
    data = bytearray((folder / "model.safetensors").read_bytes())
    data[at : at + len(new)] = new
    (folder / "model.safetensors").write_bytes(data)
    tracemalloc.start()
    try:
        assert read_folder(folder).weight_bytes == len(data)
    except RequestError:
        pass
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 4 << 20
