"""What a person adds to a trace, and the edits that change it: worked out here, applied by `history`."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import sqlite_utils

from engine.errors import RequestError
from engine.projects import encoding
from engine.projects.connection import Row
from engine.projects.faults import DamageError, missing
from engine.projects.history import Edit
from engine.projects.rows import RowChange, key_of, read_row

PlaceKey = int | str

MAX_NAME = 1_000
MAX_NOTE = 1_000_000
_COLOUR = re.compile(r"[A-Za-z0-9#_.-]{0,32}\Z")
_TITLE_WORDS = 60


@dataclass(frozen=True)
class Group:
    """A supernode: nodes that a person reads as one. A node is in one supernode at most."""

    id: int
    name: str
    colour: str  # "" where the theme chooses
    nodes: tuple[int, ...]
    collapsed: bool


@dataclass(frozen=True)
class Annotations:
    """Everything a person added to one trace."""

    pins: tuple[int, ...]  # node numbers, in the order they were pinned
    labels: dict[int, str]
    groups: tuple[Group, ...]
    note: str
    positions: dict[PlaceKey, tuple[float, float]]  # where a person put a node (its number) or anything else (a text)


def read_annotations(db: sqlite_utils.Database, trace: int) -> Annotations:
    """The annotations of a trace; raises `DamageError` if they name nodes the trace does not have."""
    n_nodes = _n_nodes(db, trace)

    def rows(sql: str) -> list[tuple[object, ...]]:
        return list(db.conn.execute(sql, (trace,)))

    def node(number: object) -> int:
        if not (isinstance(number, int) and 0 <= number < n_nodes):
            raise DamageError("an annotation of a node that is not there")
        return number

    members: dict[object, list[int]] = {}
    for supernode, number in rows(
        "SELECT supernode, node FROM member JOIN supernode ON supernode.id = supernode WHERE trace = ? "
        "ORDER BY rank, node"
    ):
        members.setdefault(supernode, []).append(node(number))
    groups = rows("SELECT id, name, colour, collapsed FROM supernode WHERE trace = ? ORDER BY id")
    notes = rows("SELECT text FROM note WHERE trace = ?")
    return Annotations(
        pins=tuple(node(number) for (number,) in rows("SELECT node FROM pin WHERE trace = ? ORDER BY rank, node")),
        labels={node(n): str(text) for n, text in rows("SELECT node, text FROM label WHERE trace = ? ORDER BY node")},
        groups=tuple(
            Group(int(str(i)), str(name), _known_colour(str(colour)), tuple(members.get(i, ())), bool(collapsed))
            for i, name, colour, collapsed in groups
        ),
        note=str(notes[0][0]) if notes else "",
        positions=dict(
            _place(item, x, y) for item, x, y in rows("SELECT item, x, y FROM place WHERE trace = ? ORDER BY item")
        ),
    )


class TraceEdits:
    """Works out the edits of one trace. Writes nothing; raises `RequestError` for what cannot be."""

    def __init__(self, db: sqlite_utils.Database, trace: int) -> None:
        self.db = db
        self.trace = trace
        self.n_nodes = _n_nodes(db, trace)

    def pin(self, nodes: Sequence[int]) -> Edit:
        """Pin nodes after those already pinned."""
        new = [n for n in self._checked(nodes) if read_row(self.db, "pin", {"trace": self.trace, "node": n}) is None]
        last = self.db.conn.execute("SELECT max(rank) FROM pin WHERE trace = ?", (self.trace,)).fetchone()[0]
        first = 0 if last is None else last + 1
        rows = [{"trace": self.trace, "node": node, "rank": first + i} for i, node in enumerate(new)]
        return self._edit(f"Pin {_counted(len(new))}", [_added("pin", row) for row in rows])

    def unpin(self, nodes: Sequence[int]) -> Edit:
        """Take pins away."""
        changes = [_removed("pin", row) for n in self._checked(nodes) if (row := self._row("pin", node=n)) is not None]
        return self._edit(f"Unpin {_counted(len(changes))}", changes)

    def label(self, node: int, text: str, described: str | None) -> Edit:
        """Name a node; an empty text takes the name away."""
        (node,) = self._checked([node])
        text = clean_text(text, MAX_NAME, "A label")
        title = f"{'Label' if text.strip() else 'Remove the label of'} {_short(described or f'node {node}')}"
        return self._edit(title, [self._text_change("label", text, node=node)])

    def note(self, text: str) -> Edit:
        """Write the trace's note; an empty text takes it away."""
        text = clean_text(text, MAX_NOTE, "A note")
        return self._edit("Write the note" if text.strip() else "Clear the note", [self._text_change("note", text)])

    def place(self, key: PlaceKey, x: float, y: float) -> Edit:
        """Put a node, or anything else that has a name, where a person dragged it."""
        if not (math.isfinite(x) and math.isfinite(y)):
            raise RequestError("A position must be two finite numbers; drag the node again.")
        if isinstance(key, int):
            (key,) = self._checked([key])
        else:
            key = clean_text(key, MAX_NAME, "The name of a place")
        item = encoding.write(key)
        row = {"trace": self.trace, "item": item, "x": float(x), "y": float(y)}
        return self._edit("Move a node", [RowChange("place", key_of("place", row), self._row("place", item=item), row)])

    def add_group(self, name: str, nodes: Sequence[int]) -> tuple[Edit, int]:
        """Make a supernode of some nodes; those in another one leave it. Also gives the new supernode's number."""
        edit, number = self.first_group(name, nodes)
        members = [change.key["node"] for change in edit.changes if change.table == "member"]
        leaving = self._leave_groups(members, but=number)
        return self._edit(edit.title, [edit.changes[0], *leaving, *edit.changes[1:]]), number

    def first_group(self, name: str, nodes: Sequence[int]) -> tuple[Edit, int]:
        """The same for nodes that are in no other supernode, which is not looked up."""
        members = self._checked(nodes)
        if not members:
            raise RequestError("A supernode needs at least one node; select some first.")
        name = clean_text(name, MAX_NAME, "A name")
        number = self._next_group()
        row = {"id": number, "trace": self.trace, "name": name, "colour": "", "collapsed": 0}
        changes = [_added("supernode", row)]
        changes += [_added("member", {"supernode": number, "node": n, "rank": i}) for i, n in enumerate(members)]
        return self._edit(f"Group {_counted(len(members))} as {_short(name)}", changes), number

    def change_group(self, group: int, title: str, **columns: str | int) -> Edit:
        """Change columns of a supernode: its name, colour, or whether it is collapsed."""
        row = self._group(group)
        return self._edit(title, [RowChange("supernode", {"id": group}, row, {**row, **columns})])

    def rename_group(self, group: int, name: str) -> Edit:
        """Give a supernode another name."""
        name = clean_text(name, MAX_NAME, "A name")
        return self.change_group(group, f"Rename supernode {_short(name)}", name=name)

    def recolour_group(self, group: int, colour: str) -> Edit:
        """Give a supernode another colour."""
        if not _COLOUR.match(colour):
            raise RequestError(f"{colour[:40]!r} is not a colour; write it as #rrggbb.")
        return self.change_group(group, f"Colour supernode {_short(self._group(group)['name'])}", colour=colour)

    def collapse_group(self, group: int, collapsed: bool) -> Edit:
        """Draw a supernode as one node, or open it."""
        title = f"{'Collapse' if collapsed else 'Expand'} supernode {_short(self._group(group)['name'])}"
        return self.change_group(group, title, collapsed=int(collapsed))

    def set_group_nodes(self, group: int, nodes: Sequence[int]) -> Edit:
        """Replace the nodes of a supernode; those in another one leave it, and without nodes it is removed."""
        members = self._checked(nodes)
        if not members:
            return self.remove_group(group)
        row = self._group(group)
        wanted = {n: {"supernode": group, "node": n, "rank": i} for i, n in enumerate(members)}
        present = {member["node"]: member for member in self._members(group)}
        changes = [_removed("member", member) for node, member in present.items() if node not in wanted]
        changes += self._leave_groups(members, but=group)
        changes += [RowChange("member", key_of("member", wanted[n]), present.get(n), wanted[n]) for n in members]
        return self._edit(f"Change supernode {_short(row['name'])}", changes)

    def remove_group(self, group: int) -> Edit:
        """Take a supernode apart; its nodes stay."""
        row = self._group(group)
        changes = [_removed("member", member) for member in self._members(group)]
        return self._edit(f"Remove supernode {_short(row['name'])}", [*changes, _removed("supernode", row)])

    def rename(self, title: str) -> Edit:
        """Give the trace another title."""
        title = clean_text(title, MAX_NAME, "A title")
        row = read_row(self.db, "trace", {"id": self.trace})
        assert row is not None
        return self._edit(
            f"Rename trace {_short(title)}", [RowChange("trace", key_of("trace", row), row, {**row, "title": title})]
        )

    def delete(self) -> Edit:
        """Hide the trace; its graph and annotations stay in the file, so that this can be undone."""
        row = read_row(self.db, "trace", {"id": self.trace})
        assert row is not None
        return self._edit(
            f"Delete trace {_short(row['title'])}",
            [RowChange("trace", key_of("trace", row), row, {**row, "deleted": 1})],
        )

    def _edit(self, title: str, changes: list[RowChange]) -> Edit:
        return Edit(title, self.trace, [change for change in changes if change.before != change.after])

    def _checked(self, nodes: Sequence[int]) -> list[int]:
        """Node numbers as plain ints, each once, in order."""
        numbers = list(dict.fromkeys(int(node) for node in nodes))
        for number in numbers:
            if not 0 <= number < self.n_nodes:
                raise RequestError(f"This trace has no node {number}; choose one of its {self.n_nodes} nodes.")
        return numbers

    def _row(self, table: str, **key: int | str) -> Row | None:
        return read_row(self.db, table, {"trace": self.trace, **key})

    def _text_change(self, table: str, text: str, **key: int | str) -> RowChange:
        row = {"trace": self.trace, **key, "text": text}
        after = row if text.strip() else None
        return RowChange(table, key_of(table, row), self._row(table, **key), after)

    def _group(self, group: int) -> Row:
        row = read_row(self.db, "supernode", {"id": int(group)})
        if row is None or row["trace"] != self.trace:
            raise RequestError(f"This trace has no supernode {group}; it may have been removed.")
        return row

    def _members(self, group: int) -> list[Row]:
        rows = self.db["member"].rows_where("supernode = ?", [group], order_by="rank, node")
        return [dict(row) for row in rows]

    def _leave_groups(self, nodes: Sequence[int], *, but: int) -> list[RowChange]:
        """The changes by which nodes leave the supernodes they are in; one left without nodes is removed."""
        leaving, changes = set(nodes), []
        left = self.db.conn.execute(
            "SELECT DISTINCT id FROM supernode JOIN member ON supernode = id "
            "WHERE trace = ? AND id != ? AND node IN (SELECT value FROM json_each(?)) ORDER BY id",
            (self.trace, but, encoding.write(list(nodes))),
        ).fetchall()
        for (number,) in left:
            members = self._members(number)
            gone = [member for member in members if member["node"] in leaving]
            changes += [_removed("member", member) for member in gone]
            if len(gone) == len(members):
                changes.append(_removed("supernode", self._group(number)))
        return changes

    def _next_group(self) -> int:
        # A number is never given twice, not even after an undo: the window may still hold the old one.
        row = self.db.conn.execute("SELECT seq FROM sqlite_sequence WHERE name = 'supernode'").fetchone()
        if row is not None and type(row[0]) is not int:
            raise DamageError("a number of no kind")
        return 1 if row is None else row[0] + 1


