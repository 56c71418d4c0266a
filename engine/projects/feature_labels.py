"""Labels that hold for a feature everywhere: in every trace, and every project they are carried to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import sqlite_utils

from engine.errors import RequestError
from engine.graphs.graph import NodeKind
from engine.projects import traces
from engine.projects.history import Edit, EditDone
from engine.projects.label_rows import LabelKey, LabelVersion, feature_label_row, label_changes, versions
from engine.projects.ledger import Ledger
from engine.projects.rows import RowChange
from engine.projects.texts import MAX_NAME, asked_source, clean_text, counted, known_source

_LARGEST = 2**31 - 1
_LONGEST_IDENTITY = 200
_MOST_KNOWN = 16  # traces whose features are kept in memory
_Places = dict[tuple[int, int], list[int]]  # the nodes of a feature, by layer and number


@dataclass(frozen=True)
class FeatureLabel:
    """The name of one feature of one dictionary, wherever it appears."""

    id: int
    dictionary: str
    layer: int
    feature: int
    text: str
    source: str  # "person", "imported" or "automatic"


@dataclass(frozen=True)
class NewLabel:
    """A label to be given."""

    dictionary: str
    layer: int
    feature: int
    text: str
    source: str = "person"


def dictionary_identity(report: Mapping[str, Any]) -> str | None:
    """What tells the dictionary of a trace from every other, from its report; None where the report does not say.

    Transcoders have a fingerprint of their own. Neurons are the model's: they are told apart by the model's.
    """
    features, model = report.get("features"), report.get("model")
    own = features.get("fingerprint") if isinstance(features, dict) else None
    of_model = model.get("fingerprint") if isinstance(model, dict) else None
    if not isinstance(own, str) or not own:
        return None
    if isinstance(features, dict) and features.get("kind") == "neurons":
        return f"neurons:{of_model}"[:_LONGEST_IDENTITY] if isinstance(of_model, str) and of_model else None
    return own[:_LONGEST_IDENTITY]


class FeatureLabels:
    """The labels of features in one project. Every edit is committed before its method returns, and can be undone."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._known: dict[int, tuple[str | None, _Places]] = {}

    def all(self, dictionary: str | None = None) -> list[FeatureLabel]:
        """Every label, or those of one dictionary, by dictionary, layer and feature."""
        where = "" if dictionary is None else "WHERE dictionary = ?"
        with self._ledger.reading() as db:
            rows = db.conn.execute(
                f"SELECT id, dictionary, layer, feature, text, source FROM feature_label {where} ORDER BY 2, 3, 4",
                () if dictionary is None else (dictionary,),
            ).fetchall()
            for row in rows:
                known_source(row[5])
        return [FeatureLabel(*row) for row in rows]

    def by_number(self, number: int) -> FeatureLabel | None:
        """The label that search found."""
        return next((label for label in self.all() if label.id == number), None)

    def of_trace(self, trace: int) -> dict[int, FeatureLabel]:
        """The labels of a trace's feature nodes, by node number. A label in the trace itself goes before them."""
        with self._ledger.reading() as db:
            if db.conn.execute("SELECT 1 FROM feature_label LIMIT 1").fetchone() is None:
                return {}
            identity, nodes = self._features_of(db, trace)
            labels = [] if identity is None else self.all(identity)
        found = {node: label for label in labels for node in nodes.get((label.layer, label.feature), ())}
        return dict(sorted(found.items()))

    def key_of(self, trace: int, node: int) -> LabelKey | None:
        """What a label everywhere of a node is kept under; None where it is no feature, or of no known dictionary."""
        with self._ledger.reading() as db:
            identity, nodes = self._features_of(db, trace)
        if identity is None:
            return None
        at = next((feature for feature, places in nodes.items() if node in places), None)
        return None if at is None else LabelKey(dictionary=identity, layer=at[0], feature=at[1])

    def _features_of(self, db: sqlite_utils.Database, trace: int) -> tuple[str | None, _Places]:
        """The dictionary of a trace, and the nodes of each of its features; a trace's graph never changes."""
        if trace not in self._known:
            identity = dictionary_identity(traces.read_report(db, trace))
            places: _Places = {}
            if identity is not None:
                kind, layer, feature = (column.tolist() for column in traces.node_columns(db, trace))
                for node, (one, at, number) in enumerate(zip(kind, layer, feature, strict=True)):
                    if one == NodeKind.FEATURE:
                        places.setdefault((at, number), []).append(node)
            while len(self._known) >= _MOST_KNOWN:
                del self._known[next(iter(self._known))]
            self._known[trace] = (identity, places)
        return self._known[trace]

    def nodes_of(self, trace: int, label: FeatureLabel) -> list[int]:
        """The nodes of a trace that a label is on, whatever they are called there."""
        return [node for node, found in self.of_trace(trace).items() if found.id == label.id]

    def versions(self, dictionary: str, layer: int, feature: int) -> list[LabelVersion]:
        """Every label the feature was given, oldest first."""
        with self._ledger.reading() as db:
            return versions(db, LabelKey(dictionary=dictionary, layer=layer, feature=feature))

    def set(
        self, dictionary: str, layer: int, feature: int, text: str, *, source: str = "person", merge: str | None = None
    ) -> EditDone | None:
        """Name a feature everywhere; an empty text takes the name away. `merge` as in `Project.set_label`."""
        label = _checked(NewLabel(dictionary, layer, feature, text, source))
        key = _key(label)
        if merge is not None:
            merge = f"{merge}/{dictionary}/{layer}/{feature}"

        def work_out(db: sqlite_utils.Database) -> Edit:
            so_far = self._ledger.continued(db, merge, None, "feature_label")
            changes = label_changes(db, key, label.text, source, so_far)
            what = "Label" if label.text.strip() else "Remove the label of"
            return Edit(f"{what} layer {layer} · {feature} everywhere", None, changes)

        return self._ledger.commit(work_out, merge)

    def give(self, labels: Iterable[NewLabel], *, over_others: bool = False) -> EditDone | None:
        """Give many labels in one step. What a person wrote stays, unless a person gives these or `over_others`."""
        wanted = [_checked(label) for label in labels]

        def work_out(db: sqlite_utils.Database) -> Edit:
            changes = given_changes(db, wanted, over_others=over_others)
            return Edit(f"Label {counted(len(wanted), 'feature')} everywhere", None, changes)

        return self._ledger.commit(work_out)


