"""The tree of an investigation (folders, prompts, traces, circuits, experiments, notes), and the edits of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlite_utils

from engine.errors import RequestError
from engine.projects import encoding
from engine.projects.annotations import read_annotations
from engine.projects.connection import Row
from engine.projects.copies import copy_experiment, copy_trace
from engine.projects.groups import restored_circuit
from engine.projects.history import Edit, EditDone
from engine.projects.ledger import Ledger
from engine.projects.rows import RowChange, added, next_number, removed, replaced
from engine.projects.texts import MAX_NAME, MAX_NOTE, clean_content, clean_text, short
from engine.projects.tree_rows import TOP, Kind, TreeEntry, TreeRef, check_folder, entries, entry_row, inside, last_rank

MAX_TAG = 100


class Tree:
    """The tree of one project. Every edit is committed before its method returns, and can be undone."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    # Reading

    def entries(self) -> list[TreeEntry]:
        """Everything that is there, folder by folder, each after the folder it is in."""
        with self._ledger.reading() as db:
            return entries(db)

    def text(self, ref: TreeRef) -> str:
        """The text of a prompt or a note, and the note on a circuit."""
        with self._ledger.reading() as db:
            return str(_item(db, ref)["text"])

    def content(self, ref: TreeRef) -> dict[str, Any]:
        """What else a prompt (its settings) or a circuit (pins, groups, positions) holds."""
        with self._ledger.reading() as db:
            return encoding.read_table(_item(db, ref)["content"])

    def tags(self) -> dict[str, int]:
        """Every tag with the number of entries that have it."""
        count: dict[str, int] = {}
        for entry in self.entries():
            for tag in entry.tags:
                count[tag] = count.get(tag, 0) + 1
        return dict(sorted(count.items()))

    # Making

    def add_folder(self, title: str, *, folder: int = TOP) -> TreeRef:
        """Make a folder in another, or at the top."""
        return self._add("folder", title, folder)

    def gather(
        self, refs: Sequence[TreeRef], title: str, *, folder: int = TOP, content: dict[str, Any] | None = None
    ) -> TreeRef:
        """Put entries into a new folder, in this order, as one edit; `content` is kept with the folder."""
        title, held = clean_text(title, MAX_NAME, "A title"), clean_content(content or {}, "What is kept with it")
        made: list[TreeRef] = []

        def work_out(db: sqlite_utils.Database) -> Edit:
            taken = list(dict.fromkeys(refs))
            for ref in taken:
                _check_not_inside(db, ref, folder)
            number = next_number(db, "item")
            made.append(TreeRef("item", number))
            place = {"parent": check_folder(db, folder), "rank": last_rank(db, folder) + 1}
            row: Row = {"id": number, **place, "kind": "folder", "title": title, "trace": 0, "text": ""}
            rows = [(ref, entry_row(db, ref)) for ref in taken]
            moved = [replaced(ref.table, old, parent=number, rank=rank) for rank, (ref, old) in enumerate(rows)]
            return Edit(f"Add folder {short(title)}", None, [added("item", {**row, "content": held}), *moved])

        self._ledger.commit(work_out)
        return made[0]

    def add_prompt(self, title: str, text: str, settings: dict[str, Any], *, folder: int = TOP) -> TreeRef:
        """Keep a prompt with whatever is needed to trace it (model, dictionary, target): plain JSON values."""
        return self._add("prompt", title, folder, text=text, content=settings)

    def add_note(self, title: str, text: str = "", *, folder: int = TOP) -> TreeRef:
        """Write a note that belongs to no trace."""
        return self._add("note", title, folder, text=text)

    def keep_circuit(self, trace: int, title: str) -> TreeRef:
        """Keep the pins, groups and positions of a trace as they are now; it stands where the trace stands."""
        with self._ledger.reading() as db:
            now = read_annotations(db, trace)
            folder = entry_row(db, TreeRef("trace", trace))["parent"]
        content = {
            "pins": list(now.pins),
            "groups": [
                {
                    "id": group.id,
                    "name": group.name,
                    "colour": group.colour,
                    "nodes": list(group.nodes),
                    "collapsed": group.collapsed,
                    "parent": group.parent,
                    "note": group.note,
                }
                for group in now.groups
            ],
            "positions": [[key, x, y] for key, (x, y) in now.positions.items()],
        }
        return self._add("circuit", title, folder, content=content, trace=trace)

    def show_circuit(self, ref: TreeRef) -> EditDone | None:
        """Put the pins, groups and positions of a kept circuit on its trace, in place of those there are."""

        def work_out(db: sqlite_utils.Database) -> Edit:
            row = _item(db, ref)
            if row["kind"] != "circuit":
                raise RequestError(f"{short(row['title'])} is not a circuit; choose one.")
            changes = restored_circuit(db, row["trace"], encoding.read_table(row["content"]))
            return Edit(f"Show circuit {short(row['title'])}", row["trace"], changes)

        return self._ledger.commit(work_out)

    # Changing

    def rename(self, ref: TreeRef, title: str) -> EditDone | None:
        """Give an entry another title."""
        title = clean_text(title, MAX_NAME, "A title")

        def work_out(db: sqlite_utils.Database) -> Edit:
            row = entry_row(db, ref)
            what = row.get("kind", ref.table)
            return Edit(f"Rename {what} {short(title)}", _trace_of([ref]), [replaced(ref.table, row, title=title)])

        return self._ledger.commit(work_out)

    def write(self, ref: TreeRef, text: str, *, merge: str | None = None) -> EditDone | None:
        """Write the text of a note or prompt, or the note on a circuit; `merge` as in `Project.set_label`."""
        text = clean_text(text, MAX_NOTE, "A note")

        def work_out(db: sqlite_utils.Database) -> Edit:
            row = _item(db, ref)
            return Edit(f"Write {short(row['title'])}", None, [replaced("item", row, text=text)])

        return self._ledger.commit(work_out, None if merge is None else f"{merge}/item {ref.number}")

    def move(self, refs: Sequence[TreeRef], folder: int, *, before: TreeRef | None = None) -> EditDone | None:
        """Put entries into a folder, or at the top, in this order: before one that is there, or at the end."""

        def work_out(db: sqlite_utils.Database) -> Edit:
            moved = list(dict.fromkeys(refs))
            check_folder(db, folder)
            for ref in moved:
                _check_not_inside(db, ref, folder)
            stay = [entry.ref for entry in entries(db) if entry.folder == folder and entry.ref not in moved]
            if before is not None and before not in stay:
                raise RequestError("What it should stand before is not in that folder; choose another place.")
            at = len(stay) if before is None else stay.index(before)
            order = [*stay[:at], *moved, *stay[at:]]
            rows = [(ref, entry_row(db, ref)) for ref in order]
            changes = [replaced(ref.table, row, parent=folder, rank=rank) for rank, (ref, row) in enumerate(rows)]
            return Edit(f"Move {_named(db, moved)}", None, changes)

        return self._ledger.commit(work_out)

    def delete(self, refs: Sequence[TreeRef]) -> EditDone | None:
        """Take entries out of the project, folders with all that is in them; undo brings them back."""

        def work_out(db: sqlite_utils.Database) -> Edit:
            gone = list(dict.fromkeys(refs))
            title = f"Delete {_named(db, gone)}"
            for ref in list(gone):
                if ref.table == "item":
                    gone += [entry.ref for entry in inside(db, ref.number)]
            rows = [(ref, entry_row(db, ref)) for ref in dict.fromkeys(gone)]
            return Edit(
                title,
                _trace_of(refs),
                [
                    removed("item", row) if ref.table == "item" else replaced(ref.table, row, deleted=1)
                    for ref, row in rows
                ],
            )

        return self._ledger.commit(work_out)

    def duplicate(self, ref: TreeRef) -> TreeRef:
        """Copy an entry, beside the first; a trace with everything a person added to it, a folder with all it holds."""
        made: list[TreeRef] = []

        def work_out(db: sqlite_utils.Database) -> Edit:
            row = entry_row(db, ref)
            title = clean_text(f"{row['title'][: MAX_NAME - 5]} copy", MAX_NAME, "A title")
            changes, copy = _copied(db, ref, row["parent"], last_rank(db, row["parent"]) + 1, title)
            made.append(copy)
            if ref.table == "item" and row["kind"] == "folder":
                changes += _copied_inside(db, ref.number, copy.number)
            return Edit(f"Duplicate {short(row['title'])}", None, changes)

        self._ledger.commit(work_out)
        return made[0]

    def tag(self, refs: Sequence[TreeRef], text: str) -> EditDone | None:
        """Put a tag on entries."""
        text = clean_text(" ".join(text.split()), MAX_TAG, "A tag")
        if not text:
            raise RequestError("A tag needs a word; write one.")

        def work_out(db: sqlite_utils.Database) -> Edit:
            for ref in refs:
                entry_row(db, ref)
            new = [ref for ref in dict.fromkeys(refs) if not _has_tag(db, ref, text)]
            title = f"Tag {_named(db, new or refs)} {short(text)}"
            return Edit(title, _trace_of(refs), [added("tag", _tag_row(ref, text)) for ref in new])

        return self._ledger.commit(work_out)

    def untag(self, refs: Sequence[TreeRef], text: str) -> EditDone | None:
        """Take a tag away."""
        text = encoding.encodable(text)

        def work_out(db: sqlite_utils.Database) -> Edit:
            there = [ref for ref in dict.fromkeys(refs) if _has_tag(db, ref, text)]
            title = f"Take the tag {short(text)} from {_named(db, there or refs)}"
            return Edit(title, _trace_of(refs), [removed("tag", _tag_row(ref, text)) for ref in there])

        return self._ledger.commit(work_out)

    def _add(
        self,
        kind: Kind,
        title: str,
        folder: int,
        *,
        text: str = "",
        content: dict[str, Any] | None = None,
        trace: int = 0,
    ) -> TreeRef:
        title, text = clean_text(title, MAX_NAME, "A title"), clean_text(text, MAX_NOTE, "A note")
        held = clean_content(content or {}, "What is kept with it")
        made: list[TreeRef] = []

        def work_out(db: sqlite_utils.Database) -> Edit:
            number = next_number(db, "item")
            made.append(TreeRef("item", number))
            row: Row = {
                "id": number,
                "parent": check_folder(db, folder),
                "rank": last_rank(db, folder) + 1,
                "kind": kind,
            }
            row |= {"title": title, "trace": trace, "text": text, "content": held}
            return Edit(f"Add {kind} {short(title)}", trace or None, [added("item", row)])

        self._ledger.commit(work_out)
        return made[0]


