"""Making a project file and opening one: every check a file must pass before anything trusts it."""

from __future__ import annotations

import sqlite3
from importlib import metadata
from pathlib import Path

import sqlite_utils

from engine.errors import MachineError, RequestError
from engine.projects.connection import connect, transaction
from engine.projects.encoding import now
from engine.projects.faults import damaged, plainly
from engine.projects.header import Header, read_header, understood
from engine.projects.older_schema import tables_of
from engine.projects.placing import placed
from engine.projects.schema import APPLICATION_ID, PAGE_SIZE, TABLES, USER_VERSION

# Files up to this many bytes are checked page by page when they are opened.
CHECKED_WHOLE = 256 * 2**20
# FTS5 keeps its index in ordinary tables of these names.
_WORDS_TABLES = {f"words_{part}" for part in ("data", "idx", "content", "docsize", "config")}


def make_file(path: Path, name: str, *, overwrite: bool) -> None:
    """Write an empty project, whole or not at all.

    Raises `RequestError` if something is there already or the folder is not, `MachineError` if it cannot be written.
    """
    with placed(path, overwrite=overwrite) as temporary, plainly(path.name):
        db = connect(temporary, "rwc")
        try:
            fill(db, name)
        finally:
            db.conn.close()


def fill(db: sqlite_utils.Database, name: str) -> None:
    """Make the tables of an empty project in an empty database."""
    for pragma in (f"page_size={PAGE_SIZE}", "encoding='UTF-8'", "journal_mode=DELETE"):
        db.conn.execute(f"PRAGMA {pragma}")
    with transaction(db):
        db.conn.execute(f"PRAGMA application_id={APPLICATION_ID}")
        db.conn.execute(f"PRAGMA user_version={USER_VERSION}")
        for statement in TABLES.values():
            db.conn.execute(statement)
        program = f"circuit-loupe {_program_version()}"
        db["project"].insert({"id": 1, "name": name, "created": now(), "program": program})


def open_file(path: Path, mode: str) -> tuple[sqlite_utils.Database, Header]:
    """Connect to a project, `mode` "ro" or "rw", after checking all that can be checked without reading its graphs.

    Raises `RequestError` for a file that is not a whole project of a version this program reads.
    """
    header = read_header(path)
    with plainly(path.name):
        db = connect(path, mode)
        try:
            # Where a program died on the way to another version, the bytes say the new one and SQLite has just gone
            # back to the old.
            header = understood(path.name, db.conn.execute("PRAGMA user_version").fetchone()[0])
            _check_tables(db, path.name, header)
            _check_pages(db, path.name)
            if mode == "rw":
                _leave_wal(db, path.name)
        except BaseException:
            db.conn.close()
            raise
    return db, header


def _check_pages(db: sqlite_utils.Database, name: str) -> None:
    (pages,), (size,) = (db.conn.execute(f"PRAGMA {one}").fetchone() for one in ("page_count", "page_size"))
    # A large file is mostly arrays, each checked against its hash when it is read: opening must not read them all.
    parts = [""] if pages * size <= CHECKED_WHOLE else [f"'{name}'" for name in _table_names(db) if name != "array"]
    rows = [row for part in parts for row in db.conn.execute(f"PRAGMA quick_check({part or 1})").fetchall()]
    if rows != [("ok",)] * len(parts) or db.conn.execute("PRAGMA foreign_key_check").fetchone() is not None:
        raise damaged(name)


def _table_names(db: sqlite_utils.Database) -> list[str]:
    """Every table that holds rows; their names are ours, since the schema was checked."""
    rows = db.conn.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND sql NOT LIKE 'CREATE VIRTUAL%'")
    return [str(name) for (name,) in rows]


def _check_tables(db: sqlite_utils.Database, name: str, header: Header) -> None:
    found: dict[str, str] = {}
    for kind, table, sql in db.conn.execute("SELECT type, name, sql FROM sqlite_master"):
        if kind in ("view", "trigger"):
            raise RequestError(f"{name} holds a {kind}, which no project has; do not trust where it came from.")
        if kind == "index" and sql is not None and not (header.newer_minor or header.newer_major):
            raise damaged(name)  # ours are those that SQLite makes for keys
        if kind == "table" and table not in _WORDS_TABLES and not table.startswith("sqlite_"):
            found[table] = " ".join(str(sql).split())
    if header.newer_major:
        return  # `newer.py` reads what it knows of these tables, and trusts nothing
    # A newer minor version may add tables, and columns at the end of a table.
    if header.newer_minor:
        ours = {table: _columns(db, table) for table in TABLES if table in found}
        right = set(TABLES) <= set(found) and all(
            columns[: len(known)] == known for table, columns in ours.items() if (known := _known_columns()[table])
        )
    else:
        wanted = tables_of(header.major, header.minor)
        right = found == {table: " ".join(sql.split()) for table, sql in wanted.items()}
    projects = db.conn.execute("SELECT count(*) FROM project").fetchone()[0] if right else 0
    if projects != 1:
        raise damaged(name)


def _leave_wal(db: sqlite_utils.Database, name: str) -> None:
    """Back to a rollback journal, if another program switched: -wal files do not survive cloud folders and copies."""
    (mode,) = db.conn.execute("PRAGMA journal_mode=DELETE").fetchone()
    if mode != "delete":
        raise MachineError(f"Another program is using {name}; close it there and try again.")


def _columns(db: sqlite_utils.Database, table: str) -> list[tuple[str, str, int]]:
    rows = db.conn.execute("SELECT name, type, hidden FROM pragma_table_xinfo(?) ORDER BY cid", (table,)).fetchall()
    # FTS5 adds hidden columns of its own after the declared ones.
    return [(str(column), str(kind), int(hidden)) for column, kind, hidden in rows if hidden != 1]


def _known_columns() -> dict[str, list[tuple[str, str, int]]]:
    blank = sqlite_utils.Database(sqlite3.connect(":memory:"), recursive_triggers=False, execute_plugins=False)
    try:
        for statement in TABLES.values():
            blank.conn.execute(statement)
        return {table: _columns(blank, table) for table in TABLES}
    finally:
        blank.conn.close()


def _program_version() -> str:
    try:
        return metadata.version("circuit-loupe")
    except metadata.PackageNotFoundError:
        return "unpacked"
