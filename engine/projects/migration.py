"""Bringing a file of an older version along: a backup beside it first, then every step in one transaction."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import sqlite_utils

from engine.projects import encoding
from engine.projects.connection import connect, connect_private, transaction
from engine.projects.faults import DamageError
from engine.projects.header import Header
from engine.projects.older_schema import NEW_TABLES_1_1
from engine.projects.placing import placed
from engine.projects.schema import EDITED, TABLES, USER_VERSION

# What the columns that version 1.1 added hold in rows of version 1.0, by table; also in the rows of its history.
_NEW_IN_1_1: dict[str, dict[str, Any]] = {
    "trace": {"parent": 0, "rank": 0, "spec": None},
    "label": {"source": "person"},
    "supernode": {"parent": 0, "note": ""},
}


def back_up(db: sqlite_utils.Database, path: Path, header: Header) -> Path:
    """Copy a file as it is beside itself; where. Raises `MachineError` if that cannot be written."""
    kept = _free_path(path, header)
    with placed(kept, overwrite=False) as temporary:
        copy = connect(temporary, "rwc")
        try:
            db.conn.backup(copy.conn)
            copy.conn.execute("DELETE FROM owner")
        finally:
            copy.conn.close()
    return kept


def bring_along(db: sqlite_utils.Database, header: Header) -> None:
    """Make a file of an older version one of this version, all or nothing.

    Raises `DamageError` if what it holds cannot be brought along.
    """
    steps: dict[tuple[int, int], Callable[[sqlite_utils.Database], None]] = {(1, 0): _from_1_0}
    # References name tables: with this, renaming the old one away leaves them, and they find the new one.
    db.conn.execute("PRAGMA foreign_keys=OFF")
    db.conn.execute("PRAGMA legacy_alter_table=ON")
    try:
        with transaction(db):
            steps[header.major, header.minor](db)
            db.conn.execute(f"PRAGMA user_version={USER_VERSION}")
            if db.conn.execute("PRAGMA foreign_key_check").fetchone() is not None:
                raise DamageError("references that lead nowhere")
    finally:
        db.conn.execute("PRAGMA legacy_alter_table=OFF")
        db.conn.execute("PRAGMA foreign_keys=ON")


def brought_along_copy(db: sqlite_utils.Database, header: Header) -> sqlite_utils.Database:
    """A private copy of an older file, of this version, for reading what may not be written. The caller closes it."""
    copy = connect_private()
    try:
        db.conn.backup(copy.conn)
        bring_along(copy, header)
    except BaseException:
        copy.conn.close()
        raise
    return copy


def _free_path(path: Path, header: Header) -> Path:
    for number in range(1, 1000):
        extra = "" if number == 1 else f" {number}"
        found = path.with_name(f"{path.stem} (format {header.major}.{header.minor}{extra}){path.suffix}")
        if not found.exists():
            return found
    raise FileExistsError(str(path))


def _from_1_0(db: sqlite_utils.Database) -> None:
    for table, new in _NEW_IN_1_1.items():
        columns = [column.name for column in db[table].columns]
        numbered = db.conn.execute("SELECT seq FROM sqlite_sequence WHERE name = ?", (table,)).fetchone()
        db.conn.execute(f"ALTER TABLE {table} RENAME TO older_{table}")
        db.conn.execute(TABLES[table])
        db.conn.execute(
            f"INSERT INTO {table} ({', '.join([*columns, *new])}) "
            f"SELECT {', '.join(columns)}{', ?' * len(new)} FROM older_{table}",
            list(new.values()),
        )
        db.conn.execute(f"DROP TABLE older_{table}")
        if numbered is not None:  # numbers are never given twice, those of rows that are gone included
            db.conn.execute("DELETE FROM sqlite_sequence WHERE name = ?", (table,))
            db.conn.execute("INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", (table, numbered[0]))
    db.conn.execute("UPDATE trace SET rank = id")
    for table in NEW_TABLES_1_1:
        db.conn.execute(TABLES[table])
    for number, text in db.conn.execute("SELECT id, changes FROM history").fetchall():
        db.conn.execute("UPDATE history SET changes = ? WHERE id = ?", (_newer_changes(text), number))
    for number, text in db.conn.execute("SELECT id, content FROM snapshot").fetchall():
        db.conn.execute("UPDATE snapshot SET content = ? WHERE id = ?", (_newer_snapshot(text), number))
    # When a label was given is not known for those of before; that each was given is.
    db.conn.execute(
        "INSERT INTO label_version (trace, node, dictionary, layer, feature, text, source, given) "
        "SELECT trace, node, '', -1, -1, text, source, '' FROM label ORDER BY trace, node"
    )


def _newer_changes(text: str) -> str:
    """The changes of a history row with the new columns; as they are where they are not what a program wrote."""
    try:
        changes = encoding.read(text)
        for change in changes:
            for side in ("before", "after"):
                change[side] = None if change[side] is None else _newer_row(change["table"], change[side])
        return encoding.write(changes)
    except (DamageError, TypeError, KeyError, AttributeError):
        return text


def _newer_snapshot(text: str) -> str:
    try:
        content = encoding.read_table(text)
        newer = {table: [_newer_row(table, row) for row in rows] for table, rows in content.items()}
        empty: dict[str, list[Any]] = {table: [] for table, edited in EDITED.items() if edited.snapshot}
        return encoding.write({**empty, **newer})
    except (DamageError, TypeError, KeyError, AttributeError):
        return text


def _newer_row(table: str, row: dict[str, Any]) -> dict[str, Any]:
    new = {name: value for name, value in _NEW_IN_1_1.get(table, {}).items() if name in EDITED[table].columns}
    if table == "trace":
        new["rank"] = row["id"]  # as the trace itself
    return {**row, **new}
