"""Supernodes: groups of nodes that a person reads as one, nested where that helps, and the edits that change them.

Every edit works on all supernodes of a trace in memory and becomes the difference in rows: a node that joins one
leaves another, one left with nothing in it goes, and so does the one around it that holds nothing else.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import sqlite_utils

from engine.errors import RequestError
from engine.projects import encoding
from engine.projects.faults import DamageError, missing
from engine.projects.history import Edit
from engine.projects.rows import RowChange, added, key_of, next_number, removed
from engine.projects.texts import MAX_NAME, MAX_NOTE, clean_text, counted, short

MAX_DEPTH = 16
_NUMBERS = ([int, int], [int, type(None)])
_COLOUR = re.compile(r"[A-Za-z0-9#_.-]{0,32}\Z")


@dataclass(frozen=True)
class Group:
    """A supernode: nodes that a person reads as one. A node is in one supernode at most."""

    id: int
    name: str
    colour: str  # '#rrggbb', or "" for one that its number gives
    nodes: tuple[int, ...]  # its own, without those of supernodes inside it
    collapsed: bool
    parent: int | None = None  # the supernode it is in
    note: str = ""


Groups = dict[int, Group]


def read_groups(db: sqlite_utils.Database, trace: int, n_nodes: int) -> tuple[Group, ...]:
    """The supernodes of a trace by number; raises `DamageError` for what cannot be."""
    members: dict[int, list[int]] = {}
    for supernode, node in db.conn.execute(
        "SELECT supernode, node FROM member JOIN supernode ON supernode.id = supernode WHERE trace = ? "
        "ORDER BY rank, node",
        (trace,),
    ):
        if not 0 <= node < n_nodes:
            raise DamageError("an annotation of a node that is not there")
        members.setdefault(supernode, []).append(node)
    rows = db.conn.execute(
        "SELECT id, name, colour, collapsed, parent, note FROM supernode WHERE trace = ? ORDER BY id", (trace,)
    )
    groups = {
        number: Group(number, name, colour, tuple(members.get(number, ())), bool(collapsed), parent or None, note)
        for number, name, colour, collapsed, parent, note in rows
    }
    for group in groups.values():
        if not _COLOUR.match(group.colour):
            raise DamageError("not a colour")
        if group.parent not in (None, *groups) or _depth(groups, group.id) > MAX_DEPTH:
            raise DamageError("a supernode in none")
    return tuple(groups.values())


class GroupEdits:
    """Works out the edits of one trace's supernodes. Writes nothing but numbers; `RequestError` for what cannot be."""

    def __init__(self, db: sqlite_utils.Database, trace: int) -> None:
        self.db = db
        self.trace = trace
        row = db.conn.execute("SELECT n_nodes FROM trace WHERE id = ? AND deleted = 0", (trace,)).fetchone()
        if row is None:
            raise missing(trace)
        self.n_nodes = int(row[0])
        self.present: Groups = {group.id: group for group in read_groups(db, trace, self.n_nodes)}

    def add(self, name: str, nodes: Sequence[int], parent: int | None = None, colour: str = "") -> tuple[Edit, int]:
        """Make a supernode of some nodes; those in another one leave it. Also gives the new supernode's number."""
        members = checked_nodes(nodes, self.n_nodes)
        if not members:
            raise RequestError("A supernode needs at least one node; select some first.")
        name = clean_text(name, MAX_NAME, "A name")
        if parent is not None:
            self._group(parent)
        number = next_number(self.db, "supernode")
        after = _without_nodes(self.present, members)
        after[number] = Group(number, name, _asked_colour(colour), members, False, parent)
        return self._edit(f"Group {counted(len(members), 'node')} as {short(name)}", after), number

    def rename(self, group: int, name: str) -> Edit:
        """Give a supernode another name."""
        name = clean_text(name, MAX_NAME, "A name")
        return self._change(group, f"Rename supernode {short(name)}", name=name)

    def recolour(self, group: int, colour: str) -> Edit:
        """Give a supernode another colour."""
        return self._change(group, f"Colour supernode {short(self._group(group).name)}", colour=_asked_colour(colour))

    def collapse(self, groups: Sequence[int], collapsed: bool) -> Edit:
        """Draw supernodes as one node each, or open them."""
        chosen = [self._group(group) for group in groups]
        what = f"supernode {short(chosen[0].name)}" if len(chosen) == 1 else counted(len(chosen), "supernode")
        after = {**self.present, **{one.id: replace(one, collapsed=bool(collapsed)) for one in chosen}}
        return self._edit(f"{'Collapse' if collapsed else 'Expand'} {what}", after)

    def note(self, group: int, text: str) -> Edit:
        """Write on a supernode what one thinks of it."""
        text = clean_text(text, MAX_NOTE, "A note")
        title = f"Write on supernode {short(self._group(group).name)}"
        return self._change(group, title, note=text if text.strip() else "")

    def nest(self, group: int, parent: int | None) -> Edit:
        """Put a supernode into another, or (None) out of all."""
        if parent is not None:
            return self.put_into(parent, (), [group])
        return self._change(group, f"Take out {short(self._group(group).name)}", parent=None)

    def put_into(self, parent: int, nodes: Sequence[int], groups: Sequence[int]) -> Edit:
        """Put nodes and supernodes into a supernode, after those that it holds already."""
        home, members = self._group(parent), checked_nodes(nodes, self.n_nodes)
        above: int | None = parent
        while above is not None:
            if above in groups:
                raise RequestError("A supernode cannot be put into itself; choose another one.")
            above = self._group(above).parent
        after = _without_nodes(self.present, [node for node in members if node not in home.nodes])
        after[parent] = replace(home, nodes=tuple(dict.fromkeys((*home.nodes, *members))))
        for group in groups:
            after[group] = replace(after[self._group(group).id], parent=int(parent))
        alone = len(groups) == 1 and not members
        what = (
            f"supernode {short(self._group(groups[0]).name)}" if alone else counted(len(members) + len(groups), "item")
        )
        return self._edit(f"Put {what} into {short(home.name)}", after)

    def nodes_of(self, group: int) -> tuple[int, ...]:
        """A supernode's own nodes; raises `RequestError` for one that is not there."""
        return self._group(group).nodes

    def set_nodes(self, group: int, nodes: Sequence[int]) -> Edit:
        """Replace the nodes of a supernode; those in another one leave it, and without nodes it is removed."""
        members = checked_nodes(nodes, self.n_nodes)
        row = self._group(group)
        if not members:
            return self.remove(group)
        after = _without_nodes({**self.present, group: replace(row, nodes=())}, members)
        after[group] = replace(row, nodes=members)
        return self._edit(f"Change supernode {short(row.name)}", after)

    def remove(self, group: int) -> Edit:
        """Take a supernode apart, and supernodes in it move to the one around it."""
        gone = self._group(group)
        after = {
            number: replace(one, parent=gone.parent) if one.parent == group else one
            for number, one in self.present.items()
            if number != group
        }
        return self._edit(f"Remove supernode {short(gone.name)}", after)

    def without(self, nodes: Sequence[int]) -> list[RowChange]:
        """The changes that take nodes out of the supernodes they are in; those left with nothing in them go."""
        return self._changes(_without_nodes(self.present, nodes))

    def to(self, after: Iterable[Group]) -> list[RowChange]:
        """The changes that make these the trace's supernodes."""
        return self._changes({group.id: group for group in after})

    def _group(self, group: int) -> Group:
        found = self.present.get(int(group))
        if found is None:
            raise RequestError(f"This trace has no supernode {group}; it may have been removed.")
        return found

    def _change(self, group: int, title: str, **columns: Any) -> Edit:
        return self._edit(title, {**self.present, group: replace(self._group(group), **columns)})

    def _edit(self, title: str, after: Groups) -> Edit:
        return Edit(title, self.trace, self._changes(after))

    def _changes(self, after: Groups) -> list[RowChange]:
        after = _without_empty(after)
        if any(_depth(after, number) > MAX_DEPTH for number in after):
            raise RequestError(f"Supernodes can stand {MAX_DEPTH} deep in each other; take some out first.")
        changes: list[RowChange] = []
        for number in sorted({*self.present, *after}):
            before, now = self.present.get(number), after.get(number)
            if before == now:
                continue
            rows = [None if group is None else self._row(group) for group in (before, now)]
            changes.append(RowChange("supernode", {"id": number}, rows[0], rows[1]))
            changes += self._member_changes(number, () if now is None else now.nodes)
        return changes

    def _row(self, group: Group) -> dict[str, Any]:
        row: dict[str, Any] = {"id": group.id, "trace": self.trace, "name": group.name, "colour": group.colour}
        return {**row, "collapsed": int(group.collapsed), "parent": group.parent or 0, "note": group.note}

    def _member_changes(self, group: int, nodes: Sequence[int]) -> list[RowChange]:
        present = {
            row["node"]: dict(row)
            for row in self.db["member"].rows_where("supernode = ?", [group], order_by="rank, node")
        }
        if list(present) == list(nodes):
            return []
        changes = [removed("member", row) for node, row in present.items() if node not in set(nodes)]
        for rank, node in enumerate(nodes):
            row = {"supernode": group, "node": node, "rank": rank}
            old = present.get(node)
            changes.append(
                added("member", row) if old is None else RowChange("member", key_of("member", row), old, row)
            )
        return [change for change in changes if change.before != change.after]


