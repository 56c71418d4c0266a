"""The rows that stand in a project's tree: traces, experiments, and items (folders, prompts, notes, circuits)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import sqlite_utils

from engine.errors import RequestError
from engine.projects.connection import Row
from engine.projects.faults import DamageError
from engine.projects.rows import read_row

Kind = Literal["folder", "prompt", "note", "circuit", "trace", "experiment"]
ITEM_KINDS: tuple[Kind, ...] = ("folder", "prompt", "note", "circuit")
# The folder that everything is in: the top of the tree, which is no entry itself.
TOP = 0


@dataclass(frozen=True)
class TreeRef:
    """What tells one entry of the tree from all others."""

    table: Literal["trace", "item", "experiment"]
    number: int


@dataclass(frozen=True)
class TreeEntry:
    """One entry of a project's tree."""

    ref: TreeRef
    kind: Kind
    title: str
    folder: int  # the number of the folder it is in, 0 at the top
    trace: int  # the trace a circuit or an experiment belongs to; its own number for a trace; else 0
    tags: tuple[str, ...] = ()


def last_rank(db: sqlite_utils.Database, folder: int) -> int:
    """The place of the last entry of a folder, -1 if it is empty."""
    found = db.conn.execute(
        "SELECT max(rank) FROM (SELECT rank FROM trace WHERE parent = ?1 UNION ALL SELECT rank FROM item WHERE "
        "parent = ?1 UNION ALL SELECT rank FROM experiment WHERE parent = ?1)",
        (folder,),
    ).fetchone()[0]
    return -1 if found is None else int(found)


def entries(db: sqlite_utils.Database) -> list[TreeEntry]:
    """Everything that is in the tree, folder by folder in the order of its entries, each after the folder it is in.

    What a file says is in no folder, or in one that contains itself, is at the top: it can be seen and moved.
    """
    traces = {number for (number,) in db.conn.execute("SELECT id FROM trace WHERE deleted = 0")}
    tags: dict[tuple[str, int], list[str]] = {}
    for kind, number, text in db.conn.execute("SELECT kind, number, text FROM tag ORDER BY text"):
        tags.setdefault((kind, number), []).append(text)
    found: dict[int, list[TreeEntry]] = {}
    rows = db.conn.execute(
        "SELECT 'trace', id, 'trace', title, parent, id, rank FROM trace WHERE deleted = 0 UNION ALL "
        "SELECT 'item', id, kind, title, parent, trace, rank FROM item UNION ALL "
        "SELECT 'experiment', id, 'experiment', title, parent, trace, rank FROM experiment WHERE deleted = 0 "
        "ORDER BY 7, 1, 2"
    )
    for table, number, kind, title, parent, trace, _ in rows:
        if table == "item" and kind not in ITEM_KINDS:
            raise DamageError("an entry of no kind")
        if trace and trace not in traces:
            continue  # its trace is deleted, and it with it
        entry = TreeEntry(TreeRef(table, number), kind, title, parent, trace, tuple(tags.get((table, number), ())))
        found.setdefault(parent, []).append(entry)
    return _in_order(found)


def _in_order(found: dict[int, list[TreeEntry]]) -> list[TreeEntry]:
    order: list[TreeEntry] = []

    def walk(folder: int) -> None:
        waiting = list(reversed(found.pop(folder, [])))
        while waiting:
            entry = waiting.pop()
            order.append(entry)
            if entry.kind == "folder":
                waiting += reversed(found.pop(entry.ref.number, []))

    walk(TOP)
    while found:
        lost = min(found)
        found[TOP] = [_at_top(entry) for entry in found.pop(lost)]
        walk(TOP)
    return order


def _at_top(entry: TreeEntry) -> TreeEntry:
    return TreeEntry(entry.ref, entry.kind, entry.title, TOP, entry.trace, entry.tags)


def inside(db: sqlite_utils.Database, folder: int) -> list[TreeEntry]:
    """Everything in a folder, and in the folders in it; the folder itself is not among them."""
    known, found = {folder}, []
    for entry in entries(db):
        if entry.folder in known:
            found.append(entry)
            if entry.kind == "folder":
                known.add(entry.ref.number)
    return found


def entry_row(db: sqlite_utils.Database, ref: TreeRef) -> Row:
    """The editable columns of an entry; `RequestError` if it is not there."""
    row = read_row(db, ref.table, {"id": int(ref.number)}) if ref.table in ("trace", "item", "experiment") else None
    if row is None or row.get("deleted"):
        raise RequestError(
            f"The project has no {ref.table} {ref.number}; it may have been deleted, undo brings it back."
        )
    return row


def check_folder(db: sqlite_utils.Database, folder: int) -> int:
    """The number of a folder that is there, or of the top; `RequestError` otherwise."""
    if folder != TOP and entry_row(db, TreeRef("item", folder))["kind"] != "folder":
        raise RequestError("That is not a folder; choose a folder to put things into.")
    return int(folder)
