"""Finding labels, notes, supernodes and traces by the words in them."""

from __future__ import annotations

from dataclasses import dataclass

import sqlite_utils


@dataclass(frozen=True)
class SearchHit:
    """One text that holds the words."""

    kind: str  # "trace", "label", "supernode" or "note"
    trace: int
    item: int  # the node of a label, the number of a supernode, else the trace
    text: str


def find(db: sqlite_utils.Database, words: str, limit: int = 100) -> list[SearchHit]:
    """Texts that hold every word or its beginning, best match first; deleted traces are left out."""
    terms = [f'"{word}"*' for word in words.replace('"', " ").replace("\0", " ").split()]
    if not terms:
        return []
    rows = db.conn.execute(
        "SELECT words.kind, words.trace, words.item, words.text FROM words JOIN trace ON trace.id = words.trace "
        "WHERE words MATCH ? AND trace.deleted = 0 ORDER BY rank LIMIT ?",
        (" ".join(terms), limit),
    )
    return [SearchHit(str(kind), int(trace), int(item), str(text)) for kind, trace, item, text in rows]