def place_of(group: int) -> str:
    """The item under which the position of a supernode is kept."""
    return encoding.write(f"supernode {group}")


def checked_nodes(nodes: Sequence[int], n_nodes: int) -> tuple[int, ...]:
    """Node numbers as plain ints, each once, in order; `RequestError` for one that the trace does not have."""
    numbers = tuple(dict.fromkeys(int(node) for node in nodes))
    for number in numbers:
        if not 0 <= number < n_nodes:
            raise RequestError(f"This trace has no node {number}; choose one of its {n_nodes} nodes.")
    return numbers


def restored_circuit(db: sqlite_utils.Database, trace: int, content: dict[str, Any]) -> list[RowChange]:
    """The changes that put a kept circuit's pins, groups and positions on its trace; `DamageError` for foreign content.

    A supernode keeps its number where it is still there, and gets a new one where it is not.
    """
    edits = GroupEdits(db, trace)
    try:
        pins = checked_nodes(content["pins"], edits.n_nodes)
        kept = [_kept_group(group, edits.n_nodes) for group in content["groups"]]
        places = [(encoding.write(key), float(x), float(y)) for key, x, y in content["positions"]]
        if not all(math.isfinite(x) and math.isfinite(y) for _, x, y in places):
            raise ValueError("a place that is nowhere")
        numbers: dict[int | None, int | None] = {None: None} | {
            group.id: group.id if group.id in edits.present else next_number(db, "supernode") for group in kept
        }
        groups = [replace(group, id=numbers[group.id] or 0, parent=numbers[group.parent]) for group in kept]
        changes = edits.to(groups)
        moved = {place_of(old): place_of(new) for old, new in numbers.items() if old is not None and new is not None}
        places = [(moved.get(item, item), x, y) for item, x, y in places]
    except (KeyError, TypeError, ValueError, RequestError) as error:
        raise DamageError("a circuit of another kind") from error
    wanted: dict[str, list[dict[str, Any]]] = {
        "pin": [{"trace": trace, "node": node, "rank": rank} for rank, node in enumerate(pins)],
        "place": [{"trace": trace, "item": item, "x": x, "y": y} for item, x, y in places],
    }
    for table, rows in wanted.items():
        before = {_key(table, row): dict(row) for row in db[table].rows_where("trace = ?", [trace])}
        after = {_key(table, row): row for row in rows}
        for key in dict.fromkeys((*before, *after)):
            one = before.get(key) or after[key]
            changes.append(RowChange(table, key_of(table, one), before.get(key), after.get(key)))
    return changes


