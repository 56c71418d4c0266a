"""What a graph brings along when it is added to a project: pins, supernodes, labels and a note of another file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import sqlite_utils

from engine.errors import RequestError
from engine.projects.annotations import TraceEdits
from engine.projects.groups import Group, checked_nodes
from engine.projects.rows import next_number, write_row
from engine.projects.texts import MAX_NAME, clean_text


@dataclass(frozen=True)
class Brought:
    """Annotations by node number. A node named by two supernodes goes to the last, as when a person groups it again."""

    pins: Sequence[int] = ()
    groups: Sequence[tuple[str, Sequence[int]]] = ()
    labels: Mapping[int, str] = field(default_factory=dict)
    note: str = ""


def write_brought(db: sqlite_utils.Database, trace: int, brought: Brought) -> None:
    """Write them inside the caller's transaction, without history: they come and go with their trace.

    Raises `RequestError` for nodes that are not there, supernodes without nodes, and texts that are too long.
    """
    edits = TraceEdits(db, trace)
    changes = edits.pin(brought.pins).changes
    for node, text in brought.labels.items():
        changes += edits.label(node, text, None, "imported").changes
    changes += edits.note(brought.note).changes
    last = {node: group for group, (_, nodes) in enumerate(brought.groups) for node in nodes}
    groups = []
    for group, (name, nodes) in enumerate(brought.groups):
        own = checked_nodes([node for node in nodes if last[node] == group], edits.n_nodes)
        if not nodes:
            raise RequestError("A supernode needs at least one node; select some first.")
        if own:
            name = clean_text(name, MAX_NAME, "A name")
            groups.append(Group(next_number(db, "supernode"), name, "", own, False))
    for change in [*changes, *edits.groups().to(groups)]:
        write_row(db, change)
