"""What a graph brings along when it is added to a project: pins, supernodes, labels and a note of another file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import sqlite_utils

from engine.projects.annotations import TraceEdits
from engine.projects.rows import write_row


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
        changes += edits.label(node, text, None).changes
    changes += edits.note(brought.note).changes
    for change in changes:
        write_row(db, change)
    last = {node: group for group, (_, nodes) in enumerate(brought.groups) for node in nodes}
    for group, (name, nodes) in enumerate(brought.groups):
        own = [node for node in nodes if last[node] == group]
        if own or not nodes:
            for change in edits.first_group(name, own)[0].changes:  # one by one: its number follows the one before
                write_row(db, change)
