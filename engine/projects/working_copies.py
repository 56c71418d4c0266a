"""Copies of a damaged file that SQLite may be able to read: as it is, or with a new header, or list of tables."""

from __future__ import annotations

import shutil
import struct
from collections.abc import Iterator
from pathlib import Path

from engine.projects.schema import APPLICATION_ID, PAGE_SIZE, USER_VERSION

_CHUNK = 1 << 16
_HEADER = 100
_JOURNAL = "-journal"
_INTERIOR = 5  # a page that points to others


def copy_what_can_be_read(source: Path, to: Path) -> int:
    """Copy a file, zeros where the drive cannot be read; how many bytes those are."""
    lost, size = 0, source.stat().st_size
    with source.open("rb", buffering=0) as file, to.open("wb") as copy:
        for at in range(0, size, _CHUNK):
            wanted = min(_CHUNK, size - at)
            try:
                file.seek(at)
                part = file.read(wanted) or b""
            except OSError:
                part = b""
            lost += wanted - len(part)
            copy.write(part + bytes(wanted - len(part)))
    return lost


def copy_journal(source: Path, to: Path) -> None:
    """Copy the journal of a file, if it has one: with it SQLite takes a half-made transaction back."""
    journal = source.with_name(source.name + _JOURNAL)
    if journal.exists():
        shutil.copyfile(journal, to.with_name(to.name + _JOURNAL))


def candidates(damaged: Path, fresh: Path, folder: Path) -> Iterator[Path]:
    """Files to try, one after the other, the least changed first. `fresh` is a new, empty project."""
    content = damaged.read_bytes()
    declared = _declared_size(content)
    as_it_is = folder / "as it is.loupe"
    # A file cut short is refused as a whole; with zeros at its end, all pages before them can be read.
    as_it_is.write_bytes(content + bytes(max(0, min(declared, 4 * len(content) + 2**20) - len(content))))
    copy_journal(damaged, as_it_is)
    yield as_it_is
    header = folder / "header.loupe"
    header.write_bytes(_with_header(content))
    yield header
    # Tables are made in one order, so that in files of this version each begins at the same page, and the list of
    # tables stands on the same pages.
    empty = fresh.read_bytes()
    pages = bytearray(content + bytes(max(0, len(empty) - len(content))))
    for page in _schema_pages(empty):
        at = slice((page - 1) * PAGE_SIZE, page * PAGE_SIZE)
        pages[at] = empty[at]
    schema = folder / "schema.loupe"
    schema.write_bytes(_with_header(bytes(pages)))
    yield schema


def _schema_pages(content: bytes) -> list[int]:
    """The pages of the list of tables: the first, and those it points to (file format, section 1.6)."""
    kind, cells = content[_HEADER], struct.unpack(">H", content[_HEADER + 3 : _HEADER + 5])[0]
    if kind != _INTERIOR:
        return [1]
    rightmost = struct.unpack(">I", content[_HEADER + 8 : _HEADER + 12])[0]
    pointers = struct.unpack(f">{cells}H", content[_HEADER + 12 : _HEADER + 12 + 2 * cells])
    return [1, rightmost, *(struct.unpack(">I", content[at : at + 4])[0] for at in pointers)]


def _declared_size(content: bytes) -> int:
    if len(content) < _HEADER:
        return len(content)
    page = struct.unpack(">H", content[16:18])[0]
    return int(struct.unpack(">I", content[28:32])[0]) * (65536 if page == 1 else page)


def _with_header(content: bytes) -> bytes:
    """The same pages behind a header as this program writes it: no free pages, all that is there counted."""
    content += bytes(-len(content) % PAGE_SIZE)
    pages = len(content) // PAGE_SIZE
    header = bytearray(_HEADER)
    header[:24] = b"SQLite format 3\0" + struct.pack(">H", PAGE_SIZE) + bytes((1, 1, 0, 64, 32, 32))
    for at, value in ((24, 1), (28, pages), (44, 4), (56, 1), (60, USER_VERSION), (68, APPLICATION_ID), (92, 1)):
        header[at : at + 4] = struct.pack(">I", value)
    header[96:100] = content[96:100]
    return bytes(header) + content[_HEADER:]
