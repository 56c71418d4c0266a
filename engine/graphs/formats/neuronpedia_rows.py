"""The nodes of a graph JSON as columns: every field checked, every type given one of this program's five kinds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import RequestError
from engine.graphs.formats.graph_file import Repairs, shown
from engine.graphs.formats.json_document import require_shallow
from engine.graphs.formats.kept_fields import Record, same
from engine.graphs.formats.neuronpedia_nodes import KINDS, captioned_probability, logit_text_of, uncantor
from engine.graphs.formats.promises import MAX_LAYERS, MAX_NODES
from engine.graphs.graph import EMBEDDING_LAYER, NO_POSITION, NodeKind

# A type of no kind of ours, until the links say whether anything explains the node.
_UNDECIDED = 255
_LARGEST_FLOAT = float(np.finfo(np.float32).max)
_INT32 = 2**31


@dataclass(frozen=True)
class NodeTable:
    """Node columns in the file's order, and the records they come from (without those that repeat another)."""

    records: list[Record]
    kind: NDArray[np.uint8]
    layer: NDArray[np.int32]  # of logits: as the file has it
    position: NDArray[np.int32]
    feature: NDArray[np.int32]
    activation: NDArray[np.float32]
    probability: NDArray[np.float32]
    logit_text: list[str | None]
    influence_share: NDArray[np.float32] | None
    # Nodes by the id that links use; where two nodes share it, the feature comes first.
    by_id: Mapping[str, tuple[int, ...]]

    def with_kinds(self, targets: NDArray[np.integer[Any]], repairs: Repairs) -> NodeTable:
        """Decide nodes of types that this program has no kind for: features if links explain them, else errors."""
        undecided = self.kind == _UNDECIDED
        if not undecided.any():
            return self
        has_inputs = np.zeros(len(self.kind), bool)
        has_inputs[targets] = True
        kind = np.where(undecided, np.where(has_inputs, NodeKind.FEATURE, NodeKind.ERROR), self.kind).astype(np.uint8)
        for node in np.flatnonzero(undecided):
            there = "features" if has_inputs[node] else "error nodes, since no link explains them"
            repairs.add(
                f"Nodes of type {shown(self.records[node]['feature_type'])} are shown as {there}", f"nodes[{node}]"
            )
        feature = np.where(kind == NodeKind.ERROR, -1, self.feature).astype(np.int32)
        activation = np.where(kind == NodeKind.ERROR, 0, self.activation).astype(np.float32)
        return replace(self, kind=kind, feature=feature, activation=activation)


def read_nodes(
    nodes: list[Any], n_positions: int, metadata: Mapping[str, Any], name: str, repairs: Repairs
) -> NodeTable:
    """Check every node; raises `RequestError` naming the key of the first that cannot be used."""
    if not 0 < len(nodes) <= MAX_NODES:
        raise RequestError(f"{name} has {len(nodes):,} nodes; between 1 and {MAX_NODES:,} are read.")
    for i, record in enumerate(nodes):
        if not isinstance(record, dict):
            raise RequestError(f"{name} is damaged: nodes[{i}] is not a table.")
        if any(isinstance(value, dict | list) for value in record.values()):
            require_shallow(record, name, f"nodes[{i}]")
    records, by_id, kinds, numbers = _distinct(nodes, name, repairs)
    fields = [_Fields(record, number, name) for record, number in zip(records, numbers, strict=True)]
    kind = np.array(kinds, np.uint8)
    if not (kind == NodeKind.LOGIT).any():
        raise RequestError(f"{name} has no node whose feature_type is 'logit', so that it explains nothing.")
    layer = [one.layer(NodeKind(k) if k != _UNDECIDED else None) for one, k in zip(fields, kinds, strict=True)]
    is_feature = (kind == NodeKind.FEATURE) | (kind == _UNDECIDED)
    raw = [one.feature() for one in fields]
    shares = [record.get("influence_share") for record in records]
    return NodeTable(
        records=records,
        kind=kind,
        layer=np.array(layer, np.int32),
        position=np.array([one.position(n_positions, k) for one, k in zip(fields, kinds, strict=True)], np.int32),
        feature=_feature_numbers(raw, layer, is_feature, kind, metadata, repairs, numbers),
        activation=np.where(is_feature, [one.number("activation") for one in fields], 0).astype(np.float32),
        probability=np.array([one.probability(k) for one, k in zip(fields, kinds, strict=True)], np.float32),
        logit_text=[
            logit_text_of(record) if k == NodeKind.LOGIT else None for record, k in zip(records, kinds, strict=True)
        ],
        influence_share=(
            np.array([one.number("influence_share") for one in fields], np.float32)
            if all(isinstance(one, int | float) and one >= 0 for one in shares)
            else None
        ),
        by_id=by_id,
    )


