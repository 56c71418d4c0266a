"""What the program, or a file, proposes for a trace: groups and labels that a person accepts or refuses one by one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlite_utils

from engine.errors import RequestError
from engine.projects import encoding
from engine.projects.faults import DamageError, missing
from engine.projects.groups import GroupEdits, checked_nodes
from engine.projects.history import Edit, EditDone
from engine.projects.label_rows import LabelKey, label_changes
from engine.projects.ledger import Ledger
from engine.projects.rows import RowChange, next_number, read_row, replaced
from engine.projects.texts import MAX_NAME, clean_content, clean_text, short

OPEN, ACCEPTED, REFUSED = STATES = ("open", "accepted", "refused")


@dataclass(frozen=True)
class Suggestion:
    """One proposal: a supernode of some nodes, or (kind "label") a name for one node."""

    id: int
    trace: int
    kind: str  # "group" or "label"
    text: str
    nodes: tuple[int, ...]
    source: str  # what made it, in a few words
    state: str  # "open", "accepted" or "refused"


class Suggestions:
    """The suggestions of one project. Making them is no edit; accepting and refusing them is."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def of_trace(self, trace: int, state: str | None = OPEN) -> list[Suggestion]:
        """The suggestions of a trace in one state, or (None) all."""
        with self._ledger.reading() as db:
            rows = db["suggestion"].rows_where("trace = ?", [trace], order_by="id")
            found = [_read(dict(row)) for row in rows]
        return [one for one in found if state in (None, one.state)]

    def add_group(self, trace: int, name: str, nodes: Sequence[int], *, source: str) -> int | None:
        """Propose a supernode; its number, or None where the same was proposed before, whatever became of it."""
        return self._add(trace, "group", name, nodes, source)

    def add_label(self, trace: int, node: int, text: str, *, source: str) -> int | None:
        """Propose a name for a node; the result as with `add_group`."""
        return self._add(trace, "label", text, [node], source)

    def accept(self, number: int) -> EditDone | None:
        """Make the supernode or label; undo takes both back."""
        return self._ledger.commit(lambda db: _accepting(db, number))

    def refuse(self, number: int) -> EditDone | None:
        """Keep that it was refused, so that it is not proposed again."""

        def work_out(db: sqlite_utils.Database) -> Edit:
            found, change = _settled(db, number, REFUSED)
            return Edit(f"Refuse {short(found.text)}", found.trace, [change])

        return self._ledger.commit(work_out)

    def _add(self, trace: int, kind: str, text: str, nodes: Sequence[int], source: str) -> int | None:
        text, source = clean_text(text, MAX_NAME, "A name"), clean_text(source, MAX_NAME, "A source")
        with self._ledger.file.writing() as db:
            row = db.conn.execute("SELECT n_nodes FROM trace WHERE id = ? AND deleted = 0", (trace,)).fetchone()
            if row is None:
                raise missing(trace)
            members = sorted(checked_nodes(nodes, row[0]))
            if not members:
                raise RequestError("A suggestion needs at least one node; select some first.")
            content = clean_content({"text": text, "nodes": members}, "A suggestion")
            same = "SELECT 1 FROM suggestion WHERE trace = ? AND kind = ? AND content = ?"
            if db.conn.execute(same, (trace, kind, content)).fetchone() is not None:
                return None
            number = next_number(db, "suggestion")
            db["suggestion"].insert(
                {"id": number, "trace": trace, "kind": kind, "content": content, "source": source, "state": OPEN}
            )
        return number


def _accepting(db: sqlite_utils.Database, number: int) -> Edit:
    found, change = _settled(db, number, ACCEPTED)
    changes: list[RowChange] = [change]
    if found.kind == "group":
        edit, _ = GroupEdits(db, found.trace).add(found.text, found.nodes)
        changes += edit.changes
    else:
        changes += label_changes(db, LabelKey(found.trace, found.nodes[0]), found.text, "automatic")
    return Edit(f"Accept {short(found.text)}", found.trace, changes)


def _settled(db: sqlite_utils.Database, number: int, state: str) -> tuple[Suggestion, RowChange]:
    row = read_row(db, "suggestion", {"id": int(number)})
    if row is None or row["state"] == ACCEPTED:
        raise RequestError(f"There is no open suggestion {number}; choose one of the list.")
    return _read(row), replaced("suggestion", row, state=state)


def _read(row: dict[str, Any]) -> Suggestion:
    content = encoding.read_table(row["content"])
    text, nodes = content.get("text"), content.get("nodes")
    if row["kind"] not in ("group", "label") or row["state"] not in STATES or not isinstance(text, str):
        raise DamageError("a suggestion of no kind")
    if not isinstance(nodes, list) or not nodes or not all(type(node) is int and node >= 0 for node in nodes):
        raise DamageError("a suggestion of no nodes")
    return Suggestion(row["id"], row["trace"], row["kind"], text, tuple(nodes), row["source"], row["state"])
