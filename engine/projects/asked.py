"""What was asked of a trace: everything needed to run it again, given the model."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import sqlite_utils

from engine.errors import RequestError
from engine.graphs.graph import NodeKind
from engine.projects import encoding, traces
from engine.projects.faults import DamageError, missing
from engine.projects.traces import Asked
from engine.tracing.spec import read_spec


def read_asked(db: sqlite_utils.Database, trace: int) -> Asked:
    """What was asked of a trace; from its report where it is older than what is kept now.

    Raises `RequestError` where that is not known, `DamageError` where what is kept is not what a program writes.
    """
    row = db.conn.execute("SELECT spec FROM trace WHERE id = ? AND deleted = 0", (trace,)).fetchone()
    if row is None:
        raise missing(trace)
    if row[0] is None:
        return _from_report(db, trace)
    plain = encoding.read_table(row[0])
    features = plain.pop("features", None)
    if not isinstance(features, str):
        raise DamageError("a trace of no dictionary")
    try:
        return Asked(read_spec(plain), features)
    except ValueError as error:
        raise DamageError(str(error)) from error


def _from_report(db: sqlite_utils.Database, trace: int) -> Asked:
    report = traces.read_report(db, trace)
    settings, features = report.get("settings"), report.get("features")
    if not isinstance(settings, dict) or not isinstance(features, dict) or "imported" in report:
        raise RequestError("This trace came from another program, which does not say how; trace its prompt.")
    plain: dict[str, Any] = dict(settings)
    forced, target = plain.get("nodes"), plain.get("target")
    if isinstance(target, dict) and isinstance(target.get("direction"), str):
        raise RequestError("The project does not hold this trace's direction; trace again with its file.")
    try:
        spec = read_spec({**plain, "nodes": None})
    except ValueError as error:
        raise RequestError("The project does not say how this trace was made; trace its prompt again.") from error
    if forced is not None:
        spec = replace(spec, nodes=_feature_nodes(db, trace))
    return Asked(spec, "neurons" if features.get("kind") == "neurons" else str(features.get("name", "")))


def _feature_nodes(db: sqlite_utils.Database, trace: int) -> tuple[tuple[int, int, int], ...]:
    graph = traces.read_graph(db, trace)
    nodes = graph.of_kind(NodeKind.FEATURE)
    columns = [getattr(graph, name)[nodes].tolist() for name in ("layer", "position", "feature")]
    return tuple((layer, position, feature) for layer, position, feature in zip(*columns, strict=True))