def _kept_group(group: Any, n_nodes: int) -> Group:
    texts, numbers = [group[name] for name in ("name", "colour", "note")], [group["id"], group["parent"]]
    if not all(isinstance(text, str) for text in texts) or [type(number) for number in numbers] not in _NUMBERS:
        raise ValueError("a supernode of another kind")
    nodes = checked_nodes(group["nodes"], n_nodes)
    return Group(numbers[0], texts[0], _asked_colour(texts[1]), nodes, bool(group["collapsed"]), numbers[1], texts[2])


def _key(table: str, row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(key_of(table, row).values())


def _without_nodes(groups: Groups, nodes: Sequence[int]) -> Groups:
    leaving = set(nodes)
    return {
        number: replace(group, nodes=tuple(node for node in group.nodes if node not in leaving))
        for number, group in groups.items()
    }


def _without_empty(after: Groups) -> Groups:
    """Without supernodes that hold neither a node nor another supernode."""
    while True:
        parents = {group.parent for group in after.values()}
        empty = [number for number, group in after.items() if not group.nodes and number not in parents]
        if not empty:
            return after
        after = {number: group for number, group in after.items() if number not in empty}


def _depth(groups: Groups, number: int) -> int:
    depth, above = 0, number if number in groups else None
    while above is not None and depth <= MAX_DEPTH + 1:
        depth += 1
        above = groups[above].parent if above in groups else None
    return depth


def _asked_colour(colour: str) -> str:
    if not _COLOUR.match(colour):
        raise RequestError(f"{colour[:40]!r} is not a colour; write it as #rrggbb.")
    return colour
