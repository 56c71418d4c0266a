"""What must hold of a graph's columns before anything indexes with them: a graph file may come from anywhere."""

from __future__ import annotations

from typing import Any

import numpy as np

from engine.graphs.graph import EMBEDDING_LAYER, NO_POSITION, AttributionGraph, NodeKind

MAX_NODES = 4_000_000
# A column of a project holds 32 Mi entries of 4 bytes.
MAX_EDGES = 32_000_000
# More layers than any model has; drawing makes a row of each.
MAX_LAYERS = 10_000
MAX_TEXT = 10_000
_MEASURES = ("influence", "relevance")
_INT32 = 2**31


def require_promises(graph: AttributionGraph) -> None:
    """Raise `ValueError` that names the first column that breaks what `AttributionGraph` promises."""
    _require_lengths(graph)
    _require_nodes(graph)
    _require_edges(graph)
    _require_targets(graph)


def _require_lengths(graph: AttributionGraph) -> None:
    _require(graph.kind.ndim == 1 and graph.source.ndim == 1, "kind")
    _require(0 < graph.n_nodes <= MAX_NODES and graph.n_edges <= MAX_EDGES, "size")
    _require(0 < graph.n_layers <= MAX_LAYERS, "n_layers")
    _require(graph.measure in _MEASURES, "measure")
    for first, *others in (
        ("kind", "layer", "position", "feature", "activation", "influence"),
        ("source", "target", "weight"),
        ("traced", "value", "rest", "rest_absolute"),
        ("logit_token", "logit_probability"),
    ):
        length = getattr(graph, first).shape[0]
        for name in (first, *others):
            _require(getattr(graph, name).shape == (length,), name)
    _require(len(graph.token_ids) == len(graph.tokens), "token_ids")
    _require(all(-1 <= one < _INT32 for one in graph.token_ids), "token_ids")
    _require(len(graph.logit_text) == len(graph.logit_token), "logit_text")
    _require(int(np.count_nonzero(graph.kind == NodeKind.LOGIT)) == len(graph.logit_token), "logit_token")
    _require(len(graph.logit_token) > 0, "logit_token")


def _require_nodes(graph: AttributionGraph) -> None:
    _require(_within(graph.kind, 0, len(NodeKind)), "kind")
    _require(_within(graph.layer, EMBEDDING_LAYER, graph.n_layers + 1), "layer")
    placed = graph.kind != NodeKind.BIAS
    _require(_within(graph.position, NO_POSITION, graph.n_positions), "position")
    _require(_within(graph.position[placed], 0, None), "position")
    _require(_within(graph.feature, -1, None), "feature")
    _require(_finite(graph.activation), "activation")
    _require(_finite(graph.influence) and bool(np.all(graph.influence >= 0)), "influence")
    _require(_within(graph.logit_token, -1, None), "logit_token")
    _require(_finite(graph.logit_probability) and bool(np.all(graph.logit_probability >= 0)), "logit_probability")


def _require_edges(graph: AttributionGraph) -> None:
    _require(_within(graph.source, 0, graph.n_nodes), "source")
    _require(_within(graph.target, 0, graph.n_nodes), "target")
    _require(_finite(graph.weight), "weight")
    _require(bool(np.all(graph.source != graph.target)), "source")
    _require(bool(np.all(graph.layer[graph.source] <= graph.layer[graph.target])), "source")  # edges never go down
    step = np.diff(graph.target)
    _require(bool(np.all(step >= 0)), "target")
    size = np.abs(graph.weight)
    _require(bool(np.all((size[1:] <= size[:-1]) | (step > 0))), "weight")


def _require_targets(graph: AttributionGraph) -> None:
    _require(_within(graph.traced, 0, graph.n_nodes), "traced")
    _require(bool(np.all(np.diff(graph.traced) > 0)), "traced")
    for name in ("value", "rest", "rest_absolute"):
        _require(_finite(getattr(graph, name)), name)


def _within(column: np.ndarray[Any, Any], low: int, high: int | None) -> bool:
    """Whether every entry is in [low, high)."""
    return bool(column.size == 0 or (column.min() >= low and (high is None or column.max() < high)))


def _finite(column: np.ndarray[Any, Any]) -> bool:
    return bool(np.isfinite(column).all())


def _require(holds: bool, column: str) -> None:
    if not holds:
        raise ValueError(f"{column} cannot be right")
