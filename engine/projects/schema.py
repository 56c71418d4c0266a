"""The tables of a project file, and which of them a person edits. docs/project-file.md describes each."""

from __future__ import annotations

from dataclasses import dataclass

APPLICATION_ID = 0x4C4F5550  # "LOUP", seen by file(1) and read from the header before SQLite opens the file
MAJOR_VERSION = 1
MINOR_VERSION = 1
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
        n_edges INTEGER NOT NULL, n_layers INTEGER NOT NULL, measure TEXT NOT NULL, report TEXT NOT NULL, meta TEXT,
        parent INTEGER NOT NULL, rank INTEGER NOT NULL, spec TEXT
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
        trace INTEGER NOT NULL REFERENCES trace (id), node INTEGER NOT NULL, text TEXT NOT NULL, source TEXT NOT NULL,
        PRIMARY KEY (trace, node)
    ) STRICT, WITHOUT ROWID""",
    "supernode": """CREATE TABLE supernode (
        id INTEGER PRIMARY KEY AUTOINCREMENT, trace INTEGER NOT NULL REFERENCES trace (id), name TEXT NOT NULL,
        colour TEXT NOT NULL, collapsed INTEGER NOT NULL, parent INTEGER NOT NULL, note TEXT NOT NULL
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
    "feature_label": """CREATE TABLE feature_label (
        id INTEGER PRIMARY KEY AUTOINCREMENT, dictionary TEXT NOT NULL, layer INTEGER NOT NULL,
        feature INTEGER NOT NULL, text TEXT NOT NULL, source TEXT NOT NULL, UNIQUE (dictionary, layer, feature)
    ) STRICT""",
    "label_version": """CREATE TABLE label_version (
        id INTEGER PRIMARY KEY AUTOINCREMENT, trace INTEGER NOT NULL, node INTEGER NOT NULL, dictionary TEXT NOT NULL,
        layer INTEGER NOT NULL, feature INTEGER NOT NULL, text TEXT NOT NULL, source TEXT NOT NULL, given TEXT NOT NULL
    ) STRICT""",
    "item": """CREATE TABLE item (
        id INTEGER PRIMARY KEY AUTOINCREMENT, parent INTEGER NOT NULL, rank INTEGER NOT NULL, kind TEXT NOT NULL,
        title TEXT NOT NULL, trace INTEGER NOT NULL, text TEXT NOT NULL, content TEXT NOT NULL
    ) STRICT""",
    "tag": """CREATE TABLE tag (
        kind TEXT NOT NULL, number INTEGER NOT NULL, text TEXT NOT NULL, PRIMARY KEY (kind, number, text)
    ) STRICT, WITHOUT ROWID""",
    "suggestion": """CREATE TABLE suggestion (
        id INTEGER PRIMARY KEY AUTOINCREMENT, trace INTEGER NOT NULL REFERENCES trace (id), kind TEXT NOT NULL,
        content TEXT NOT NULL, source TEXT NOT NULL, state TEXT NOT NULL
    ) STRICT""",
    "experiment": """CREATE TABLE experiment (
        id INTEGER PRIMARY KEY AUTOINCREMENT, title TEXT NOT NULL, deleted INTEGER NOT NULL, parent INTEGER NOT NULL,
        rank INTEGER NOT NULL, evidence TEXT NOT NULL, created TEXT NOT NULL, trace INTEGER NOT NULL,
        kind TEXT NOT NULL, settings TEXT NOT NULL, result TEXT NOT NULL
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
    rows: edits change the columns named here and never insert or delete. Snapshots leave out what only ever grows.
    """

    keys: tuple[str, ...]
    columns: dict[str, type]
    whole: bool = True
    snapshot: bool = True
    # The columns with text that full-text search finds, the column with its trace (None: of no trace), and the one
    # that tells rows apart.
    text: tuple[str, ...] = ()
    trace: str | None = "trace"
    item: str | None = None


EDITED: dict[str, EditedTable] = {
    "project": EditedTable(("id",), {"id": int, "name": str}, whole=False, trace=None),
    "trace": EditedTable(
        ("id",),
        {"id": int, "title": str, "deleted": int, "parent": int, "rank": int},
        whole=False,
        text=("title",),
        trace="id",
        item="id",
    ),
    "pin": EditedTable(("trace", "node"), {"trace": int, "node": int, "rank": int}),
    "label": EditedTable(
        ("trace", "node"), {"trace": int, "node": int, "text": str, "source": str}, text=("text",), item="node"
    ),
    "supernode": EditedTable(
        ("id",),
        {"id": int, "trace": int, "name": str, "colour": str, "collapsed": int, "parent": int, "note": str},
        text=("name", "note"),
        item="id",
    ),
    "member": EditedTable(("supernode", "node"), {"supernode": int, "node": int, "rank": int}, trace=None),
    "note": EditedTable(("trace",), {"trace": int, "text": str}, text=("text",), item="trace"),
    "place": EditedTable(("trace", "item"), {"trace": int, "item": str, "x": float, "y": float}),
    "feature_label": EditedTable(
        ("id",),
        {"id": int, "dictionary": str, "layer": int, "feature": int, "text": str, "source": str},
        text=("text",),
        trace=None,
        item="id",
    ),
    "label_version": EditedTable(
        ("id",),
        {
            "id": int,
            "trace": int,
            "node": int,
            "dictionary": str,
            "layer": int,
            "feature": int,
            "text": str,
            "source": str,
            "given": str,
        },
        snapshot=False,
    ),
    "item": EditedTable(
        ("id",),
        {
            "id": int,
            "parent": int,
            "rank": int,
            "kind": str,
            "title": str,
            "trace": int,
            "text": str,
            "content": str,
        },
        text=("title", "text"),
        item="id",
    ),
    "tag": EditedTable(("kind", "number", "text"), {"kind": str, "number": int, "text": str}, trace=None),
    "suggestion": EditedTable(
        ("id",), {"id": int, "trace": int, "kind": str, "content": str, "source": str, "state": str}
    ),
    "experiment": EditedTable(
        ("id",),
        {"id": int, "title": str, "deleted": int, "parent": int, "rank": int, "evidence": str},
        whole=False,
        text=("title",),
        trace=None,
        item="id",
    ),
}
