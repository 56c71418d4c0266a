"""Taking over what can be understood of a project's tables: of a damaged one, or one of a newer version."""

from __future__ import annotations

import contextlib
import sqlite3
from collections import Counter
from typing import Any

import sqlite_utils

from engine.projects import arrays
from engine.projects.connection import Row
from engine.projects.faults import DamageError
from engine.projects.rows import index_text
from engine.projects.schema import EDITED
from engine.projects.tolerant_reading import READING_ERRORS, TableReader

# In this order: what refers comes after what it refers to.
COPIED = (
    *("array", "trace", "graph_column", "pin", "label", "supernode", "member", "note", "place", "view", "effect"),
    *("setting", "feature_label", "label_version", "item", "tag", "suggestion", "experiment"),
)
# What a column holds where the file is older than the column.
_DEFAULTS: dict[str, Any] = {"parent": 0, "rank": 0, "spec": None, "source": "person", "note": "", "deleted": 0}


def copy_name(source: sqlite_utils.Database, target: sqlite_utils.Database) -> None:
    """Take the project's name over, where it can be read."""
    with contextlib.suppress(*READING_ERRORS):
        for row in TableReader(source, "project").rows():
            target.conn.execute("UPDATE project SET name = ?, created = ?", (row["name"], row["created"]))


def copy_table(
    source: sqlite_utils.Database,
    target: sqlite_utils.Database,
    table: str,
    lost: Counter[str],
    *,
    check_arrays: bool = True,
    count_gaps: bool = True,
) -> None:
    """Take a table's rows over that can be read and that `target` takes; what is lost is counted by table."""
    reader = TableReader(source, table)
    columns = [column.name for column in target[table].columns]
    for row in reader.rows():
        full = {column: row.get(column, _DEFAULTS.get(column)) for column in columns}
        if table == "array" and check_arrays and not _is_whole(full):
            lost[table] += 1
            continue
        try:
            target.conn.execute(
                f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})",
                list(full.values()),
            )
        except (sqlite3.Error, OverflowError):
            lost[table] += 1
    if reader.gaps and count_gaps:
        lost[table] += reader.gaps


def _is_whole(row: Row) -> bool:
    try:
        arrays.check(row)
    except (DamageError, TypeError):
        return False
    return True


def drop_without_reference(db: sqlite_utils.Database, lost: Counter[str]) -> None:
    """Rows that refer to something that is gone: again and again, since what they held may be referred to."""
    while found := db.conn.execute("PRAGMA foreign_key_check").fetchall():
        for table, number, *_ in found:
            if number is not None:
                db.conn.execute(f"DELETE FROM {table} WHERE rowid = ?", (number,))
        for table in sorted({table for table, *_ in found}):
            if table not in ("graph_column", "pin", "label", "member", "place", "supernode", "note", "view"):
                continue
            column, other = ("supernode", "supernode") if table == "member" else ("trace", "trace")
            db.conn.execute(f"DELETE FROM {table} WHERE {column} NOT IN (SELECT id FROM {other})")
            if table == "graph_column":
                db.conn.execute("DELETE FROM graph_column WHERE array NOT IN (SELECT id FROM array)")
        lost.update(table for table, *_ in found)


def index_all(db: sqlite_utils.Database) -> None:
    """Make every text findable that a person wrote."""
    for table, edited in EDITED.items():
        if edited.item is not None:
            for row in list(db[table].rows_where(select=", ".join(edited.columns))):
                index_text(db, table, dict(row))
