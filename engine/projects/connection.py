"""Opening the SQLite file, transactions, and what its errors mean to a user."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlite_utils

from engine.errors import LoupeError, MachineError, RequestError

# Rows of type dict, as sqlite-utils gives them.
Row = dict[str, Any]
OLDEST_SQLITE = (3, 37, 0)  # STRICT tables
_WAIT_SECONDS = 5.0


def connect(path: Path, mode: str) -> sqlite_utils.Database:
    """Connect to a file; `mode` is SQLite's "ro", "rw" or "rwc". The caller closes it."""
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        raise MachineError(
            f"Projects need SQLite 3.37 or newer and this Python has {sqlite3.sqlite_version}; install a newer Python."
        )
    # check_same_thread is off because a graph arrives on the writer thread while the window's thread edits. Both go
    # through `Project`, which holds one lock around every use: one connection behind one lock keeps one order of
    # transactions, needs no waiting between connections, and cannot see a half-made edit.
    connection = sqlite3.connect(
        _uri(path, mode), uri=True, isolation_level=None, check_same_thread=False, timeout=_WAIT_SECONDS
    )
    try:
        for pragma in (
            "trusted_schema=OFF",
            "foreign_keys=ON",
            "cell_size_check=ON",
            "mmap_size=0",
            "temp_store=MEMORY",
        ):
            connection.execute(f"PRAGMA {pragma}")
        if mode != "ro":
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("PRAGMA fullfsync=ON")  # macOS keeps written data in the drive's own memory otherwise
    except BaseException:
        connection.close()
        raise
    return sqlite_utils.Database(connection, recursive_triggers=False, execute_plugins=False)


@contextmanager
def transaction(db: sqlite_utils.Database) -> Iterator[None]:
    """One transaction, all or nothing, that takes the right to write at once (sqlite-utils' own begins by reading)."""
    db.conn.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.conn.execute("COMMIT")
    except BaseException:
        # SQLite ends the transaction itself after some errors, a full disk among them.
        if db.conn.in_transaction:
            db.conn.execute("ROLLBACK")
        raise


@contextmanager
def plainly(name: str) -> Iterator[None]:
    """Turn what SQLite raises into one sentence for the user."""
    try:
        yield
    except sqlite3.Error as error:
        raise explain(name, error) from error


def explain(name: str, error: sqlite3.Error) -> LoupeError:
    """The sentence for one SQLite error; codes are from https://www.sqlite.org/rescode.html."""
    code = getattr(error, "sqlite_errorcode", None)
    primary = None if code is None else code & 0xFF
    if code == getattr(sqlite3, "SQLITE_READONLY_DBMOVED", 1032):
        return moved(name)
    if code == getattr(sqlite3, "SQLITE_READONLY_ROLLBACK", 776):
        return MachineError(
            f"The last edit of {name} was interrupted; copy its folder to where you may write, open it there."
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
        return MachineError(f"There is too little memory for a part of {name}; close other programs and try again.")
    return damaged(name)


def damaged(name: str) -> RequestError:
    """The error for a file whose content cannot be what this program wrote."""
    return RequestError(f"{name} is damaged; open a copy of it that is whole.")


def missing(trace: int) -> RequestError:
    """The error for a trace that is not in the project."""
    return RequestError(f"The project has no trace {trace}; it may have been deleted, and undo brings it back.")


def moved(name: str) -> RequestError:
    """The error for a file that was deleted or replaced while it was open."""
    return RequestError(
        f"{name} was deleted, moved or replaced by another program; save this project under a new name."
    )


def _uri(path: Path, mode: str) -> str:
    # as_uri() would write \\server\share as an authority, which SQLite refuses; four slashes are what it wants.
    name = quote(os.fsencode(path.absolute().as_posix()), safe="/:")
    return f"file://{'' if name.startswith('/') else '/'}{name}?mode={mode}"
