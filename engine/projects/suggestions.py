"""What the program, or a file, proposes for a trace: pins, groups and labels, accepted or refused one by one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlite_utils

from engine.errors import RequestError
from engine.projects import encoding
from engine.projects.annotations import TraceEdits
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
    """One proposal: a supernode of some nodes, (kind "label") a name for one node, or (kind "pin") a node to pin."""

    id: int
    trace: int
    kind: str  # "pin", "group" or "label"
    text: str
    nodes: tuple[int, ...]
    source: str  # what made it, in a few words
    state: str  # "open", "accepted" or "refused"
    reason: str = ""  # why, in a few words
    stability: float | None = None  # how often it comes again when some of the edges are left out, from 0 to 1

    @property
    def key(self) -> str:
        """The same for the same proposal, whatever it is called: what `graphs.suggestions` takes as refused."""
        nodes = ",".join(map(str, self.nodes))
        return f"label {nodes} {self.text}" if self.kind == "label" else f"{self.kind} {nodes}"


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

    def add_group(
        self,
        trace: int,
        name: str,
        nodes: Sequence[int],
        *,
        source: str,
        reason: str = "",
        stability: float | None = None,
    ) -> int | None:
        """Propose a supernode; its number, or None where the same was proposed before, whatever became of it."""
        return self._add(trace, "group", name, nodes, source, _why(reason, stability))

    def add_pin(
        self, trace: int, node: int, name: str, *, source: str, reason: str = "", stability: float | None = None
    ) -> int | None:
        """Propose a node to pin, under the name it has now; the result as with `add_group`."""
        return self._add(trace, "pin", name, [node], source, _why(reason, stability))

    def add_label(self, trace: int, node: int, text: str, *, source: str) -> int | None:
        """Propose a name for a node; the result as with `add_group`."""
        return self._add(trace, "label", text, [node], source, {})

    def accept(self, number: int) -> EditDone | None:
        """Make the supernode or label; undo takes both back."""
        return self._ledger.commit(lambda db: _accepting(db, number))

    def refuse(self, number: int) -> EditDone | None:
        """Keep that it was refused, so that it is not proposed again."""

        def work_out(db: sqlite_utils.Database) -> Edit:
            found, change = _settled(db, number, REFUSED)
            return Edit(f"Refuse {short(found.text)}", found.trace, [change])

        return self._ledger.commit(work_out)

    def _add(
        self, trace: int, kind: str, text: str, nodes: Sequence[int], source: str, why: dict[str, Any]
    ) -> int | None:
        text, source = clean_text(text, MAX_NAME, "A name"), clean_text(source, MAX_NAME, "A source")
        with self._ledger.file.writing() as db:
            row = db.conn.execute("SELECT n_nodes FROM trace WHERE id = ? AND deleted = 0", (trace,)).fetchone()
            if row is None:
                raise missing(trace)
            members = sorted(checked_nodes(nodes, row[0]))
            if not members:
                raise RequestError("A suggestion needs at least one node; select some first.")
            content = clean_content({"text": text, "nodes": members, **why}, "A suggestion")
            number = next_number(db, "suggestion")
            new = Suggestion(number, trace, kind, text, tuple(members), source, OPEN)
            before = db["suggestion"].rows_where("trace = ? AND kind = ?", [trace, kind])
            if any(_read(dict(row)).key == new.key for row in before):
                return None
            db["suggestion"].insert(
                {"id": number, "trace": trace, "kind": kind, "content": content, "source": source, "state": OPEN}
            )
        return number


def _why(reason: str, stability: float | None) -> dict[str, Any]:
    """What of a proposal's content says why; nothing where nothing is said."""
    why: dict[str, Any] = {"reason": clean_text(reason, MAX_NAME, "A reason")} if reason else {}
    return why if stability is None else {**why, "stability": float(stability)}


def _accepting(db: sqlite_utils.Database, number: int) -> Edit:
    found, change = _settled(db, number, ACCEPTED)
    changes: list[RowChange] = [change]
    if found.kind == "pin":
        changes += TraceEdits(db, found.trace).pin(found.nodes).changes
    elif found.kind == "group":
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
    reason, stability = content.get("reason", ""), content.get("stability")
    if row["kind"] not in ("pin", "group", "label") or row["state"] not in STATES or not isinstance(text, str):
        raise DamageError("a suggestion of no kind")
    if not isinstance(nodes, list) or not nodes or not all(type(node) is int and node >= 0 for node in nodes):
        raise DamageError("a suggestion of no nodes")
    if not isinstance(reason, str) or not (stability is None or type(stability) in (int, float)):
        raise DamageError("a suggestion without reason")
    made = (row["source"], row["state"], reason, stability)
    return Suggestion(row["id"], row["trace"], row["kind"], text, tuple(nodes), *made)