def _distinct(
    nodes: list[Record], name: str, repairs: Repairs
) -> tuple[list[Record], dict[str, tuple[int, ...]], list[int], list[int]]:
    """Nodes with different ids: repeated ones dropped, ids shared by two types told apart by the type."""
    records: list[Record] = []
    kinds: list[int] = []
    numbers: list[int] = []
    by_id: dict[str, tuple[int, ...]] = {}
    for i, record in enumerate(nodes):
        fields = _Fields(record, i, name)
        key, kind = fields.text("node_id"), int(KINDS.get(fields.text("feature_type"), _UNDECIDED))
        twins = by_id.get(key, ())
        for twin in twins:
            if same(records[twin], record):
                break
            if records[twin]["feature_type"] == record["feature_type"]:
                raise RequestError(
                    f"{name} gives two nodes the same id: nodes[{i}].node_id {shown(key)} is also that of "
                    f"nodes[{numbers[twin]}]; export it again."
                )
        else:
            node = len(records)
            together = (*twins, node) if kind != NodeKind.FEATURE else (node, *twins)
            records.append(record)
            kinds.append(kind)
            numbers.append(i)
            by_id[key] = together
            continue
        repairs.add("Nodes that repeat another word for word were dropped", f"nodes[{i}].node_id {shown(key)}")
    _rename_twins(records, by_id, numbers, repairs)
    return records, by_id, kinds, numbers


def _rename_twins(
    records: list[Record], by_id: Mapping[str, tuple[int, ...]], numbers: list[int], repairs: Repairs
) -> None:
    """Give nodes that share an id with a feature ids of their own, for export (circuit-tracer 0.5.0 errors)."""
    taken = set(by_id)
    for key, together in by_id.items():
        for node in together[1:]:
            record = records[node]
            wanted = f"err_{record.get('layer')}_{record.get('ctx_idx')}"
            while wanted in taken:
                wanted += "_"
            taken.add(wanted)
            records[node] = {**record, "node_id": wanted}
            repairs.add(
                "Ids that two nodes share are taken as two nodes, told apart by feature_type, and exported as two ids",
                f"nodes[{numbers[node]}].node_id {shown(key)}",
            )


