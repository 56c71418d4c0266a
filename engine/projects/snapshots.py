"""The last ten states of everything a person wrote, taken when a project is opened, to go back to after a mishap."""

from __future__ import annotations

from dataclasses import dataclass

import sqlite_utils

from engine.errors import RequestError
from engine.projects import encoding
from engine.projects.connection import Row
from engine.projects.encoding import now
from engine.projects.faults import DamageError
from engine.projects.history import Edit
from engine.projects.rows import RowChange, key_of, parse_row
from engine.projects.schema import EDITED

KEPT = 10
_TABLES = {table: edited for table, edited in EDITED.items() if edited.snapshot}


@dataclass(frozen=True)
class SnapshotRow:
    """One state that can be gone back to."""

    id: int
    created: str  # ISO 8601, UTC


def take_snapshot(db: sqlite_utils.Database) -> None:
    """Keep the present state inside the caller's transaction, if anybody wrote anything since the last one."""
    content = encoding.write(_present(db))
    last = db.conn.execute("SELECT content FROM snapshot ORDER BY id DESC LIMIT 1").fetchone()
    if last is not None and last[0] == content:
        return
    if last is None and db.conn.execute("SELECT count(*) FROM history").fetchone()[0] == 0:
        return
    db.conn.execute("INSERT INTO snapshot (created, content) VALUES (?, ?)", (now(), content))
    db.conn.execute("DELETE FROM snapshot WHERE id NOT IN (SELECT id FROM snapshot ORDER BY id DESC LIMIT ?)", (KEPT,))


def list_snapshots(db: sqlite_utils.Database) -> list[SnapshotRow]:
    """The states that are kept, newest first."""
    return [SnapshotRow(*row) for row in db.conn.execute("SELECT id, created FROM snapshot ORDER BY id DESC")]


def restoring(db: sqlite_utils.Database, snapshot: int) -> Edit:
    """The edit that goes back to a snapshot; traces that came later keep what was written on them.

    Raises `RequestError` if there is no such snapshot, `DamageError` if its content is not what this program writes.
    """
    found = db.conn.execute("SELECT created, content FROM snapshot WHERE id = ?", (snapshot,)).fetchone()
    if found is None:
        raise RequestError(f"The project keeps no state {snapshot}; choose one of the list.")
    created, text = found
    wanted = _parse(text)
    present = {table: _by_key(table, rows) for table, rows in _present(db).items()}
    known = {row["id"] for row in wanted["trace"].values()}
    group_trace = {row["id"]: row["trace"] for rows in (wanted, present) for row in rows["supernode"].values()}
    changes = []
    for table, edited in _TABLES.items():
        for key in dict.fromkeys((*present[table], *wanted[table])):
            before, after = present[table].get(key), wanted[table].get(key)
            row = before or after
            assert row is not None
            if not edited.whole and None in (before, after):
                continue
            trace = group_trace.get(row["supernode"]) if table == "member" else row.get("trace")
            if after is None and trace and trace not in known:
                continue
            changes.append(RowChange(table, key_of(table, row), before, after))
    return Edit(f"Go back to {created[:16].replace('T', ' ')}", None, changes)


def _present(db: sqlite_utils.Database) -> dict[str, list[Row]]:
    return {
        table: [
            dict(zip(edited.columns, row, strict=True))
            for row in db.conn.execute(
                f"SELECT {', '.join(edited.columns)} FROM {table} ORDER BY {', '.join(edited.keys)}"
            )
        ]
        for table, edited in _TABLES.items()
    }


def _parse(text: str) -> dict[str, dict[tuple[object, ...], Row]]:
    content = encoding.read_table(text)
    if set(content) != set(_TABLES) or not all(isinstance(rows, list) for rows in content.values()):
        raise DamageError("a snapshot of other tables")
    return {table: _by_key(table, [parse_row(table, row) for row in rows]) for table, rows in content.items()}


def _by_key(table: str, rows: list[Row]) -> dict[tuple[object, ...], Row]:
    return {tuple(row[name] for name in EDITED[table].keys): row for row in rows}
