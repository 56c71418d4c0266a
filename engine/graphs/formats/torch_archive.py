"""Tensors of a file that `torch.save` wrote, without torch: a zip with a pickle of plain data and raw storages.

Storages are mapped, never copied, after every size was checked against the bytes that are really there.
"""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from engine.graphs.formats.inert_pickle import LARGEST, Built, Named, Stored, read_pickle

_LOCAL_HEADER = struct.Struct("<4s22xHH")
_MOST_ENTRIES = 100_000
# Storages by the name torch gives their class; bfloat16 is read as the upper halves of float32.
_TYPES = {
    "FloatStorage": "<f4",
    "DoubleStorage": "<f8",
    "HalfStorage": "<f2",
    "BFloat16Storage": "<u2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "|i1",
    "ByteStorage": "|u1",
    "BoolStorage": "|u1",
}
_CONFIGS = {
    "UnifiedConfig": "circuit_tracer",
    "LogitTarget": "circuit_tracer",
    "HookedTransformerConfig": "transformer_lens",
}
_FUNCTIONS = {
    Named("torch._utils", "_rebuild_tensor_v2"),
    Named("torch._utils", "_rebuild_parameter"),
    Named("collections", "OrderedDict"),
    Named("torch", "device"),
    Named("torch", "Size"),
    # Numbers of a configuration that NumPy made, such as the square root of d_head.
    Named("numpy.core.multiarray", "scalar"),
    Named("numpy._core.multiarray", "scalar"),
    Named("numpy", "dtype"),
    Named("_codecs", "encode"),
}
_DTYPES = {"float32", "float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool"}


def allowed(named: Named) -> bool:
    """Whether a graph may name this."""
    if named in _FUNCTIONS:
        return True
    if named.module == "torch":
        return named.name in _TYPES or named.name in _DTYPES
    room = _CONFIGS.get(named.name)
    return room is not None and named.module.split(".")[0] == room


class TorchArchive:
    """A file of torch's zip form, opened. Raises `ValueError` or `zipfile.BadZipFile` for anything that is off."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = path.stat().st_size
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            if len(entries) > _MOST_ENTRIES:
                raise ValueError("too many entries")
            self._entries = {entry.filename: entry for entry in entries}
            if len(self._entries) != len(entries):
                raise ValueError("two entries of one name")
            pickles = [name for name in self._entries if name.count("/") == 1 and name.endswith("/data.pkl")]
            if len(pickles) != 1:
                raise ValueError("no pickle, or more than one")
            self._room = pickles[0].removesuffix("data.pkl")
            order = self._entries.get(f"{self._room}byteorder")
            if order is not None and (order.file_size > 16 or archive.read(order) != b"little"):
                raise ValueError("another byte order")
            entry = self._stored(pickles[0])
            if entry.file_size > LARGEST:
                raise ValueError("a pickle that is too large")
            data = archive.read(entry)
        self.value = read_pickle(data, allowed)

    def _stored(self, name: str) -> zipfile.ZipInfo:
        """An entry that is not compressed, so that it holds no more than the file does."""
        entry = self._entries[name]
        if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size or entry.flag_bits & 1:
            raise ValueError("a compressed entry")
        return entry

    def tensor(self, value: Any, ndim: int) -> np.ndarray[Any, Any]:
        """A tensor of `ndim` dimensions as an array that is mapped from the file; raises `ValueError` for others."""
        if isinstance(value, Built) and value.of.name == "_rebuild_parameter" and value.arguments:
            value = value.arguments[0]
        if not isinstance(value, Built) or value.of.name != "_rebuild_tensor_v2" or len(value.arguments) < 4:
            raise ValueError("no tensor")
        stored, offset, shape, stride = value.arguments[:4]
        whole = (offset, *_whole_numbers(shape), *_whole_numbers(stride))
        if not all(type(one) is int and one >= 0 for one in whole) or len(shape) != len(stride) or len(shape) != ndim:
            raise ValueError("a tensor of another shape")
        storage, is_bfloat = self._storage(stored)
        count = int(np.prod([float(size) for size in shape]))
        last = offset + sum((size - 1) * step for size, step in zip(shape, stride, strict=True))
        if count == 0:
            return np.zeros(shape, np.float32 if is_bfloat else storage.dtype)
        if last >= len(storage) or count > len(storage):
            raise ValueError("a tensor larger than its storage")
        steps = tuple(step * storage.itemsize for step in stride)
        found = np.lib.stride_tricks.as_strided(storage[offset:], shape, steps, writeable=False)
        return (found.astype(np.uint32) << 16).view(np.float32) if is_bfloat else found

    def _storage(self, stored: Any) -> tuple[np.ndarray[Any, Any], bool]:
        if not isinstance(stored, Stored) or len(stored.key) != 5:
            raise ValueError("a tensor without a storage")
        what, of, key, _, count = stored.key
        if what != "storage" or not isinstance(of, Named) or of.name not in _TYPES or not isinstance(key, str):
            raise ValueError("another storage")
        dtype = np.dtype(_TYPES[of.name])
        entry = self._stored(f"{self._room}data/{key}")
        if type(count) is not int or not 0 <= count * dtype.itemsize <= entry.file_size:
            raise ValueError("a storage larger than its entry")
        start = self._start(entry)
        if start + entry.file_size > self.size:
            raise ValueError("a storage beyond the end")
        if count == 0:
            return np.zeros(0, dtype), of.name == "BFloat16Storage"
        mapped = np.memmap(self.path, dtype, "r", start, (count,))
        return np.asarray(mapped), of.name == "BFloat16Storage"

    def _start(self, entry: zipfile.ZipInfo) -> int:
        """Where an entry's bytes begin: after its own header, whose names may be longer than the directory's."""
        with self.path.open("rb") as file:
            file.seek(entry.header_offset)
            header = file.read(_LOCAL_HEADER.size)
        if len(header) != _LOCAL_HEADER.size:
            raise ValueError("an entry beyond the end")
        mark, name, extra = _LOCAL_HEADER.unpack(header)
        if mark != b"PK\x03\x04":
            raise ValueError("an entry without a header")
        return int(entry.header_offset + _LOCAL_HEADER.size + name + extra)


def _whole_numbers(value: Any) -> tuple[Any, ...]:
    if isinstance(value, Built) and value.of == Named("torch", "Size") and len(value.arguments) == 1:
        value = value.arguments[0]
    if not isinstance(value, tuple):
        raise ValueError("no list of numbers")
    return value
