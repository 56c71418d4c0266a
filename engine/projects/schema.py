"""The tables of a project file, and which of them a person edits. docs/project-file.md describes each."""

from __future__ import annotations

from dataclasses import dataclass

APPLICATION_ID = 0x4C4F5550  # "LOUP", seen by file(1) and read from the header before SQLite opens the file
MAJOR_VERSION = 1
MINOR_VERSION = 0
USER_VERSION = MAJOR_VERSION << 16 | MINOR_VERSION

PAGE_SIZE = 4096

# No trigger, no view, no generated column: a file that has one was not written by this program.
TABLES: dict[str, str] = {
    "project": """CREATE TABLE project (
        id INTEGER PRIMARY KEY CHECK (id = 1), name TEXT NOT NULL, created TEXT NOT NULL, program TEXT NOT NULL
    ) STRICT""",
    "owner": """CREATE TABLE owner (
        id INTEGER PRIMARY KEY CHECK (id = 1), token TEXT NOT NULL, process INTEGER NOT NULL, started REAL NOT NULL,
        host TEXT NOT NULL, heartbeat REAL NOT NULL
    ) STRICT""",
    "array": """CREATE TABLE array (
        id INTEGER PRIMARY KEY, sha256 TEXT NOT NULL UNIQUE, dtype TEXT NOT NULL, shape TEXT NOT NULL,
        codec TEXT NOT NULL, raw_bytes INTEGER NOT NULL, data BLOB NOT NULL
    ) STRICT""",
    "trace": """CREATE TABLE trace (
        id INTEGER PRIMARY KEY AUTOINCREMENT, title TEXT NOT NULL, deleted INTEGER NOT NULL DEFAULT 0,
        created TEXT NOT NULL, prompt TEXT NOT NULL, target TEXT NOT NULL, n_nodes INTEGER NOT NULL,
        n_edges INTEGER NOT NULL, n_layers INTEGER NOT NULL, measure TEXT NOT NULL, report TEXT NOT NULL, meta TEXT
    ) STRICT""",
    "graph_column": """CREATE TABLE graph_column (
        trace INTEGER NOT NULL REFERENCES trace (id), name TEXT NOT NULL, array INTEGER NOT NULL REFERENCES array (id),
        PRIMARY KEY (trace, name)
    ) STRICT, WITHOUT ROWID""",
    "pin": """CREATE TABLE pin (
        trace INTEGER NOT NULL REFERENCES trace (id), node INTEGER NOT NULL, rank INTEGER NOT NULL,
        PRIMARY KEY (trace, node)
    ) STRICT, WITHOUT ROWID""",
    "label": """CREATE TABLE label (
        trace INTEGER NOT NULL REFERENCES trace (id), node INTEGER NOT NULL, text TEXT NOT NULL,
        PRIMARY KEY (trace, node)
    ) STRICT, WITHOUT ROWID""",
    "supernode": """CREATE TABLE supernode (
        id INTEGER PRIMARY KEY AUTOINCREMENT, trace INTEGER NOT NULL REFERENCES trace (id), name TEXT NOT NULL,
        colour TEXT NOT NULL, collapsed INTEGER NOT NULL
    ) STRICT""",
    "member": """CREATE TABLE member (
        supernode INTEGER NOT NULL REFERENCES supernode (id), node INTEGER NOT NULL, rank INTEGER NOT NULL,
        PRIMARY KEY (supernode, node)
    ) STRICT, WITHOUT ROWID""",
    "note": """CREATE TABLE note (
        trace INTEGER PRIMARY KEY REFERENCES trace (id), text TEXT NOT NULL
    ) STRICT""",
    "place": """CREATE TABLE place (
        trace INTEGER NOT NULL REFERENCES trace (id), item TEXT NOT NULL, x REAL NOT NULL, y REAL NOT NULL,
        PRIMARY KEY (trace, item)
    ) STRICT, WITHOUT ROWID""",
    "view": """CREATE TABLE view (
        trace INTEGER PRIMARY KEY REFERENCES trace (id), value TEXT NOT NULL
    ) STRICT""",
    "effect": "CREATE TABLE effect (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID",
    "setting": "CREATE TABLE setting (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID",
    "history": """CREATE TABLE history (
        id INTEGER PRIMARY KEY AUTOINCREMENT, created TEXT NOT NULL, title TEXT NOT NULL, trace INTEGER,
        undone INTEGER NOT NULL DEFAULT 0, changes TEXT NOT NULL
    ) STRICT""",
    "snapshot": """CREATE TABLE snapshot (
        id INTEGER PRIMARY KEY AUTOINCREMENT, created TEXT NOT NULL, content TEXT NOT NULL
    ) STRICT""",
    "words": "CREATE VIRTUAL TABLE words USING fts5 (text, kind UNINDEXED, trace UNINDEXED, item UNINDEXED)",
}


@dataclass(frozen=True)
class EditedTable:
    """A table whose rows edits change; the only names that ever reach SQL when history is replayed.

    `columns` are all columns an edit may touch, keys included, with their types. A table that is not `whole` keeps its
    rows: edits change the columns named here and never insert or delete.
    """

    keys: tuple[str, ...]
    columns: dict[str, type]
    whole: bool = True
    # The column with text that full-text search finds, the column with its trace, and the one that tells rows apart.
    text: str | None = None
    trace: str | None = "trace"
    item: str | None = None


EDITED: dict[str, EditedTable] = {
    "project": EditedTable(("id",), {"id": int, "name": str}, whole=False, trace=None),
    "trace": EditedTable(
        ("id",), {"id": int, "title": str, "deleted": int}, whole=False, text="title", trace="id", item="id"
    ),
    "pin": EditedTable(("trace", "node"), {"trace": int, "node": int, "rank": int}),
    "label": EditedTable(
        ("trace", "node"), {"trace": int, "node": int, "text": str}, text="text", trace="trace", item="node"
    ),
    "supernode": EditedTable(
        ("id",),
        {"id": int, "trace": int, "name": str, "colour": str, "collapsed": int},
        text="name",
        trace="trace",
        item="id",
    ),
    "member": EditedTable(("supernode", "node"), {"supernode": int, "node": int, "rank": int}, trace=None),
    "note": EditedTable(("trace",), {"trace": int, "text": str}, text="text", trace="trace", item="trace"),
    "place": EditedTable(("trace", "item"), {"trace": int, "item": str, "x": float, "y": float}),
}
