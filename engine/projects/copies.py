"""Copies of traces and experiments inside one project.

The part that no edit may make (a graph, a result) is written first, hidden; the edit then shows it, and undo hides it.
"""

from __future__ import annotations

import sqlite_utils

from engine.projects.connection import Row
from engine.projects.groups import place_of
from engine.projects.rows import RowChange, added, next_number, replaced
from engine.projects.schema import EDITED

# What a person writes on a trace, in tables that name the trace and nothing else of it.
_ON_TRACE = ("pin", "label", "note")


def copy_trace(
    db: sqlite_utils.Database, trace: int, folder: int, rank: int, title: str
) -> tuple[list[RowChange], int]:
    """Copy a trace with everything on it inside the caller's transaction; the changes that show it, and its number.

    The graph's arrays are immutable and found by content, so that a copy takes no room for them.
    """
    number = _hidden_copy(db, "trace", trace, folder, rank, title)
    db.conn.execute(
        "INSERT INTO graph_column (trace, name, array) SELECT ?, name, array FROM graph_column WHERE trace = ?",
        (number, trace),
    )
    db.conn.execute("INSERT INTO view (trace, value) SELECT ?, value FROM view WHERE trace = ?", (number, trace))
    changes = [_shown("trace", number, folder, rank, title)]
    groups = _rows(db, "supernode", "trace", trace)
    numbers = {0: 0} | {row["id"]: next_number(db, "supernode") for row in groups}
    moved = {place_of(old): place_of(new) for old, new in numbers.items()}
    for row in _rows(db, "place", "trace", trace):
        changes.append(added("place", {**row, "trace": number, "item": moved.get(row["item"], row["item"])}))
    for table in _ON_TRACE:
        changes += [added(table, {**row, "trace": number}) for row in _rows(db, table, "trace", trace)]
    for row in _rows(db, "suggestion", "trace", trace):
        changes.append(added("suggestion", {**row, "id": next_number(db, "suggestion"), "trace": number}))
    for row in groups:
        copy = {**row, "id": numbers[row["id"]], "trace": number, "parent": numbers[row["parent"]]}
        changes.append(added("supernode", copy))
        changes += [
            added("member", {**one, "supernode": copy["id"]}) for one in _rows(db, "member", "supernode", row["id"])
        ]
    return changes, number


def copy_experiment(
    db: sqlite_utils.Database, experiment: int, folder: int, rank: int, title: str
) -> tuple[list[RowChange], int]:
    """Copy an experiment with its result inside the caller's transaction; the changes that show it, and its number."""
    number = _hidden_copy(db, "experiment", experiment, folder, rank, title)
    evidence = db.conn.execute("SELECT evidence FROM experiment WHERE id = ?", (number,)).fetchone()[0]
    return [_shown("experiment", number, folder, rank, title, evidence=evidence)], number


def _hidden_copy(db: sqlite_utils.Database, table: str, number: int, folder: int, rank: int, title: str) -> int:
    columns = [
        column.name for column in db[table].columns if column.name not in ("id", "title", "deleted", "parent", "rank")
    ]
    cursor = db.conn.execute(
        f"INSERT INTO {table} (title, deleted, parent, rank, {', '.join(columns)}) "
        f"SELECT ?, 1, ?, ?, {', '.join(columns)} FROM {table} WHERE id = ?",
        (title, folder, rank, number),
    )
    return int(cursor.lastrowid)


def _shown(table: str, number: int, folder: int, rank: int, title: str, **more: str) -> RowChange:
    row: Row = {"id": number, "title": title, "deleted": 1, "parent": folder, "rank": rank, **more}
    return replaced(table, row, deleted=0)


def _rows(db: sqlite_utils.Database, table: str, column: str, number: int) -> list[Row]:
    names = ", ".join(EDITED[table].columns)
    return [dict(row) for row in db[table].rows_where(f"{column} = ?", [number], select=names)]