def clean_text(text: str, longest: int, what: str) -> str:
    """Text as it can be stored: plain, encodable. Raises `RequestError` if it is too long."""
    if len(text) > longest:
        raise RequestError(f"{what} holds at most {longest:,} characters; shorten it.")
    return encoding.encodable(text)


def _n_nodes(db: sqlite_utils.Database, trace: int) -> int:
    row = db.conn.execute("SELECT n_nodes FROM trace WHERE id = ? AND deleted = 0", (trace,)).fetchone()
    if row is None:
        raise missing(trace)
    return int(row[0])


def _place(item: object, x: object, y: object) -> tuple[PlaceKey, tuple[float, float]]:
    key = encoding.read(str(item))
    if type(key) not in (int, str) or not (isinstance(x, float) and isinstance(y, float)):
        raise DamageError("a place of nothing")
    if not (math.isfinite(x) and math.isfinite(y)):
        raise DamageError("a place that is nowhere")
    return key, (x, y)


def _known_colour(colour: str) -> str:
    if not _COLOUR.match(colour):
        raise DamageError("not a colour")
    return colour


def _added(table: str, row: Row) -> RowChange:
    return RowChange(table, key_of(table, row), None, row)


def _removed(table: str, row: Row) -> RowChange:
    return RowChange(table, key_of(table, row), row, None)


def _counted(nodes: int) -> str:
    return "1 node" if nodes == 1 else f"{nodes} nodes"


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _TITLE_WORDS else line[: _TITLE_WORDS - 1] + "…"
