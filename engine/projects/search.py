"""Finding labels, notes, supernodes and traces by the words in them."""

from __future__ import annotations

from dataclasses import dataclass

import sqlite_utils

from engine.projects.encoding import encodable
from engine.projects.faults import DamageError


@dataclass(frozen=True)
class SearchHit:
    """One text that holds the words."""

    kind: str  # "trace", "label", "supernode", "note", "feature_label", "item" or "experiment"
    trace: int  # 0: of the whole project
    item: int  # the node of a label; the number of a supernode, feature label, item or experiment; else the trace
    text: str


def find(db: sqlite_utils.Database, words: str, limit: int = 100) -> list[SearchHit]:
    """Texts that hold every word or its beginning, best match first; deleted traces are left out."""
    terms = [f'"{word}"*' for word in encodable(words).replace('"', " ").replace("\0", " ").split()]
    if not terms:
        return []
    rows = db.conn.execute(
        "SELECT words.kind, words.trace, words.item, words.text FROM words WHERE words MATCH ? "
        "AND (words.trace = 0 OR words.trace IN (SELECT id FROM trace WHERE deleted = 0)) "
        "AND NOT (words.kind = 'experiment' AND words.item IN (SELECT id FROM experiment WHERE deleted = 1)) "
        "ORDER BY rank LIMIT ?",
        (" ".join(terms), limit),
    )
    return [_hit(*row) for row in rows]


def _hit(kind: object, trace: object, item: object, text: object) -> SearchHit:
    # FTS5 tables have no types: what other tables guarantee is checked here.
    if isinstance(kind, str) and isinstance(trace, int) and isinstance(item, int) and isinstance(text, str):
        return SearchHit(kind, trace, item, text)
    raise DamageError("a text of no kind")