def _copied(
    db: sqlite_utils.Database, ref: TreeRef, folder: int, rank: int, title: str
) -> tuple[list[RowChange], TreeRef]:
    if ref.table == "trace":
        changes, number = copy_trace(db, db, ref.number, folder, rank, title)
        return changes, TreeRef("trace", number)
    if ref.table == "experiment":
        changes, number = copy_experiment(db, db, ref.number, folder, rank, title)
        return changes, TreeRef("experiment", number)
    number = next_number(db, "item")
    row = {**entry_row(db, ref), "id": number, "parent": folder, "rank": rank, "title": title}
    return [added("item", row)], TreeRef("item", number)


def _copied_inside(db: sqlite_utils.Database, folder: int, copy: int) -> list[RowChange]:
    numbers, changes = {folder: copy}, []
    for entry in inside(db, folder):
        row = entry_row(db, entry.ref)
        more, made = _copied(db, entry.ref, numbers[entry.folder], row["rank"], row["title"])
        changes += more
        if entry.kind == "folder":
            numbers[entry.ref.number] = made.number
    return changes


def _check_not_inside(db: sqlite_utils.Database, ref: TreeRef, folder: int) -> None:
    entry_row(db, ref)
    if ref.table == "item" and (
        ref.number == folder or any(entry.ref == TreeRef("item", folder) for entry in inside(db, ref.number))
    ):
        raise RequestError("A folder cannot be put into itself; choose another place.")


def _item(db: sqlite_utils.Database, ref: TreeRef) -> Row:
    if ref.table != "item":
        raise RequestError(f"A {ref.table} has no text of this kind; choose a note, a prompt or a circuit.")
    return entry_row(db, ref)


def _has_tag(db: sqlite_utils.Database, ref: TreeRef, text: str) -> bool:
    row = db.conn.execute(
        "SELECT 1 FROM tag WHERE kind = ? AND number = ? AND text = ?", (ref.table, ref.number, text)
    ).fetchone()
    return row is not None


def _named(db: sqlite_utils.Database, refs: Sequence[TreeRef]) -> str:
    if len(refs) == 1:
        return short(entry_row(db, refs[0])["title"])
    return f"{len(refs)} entries"


def _tag_row(ref: TreeRef, text: str) -> Row:
    return {"kind": ref.table, "number": ref.number, "text": text}


def _trace_of(refs: Sequence[TreeRef]) -> int | None:
    """The trace to show when this is undone, if it is about one."""
    return refs[0].number if len(refs) == 1 and refs[0].table == "trace" else None
