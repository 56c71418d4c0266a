"""What can go wrong with a project file, each as one sentence for the user."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from engine.errors import LoupeError, MachineError, RequestError

RESCUE = "save what is left of it with circuit-loupe rescue"


class DamageError(Exception):
    """Something in a project file that this program cannot have written; `plainly` makes a sentence of it."""


class DamagedProjectError(RequestError):
    """A file that this program cannot have written as it is; `engine.projects.rescue` saves what can be saved of it."""


class FileLostError(RequestError):
    """The file is no longer this program's to write: deleted, replaced, or taken over. A copy can still be saved."""


@contextmanager
def plainly(name: str) -> Iterator[None]:
    """Turn what SQLite raises, and content that cannot be right, into one sentence for the user."""
    try:
        yield
    except sqlite3.Error as error:
        raise explain(name, error) from error
    except MemoryError as error:
        raise _too_large(name) from error
    # A number that no column holds comes from a file (what callers give is checked first); names that are not UTF-8
    # come out of Python's sqlite3 when it words an error about a damaged schema.
    except (DamageError, OverflowError, UnicodeDecodeError) as error:
        raise damaged(name) from error


def explain(name: str, error: sqlite3.Error) -> LoupeError:
    """The sentence for one SQLite error; codes are from https://www.sqlite.org/rescode.html."""
    code = getattr(error, "sqlite_errorcode", None)
    primary = None if code is None else code & 0xFF
    if code == getattr(sqlite3, "SQLITE_READONLY_DBMOVED", 1032):
        return moved(name)
    if code == getattr(sqlite3, "SQLITE_READONLY_ROLLBACK", 776):
        return MachineError(
            f"The last edit of {name} was interrupted; copy its folder to one you may write and open it there."
        )
    if primary == sqlite3.SQLITE_FULL:
        return MachineError(f"The disk is full and {name} was left as it was; free some space and try again.")
    if primary in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_CANTOPEN):
        return MachineError(f"{name} or its folder may not be written; save a copy in another folder.")
    if primary in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return MachineError(f"Another program is using {name}; close it there and try again.")
    if primary == sqlite3.SQLITE_IOERR:
        return MachineError(
            f"The drive could not read or write {name}, which is as it was; check the drive, or save a copy elsewhere."
        )
    if primary in (sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_TOOBIG):
        return _too_large(name)
    return damaged(name)


def damaged(name: str) -> DamagedProjectError:
    """The error for a file whose content cannot be what this program wrote."""
    return DamagedProjectError(f"{name} is damaged; open a copy of it that is whole, or {RESCUE}.")


def missing(trace: int) -> RequestError:
    """The error for a trace that is not in the project."""
    return RequestError(f"The project has no trace {trace}; it may have been deleted, and undo brings it back.")


def moved(name: str) -> FileLostError:
    """The error for a file that was deleted or replaced while it was open."""
    return FileLostError(
        f"{name} was deleted, moved or replaced by another program; save this project under a new name."
    )


def _too_large(name: str) -> MachineError:
    return MachineError(f"There is too little memory for a part of {name}; close other programs and try again.")
