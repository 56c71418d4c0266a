"""Connecting to the SQLite file, and transactions on it."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlite_utils

from engine.errors import MachineError

# Rows of type dict, as sqlite-utils gives them.
Row = dict[str, Any]
OLDEST_SQLITE = (3, 37, 0)  # STRICT tables
_WAIT_SECONDS = 5.0
_DEFENSIVE = 1010  # SQLITE_DBCONFIG_DEFENSIVE: SQL cannot write the tables inside FTS5, nor the schema itself


def connect(path: Path, mode: str) -> sqlite_utils.Database:
    """Connect to a file; `mode` is SQLite's "ro", "rw" or "rwc". The caller closes it."""
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        raise MachineError(
            f"Projects need SQLite 3.37 or newer and this Python has {sqlite3.sqlite_version}; install a newer Python."
        )
    # check_same_thread is off because a graph arrives on the writer thread while the window's thread edits. Both go
    # through `Project`, which holds one lock around every use: one connection behind one lock keeps one order of
    # transactions, needs no waiting between connections, and cannot see a half-made edit.
    return _set_up(
        sqlite3.connect(
            _uri(path, mode), uri=True, isolation_level=None, check_same_thread=False, timeout=_WAIT_SECONDS
        ),
        mode,
    )


def connect_private() -> sqlite_utils.Database:
    """A database of nobody else, on the drive for temporary files, gone when it is closed. The caller closes it."""
    return _set_up(sqlite3.connect("", isolation_level=None, check_same_thread=False), "private")


def _set_up(connection: sqlite3.Connection, mode: str) -> sqlite_utils.Database:
    # One flipped bit in a label must not keep the other labels from being read.
    connection.text_factory = lambda text: text.decode("utf-8", "replace")
    try:
        configure = getattr(connection, "setconfig", None)  # Python 3.12 and later
        if configure is not None:
            configure(_DEFENSIVE, True)
        for pragma in (
            "trusted_schema=OFF",
            "foreign_keys=ON",
            "cell_size_check=ON",
            "mmap_size=0",
        ):
            connection.execute(f"PRAGMA {pragma}")
        if mode == "private":
            return _as_utils(connection)
        connection.execute("PRAGMA temp_store=MEMORY")
        if mode != "ro":
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("PRAGMA fullfsync=ON")  # macOS keeps written data in the drive's own memory otherwise
    except BaseException:
        connection.close()
        raise
    return _as_utils(connection)


def _as_utils(connection: sqlite3.Connection) -> sqlite_utils.Database:
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


def _uri(path: Path, mode: str) -> str:
    # as_uri() would write \\server\share as an authority, which SQLite refuses; four slashes are what it wants.
    name = quote(os.fsencode(path.absolute().as_posix()), safe="/:")
    return f"file://{'' if name.startswith('/') else '/'}{name}?mode={mode}"
