"""Copies of traces and experiments, inside one project or out of another.

The part that no edit may make (a graph, a result) is written first, hidden; the edit then shows it, and undo hides it.
"""

from __future__ import annotations

from sqlite_utils import Database

from engine.projects import arrays
from engine.projects.connection import Row
from engine.projects.encoding import now
from engine.projects.groups import place_of
from engine.projects.label_rows import LabelKey
from engine.projects.rows import RowChange, added, next_number, replaced
from engine.projects.schema import EDITED


def copy_trace(
    source: Database, db: Database, trace: int, folder: int, rank: int, title: str, *, given_by: str | None = None
) -> tuple[list[RowChange], int]:
    """Copy a trace with everything on it inside the caller's transaction; the changes that show it, and its number.

    `source` is where it is, checked by the caller if that is another file. The graph's arrays are immutable and found
    by content, so that a copy in the same file takes no room for them. `given_by`: who then gave the labels.
    """
    number = _hidden_copy(source, db, "trace", trace, {"title": title, "parent": folder, "rank": rank})
    columns = "SELECT graph_column.name, array.* FROM graph_column JOIN array ON array.id = array WHERE trace = ?"
    for row in source.query(columns, [trace]):
        array = arrays.store(db, arrays.as_packed(row))
        db.conn.execute("INSERT INTO graph_column (trace, name, array) VALUES (?, ?, ?)", (number, row["name"], array))
    for (value,) in source.conn.execute("SELECT value FROM view WHERE trace = ?", (trace,)).fetchall():
        db.conn.execute("INSERT INTO view (trace, value) VALUES (?, ?)", (number, value))
    changes = [_shown("trace", number, folder, rank, title)]
    for table in ("pin", "note"):
        changes += [added(table, {**row, "trace": number}) for row in _rows(source, table, "trace", trace)]
    for row in _rows(source, "label", "trace", trace):
        label = {**row, "trace": number, "source": given_by or row["source"]}
        version = {**LabelKey(number, row["node"]).columns, "text": row["text"], "source": label["source"]}
        changes.append(added("label", label))
        changes.append(added("label_version", {"id": next_number(db, "label_version"), **version, "given": now()}))
    for row in _rows(source, "suggestion", "trace", trace):
        changes.append(added("suggestion", {**row, "id": next_number(db, "suggestion"), "trace": number}))
    return changes + _groups_and_places(source, db, trace, number), number


def _groups_and_places(source: Database, db: Database, trace: int, number: int) -> list[RowChange]:
    groups = _rows(source, "supernode", "trace", trace)
    numbers = {0: 0} | {row["id"]: next_number(db, "supernode") for row in groups}
    changes = []
    for row in groups:
        copy = {**row, "id": numbers[row["id"]], "trace": number, "parent": numbers[row["parent"]]}
        changes.append(added("supernode", copy))
        for member in _rows(source, "member", "supernode", row["id"]):
            changes.append(added("member", {**member, "supernode": copy["id"]}))
    moved = {place_of(old): place_of(new) for old, new in numbers.items()}
    for row in _rows(source, "place", "trace", trace):
        changes.append(added("place", {**row, "trace": number, "item": moved.get(row["item"], row["item"])}))
    return changes


def copy_experiment(
    source: Database, db: Database, experiment: int, folder: int, rank: int, title: str, *, trace: int | None = None
) -> tuple[list[RowChange], int]:
    """Copy an experiment with its result inside the caller's transaction; the changes that show it, and its number.

    `trace`: the one it then belongs to (None: the same).
    """
    new: Row = {"title": title, "parent": folder, "rank": rank}
    if trace is not None:
        new["trace"] = trace
    number = _hidden_copy(source, db, "experiment", experiment, new)
    evidence = db.conn.execute("SELECT evidence FROM experiment WHERE id = ?", (number,)).fetchone()[0]
    return [_shown("experiment", number, folder, rank, title, evidence=evidence)], number


def _hidden_copy(source: Database, db: Database, table: str, number: int, new: Row) -> int:
    (row,) = source.query(f"SELECT * FROM {table} WHERE id = ?", [number])
    row = {**row, **new, "deleted": 1}
    del row["id"]
    cursor = db.conn.execute(
        f"INSERT INTO {table} ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})", list(row.values())
    )
    return int(cursor.lastrowid)


def _shown(table: str, number: int, folder: int, rank: int, title: str, **more: str) -> RowChange:
    row: Row = {"id": number, "title": title, "deleted": 1, "parent": folder, "rank": rank, **more}
    return replaced(table, row, deleted=0)


def _rows(db: Database, table: str, column: str, number: int) -> list[Row]:
    names = ", ".join(EDITED[table].columns)
    return [dict(row) for row in db[table].rows_where(f"{column} = ?", [number], select=names)]
