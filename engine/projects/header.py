"""What the first 100 bytes of a file say, read before SQLite touches it (https://www.sqlite.org/fileformat.html)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

from engine.errors import MachineError, RequestError
from engine.projects.faults import RESCUE, DamagedProjectError
from engine.projects.schema import APPLICATION_ID, MAJOR_VERSION, MINOR_VERSION

_MAGIC = b"SQLite format 3\0"
_LENGTH = 100


@dataclass(frozen=True)
class Header:
    """The version a project file was written with."""

    major: int
    minor: int

    @property
    def older(self) -> bool:
        """An older program wrote it: it is brought along when it is opened for writing."""
        return (self.major, self.minor) < (MAJOR_VERSION, MINOR_VERSION)

    @property
    def newer_minor(self) -> bool:
        """A newer program of the same major version wrote it: readable, but not ours to write."""
        return self.major == MAJOR_VERSION and self.minor > MINOR_VERSION

    @property
    def newer_major(self) -> bool:
        """A newer program wrote it whose tables may be others: what is known of them can be read from a copy."""
        return self.major > MAJOR_VERSION


def read_header(path: Path) -> Header:
    """Check that a file is a project this program can read.

    Raises `RequestError` for a missing, empty, foreign or cut short file, `MachineError` if it cannot be read.
    """
    try:
        if path.is_dir():
            raise RequestError(f"{path.name} is a folder; choose a .loupe file inside it.")
        with path.open("rb") as file:
            head = file.read(_LENGTH)
        size = path.stat().st_size
        # A journal left by a program that died: the last transaction is half written and the size means nothing yet.
        interrupted = _has_bytes(path.with_name(path.name + "-journal"))
    except FileNotFoundError:
        raise RequestError(f"There is no file {path}; check the name, or make a new project there.") from None
    except PermissionError:
        raise MachineError(f"{path} may not be read by this user; ask for the right to read it.") from None
    except OSError as error:
        raise MachineError(f"{path} could not be read ({error.strerror}); check the drive it is on.") from None
    header = _understand(path.name, head)
    if not interrupted:
        _check_size(path.name, head, size)
    return header


def _understand(name: str, head: bytes) -> Header:
    if not head:
        raise RequestError(f"{name} is an empty file, not a project; open a copy of it or make a new project.")
    if not head.startswith(_MAGIC[: len(head)]):
        raise RequestError(f"{name} is not a Circuit Loupe project; choose a .loupe file.")
    if len(head) < _LENGTH:
        raise DamagedProjectError(f"{name} was cut short; open a copy of it that is whole, or {RESCUE}.")
    user_version, application_id = struct.unpack(">I", head[60:64])[0], struct.unpack(">I", head[68:72])[0]
    if application_id != APPLICATION_ID:
        raise RequestError(f"{name} is a database of another program, not a project; choose a .loupe file.")
    return understood(name, user_version)


def understood(name: str, user_version: int) -> Header:
    """The version in `user_version`; `RequestError` if there is none."""
    header = Header(user_version >> 16 & 0xFFFF, user_version & 0xFFFF)
    if header.major < 1:
        raise DamagedProjectError(
            f"{name} carries no format version and is damaged; open a copy of it that is whole, or {RESCUE}."
        )
    return header


def _check_size(name: str, head: bytes, size: int) -> None:
    page_size = struct.unpack(">H", head[16:18])[0]
    page_size = 65536 if page_size == 1 else page_size
    change_counter, pages, valid_for = (struct.unpack(">I", head[at : at + 4])[0] for at in (24, 28, 92))
    if page_size < 512 or page_size & (page_size - 1):
        raise DamagedProjectError(
            f"{name} is damaged in its first bytes; open a copy of it that is whole, or {RESCUE}."
        )
    # The page count counts only if the same program wrote both counters (section 1.3.7 of the format).
    if change_counter == valid_for and pages * page_size > size:
        raise DamagedProjectError(
            f"{name} was cut short ({size:,} of {pages * page_size:,} bytes are left); open a copy of it that is "
            f"whole, or {RESCUE}."
        )


def _has_bytes(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except OSError:
        return False
