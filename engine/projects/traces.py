"""Traces in a project: what was run, and its graph as one compressed blob a column."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import sqlite_utils

from engine.errors import LoupeError
from engine.graphs.graph import KIND_NAMES, AttributionGraph, NodeKind
from engine.graphs.titles import prompt_of
from engine.projects import arrays, encoding
from engine.projects.arrays import PackedArray
from engine.projects.connection import Row
from engine.projects.encoding import now
from engine.projects.faults import DamageError, missing
from engine.projects.graph_checks import MAX_EDGES, MAX_NODES, check_graph
from engine.projects.tree_rows import last_rank
from engine.tracing.spec import TraceSpec

# Array columns with their dtypes, and which of the trace row's counts fixes their length (None: any length).
COLUMNS: dict[str, tuple[str, str | None]] = {
    "kind": ("uint8", "n_nodes"),
    "layer": ("int32", "n_nodes"),
    "position": ("int32", "n_nodes"),
    "feature": ("int32", "n_nodes"),
    "activation": ("float32", "n_nodes"),
    "influence": ("float32", "n_nodes"),
    "source": ("int32", "n_edges"),
    "target": ("int32", "n_edges"),
    "weight": ("float32", "n_edges"),
    "traced": ("int32", None),
    "value": ("float32", None),
    "rest": ("float32", None),
    "rest_absolute": ("float32", None),
    "logit_token": ("int32", None),
    "logit_probability": ("float32", None),
}
# Texts as the UTF-8 bytes of a JSON list, and token ids.
TEXTS = ("tokens", "logit_text")
TOKEN_IDS = "token_ids"


@dataclass(frozen=True)
class TraceRow:
    """One trace in the list of a project, without its graph."""

    id: int
    title: str
    created: str  # ISO 8601, UTC
    prompt: str
    n_nodes: int
    n_edges: int
    target: str  # the text of the heaviest target


@dataclass(frozen=True)
class Asked:
    """The settings of one trace, and where its dictionary was ("neurons", an id or a path)."""

    spec: TraceSpec
    features: str


@dataclass(frozen=True)
class PackedTrace:
    """A trace ready to be stored: everything slow is done, nothing has touched the database."""

    row: Row
    columns: dict[str, PackedArray]


def pack_trace(report: dict[str, Any], graph: AttributionGraph, title: str, asked: Asked | None = None) -> PackedTrace:
    """Check and compress a trace; `asked` is what was asked for, None where nobody knows.

    Raises `LoupeError` if a graph breaks its own promises: it could never be opened.
    """
    try:
        check_graph(graph)
    except DamageError as error:
        raise LoupeError(
            f"The trace was not saved because {error}; trace again, and report this if it returns."
        ) from error
    columns = {
        name: arrays.pack(getattr(graph, name).astype(dtype, copy=False)) for name, (dtype, _) in COLUMNS.items()
    }
    for name in TEXTS:
        columns[name] = arrays.pack(np.frombuffer(encoding.write(list(getattr(graph, name))).encode(), dtype=np.uint8))
    columns[TOKEN_IDS] = arrays.pack(np.array(graph.token_ids, dtype=np.int64))
    report_text, meta_text = encoding.write(report), encoding.write(graph.meta)
    row = {
        "title": title,
        "created": now(),
        "prompt": encoding.encodable(prompt_of(report, graph)),
        "target": encoding.encodable(_target_of(graph)),
        "n_nodes": graph.n_nodes,
        "n_edges": graph.n_edges,
        "n_layers": graph.n_layers,
        "measure": graph.measure,
        "report": report_text,
        "meta": None if meta_text == report_text else meta_text,
        "spec": None if asked is None else encoding.write({**asked.spec.plain(), "features": asked.features}),
    }
    return PackedTrace(row, columns)


def store_trace(db: sqlite_utils.Database, trace: PackedTrace) -> int:
    """Write a packed trace inside the caller's transaction; its number."""
    row = {**trace.row, "parent": 0, "rank": last_rank(db, 0) + 1}
    cursor = db.conn.execute(
        f"INSERT INTO trace ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})", list(row.values())
    )
    number = int(cursor.lastrowid)
    rows = [(number, name, arrays.store(db, packed)) for name, packed in trace.columns.items()]
    db.conn.executemany("INSERT INTO graph_column (trace, name, array) VALUES (?, ?, ?)", rows)
    return number


