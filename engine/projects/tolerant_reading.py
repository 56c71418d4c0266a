"""Reading what is left of a damaged database: row by row, around what cannot be read."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any

import sqlite_utils

from engine.projects.connection import Row

# What reading a damaged page may raise; text that is no UTF-8 is replaced, never raised.
READING_ERRORS = (sqlite3.Error, OverflowError, MemoryError, UnicodeDecodeError)
_MOST_GAPS = 2_000
_LARGEST_STEP = 2**40


class TableReader:
    """Yields the rows of one table that can be read; `gaps` counts the places that could not."""

    def __init__(self, db: sqlite_utils.Database, table: str) -> None:
        self._db = db
        self._table = table
        self.gaps = 0
        self.columns = self._readable_columns()

    def _readable_columns(self) -> list[str]:
        """Columns with values of their own; none where the name is not an ordinary table's."""
        try:
            found = self._db.conn.execute(
                "SELECT sql FROM sqlite_master WHERE type = 'table' AND name = ?", (self._table,)
            ).fetchone()
            if found is None or "VIRTUAL" in str(found[0]).upper():
                return []
            self._without_rowid = "WITHOUT ROWID" in str(found[0]).upper()
            rows = self._db.conn.execute("SELECT name, hidden FROM pragma_table_xinfo(?)", (self._table,)).fetchall()
        except READING_ERRORS:
            self.gaps += 1
            return []
        return [str(name) for name, hidden in rows if hidden == 0]

    def rows(self) -> Iterator[Row]:
        """Rows in the order of their keys; those behind a gap may come in another."""
        if not self.columns:
            return
        yield from self._from_both_ends() if self._without_rowid else self._by_number()

    def _by_number(self) -> Iterator[Row]:
        """Forward; at a page that cannot be read, on from the next number behind it, in growing steps."""
        last, step = -(2**62), 0
        while self.gaps < _MOST_GAPS:
            try:
                for number, row in self._select(f"WHERE rowid > {last + step} ORDER BY rowid"):
                    last, step = number, 0
                    yield row
                return
            except READING_ERRORS:
                if step == 0:
                    self.gaps += 1
                    last = max(last, -1)
                step = max(1, 2 * step)
                if step > _LARGEST_STEP:
                    return

    def _from_both_ends(self) -> Iterator[Row]:
        seen: set[tuple[Any, ...]] = set()
        for order in ("ASC", "DESC"):
            key = ", ".join(f"{position} {order}" for position in range(1, len(self.columns) + 1))
            try:
                for _, row in self._select(f"ORDER BY {key}" if order == "DESC" else ""):
                    identity = tuple(row.values())
                    if identity not in seen:
                        seen.add(identity)
                        yield row
                return
            except READING_ERRORS:
                self.gaps += 1

    def _select(self, rest: str) -> Iterator[tuple[int, Row]]:
        number = "0" if self._without_rowid else "rowid"
        names = ", ".join(f'"{name}"' for name in self.columns)
        for found in self._db.conn.execute(f'SELECT {number}, {names} FROM "{self._table}" NOT INDEXED {rest}'):
            yield found[0], dict(zip(self.columns, found[1:], strict=True))
