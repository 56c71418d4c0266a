"""What GraphML and CSV say beside nodes and edges: one JSON text with every exact text, the report and annotations.

The node and edge columns of both formats are the same and are made and read here.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.graphs.formats.graph_file import GraphFile, annotations_as_json, read_annotations
from engine.graphs.formats.promises import require_promises
from engine.graphs.graph import KIND_NAMES, AttributionGraph, NodeKind

# Its first key, and its version.
MARK = "circuit_loupe_graph"
VERSION = 1
# Columns of nodes with their types; those after `influence` are for people, but for labels, which can be edited.
NODE_TYPES = {
    "kind": "string",
    "layer": "int",
    "position": "int",
    "feature": "int",
    "activation": "float",
    "influence": "float",
    "value": "float",  # these three only of traced nodes
    "rest": "float",
    "rest_absolute": "float",
    "probability": "float",  # of logits
    "text": "string",
    "label": "string",
    "pinned": "int",
    "supernode": "string",
}
EDGE_TYPES = {"weight": "float", "share": "float"}
_NUMBERS = ("layer", "position", "feature", "activation", "influence")
_TARGET = ("value", "rest", "rest_absolute")

Cell = str | int | None


def decimal(value: np.floating[Any]) -> str:
    """The shortest text that gives the same float32 again."""
    return str(value)


def node_rows(file: GraphFile) -> list[dict[str, Cell]]:
    """Every node as a row of `NODE_TYPES`; None where a column does not apply. Texts are exact."""
    graph = file.graph
    traced = {node: row for row, node in enumerate(graph.traced.tolist())}
    logits = {node: row for row, node in enumerate(graph.of_kind(NodeKind.LOGIT).tolist())}
    pinned = {node: rank + 1 for rank, node in enumerate(file.pins)}
    group = {node: name for name, nodes in reversed(file.groups) for node in nodes}
    rows: list[dict[str, Cell]] = []
    for node in range(graph.n_nodes):
        row: dict[str, Cell] = dict.fromkeys(NODE_TYPES)
        kind, position = int(graph.kind[node]), int(graph.position[node])
        row["kind"] = KIND_NAMES[kind]
        row |= {name: int(getattr(graph, name)[node]) for name in _NUMBERS[:3]}
        row |= {name: decimal(getattr(graph, name)[node]) for name in _NUMBERS[3:]}
        if node in traced:
            row |= {name: decimal(getattr(graph, name)[traced[node]]) for name in _TARGET}
        if node in logits:
            row["probability"] = decimal(graph.logit_probability[logits[node]])
            row["text"] = graph.logit_text[logits[node]]
        elif kind == NodeKind.EMBEDDING and position >= 0:
            row["text"] = graph.tokens[position]
        row |= {"label": file.labels.get(node), "pinned": pinned.get(node), "supernode": group.get(node)}
        rows.append(row)
    return rows


def graph_text(file: GraphFile) -> str:
    """The JSON beside the columns; ASCII only, so that every format can hold it."""
    graph = file.graph
    return json.dumps(
        {
            MARK: VERSION,
            "nodes": graph.n_nodes,
            "edges": graph.n_edges,
            "n_layers": graph.n_layers,
            "measure": graph.measure,
            "tokens": list(graph.tokens),
            "token_ids": list(graph.token_ids),
            "logit_token": graph.logit_token.tolist(),
            "logit_text": list(graph.logit_text),
            "annotations": annotations_as_json(file.pins, file.groups, file.labels),
            "report": graph.meta,
        }
    )


def read_graph_text(value: Any) -> dict[str, Any]:
    """Check what `graph_text` wrote, parsed; raises `ValueError` for anything else."""
    if not isinstance(value, dict) or value.get(MARK) != VERSION:
        raise ValueError("not written by this program")
    for name in ("tokens", "logit_text"):
        if not _list_of(value.get(name), str):
            raise ValueError(f"{name} of another form")
    for name in ("token_ids", "logit_token"):
        if not _list_of(value.get(name), int):
            raise ValueError(f"{name} of another form")
    for name in ("nodes", "edges", "n_layers"):
        if type(value.get(name)) is not int:
            raise ValueError(f"{name} of another form")
    if not isinstance(value.get("report"), dict) or not isinstance(value.get("measure"), str):
        raise ValueError("a report of another form")
    return value


def _list_of(value: Any, kind: type) -> bool:
    return isinstance(value, list) and all(type(one) is kind for one in value)


def assemble(
    whole: Mapping[str, Any],
    nodes: Sequence[Mapping[str, str]],
    edges: tuple[Sequence[int], Sequence[int], Sequence[float]],
    form: str,
    rendered: Callable[[str], str],
    plain: Callable[[str], str],
) -> GraphFile:
    """The graph from rows of texts ("" where a column does not apply) and edges.

    `rendered` gives the form that the format writes a text in, `plain` takes it back: a label whose cell is no longer
    that of the exact label was edited, and stands. Raises `ValueError` or `KeyError` for anything that cannot be right.
    """
    if len(nodes) != whole["nodes"] or len(edges[0]) != whole["edges"]:
        raise ValueError("other numbers of nodes or edges than were written")
    kind = np.array([KIND_NAMES.index(row["kind"]) for row in nodes], np.uint8)
    traced = [row for row in nodes if row["value"]]
    logits = [row for row in nodes if row["kind"] == KIND_NAMES[NodeKind.LOGIT]]
    graph = AttributionGraph(
        kind=kind,
        layer=_ints([row["layer"] for row in nodes]),
        position=_ints([row["position"] for row in nodes]),
        feature=_ints([row["feature"] for row in nodes]),
        activation=_floats([row["activation"] for row in nodes]),
        influence=_floats([row["influence"] for row in nodes]),
        source=_ints(edges[0]),
        target=_ints(edges[1]),
        weight=_floats(edges[2]),
        traced=_ints([node for node, row in enumerate(nodes) if row["value"]]),
        value=_floats([row["value"] for row in traced]),
        rest=_floats([row["rest"] for row in traced]),
        rest_absolute=_floats([row["rest_absolute"] for row in traced]),
        tokens=tuple(whole["tokens"]),
        token_ids=tuple(whole["token_ids"]),
        logit_token=_ints(whole["logit_token"]),
        logit_text=tuple(whole["logit_text"]),
        logit_probability=_floats([row["probability"] for row in logits]),
        n_layers=whole["n_layers"],
        measure=whole["measure"],
        meta=whole["report"],
    )
    require_promises(graph)
    pins, groups, labels = read_annotations(whole.get("annotations", {}), graph.n_nodes)
    return GraphFile(graph, pins, groups, _labels(nodes, labels, rendered, plain), form)


def _labels(
    nodes: Sequence[Mapping[str, str]],
    exact: Mapping[int, str],
    rendered: Callable[[str], str],
    plain: Callable[[str], str],
) -> dict[int, str]:
    found = {}
    for node, row in enumerate(nodes):
        text = exact.get(node, "")
        if rendered(text) != row["label"]:
            text = plain(row["label"])
        if text:
            found[node] = text
    return found


def _ints(values: Sequence[Any]) -> NDArray[np.int32]:
    """Whole numbers; raises `ValueError` or `OverflowError` for any that int32 cannot hold."""
    return np.array([int(one) for one in values], np.int32)


def _floats(values: Sequence[Any]) -> NDArray[np.float32]:
    """Numbers; raises `ValueError` for one that is not finite."""
    numbers = [float(one) for one in values]
    if not all(math.isfinite(one) for one in numbers):
        raise ValueError("a number that is not finite")
    with np.errstate(over="ignore"):
        return np.array(numbers, np.float32)
