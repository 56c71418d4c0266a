"""The GGUF reader: right on real files, one sentence and no memory on damaged and hostile ones."""

from __future__ import annotations

import struct
import tracemalloc
from pathlib import Path

import gguf
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.errors import RequestError
from engine.models.gguf_file import READABLE_TYPES, GgufFile
from engine.models.starters import SMOLLM, starter_parts
from tests.engine.models.gguf_samples import header, tensor_entry, text, write_llama


@pytest.fixture(scope="module")
def small_file(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return write_llama(tmp_path_factory.mktemp("gguf") / "tiny.gguf").read_bytes()


def open_bytes(folder: Path, data: bytes) -> GgufFile:
    path = folder / "some.gguf"
    path.write_bytes(data)
    return GgufFile(path)


def test_smollm_reads_as_the_gguf_library_reads_it() -> None:
    (path,) = starter_parts(SMOLLM)
    reference = gguf.GGUFReader(path)
    with GgufFile(path) as file:
        assert set(file.tensors) == {tensor.name for tensor in reference.tensors}
        assert set(file.metadata) == {name for name in reference.fields if not name.startswith("GGUF.")}
        wanted = {"blk.3.attn_q.weight", "blk.29.ffn_down.weight", "output_norm.weight"}
        for tensor in reference.tensors:
            if tensor.name in wanted:
                expected = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
                assert np.array_equal(file.tensor(tensor.name), expected)
        # The embedding is Q8_0 and large: its last rows only.
        *_, last = file.rows("token_embd.weight")
        embedding = next(tensor for tensor in reference.tensors if tensor.name == "token_embd.weight")
        rows = gguf.quants.dequantize(embedding.data[-len(last) :], embedding.tensor_type)
        assert np.array_equal(last, rows)
        tokens = reference.fields["tokenizer.ggml.tokens"]
        for index in (0, 1, 300, 49151):
            assert file.metadata["tokenizer.ggml.tokens"][index].encode() == bytes(tokens.parts[tokens.data[index]])


def test_every_readable_type_is_unpacked_as_the_library_does(tmp_path: Path) -> None:
    draw = np.random.default_rng(3)
    for name in sorted(READABLE_TYPES):
        kind = gguf.GGMLQuantizationType[name]
        block, size = gguf.GGML_QUANT_SIZES[kind]
        n_columns = 512
        raw = draw.integers(0, 120, (5, n_columns // block * size), dtype=np.uint8)
        data = header(1, 0) + tensor_entry("w", (n_columns, 5), int(kind), 0)
        with open_bytes(tmp_path, data + b"\0" * (-len(data) % 32) + raw.tobytes()) as file:
            order = np.array([4, 0, 3, 1, 2])
            expected = gguf.quants.dequantize(raw, kind)
            assert np.array_equal(file.tensor("w"), expected, equal_nan=True), name
            assert np.array_equal(np.concatenate(list(file.rows("w", order))), expected[order], equal_nan=True), name


def test_large_tensors_come_in_blocks_and_lose_no_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.models.gguf_file._BLOCK", 100)
    values = np.arange(7 * 48, dtype=np.float32).reshape(7, 48)
    data = header(1, 0) + tensor_entry("w", (48, 7), 0, 0)
    with open_bytes(tmp_path, data + b"\0" * (-len(data) % 32) + values.tobytes()) as file:
        blocks = list(file.rows("w"))
        assert [len(block) for block in blocks] == [2, 2, 2, 1]
        assert np.array_equal(np.concatenate(blocks), values)


HUGE = (1 << 64) - 1
HOSTILE = {
    "empty": b"",
    "other magic": header(0, 0, magic=b"PK\3\4"),
    "only magic": b"GGUF",
    "version 1": header(0, 0, version=1),
    "version 99": header(0, 0, version=99),
    "big endian": b"GGUF" + struct.pack(">IQQ", 3, 0, 0),
    "huge tensor count": header(HUGE, 0),
    "huge entry count": header(0, HUGE),
    "huge key": header(0, 1) + struct.pack("<Q", HUGE) + b"x" * 64,
    "huge string": header(0, 1) + text("k") + struct.pack("<IQ", 8, 1 << 40) + b"x" * 64,
    "huge array of numbers": header(0, 1) + text("k") + struct.pack("<IIQ", 9, 10, 1 << 61) + b"x" * 64,
    "huge array of strings": header(0, 1) + text("k") + struct.pack("<IIQ", 9, 8, 1 << 40) + b"x" * 64,
    "array of arrays": header(0, 1) + text("k") + struct.pack("<IIQ", 9, 9, 1) + b"x" * 64,
    "unknown value type": header(0, 1) + text("k") + struct.pack("<I", 77) + b"x" * 64,
    "not UTF-8": header(0, 1) + struct.pack("<Q", 4) + b"\xff\xfe\xfd\xfc" + b"\0" * 64,
    "key twice": header(0, 2) + (text("k") + struct.pack("<IB", 0, 1)) * 2,
    "alignment 3": header(0, 1) + text("general.alignment") + struct.pack("<II", 4, 3) + b"\0" * 64,
    "alignment text": header(0, 1) + text("general.alignment") + struct.pack("<I", 8) + text("x") + b"\0" * 64,
    "offset past the end": header(1, 0) + tensor_entry("w", (32, 4), 0, 1 << 40) + b"\0" * 4096,
    "tensor past the end": header(1, 0) + tensor_entry("w", (1 << 40, 1 << 20), 0, 0) + b"\0" * 4096,
    "overflowing shape": header(1, 0) + tensor_entry("w", (1 << 62, 1 << 62, 1 << 62, 1 << 62), 0, 0) + b"\0" * 4096,
    "unaligned offset": header(1, 0) + tensor_entry("w", (32,), 0, 7) + b"\0" * 4096,
    "no dimensions": header(1, 0) + tensor_entry("w", (), 0, 0) + b"\0" * 4096,
    "many dimensions": header(1, 0) + tensor_entry("w", (1,) * 9, 0, 0) + b"\0" * 4096,
    "empty tensor": header(1, 0) + tensor_entry("w", (0, 4), 0, 0) + b"\0" * 4096,
    "half a block": header(1, 0) + tensor_entry("w", (33,), 3, 0) + b"\0" * 4096,
    "unknown tensor type": header(1, 0) + tensor_entry("w", (32,), 12345, 0) + b"\0" * 4096,
    "unreadable tensor type": header(1, 0) + tensor_entry("w", (256,), 15, 0) + b"\0" * 4096,
    "tensor twice": header(2, 0) + tensor_entry("w", (32,), 0, 0) * 2 + b"\0" * 4096,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_headers_cost_no_memory_and_end_in_one_sentence(name: str, tmp_path: Path) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(RequestError) as caught:
            open_bytes(tmp_path, HOSTILE[name])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 << 20
    sentence = caught.value.sentence
    assert sentence.startswith("some.gguf")
    assert sentence.endswith(".")
    assert "\n" not in sentence
    assert len(sentence) < 300


def test_a_file_cut_anywhere_is_refused(small_file: bytes, tmp_path: Path) -> None:
    for length in [*range(0, 600, 7), *range(600, len(small_file), 997), len(small_file) - 1]:
        with pytest.raises(RequestError, match=r"some\.gguf"):
            open_bytes(tmp_path, small_file[:length])


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_damage_to_a_header_is_read_or_refused(small_file: bytes, tmp_path: Path, data: st.DataObject) -> None:
    damaged = bytearray(small_file)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(4, 8000))
        new = data.draw(st.one_of(st.binary(min_size=1, max_size=8), st.sampled_from([b"\xff" * 8, b"\0" * 8])))
        damaged[at : at + len(new)] = new
    try:
        with open_bytes(tmp_path, bytes(damaged)) as file:
            for entry in file.tensors.values():
                assert entry.start + entry.n_bytes <= len(damaged)
    except RequestError as error:
        sentence = error.sentence
    else:
        sentence = ""
    assert "\n" not in sentence


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tail=st.binary(max_size=400), tensors=st.integers(0, 3), entries=st.integers(0, 3))
def test_any_bytes_are_read_or_refused(tail: bytes, tensors: int, entries: int, tmp_path: Path) -> None:
    try:
        open_bytes(tmp_path, header(tensors, entries) + tail).close()
    except RequestError as error:
        sentence = error.sentence
    else:
        sentence = ""
    assert "\n" not in sentence


def test_a_missing_file_and_a_folder_say_so(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="no file"):
        GgufFile(tmp_path / "none.gguf")
    with pytest.raises(RequestError, match="folder"):
        GgufFile(tmp_path)
