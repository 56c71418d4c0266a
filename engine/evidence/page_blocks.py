"""Pages of features as bytes: some features of a layer together, arrays one after the other, compressed by zstd.

Shapes: F features of a block, S sides, E examples of a side (strongest first, then the drawn ones), W their window.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import zstandard
from numpy.typing import NDArray

from engine.errors import RequestError

BLOCK = 64  # features together
EMPTY = 0xFFFFFFFF  # an example that is not there
_LEVEL = 19
# Labels are short; a block with more of them than this is damaged.
_MOST_LABEL_BYTES = 1 << 16
COUNT_STEPS = 8  # counts are kept as their base-2 logarithm in eighths: off by at most 4.5 %


@dataclass(frozen=True)
class BlockShape:
    """The sizes that all blocks of an index share."""

    sides: int
    top: int
    drawn: int
    before: int
    after: int
    bins: int
    near: int

    @property
    def examples(self) -> int:
        """E."""
        return self.top + self.drawn

    @property
    def window(self) -> int:
        """W."""
        return self.before + 1 + self.after

    def fields(self, features: int) -> dict[str, tuple[np.dtype[Any], tuple[int, ...]]]:
        """Type and shape of every array of a block, in the order they are written."""
        f, s, e = features, self.sides, self.examples
        one, four, real = np.dtype("u1"), np.dtype("<u4"), np.dtype("<f4")
        return {
            "maximum": (real, (f, s)),
            "place": (four, (f, s, e)),
            "strength": (one, (f, s, e)),
            "window": (one, (f, s, e, self.window)),
            "histogram": (one, (f, s, self.bins)),
            "near": (four, (f, self.near)),
            "likeness": (one, (f, self.near)),
        }

    def size(self, features: int) -> int:
        """Bytes of the arrays of a block."""
        return sum(kind.itemsize * int(np.prod(shape)) for kind, shape in self.fields(features).values())


def packed(shape: BlockShape, arrays: Mapping[str, NDArray[Any]], labels: list[Any]) -> bytes:
    """One block, compressed. Numbers of several bytes are laid out byte by byte: high bytes resemble each other."""
    features = len(arrays["maximum"])
    parts = []
    for name, (kind, wanted) in shape.fields(features).items():
        array = np.ascontiguousarray(arrays[name], dtype=kind)
        assert array.shape == wanted, (name, array.shape, wanted)
        parts.append(array.view(np.uint8).reshape(-1, kind.itemsize).T.tobytes())
    parts.append(json.dumps(labels, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace"))
    return zstandard.ZstdCompressor(level=_LEVEL).compress(b"".join(parts))


def unpacked(shape: BlockShape, features: int, data: bytes) -> tuple[dict[str, NDArray[Any]], list[Any]]:
    """The arrays and labels of one block. Raises `RequestError` where the bytes are not such a block."""
    size = shape.size(features)
    try:
        raw = zstandard.ZstdDecompressor().decompress(data, max_output_size=size + _MOST_LABEL_BYTES)
        if not size <= len(raw) <= size + _MOST_LABEL_BYTES:
            raise ValueError("size")
        labels = json.loads(raw[size:].decode("utf-8"))
        if not isinstance(labels, list):
            raise ValueError("labels")
    except (zstandard.ZstdError, ValueError, RecursionError) as error:
        raise RequestError("The feature index is damaged; make it again with circuit-loupe index.") from error
    found, start = {}, 0
    for name, (kind, wanted) in shape.fields(features).items():
        count = int(np.prod(wanted))
        planes = np.frombuffer(raw, np.uint8, count * kind.itemsize, start).reshape(kind.itemsize, count)
        found[name] = np.ascontiguousarray(planes.T).view(kind).reshape(wanted)
        start += count * kind.itemsize
    return found, labels


def count_code(count: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Counts as eighths of their base-2 logarithm."""
    return np.round(COUNT_STEPS * np.log2(1.0 + np.minimum(count, 2**31))).astype(np.uint8)


def counts_of(code: NDArray[np.uint8]) -> NDArray[np.float64]:
    """What codes stand for."""
    found: NDArray[np.float64] = np.round(np.exp2(code.astype(np.float64) / COUNT_STEPS) - 1.0)
    return found
