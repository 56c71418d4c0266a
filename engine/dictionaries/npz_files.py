"""NumPy's .npz files without ever unpickling: arrays stored as they are get mapped, compressed ones are unpacked.

Everything is checked before it is unpacked: names, number format, shape against the size that the archive gives.
Format: numpy.lib.format 1.0 to 3.0 inside a zip archive.
"""

from __future__ import annotations

import re
import struct
import zipfile
import zlib
from pathlib import Path
from typing import IO

import numpy as np

from engine.dictionaries.tensor_files import TensorFile
from engine.dictionaries.tensor_headers import KINDS, MOST_AXES, TensorPlace, count_of, label, printable
from engine.errors import RequestError

MOST_MEMBERS = 64
LARGEST_NPY_HEADER = 10_000
# Weights hardly compress; what claims to unpack to this many times its size is a trap.
LARGEST_RATIO = 100
_LOCAL_HEADER = struct.Struct("<4s5H3I2H")
_KINDS = {"<f8": "F64", "<f4": "F32", "<f2": "F16"}
# What numpy.save writes before an array, and nothing else: no expression of the file is evaluated.
_NPY_MAGIC = b"\x93NUMPY"
_NPY_HEADER = re.compile(
    r"\{'descr': (?:'(?P<plain>[^']{1,20})'|\[.*\]), 'fortran_order': (?P<fortran>True|False), "
    r"'shape': \((?P<shape>[0-9, ]{0,100})\), \}\s*"
)
_UNREADABLE = (
    OSError,
    ValueError,
    EOFError,
    RuntimeError,  # encrypted
    NotImplementedError,
    RecursionError,
    MemoryError,
    KeyError,
    struct.error,
    zlib.error,
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
)


def open_npz(path: Path) -> TensorFile:
    """The arrays of an .npz file; `RequestError` where it is damaged, or holds anything but plain numbers."""
    damaged = RequestError(f"{path} is damaged or cut short; get the dictionary again.")
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if len(members) > MOST_MEMBERS or len({one.filename for one in members}) != len(members):
                raise RequestError(f"{label(path)} holds {len(members)} arrays, which no dictionary does.")
            places = {one.filename.removesuffix(".npy"): _place(archive, one, path) for one in members}
    except _UNREADABLE as error:
        raise damaged from error
    return TensorFile(path, places, lambda name: _unpacked(path, name, places[name]))


def _place(archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path) -> TensorPlace:
    name = printable(member.filename.removesuffix(".npy"))
    if not member.filename.endswith(".npy"):
        raise RequestError(f"{label(path)} holds {name}, which is no array; get the dictionary again.")
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise RequestError(f"{name} of {label(path)} is packed in a way that NumPy does not use; save it again.")
    if member.file_size > LARGEST_RATIO * max(member.compress_size, 1):
        raise RequestError(
            f"{name} of {label(path)} would unpack to {member.file_size / max(member.compress_size, 1):.0f} times its "
            "size, as no weights do; get the dictionary again."
        )
    with archive.open(member) as file:
        shape, fortran, kind = _npy_header(file, name, path)
        header = file.tell()
    size = count_of(shape) * _width(kind)
    if member.file_size - header != size or len(shape) > MOST_AXES:
        raise ValueError("an array is not as long as its shape says")
    if member.compress_type != zipfile.ZIP_STORED or fortran:
        return TensorPlace(kind, shape, -size, 0)
    start = _data_start(path, member) + header
    if start + size > path.stat().st_size:
        raise ValueError("an array ends behind the file")
    return TensorPlace(kind, shape, start, start + size)


def _npy_header(file: IO[bytes], name: str, path: Path) -> tuple[tuple[int, ...], bool, str]:
    """An array's shape, whether it is in Fortran's order, and what safetensors would call its numbers."""
    start = file.read(len(_NPY_MAGIC) + 2)
    if start[:-2] != _NPY_MAGIC or len(start) != len(_NPY_MAGIC) + 2 or start[-2] not in (1, 2, 3):
        raise ValueError("not an array")
    length = int.from_bytes(file.read(2 if start[-2] == 1 else 4), "little")
    if length > LARGEST_NPY_HEADER:
        raise ValueError("a header too long")
    found = _NPY_HEADER.fullmatch(file.read(length).decode("latin-1"))
    if found is None:
        raise ValueError("not an array's header")
    plain = found["plain"] or "structured"
    if "O" in plain:
        raise RequestError(
            f"{name} of {label(path)} holds pickled objects, which could run code; only plain numbers are read."
        )
    if plain not in _KINDS:
        raise RequestError(
            f"{name} of {label(path)} holds {printable(plain)} numbers; floating-point weights are needed."
        )
    shape = tuple(int(one) for one in found["shape"].split(",") if one.strip())
    if any(one >= 2**62 for one in shape):
        raise ValueError("a shape that is none")
    return shape, found["fortran"] == "True", _KINDS[plain]


def _width(kind: str) -> int:
    return int(np.dtype(KINDS[kind][0]).itemsize)


def _data_start(path: Path, member: zipfile.ZipInfo) -> int:
    """Where the bytes of a stored member begin: behind its local header, whose extra field has its own length."""
    with path.open("rb") as file:
        file.seek(member.header_offset)
        fields = _LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))
    if fields[0] != b"PK\x03\x04":
        raise ValueError("no local header where the archive says")
    return member.header_offset + _LOCAL_HEADER.size + int(fields[9]) + int(fields[10])


def _unpacked(path: Path, name: str, place: TensorPlace) -> np.ndarray:
    """A compressed array, or one in Fortran's order, read whole; its size has been checked."""
    try:
        with zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as file:
            shape, fortran, kind = _npy_header(file, name, path)
            if shape != place.shape:
                raise ValueError("the file changed while it was read")
            data = file.read(place.end - place.start)
            if len(data) != place.end - place.start or file.read(1):
                raise ValueError("an array is not as long as its shape says")
    except _UNREADABLE as error:
        raise RequestError(f"{printable(name)} of {path} is damaged; get the dictionary again.") from error
    return np.frombuffer(data, dtype=KINDS[kind][0]).reshape(shape, order="F" if fortran else "C")
