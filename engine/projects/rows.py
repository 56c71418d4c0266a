"""Reading and writing rows of the tables a person edits, one row at a time, with full-text search kept in step.

Edits, undo, redo and restored snapshots all write through `write_row`, so that what is found by search is always what
is there. Names of tables and columns come from `schema.EDITED` only, never from a file.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import sqlite_utils

from engine.projects import encoding
from engine.projects.connection import Row
from engine.projects.faults import DamageError
from engine.projects.schema import EDITED


@dataclass(frozen=True)
class RowChange:
    """One row before and after an edit; None where it did not exist."""

    table: str
    key: Row
    before: Row | None
    after: Row | None

    def reversed(self) -> RowChange:
        """The change that takes this one back."""
        return RowChange(self.table, self.key, self.after, self.before)

    @property
    def identity(self) -> tuple[Any, ...]:
        """The same for two changes of the same row."""
        return (self.table, *self.key.values())


def read_row(db: sqlite_utils.Database, table: str, key: Row) -> Row | None:
    """The editable columns of one row, or None."""
    columns, where = tuple(EDITED[table].columns), _where(table)
    found = db.conn.execute(
        f"SELECT {', '.join(columns)} FROM {table} WHERE {where}", _key_values(table, key)
    ).fetchone()
    return None if found is None else dict(zip(columns, found, strict=True))


def write_row(db: sqlite_utils.Database, change: RowChange) -> None:
    """Bring one row to `change.after`; `DamageError` if it is not at `change.before`: not this file's history."""
    if read_row(db, change.table, change.key) != change.before:
        raise DamageError("a row is not as the history says")
    if change.before == change.after:
        return
    table, where = EDITED[change.table], _where(change.table)
    if change.after is None:
        db.conn.execute(f"DELETE FROM {change.table} WHERE {where}", _key_values(change.table, change.key))
    elif change.before is None:
        columns = tuple(table.columns)
        db.conn.execute(
            f"INSERT INTO {change.table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})",
            [change.after[column] for column in columns],
        )
    else:
        columns = tuple(column for column in table.columns if column not in table.keys)
        db.conn.execute(
            f"UPDATE {change.table} SET {', '.join(f'{column} = ?' for column in columns)} WHERE {where}",
            [*(change.after[column] for column in columns), *_key_values(change.table, change.key)],
        )
    _index(db, change)


def index_text(db: sqlite_utils.Database, table: str, row: Row) -> None:
    """Make the text of a new row findable."""
    edited = EDITED[table]
    if edited.item is None:
        return
    db.conn.execute(
        "INSERT INTO words (text, kind, trace, item) VALUES (?, ?, ?, ?)",
        ("\n".join(row[name] for name in edited.text if row[name]), table, _trace_of(table, row), row[edited.item]),
    )


def next_number(db: sqlite_utils.Database, table: str) -> int:
    """A number for a new row, taken inside the caller's transaction: several may be asked for before a row is written.

    Never given twice, not even after an undo, since the window may still hold the old one.
    """
    row = db.conn.execute("SELECT seq FROM sqlite_sequence WHERE name = ?", (table,)).fetchone()
    if row is None:
        db.conn.execute("INSERT INTO sqlite_sequence (name, seq) VALUES (?, 1)", (table,))
        return 1
    if type(row[0]) is not int:
        raise DamageError("a number of no kind")
    db.conn.execute("UPDATE sqlite_sequence SET seq = ? WHERE name = ?", (row[0] + 1, table))
    return row[0] + 1


def _index(db: sqlite_utils.Database, change: RowChange) -> None:
    edited = EDITED[change.table]
    if edited.item is None:
        return
    if change.before is not None:  # a row that is new has no words yet, and looking for them reads all there are
        db.conn.execute(
            "DELETE FROM words WHERE kind = ? AND trace = ? AND item = ?",
            (change.table, _trace_of(change.table, change.before), change.before[edited.item]),
        )
    if change.after is not None:
        index_text(db, change.table, change.after)


def _trace_of(table: str, row: Row) -> int:
    column = EDITED[table].trace
    return 0 if column is None else int(row[column])


def added(table: str, row: Row) -> RowChange:
    """The change that puts a row."""
    return RowChange(table, key_of(table, row), None, row)


def removed(table: str, row: Row) -> RowChange:
    """The change that takes a row away."""
    return RowChange(table, key_of(table, row), row, None)


def replaced(table: str, row: Row, **columns: int | float | str) -> RowChange:
    """The change of some columns of a row that is there."""
    return RowChange(table, key_of(table, row), row, {**row, **columns})


def parse_changes(text: str) -> list[RowChange]:
    """Changes from the text of a history row, checked against `EDITED`; `DamageError` if any of it is foreign."""
    changes = encoding.read(text)
    if not isinstance(changes, list):
        raise DamageError("not a list of changes")
    return [_parse_change(change) for change in changes]


def write_changes(changes: list[RowChange]) -> str:
    """The text of a history row."""
    return encoding.write([{"table": c.table, "key": c.key, "before": c.before, "after": c.after} for c in changes])


def parse_row(table: str, row: Any) -> Row:
    """One row of an edited table from JSON, every column there and of its type; raises `DamageError`."""
    columns = EDITED[table].columns
    if not isinstance(row, dict) or set(row) != set(columns):
        raise DamageError("a row with other columns")
    return {name: _parse_value(row[name], kind) for name, kind in columns.items()}


def key_of(table: str, row: Row) -> Row:
    """The key columns of a row."""
    return {name: row[name] for name in EDITED[table].keys}


def _parse_change(change: Any) -> RowChange:
    if not isinstance(change, dict) or set(change) != {"table", "key", "before", "after"}:
        raise DamageError("not a change")
    table = change["table"]
    if not isinstance(table, str) or table not in EDITED:
        raise DamageError("a change of a table that no edit changes")
    before, after = (None if change[side] is None else parse_row(table, change[side]) for side in ("before", "after"))
    present = [row for row in (before, after) if row is not None]
    if not present or any(key_of(table, row) != change["key"] for row in present):
        raise DamageError("a change of a row with another key")
    if not EDITED[table].whole and len(present) != 2:
        raise DamageError("a change that adds or removes a row no edit may")
    return RowChange(table, key_of(table, present[0]), before, after)


def _parse_value(value: Any, kind: type) -> int | float | str:
    if kind is float and type(value) in (int, float) and math.isfinite(value):
        return float(value)
    if kind is int and type(value) is int:
        return value
    if kind is str and isinstance(value, str):
        return value
    raise DamageError("a value of another type")


def _where(table: str) -> str:
    return " AND ".join(f"{name} = ?" for name in EDITED[table].keys)


def _key_values(table: str, key: Row) -> list[Any]:
    return [key[name] for name in EDITED[table].keys]