def given_changes(db: sqlite_utils.Database, labels: Iterable[NewLabel], *, over_others: bool) -> list[RowChange]:
    """The changes that give labels; the last of several for one feature counts."""
    changes: list[RowChange] = []
    for key, label in {_key(label): label for label in labels}.items():
        present = feature_label_row(db, key)
        if present is None or over_others or label.source == "person" or present["source"] != "person":
            changes += label_changes(db, key, label.text, label.source)
    return changes


def _checked(label: NewLabel) -> NewLabel:
    if not label.dictionary or len(label.dictionary) > _LONGEST_IDENTITY:
        raise RequestError("The label names no dictionary; trace with one that has a fingerprint.")
    if not (0 <= label.layer <= _LARGEST and 0 <= label.feature <= _LARGEST):
        raise RequestError(f"There is no feature {label.feature} of layer {label.layer}; choose one of a trace.")
    text = clean_text(label.text, MAX_NAME, "A label")
    dictionary = clean_text(label.dictionary, _LONGEST_IDENTITY, "The name of a dictionary")
    return NewLabel(dictionary, int(label.layer), int(label.feature), text, asked_source(label.source))


def _key(label: NewLabel) -> LabelKey:
    return LabelKey(dictionary=label.dictionary, layer=label.layer, feature=label.feature)
