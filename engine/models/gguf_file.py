"""Reads a GGUF file: metadata, and tensors dequantised to float32.

The header is parsed here with struct over a memory map; the library `gguf` only unpacks the quantised blocks (its own
reader takes seconds for a vocabulary of 262,144 strings). Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md

A file may come from anywhere. Every count, length and offset is checked against the size of the file before anything
is read or allocated, so that a damaged or hostile header costs no memory and ends in one sentence.
"""

from __future__ import annotations

import math
import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import MachineError, RequestError

MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
# The least a metadata entry, a tensor entry and a string can take: they bound every count by the file's size.
_LEAST_ENTRY, _LEAST_TENSOR, _LEAST_STRING = 13, 24, 8
_MOST_STRINGS = 1 << 22  # strings in one array: the largest vocabularies have 2**18, their merges twice that
_MOST_TENSORS = 1 << 17
_MOST_DIMENSIONS = 4
_BLOCK = 1 << 22  # numbers dequantised at a time: 16 MB of float32
# Tensor types that gguf.quants unpacks.
READABLE_TYPES = frozenset(
    {"F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K"}
    | {"TQ1_0", "TQ2_0", "MXFP4", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S", "IQ1_S", "IQ1_M"}
    | {"IQ4_NL", "IQ4_XS"}
)


class _DamagedError(Exception):
    """What is wrong with the bytes, for the sentence."""


@dataclass(frozen=True)
class TensorEntry:
    """Where one tensor lies. `shape` is outermost first, as in torch; `start` counts from the start of the file."""

    name: str
    shape: tuple[int, ...]
    type_name: str
    start: int
    n_bytes: int


class GgufFile:
    """An open GGUF file.

    Parameters
    ----------
    path:
        The file. It is mapped, not read.

    Raises
    ------
    RequestError
        Not a GGUF file, damaged, cut short, or of a version or tensor type that is not known.
    MachineError
        The file is there but cannot be read.
    """

    metadata: dict[str, Any]  # str, int, float, bool, list[str] or a numpy array of numbers
    tensors: dict[str, TensorEntry]

    def __init__(self, path: Path) -> None:
        self.path = path
        self._map = _map_file(path)
        try:
            reader = _HeaderReader(self._map)
            self.metadata, self.tensors = reader.metadata, reader.tensors
        except (_DamagedError, UnicodeDecodeError) as error:
            self.close()
            reason = str(error) if isinstance(error, _DamagedError) else "it holds text that is not UTF-8"
            raise RequestError(f"{path.name} is damaged: {reason}; download or copy it again.") from error
        except RequestError as error:
            self.close()
            raise RequestError(f"{path.name} cannot be read: {error.sentence}") from error

    def __enter__(self) -> GgufFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file; blocks already dequantised stay valid."""
        self._map.close()

    def rows(self, name: str, order: NDArray[np.intp] | None = None) -> Iterator[NDArray[np.float32]]:
        """Yield the tensor as (n, last dimension) float32 blocks of at most 4 Mi numbers, or one row.

        `order` permutes the rows (all leading dimensions taken together) before they are unpacked: rows are quantised
        independently of each other.
        """
        import gguf

        entry = self.tensors[name]
        kind = gguf.GGMLQuantizationType[entry.type_name]
        n_rows = math.prod(entry.shape[:-1])
        raw = np.frombuffer(self._map, np.uint8, entry.n_bytes, entry.start).reshape(n_rows, -1)
        step = max(1, _BLOCK // entry.shape[-1])
        for first in range(0, n_rows, step):
            # Fancy indexing copies, and so does astype: no view of the map leaves this function.
            block = raw[first : first + step] if order is None else raw[order[first : first + step]]
            yield np.asarray(gguf.quants.dequantize(np.ascontiguousarray(block), kind)).astype(np.float32)

    def tensor(self, name: str) -> NDArray[np.float32]:
        """The whole tensor in its own shape, float32."""
        return np.concatenate(list(self.rows(name))).reshape(self.tensors[name].shape)


def _map_file(path: Path) -> mmap.mmap:
    try:
        with path.open("rb") as file:
            start = file.read(4)
            if start != MAGIC:
                raise RequestError(f"{path.name} is not a GGUF file; choose a file that ends in .gguf.")
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except FileNotFoundError as error:
        raise RequestError(f"There is no file {path}; check the path.") from error
    except IsADirectoryError as error:
        raise RequestError(f"{path} is a folder, not a GGUF file; choose a file that ends in .gguf.") from error
    except OSError as error:
        raise MachineError(f"{path} cannot be read ({error.strerror}); check that you may read it.") from error


class _HeaderReader:
    """Walks through the header once, with every step checked against the end of the file."""

    def __init__(self, data: mmap.mmap) -> None:
        self.data = data
        self.size = len(data)
        self.at = 4
        self.metadata: dict[str, Any] = {}
        self.tensors: dict[str, TensorEntry] = {}
        n_tensors, n_entries = self._counts()
        for _ in range(n_entries):
            key = self._string()
            if key in self.metadata:
                raise _DamagedError(f"its header gives {_short(key)} twice")
            self.metadata[key] = self._value(self._number("I"))
        self._read_tensors(n_tensors)

    def _counts(self) -> tuple[int, int]:
        version = self._number("I")
        if version not in _VERSIONS:
            if int.from_bytes(version.to_bytes(4, "little"), "big") in _VERSIONS:
                raise RequestError("it was written for big-endian machines; download the ordinary edition.")
            raise RequestError(f"it is of GGUF version {version}, and versions 2 and 3 are known; convert it again.")
        n_tensors, n_entries = self._number("Q"), self._number("Q")
        if n_tensors > min(_MOST_TENSORS, self.size // _LEAST_TENSOR):
            raise _DamagedError(f"its header announces {n_tensors:,} tensors")
        if n_entries > self.size // _LEAST_ENTRY:
            raise _DamagedError(f"its header announces {n_entries:,} entries")
        return n_tensors, n_entries

    def _take(self, n_bytes: int) -> int:
        """The position of the next `n_bytes` bytes, which are there."""
        at = self.at
        if n_bytes > self.size - at:
            raise _DamagedError("it ends inside its header")
        self.at = at + n_bytes
        return at

    def _number(self, code: str) -> Any:
        return struct.unpack_from("<" + code, self.data, self._take(struct.calcsize("<" + code)))[0]

    def _string(self) -> str:
        n_bytes = self._number("Q")
        at = self._take(n_bytes)
        return self.data[at : at + n_bytes].decode("utf-8")

    def _value(self, kind: int) -> Any:
        if kind in _SCALARS:
            return self._number(_SCALARS[kind])
        if kind == _STRING:
            return self._string()
        if kind != _ARRAY:
            raise _DamagedError(f"its header holds a value of the unknown type {kind}")
        item, count = self._number("I"), self._number("Q")
        if item == _STRING:
            return self._strings(count)
        if item not in _SCALARS:
            raise _DamagedError(f"its header holds an array of the unknown type {item}")
        dtype = np.dtype("<" + _SCALARS[item]) if _SCALARS[item] != "?" else np.dtype(np.bool_)
        at = self._take(count * dtype.itemsize)
        return np.frombuffer(self.data, dtype, count, at).copy()

    def _strings(self, count: int) -> list[str]:
        if count > min(_MOST_STRINGS, (self.size - self.at) // _LEAST_STRING):
            raise _DamagedError(f"its header announces {count:,} strings")
        # The one hot loop of the header (a vocabulary of 262,144): locals, one length check a string.
        data, at, size, length, texts = self.data, self.at, self.size, struct.Struct("<Q").unpack_from, []
        for _ in range(count):
            if at + 8 > size:
                raise _DamagedError("it ends inside its header")
            end = at + 8 + length(data, at)[0]
            if end > size:
                raise _DamagedError("it ends inside its header")
            texts.append(data[at + 8 : end].decode("utf-8"))
            at = end
        self.at = at
        return texts

    def _read_tensors(self, n_tensors: int) -> None:
        entries = [(self._string(), self._shape(), self._number("I"), self._number("Q")) for _ in range(n_tensors)]
        alignment = self.metadata.get("general.alignment", 32)
        if not isinstance(alignment, int) or not 0 < alignment <= 1 << 20 or alignment & (alignment - 1):
            raise _DamagedError("its alignment is not a power of two")
        data_start = -(-self.at // alignment) * alignment
        for name, shape, kind, offset in entries:
            if name in self.tensors:
                raise _DamagedError(f"its header gives the tensor {_short(name)} twice")
            type_name, n_bytes = _stored_size(name, shape, kind)
            start = data_start + offset
            if offset % alignment or start + n_bytes > self.size:
                raise _DamagedError(f"the tensor {_short(name)} lies beyond its end")
            self.tensors[name] = TensorEntry(name, shape, type_name, start, n_bytes)

    def _shape(self) -> tuple[int, ...]:
        n_dimensions = self._number("I")
        if not 1 <= n_dimensions <= _MOST_DIMENSIONS:
            raise _DamagedError(f"a tensor has {n_dimensions} dimensions")
        shape = tuple(self._number("Q") for _ in range(n_dimensions))
        if 0 in shape:
            raise _DamagedError("a tensor is empty")
        return shape[::-1]  # the file gives the fastest dimension first


def _stored_size(name: str, shape: tuple[int, ...], kind: int) -> tuple[str, int]:
    """The type's name and the bytes that a tensor takes."""
    import gguf

    try:
        known = gguf.GGMLQuantizationType(kind)
    except ValueError:
        raise RequestError(
            f"the tensor {_short(name)} is of the unknown type {kind}; use an edition in Q4_K_M, Q8_0, F16 or BF16."
        ) from None
    if known.name not in READABLE_TYPES:
        raise RequestError(
            f"the tensor {_short(name)} is stored as {known.name}; use an edition in Q4_K_M, Q8_0, F16 or BF16."
        )
    block, block_bytes = gguf.GGML_QUANT_SIZES[known]
    if shape[-1] % block:
        raise _DamagedError(f"the rows of the tensor {_short(name)} do not fill whole blocks")
    return known.name, math.prod(shape) // block * block_bytes


def _short(text: str) -> str:
    """A name from the file as it may stand in a sentence."""
    return repr(text if len(text) <= 60 else text[:57] + "...")