class _Fields:
    """One node's fields; every refusal names the key."""

    def __init__(self, record: Record, number: int, name: str) -> None:
        self.record, self.place, self.name = record, f"nodes[{number}]", name

    def refuse(self, key: str, why: str) -> RequestError:
        value = self.record.get(key, "missing")
        return RequestError(f"{self.name} is damaged: {self.place}.{key} ({shown(value)}) {why}.")

    def text(self, key: str) -> str:
        value = self.record.get(key)
        if not isinstance(value, str):
            raise self.refuse(key, "is not a text")
        return value

    def layer(self, kind: NodeKind | None) -> int:
        """-1 for embeddings, and wherever the file says E."""
        value = self.record.get("layer")
        if kind is NodeKind.EMBEDDING or value == "E":
            if kind is NodeKind.LOGIT:
                raise self.refuse("layer", "is not a layer")
            return EMBEDDING_LAYER
        if isinstance(value, str) and len(value) < 10 and value.removeprefix("-").isdecimal():
            value = int(value)
        if type(value) is not int or not EMBEDDING_LAYER <= value <= MAX_LAYERS:
            raise self.refuse("layer", f"is not a layer from 0 to {MAX_LAYERS:,}, or E")
        return value

    def position(self, count: int, kind: int) -> int:
        value = self.record.get("ctx_idx")
        if type(value) is not int or not 0 <= value < count:
            raise self.refuse("ctx_idx", f"is not a position among the {count:,} of metadata.prompt_tokens")
        nowhere = kind == NodeKind.BIAS and value == 0 and self.record.get("no_position") is True
        return NO_POSITION if nowhere else value

    def feature(self) -> int:
        value = self.record.get("feature")
        if value is None:
            return -1
        if type(value) is not int:
            raise self.refuse("feature", "is not a whole number")
        return value

    def number(self, key: str) -> float:
        """A number that float32 can hold; 0 where there is none."""
        value = self.record.get(key)
        if value is None:
            return 0.0
        if type(value) not in (int, float) or abs(value) > _LARGEST_FLOAT:
            raise self.refuse(key, "is not a number that can be kept")
        return float(value)

    def probability(self, kind: int) -> float:
        if kind != NodeKind.LOGIT:
            return 0.0
        value = self.number("token_prob")
        if value < 0:
            raise self.refuse("token_prob", "is below 0")
        if self.record.get("token_prob") is None:
            return captioned_probability(str(self.record.get("clerp") or "")) or 0.0
        return value


def _feature_numbers(
    raw: list[int],
    layer: list[int],
    is_feature: NDArray[np.bool_],
    kind: NDArray[np.uint8],
    metadata: Mapping[str, Any],
    repairs: Repairs,
    numbers: list[int],
) -> NDArray[np.int32]:
    """(N,) numbers within their layer, -1 for what has none. How they are written differs by version and program."""
    nodes = [int(node) for node in np.flatnonzero(is_feature) if raw[node] >= 0 and layer[node] >= 0]
    decode = _numbering([(layer[node], raw[node]) for node in nodes], metadata)
    found = np.full(len(raw), -1, np.int64)
    for node in nodes:
        number = decode(layer[node], raw[node])
        if number is None:
            repairs.add("Feature numbers that do not fit their layer are taken as they are", f"nodes[{numbers[node]}]")
            number = raw[node]
        if number >= _INT32:
            repairs.add(
                "Feature numbers above 2 147 483 647 are shown as -1, and kept for export", f"nodes[{numbers[node]}]"
            )
            number = -1
        found[node] = number
    for node in np.flatnonzero(kind == NodeKind.LOGIT).tolist():
        found[node] = raw[node] if 0 <= raw[node] < _INT32 else -1
    return found.astype(np.int32)


def _numbering(pairs: list[tuple[int, int]], metadata: Mapping[str, Any]) -> Callable[[int, int], int | None]:
    """How a file numbers features: Cantor pairs (schema version 1), layer digits in front, or plain numbers."""
    version = metadata.get("schema_version")
    if type(version) is int and version >= 1:
        return _by_cantor
    if any(layer > 0 for layer, _ in pairs):
        for way in (_by_digits(10**5), _by_digits(10**6), _by_cantor):
            if all(way(layer, number) is not None for layer, number in pairs):
                return way
    return lambda layer, number: number


def _by_cantor(layer: int, pair: int) -> int | None:
    found, number = uncantor(pair)
    return number if found == layer else None


def _by_digits(step: int) -> Callable[[int, int], int | None]:
    def decode(layer: int, number: int) -> int | None:
        return number - layer * step if 0 <= number - layer * step < step else None

    return decode