def list_traces(db: sqlite_utils.Database) -> list[TraceRow]:
    """Every trace that is not deleted, oldest first."""
    names = ("id", "title", "created", "prompt", "n_nodes", "n_edges", "target")
    rows = db["trace"].rows_where("deleted = 0", select=", ".join(names), order_by="id")
    return [TraceRow(**{name: row[name] for name in names}) for row in rows]


def read_report(db: sqlite_utils.Database, trace: int) -> dict[str, Any]:
    """The report a trace was saved with; raises `DamageError` if it is not JSON."""
    return encoding.read_table(_row(db, trace, "report")["report"])


def read_graph(db: sqlite_utils.Database, trace: int) -> AttributionGraph:
    """The graph of a trace, as it was saved; its arrays are read-only. Raises `DamageError` if anything is off."""
    row = _row(db, trace, "n_nodes, n_edges, n_layers, measure, report, meta")
    lengths = {"n_nodes": row["n_nodes"], "n_edges": row["n_edges"]}
    if not (0 <= lengths["n_nodes"] <= MAX_NODES and 0 <= lengths["n_edges"] <= MAX_EDGES):
        raise DamageError("a graph of a size no program writes")
    blobs = {
        blob["name"]: blob
        for blob in db.query(
            "SELECT graph_column.name, array.* FROM graph_column JOIN array ON array.id = graph_column.array "
            "WHERE graph_column.trace = ?",
            [trace],
        )
    }
    if set(blobs) != {*COLUMNS, *TEXTS, TOKEN_IDS}:
        raise DamageError("a graph with other columns")
    columns: dict[str, Any] = {
        name: arrays.unpack(blobs[name], dtype, (None if length is None else lengths[length],))
        for name, (dtype, length) in COLUMNS.items()
    }
    for name in TEXTS:
        columns[name] = encoding.read_texts(arrays.unpack(blobs[name], "uint8", (None,)).tobytes())
    graph = AttributionGraph(
        **columns,
        token_ids=tuple(arrays.unpack(blobs[TOKEN_IDS], "int64", (None,)).tolist()),
        n_layers=row["n_layers"],
        measure=row["measure"],
        meta=encoding.read_table(row["meta"] if row["meta"] is not None else row["report"]),
    )
    check_graph(graph)
    return graph


def _row(db: sqlite_utils.Database, trace: int, columns: str) -> Row:
    for row in db["trace"].rows_where("id = ? AND deleted = 0", [trace], select=columns):
        return dict(row)
    raise missing(trace)


def _target_of(graph: AttributionGraph) -> str:
    return graph.logit_text[int(np.argmax(graph.logit_probability))] if graph.logit_text else ""


def node_names(db: sqlite_utils.Database, trace: int) -> list[str]:
    """Short names of a trace's nodes for the history ("layer 12 · 503"); `DamageError` if they cannot be read."""
    return [_node_name(*node) for node in zip(*(one.tolist() for one in node_columns(db, trace)), strict=True)]


def node_columns(db: sqlite_utils.Database, trace: int) -> tuple[np.ndarray[Any, Any], ...]:
    """Kind, layer and feature of every node, without the rest of the graph; `DamageError` if they cannot be read."""
    columns = []
    for name in ("kind", "layer", "feature"):
        row = next(
            db.query(
                "SELECT array.* FROM graph_column JOIN array ON array.id = graph_column.array "
                "WHERE graph_column.trace = ? AND graph_column.name = ?",
                [trace, name],
            ),
            None,
        )
        if row is None:
            raise DamageError("a graph with other columns")
        columns.append(arrays.unpack(row, COLUMNS[name][0], (None,)))
    if len({len(column) for column in columns}) != 1:
        raise DamageError("columns of different lengths")
    return tuple(columns)


def _node_name(kind: int, layer: int, feature: int) -> str:
    if kind >= len(KIND_NAMES):
        raise DamageError("a node of no kind")
    if kind == NodeKind.FEATURE:
        return f"layer {layer} · {feature}"
    return f"{KIND_NAMES[kind]} of layer {layer}" if kind == NodeKind.ERROR else KIND_NAMES[kind]
