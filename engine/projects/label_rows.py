"""Rows of labels: of a node in one trace, or of a feature everywhere, each with the labels it had before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sqlite_utils

from engine.projects.connection import Row
from engine.projects.encoding import now
from engine.projects.rows import RowChange, added, next_number, read_row

NOWHERE = -1


@dataclass(frozen=True)
class LabelKey:
    """What a label is on: a node of a trace, or (trace 0) a feature of a dictionary in every trace."""

    trace: int = 0
    node: int = NOWHERE
    dictionary: str = ""
    layer: int = NOWHERE
    feature: int = NOWHERE

    @property
    def columns(self) -> Row:
        """The same as columns of `label_version`."""
        return dict(vars(self))


@dataclass(frozen=True)
class LabelVersion:
    """One label that was given: its text ("": it was taken away), who gave it, and when (ISO 8601, UTC)."""

    text: str
    source: str
    given: str
    everywhere: bool = False  # on the feature in every trace, not on the node of one


def label_changes(
    db: sqlite_utils.Database, key: LabelKey, text: str, source: str, so_far: Sequence[RowChange] = ()
) -> list[RowChange]:
    """The changes that give a label, or take it away ("" or blanks), with its version.

    `so_far` is what the step that this continues has changed: a text typed letter by letter is one version, and none
    if it ends where it began.
    """
    text = text if text.strip() else ""
    label = _label_change(db, key, text, source)
    if label.before == label.after:
        return []
    before = next((change.before for change in so_far if change.identity == label.identity), label.before)
    version = {**key.columns, "text": text, "source": source, "given": now()}
    typed = next((change.after for change in so_far if _is_version_of(change, key)), None)
    if typed is None:
        return [label, added("label_version", {"id": next_number(db, "label_version"), **version})]
    after = None if before == label.after else {"id": typed["id"], **version}
    return [label, RowChange("label_version", {"id": typed["id"]}, typed, after)]


def _label_change(db: sqlite_utils.Database, key: LabelKey, text: str, source: str) -> RowChange:
    if key.trace:
        node = {"trace": key.trace, "node": key.node}
        present = read_row(db, "label", node)
        return RowChange("label", node, present, {**node, "text": text, "source": source} if text else None)
    present = feature_label_row(db, key)
    if present is None and not text:
        return RowChange("feature_label", {"id": 0}, None, None)
    number = next_number(db, "feature_label") if present is None else present["id"]
    row = {"id": number, "dictionary": key.dictionary, "layer": key.layer, "feature": key.feature}
    return RowChange(
        "feature_label", {"id": number}, present, {**row, "text": text, "source": source} if text else None
    )


def feature_label_row(db: sqlite_utils.Database, key: LabelKey) -> Row | None:
    """The row of a feature's label, or None."""
    found = db.conn.execute(
        "SELECT id FROM feature_label WHERE dictionary = ? AND layer = ? AND feature = ?",
        (key.dictionary, key.layer, key.feature),
    ).fetchone()
    return None if found is None else read_row(db, "feature_label", {"id": found[0]})


def versions(db: sqlite_utils.Database, *keys: LabelKey) -> list[LabelVersion]:
    """Every label that was given under any of the keys, oldest first; none of what was undone."""
    where = " OR ".join("(" + " AND ".join(f"{name} = ?" for name in key.columns) + ")" for key in keys)
    rows = db.conn.execute(
        f"SELECT text, source, given, trace = 0 FROM label_version WHERE {where} ORDER BY id",
        [value for key in keys for value in key.columns.values()],
    )
    return [LabelVersion(text, source, given, bool(everywhere)) for text, source, given, everywhere in rows]


def _is_version_of(change: RowChange, key: LabelKey) -> bool:
    row = change.after
    return (
        change.table == "label_version"
        and change.before is None
        and row is not None
        and all(row[name] == value for name, value in key.columns.items())
    )
