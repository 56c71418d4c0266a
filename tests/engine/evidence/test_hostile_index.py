"""Whatever bytes an index consists of: it opens and reads, or it is refused with one sentence; nothing else happens."""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.errors import RequestError
from engine.evidence.feature_index import FeatureIndex
from engine.evidence.indexing import build_index
from tests.engine.evidence.indexed import SETTINGS, corpus, index_path
from tests.engine.tracing.tiny_models import features_of, tiny_model


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = index_path(tmp_path_factory.mktemp("index"))
    build_index(tiny_model("llama"), features_of("llama", "relu"), corpus(), path, SETTINGS)  # type: ignore[arg-type]
    return path.read_bytes()


def read_all(path: Path) -> None:
    index = FeatureIndex(path)
    try:
        for layer in index.head.layers:
            index.density(layer)
            for feature in (0, 29):
                index.page(layer, feature)
    finally:
        index.close()


def with_header(data: bytes, change: Callable[[dict[str, Any]], None]) -> bytes:
    """The same file with its header changed, sections where they were."""
    magic, version, length = struct.unpack_from("<8sII", data)
    header = json.loads(data[16 : 16 + length])
    change(header)
    written = json.dumps(header).encode()
    return struct.pack("<8sII", magic, version, len(written)) + written + data[16 + length :]


def changes() -> dict[str, Callable[[dict[str, Any]], None]]:
    def put(*path: str | int, value: Any) -> Callable[[dict[str, Any]], None]:
        def change(header: dict[str, Any]) -> None:
            place: Any = header
            for step in path[:-1]:
                place = place[step]
            place[path[-1]] = value

        return change

    return {
        "a section beyond the end": put("sections", "pages", value=[10**9, 100]),
        "a section before the start": put("sections", "pages", value=[-1, 100]),
        "a huge window": put("shape", "before", value=10**9),
        "a huge number of examples": put("shape", "top", value=10**6),
        "more features than pages": put("widths", value=[10**6, 30, 30]),
        "a layer twice": put("layers", value=[0, 0, 2]),
        "no whole number": put("n_tokens", value=1.5),
        "true is no number": put("tokens_seen", value=True),
        "another type of tokens": put("token_type", value="O"),
        "no sections": put("sections", value={}),
        "a list": put("shape", value=[]),
    }


@pytest.mark.parametrize("what", changes())
def test_a_header_that_lies_is_refused(tmp_path: Path, good: bytes, what: str) -> None:
    path = tmp_path / "bad.features"
    path.write_bytes(with_header(good, changes()[what]))
    with pytest.raises(RequestError, match="no whole feature index of this version; make it again"):
        read_all(path)


@pytest.mark.parametrize("data", [b"", b"LOUPEFIX", b"PK\x03\x04" + b"\0" * 100])
def test_other_files_are_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "other.features"
    path.write_bytes(data)
    with pytest.raises(RequestError, match="feature index"):
        read_all(path)
    with pytest.raises(RequestError, match="cannot be read as a feature index"):
        FeatureIndex(tmp_path / "gone.features")


def test_random_damage_is_refused_or_harmless(tmp_path: Path, good: bytes) -> None:
    path, chance, refused = tmp_path / "damaged.features", random.Random(0), 0
    for _ in range(300):
        data = bytearray(good)
        if chance.random() < 0.3:
            del data[chance.randrange(len(data)) :]
        for _ in range(chance.randrange(1, 30)):
            if data:
                data[chance.randrange(len(data))] = chance.randrange(256)
        path.write_bytes(data)
        try:
            read_all(path)
        except RequestError:
            refused += 1
    assert refused > 150
