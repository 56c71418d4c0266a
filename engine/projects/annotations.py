"""What a person adds to a trace, and the edits that change it: worked out here, applied by `history`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import sqlite_utils

from engine.errors import RequestError
from engine.projects import encoding
from engine.projects.connection import Row
from engine.projects.faults import DamageError, missing
from engine.projects.groups import Group, GroupEdits, checked_nodes, read_groups
from engine.projects.history import Edit
from engine.projects.label_rows import LabelKey, label_changes
from engine.projects.rows import RowChange, added, key_of, read_row, removed
from engine.projects.texts import MAX_NAME, MAX_NOTE, asked_source, clean_text, counted, known_source, short

if TYPE_CHECKING:
    from engine.projects.feature_labels import FeatureLabel

PlaceKey = int | str


@dataclass(frozen=True)
class Annotations:
    """Everything a person added to one trace."""

    pins: tuple[int, ...]  # node numbers, in the order they were pinned
    labels: dict[int, str]
    groups: tuple[Group, ...]
    note: str
    positions: dict[PlaceKey, tuple[float, float]]  # where a person put a node (its number) or anything else (a text)
    # Who gave a label, where it was not a person: "imported" or "automatic".
    sources: dict[int, str] = field(default_factory=dict)
    # Nodes whose label above holds for their feature everywhere, and labels of that kind which one of this trace hides.
    everywhere: frozenset[int] = frozenset()
    hidden: dict[int, str] = field(default_factory=dict)

    def with_everywhere(self, labels: Mapping[int, FeatureLabel]) -> Annotations:
        """The same with labels that hold everywhere, by node; a label in the trace itself goes before them."""
        shown = {node: label for node, label in labels.items() if node not in self.labels}
        return replace(
            self,
            labels=dict(sorted({**self.labels, **{node: label.text for node, label in shown.items()}}.items())),
            sources={
                **self.sources,
                **{node: label.source for node, label in shown.items() if label.source != "person"},
            },
            everywhere=frozenset(shown),
            hidden={node: label.text for node, label in labels.items() if node in self.labels},
        )


def read_annotations(db: sqlite_utils.Database, trace: int) -> Annotations:
    """The annotations of a trace; raises `DamageError` if they name nodes the trace does not have."""
    n_nodes = _n_nodes(db, trace)

    def rows(sql: str) -> list[tuple[object, ...]]:
        return list(db.conn.execute(sql, (trace,)))

    def node(number: object) -> int:
        if not (isinstance(number, int) and 0 <= number < n_nodes):
            raise DamageError("an annotation of a node that is not there")
        return number

    labels = [
        (node(number), str(text), known_source(str(source)))
        for number, text, source in rows("SELECT node, text, source FROM label WHERE trace = ? ORDER BY node")
    ]
    notes = rows("SELECT text FROM note WHERE trace = ?")
    return Annotations(
        pins=tuple(node(number) for (number,) in rows("SELECT node FROM pin WHERE trace = ? ORDER BY rank, node")),
        labels={number: text for number, text, _ in labels},
        groups=read_groups(db, trace, n_nodes),
        note=str(notes[0][0]) if notes else "",
        positions=dict(
            _place(item, x, y) for item, x, y in rows("SELECT item, x, y FROM place WHERE trace = ? ORDER BY item")
        ),
        sources={number: source for number, _, source in labels if source != "person"},
    )


class TraceEdits:
    """Works out the edits of one trace. Writes nothing; raises `RequestError` for what cannot be."""

    def __init__(self, db: sqlite_utils.Database, trace: int) -> None:
        self.db = db
        self.trace = trace
        self.n_nodes = _n_nodes(db, trace)

    def pin(self, nodes: Sequence[int]) -> Edit:
        """Pin nodes after those already pinned."""
        new = [
            n
            for n in checked_nodes(nodes, self.n_nodes)
            if read_row(self.db, "pin", {"trace": self.trace, "node": n}) is None
        ]
        last = self.db.conn.execute("SELECT max(rank) FROM pin WHERE trace = ?", (self.trace,)).fetchone()[0]
        first = 0 if last is None else last + 1
        rows = [{"trace": self.trace, "node": node, "rank": first + i} for i, node in enumerate(new)]
        return self._edit(f"Pin {counted(len(new), 'node')}", [added("pin", row) for row in rows])

    def unpin(self, nodes: Sequence[int]) -> Edit:
        """Take pins away."""
        changes = [
            removed("pin", row)
            for n in checked_nodes(nodes, self.n_nodes)
            if (row := self._row("pin", node=n)) is not None
        ]
        return self._edit(f"Unpin {counted(len(changes), 'node')}", changes)

    def ungroup(self, group: int) -> Edit:
        """Take a supernode apart; its nodes are pinned, so that they stay in the circuit."""
        groups = self.groups()
        removal = groups.remove(group)
        return self._edit(removal.title, [*removal.changes, *self.pin(groups.present[int(group)].nodes).changes])

    def take_out(self, group: int, node: int) -> Edit:
        """Take a node out of its supernode; it is pinned, so that it stays in the circuit."""
        groups = self.groups()
        if node not in groups.nodes_of(group):
            raise RequestError("This node is not in that supernode; choose one of its own.")
        return self._edit(
            f"Take {counted(1, 'node')} out of its supernode",
            [*groups.without([node]), *self.pin([node]).changes],
        )

    def leave(self, nodes: Sequence[int]) -> Edit:
        """Take nodes out of the circuit: their pins, and their places in supernodes."""
        members = checked_nodes(nodes, self.n_nodes)
        changes = [*self.unpin(members).changes, *self.groups().without(members)]
        return self._edit(f"Remove {counted(len(members), 'node')} from the circuit", changes)

    def label(
        self, node: int, text: str, described: str | None, source: str = "person", so_far: Sequence[RowChange] = ()
    ) -> Edit:
        """Name a node; an empty text takes the name away. `so_far`: what the step that this continues has changed."""
        (node,) = checked_nodes([node], self.n_nodes)
        text = clean_text(text, MAX_NAME, "A label")
        title = f"{'Label' if text.strip() else 'Remove the label of'} {short(described or f'node {node}')}"
        changes = label_changes(self.db, LabelKey(self.trace, node), text, asked_source(source), so_far)
        return self._edit(title, changes)

    def give_labels(self, texts: Mapping[int, str], source: str) -> Edit:
        """Name many nodes in one step; a node that has a label of a person or of a file keeps it."""
        changes: list[RowChange] = []
        for node in checked_nodes(list(texts), self.n_nodes):
            present = self._row("label", node=node)
            if present is None or present["source"] == source:
                text = clean_text(texts[node], MAX_NAME, "A label")
                changes += label_changes(self.db, LabelKey(self.trace, node), text, asked_source(source))
        return self._edit(f"Label {counted(len(texts), 'node')}", changes)

    def note(self, text: str) -> Edit:
        """Write the trace's note; an empty text takes it away."""
        text = clean_text(text, MAX_NOTE, "A note")
        return self._edit("Write the note" if text.strip() else "Clear the note", [self._text_change("note", text)])

    def place(self, key: PlaceKey, x: float, y: float) -> Edit:
        """Put a node, or anything else that has a name, where a person dragged it."""
        if not (math.isfinite(x) and math.isfinite(y)):
            raise RequestError("A position must be two finite numbers; drag the node again.")
        if isinstance(key, int):
            (key,) = checked_nodes([key], self.n_nodes)
        else:
            key = clean_text(key, MAX_NAME, "The name of a place")
        item = encoding.write(key)
        row = {"trace": self.trace, "item": item, "x": float(x), "y": float(y)}
        return self._edit("Move a node", [RowChange("place", key_of("place", row), self._row("place", item=item), row)])

    def groups(self) -> GroupEdits:
        """The edits of this trace's supernodes."""
        return GroupEdits(self.db, self.trace)

    def rename(self, title: str) -> Edit:
        """Give the trace another title."""
        title = clean_text(title, MAX_NAME, "A title")
        row = read_row(self.db, "trace", {"id": self.trace})
        assert row is not None
        return self._edit(
            f"Rename trace {short(title)}", [RowChange("trace", key_of("trace", row), row, {**row, "title": title})]
        )

    def delete(self) -> Edit:
        """Hide the trace; its graph and annotations stay in the file, so that this can be undone."""
        row = read_row(self.db, "trace", {"id": self.trace})
        assert row is not None
        return self._edit(
            f"Delete trace {short(row['title'])}",
            [RowChange("trace", key_of("trace", row), row, {**row, "deleted": 1})],
        )

    def _edit(self, title: str, changes: list[RowChange]) -> Edit:
        return Edit(title, self.trace, [change for change in changes if change.before != change.after])

    def _row(self, table: str, **key: int | str) -> Row | None:
        return read_row(self.db, table, {"trace": self.trace, **key})

    def _text_change(self, table: str, text: str, **key: int | str) -> RowChange:
        row = {"trace": self.trace, **key, "text": text}
        after = row if text.strip() else None
        return RowChange(table, key_of(table, row), self._row(table, **key), after)


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
