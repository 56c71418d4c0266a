"""Immutable arrays as compressed blobs: written once, found by the hash of their content, checked before unpacking."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import sqlite_utils
import zstandard

from engine.errors import RequestError
from engine.projects import encoding
from engine.projects.connection import Row
from engine.projects.faults import DamageError

# Stored little-endian. Nothing else is ever unpacked: no object arrays, no structured ones.
DTYPES = {name: np.dtype(name).newbyteorder("<") for name in ("uint8", "int32", "int64", "float32", "float64")}
# 32 million edges of 4 bytes; a graph at the budget of this program (1 million edges) has columns of 4 MB.
MAX_BYTES = 128 * 2**20
_MOST_DIMENSIONS = 8
_LEVEL = 3
# One zstd frame that carries its content size: of the bytes as they are, or grouped by their place in a number.
PLAIN, BY_BYTE = CODECS = ("zstd", "zstd-bytes")


@dataclass(frozen=True)
class PackedArray:
    """An array ready to be stored: the columns of one row of the table `array`."""

    sha256: str
    dtype: str
    shape: str
    raw_bytes: int
    data: bytes
    codec: str


def pack(array: np.ndarray[Any, Any]) -> PackedArray:
    """Compress an array of any shape; touches no database, so that it can run outside the lock.

    Raises `RequestError` if it is larger than a project may hold, `TypeError` for a dtype that is never stored.
    """
    name = array.dtype.newbyteorder("=").name
    if name not in DTYPES:
        raise TypeError(f"arrays of {array.dtype} are not stored")
    if array.nbytes > MAX_BYTES:
        raise RequestError(
            f"An array of {array.nbytes / 2**20:,.0f} MB is more than a project holds; trace with fewer nodes or edges."
        )
    raw = np.ascontiguousarray(array, dtype=DTYPES[name]).tobytes()
    shape = encoding.write(list(array.shape))
    codec, data = min(_compressed(raw, DTYPES[name].itemsize), key=lambda one: len(one[1]))
    return PackedArray(_hash(name, shape, raw), name, shape, len(raw), data, codec)


def _compressed(raw: bytes, itemsize: int) -> list[tuple[str, bytes]]:
    """The bytes as they are, and with each number's first bytes together, then the second ones: signs and exponents
    resemble each other, and so do the high bytes of small numbers.
    """
    packer = zstandard.ZstdCompressor(level=_LEVEL)
    found = [(PLAIN, packer.compress(raw))]
    if itemsize > 1 and raw:
        found.append((BY_BYTE, packer.compress(np.frombuffer(raw, np.uint8).reshape(-1, itemsize).T.tobytes())))
    return found


def store(db: sqlite_utils.Database, packed: PackedArray) -> int:
    """Write an array inside the caller's transaction, or find the same one; its row number."""
    found = db.conn.execute("SELECT id FROM array WHERE sha256 = ?", (packed.sha256,)).fetchone()
    if found is not None:
        return int(found[0])
    cursor = db.conn.execute(
        "INSERT INTO array (sha256, dtype, shape, codec, raw_bytes, data) VALUES (?, ?, ?, ?, ?, ?)",
        (packed.sha256, packed.dtype, packed.shape, packed.codec, packed.raw_bytes, packed.data),
    )
    return int(cursor.lastrowid)


def as_packed(row: Row) -> PackedArray:
    """The stored form of a row of the table `array` whose content was checked."""
    return PackedArray(row["sha256"], row["dtype"], row["shape"], row["raw_bytes"], row["data"], row["codec"])


def check(row: Row) -> None:
    """Raise `DamageError` if the array of a row is not what it says of itself."""
    sizes = encoding.read(row["shape"])
    if not isinstance(sizes, list) or len(sizes) > _MOST_DIMENSIONS:
        raise DamageError("an array of another shape")
    unpack(row, str(row["dtype"]), (None,) * len(sizes))


def unpack(row: Row, dtype: str, shape: tuple[int | None, ...]) -> np.ndarray[Any, Any]:
    """The array of a row of the table `array`, read-only.

    `dtype` and `shape` are what the caller expects (None: any length); what a file says is checked against them, the
    cap and the compressed frame's own header before a byte is unpacked, and the content against its hash after.
    Raises `DamageError` if anything is off.
    """
    if row["codec"] not in CODECS or row["dtype"] != dtype or dtype not in DTYPES:
        raise DamageError("an array of another kind")
    sizes = encoding.read(row["shape"])
    if not isinstance(sizes, list) or len(sizes) != len(shape):
        raise DamageError("an array of another shape")
    for size, expected in zip(sizes, shape, strict=True):
        if type(size) is not int or size < 0 or expected not in (None, size):
            raise DamageError("an array of another shape")
    raw_bytes = math.prod(sizes) * DTYPES[dtype].itemsize
    if raw_bytes != row["raw_bytes"] or raw_bytes > MAX_BYTES:
        raise DamageError("an array of another size")
    raw = _decompress(row["data"], raw_bytes)
    if row["codec"] == BY_BYTE and raw:
        raw = np.frombuffer(raw, np.uint8).reshape(DTYPES[dtype].itemsize, -1).T.tobytes()
    if _hash(dtype, row["shape"], raw) != row["sha256"]:
        raise DamageError("an array whose content does not match its hash")
    return np.frombuffer(raw, dtype=DTYPES[dtype]).astype(np.dtype(dtype), copy=False).reshape(sizes)


def _decompress(data: bytes, raw_bytes: int) -> bytes:
    try:
        # python-zstandard allocates what the frame's header says and ignores max_output_size where it says anything.
        frame = zstandard.get_frame_parameters(data)
        if frame.content_size != raw_bytes or frame.dict_id:
            raise DamageError("an array compressed in another way")
        raw: bytes = zstandard.ZstdDecompressor().decompress(data, max_output_size=raw_bytes, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise DamageError(str(error)) from error
    if len(raw) != raw_bytes:
        raise DamageError("an array of another size")
    return raw


def _hash(dtype: str, shape: str, raw: bytes) -> str:
    digest = hashlib.sha256(f"{dtype} {shape}\n".encode())
    digest.update(raw)
    return digest.hexdigest()
