"""Undo and redo, kept in the file: every edit is one row with what each touched row was and became."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlite_utils

from engine.projects.encoding import now
from engine.projects.rows import RowChange, parse_changes, write_changes, write_row


@dataclass(frozen=True)
class EditDone:
    """An edit that was made, undone or redone: its title ("Pin 2 nodes") and the trace it belongs to, if any."""

    title: str
    trace: int | None


@dataclass(frozen=True)
class Edit:
    """What an edit is going to do. Changes are applied in order."""

    title: str
    trace: int | None
    changes: list[RowChange]


def apply_edit(db: sqlite_utils.Database, edit: Edit, *, join: int | None = None) -> int | None:
    """Change the rows and append to the history, inside the caller's transaction; what could be redone is dropped.

    `join` is the number of a history row that this edit continues, if that row is still the last: then the two become
    one step. Returns the number of the history row, None if nothing is left to undo.
    """
    for change in edit.changes:
        write_row(db, change)
    db.conn.execute("DELETE FROM history WHERE undone = 1")
    last = db.conn.execute("SELECT id, changes FROM history ORDER BY id DESC LIMIT 1").fetchone()
    if join is None or last is None or last[0] != join:
        cursor = db.conn.execute(
            "INSERT INTO history (created, title, trace, changes) VALUES (?, ?, ?, ?)",
            (now(), edit.title, edit.trace, write_changes(edit.changes)),
        )
        return int(cursor.lastrowid)
    joined = joined_changes(parse_changes(last[1]), edit.changes)
    if not joined:
        db.conn.execute("DELETE FROM history WHERE id = ?", (join,))
        return None
    db.conn.execute(
        "UPDATE history SET created = ?, title = ?, changes = ? WHERE id = ?",
        (now(), edit.title, write_changes(joined), join),
    )
    return join


def joined_changes(first: list[RowChange], second: list[RowChange]) -> list[RowChange]:
    """Two runs of changes as one: for each row what it was first and what it is last, without rows that came back."""
    joined: dict[tuple[object, ...], RowChange] = {}
    for change in (*first, *second):
        earlier = joined.get(change.identity)
        before = change.before if earlier is None else earlier.before
        joined[change.identity] = RowChange(change.table, change.key, before, change.after)
    return [change for change in joined.values() if change.before != change.after]


def changes_of_last(db: sqlite_utils.Database, number: int) -> list[RowChange]:
    """The changes of a history row, if it is still the last; else none."""
    last = db.conn.execute("SELECT id, changes FROM history ORDER BY id DESC LIMIT 1").fetchone()
    return parse_changes(last[1]) if last is not None and last[0] == number else []


def undo(db: sqlite_utils.Database) -> EditDone | None:
    """Take the last edit back, inside the caller's transaction; `DamageError` if the history is not this file's."""
    return _replay(db, undone=0)


def redo(db: sqlite_utils.Database) -> EditDone | None:
    """Make the edit again that was undone last, inside the caller's transaction. Raises `DamageError` likewise."""
    return _replay(db, undone=1)


def forget(db: sqlite_utils.Database, number: int) -> EditDone | None:
    """Take a step back and drop it, inside the caller's transaction; None if it is not the last one."""
    row = db.conn.execute("SELECT id, title, trace, changes FROM history ORDER BY id DESC LIMIT 1").fetchone()
    if row is None or row[0] != number:
        return None
    for change in reversed(parse_changes(row[3])):
        write_row(db, change.reversed())
    db.conn.execute("DELETE FROM history WHERE id = ?", (number,))
    return EditDone(row[1], row[2])


def next_title(db: sqlite_utils.Database, *, undone: int) -> str | None:
    """The title of the edit that undo (0) or redo (1) would take."""
    row = _next(db, undone, "title")
    return None if row is None else str(row[0])


def _replay(db: sqlite_utils.Database, *, undone: int) -> EditDone | None:
    row = _next(db, undone, "id, title, trace, changes")
    if row is None:
        return None
    number, title, trace, text = row
    changes = parse_changes(text)
    if not undone:
        changes = [change.reversed() for change in reversed(changes)]
    for change in changes:
        write_row(db, change)
    db.conn.execute("UPDATE history SET undone = ? WHERE id = ?", (1 - undone, number))
    return EditDone(title, trace)


def _next(db: sqlite_utils.Database, undone: int, columns: str) -> tuple[Any, ...] | None:
    order = "ASC" if undone else "DESC"
    row: tuple[Any, ...] | None = db.conn.execute(
        f"SELECT {columns} FROM history WHERE undone = ? ORDER BY id {order} LIMIT 1", (undone,)
    ).fetchone()
    return row
