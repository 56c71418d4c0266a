"""The tables of older versions, as files of theirs hold them: what a file must be before it is brought along."""

from __future__ import annotations

from engine.projects.schema import TABLES

# What version 1.1 added, and the tables it gave more columns.
NEW_TABLES_1_1 = ("feature_label", "label_version", "item", "tag", "suggestion", "experiment")
_TABLES_1_0 = {
    "trace": """CREATE TABLE trace (
        id INTEGER PRIMARY KEY AUTOINCREMENT, title TEXT NOT NULL, deleted INTEGER NOT NULL DEFAULT 0,
        created TEXT NOT NULL, prompt TEXT NOT NULL, target TEXT NOT NULL, n_nodes INTEGER NOT NULL,
        n_edges INTEGER NOT NULL, n_layers INTEGER NOT NULL, measure TEXT NOT NULL, report TEXT NOT NULL, meta TEXT
    ) STRICT""",
    "label": """CREATE TABLE label (
        trace INTEGER NOT NULL REFERENCES trace (id), node INTEGER NOT NULL, text TEXT NOT NULL,
        PRIMARY KEY (trace, node)
    ) STRICT, WITHOUT ROWID""",
    "supernode": """CREATE TABLE supernode (
        id INTEGER PRIMARY KEY AUTOINCREMENT, trace INTEGER NOT NULL REFERENCES trace (id), name TEXT NOT NULL,
        colour TEXT NOT NULL, collapsed INTEGER NOT NULL
    ) STRICT""",
}


def tables_of(major: int, minor: int) -> dict[str, str]:
    """The statements that made the tables of a version this program reads."""
    if (major, minor) == (1, 0):
        return {table: _TABLES_1_0.get(table, sql) for table, sql in TABLES.items() if table not in NEW_TABLES_1_1}
    return TABLES
