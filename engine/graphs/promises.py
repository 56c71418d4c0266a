"""What must hold of a graph's columns before anything indexes with them: a file may come from anywhere.

What every reader asks is here; a reader adds what its own format bounds (sizes, layers, ids) before or after.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from engine.graphs.graph import EMBEDDING_LAYER, NO_POSITION, AttributionGraph, NodeKind

MAX_NODES = 4_000_000
# A column of a project holds 32 Mi entries of 4 bytes.
MAX_EDGES = 32_000_000
_MEASURES = ("influence", "relevance")


class BrokenPromiseError(ValueError):
    """A column that cannot be right, named in the first word."""


def require(holds: bool, column: str) -> None:
    """Raise `BrokenPromiseError` that names the column, unless the promise holds."""
    if not holds:
        raise BrokenPromiseError(f"{column} cannot be right")


def require_lengths(graph: AttributionGraph) -> None:
    """Columns of one kind are equally long, there is a text for each token and logit, the measure is known."""
    require(graph.measure in _MEASURES, "measure")
    for first, *others in (
        ("kind", "layer", "position", "feature", "activation", "influence"),
        ("source", "target", "weight"),
        ("traced", "value", "rest", "rest_absolute"),
        ("logit_token", "logit_probability"),
    ):
        length = getattr(graph, first).shape[0]
        for name in (first, *others):
            require(getattr(graph, name).shape == (length,), name)
    require(len(graph.token_ids) == len(graph.tokens), "token_ids")
    require(len(graph.logit_text) == len(graph.logit_token), "logit_text")


def require_values(graph: AttributionGraph) -> None:
    """Every entry is in its range, finite and in order; lengths must have been checked."""
    _require_nodes(graph)
    _require_edges(graph)
    _require_targets(graph)
    _require_logits(graph)


def _require_nodes(graph: AttributionGraph) -> None:
    require(within(graph.kind, 0, len(NodeKind)), "kind")
    require(within(graph.layer, EMBEDDING_LAYER, graph.n_layers + 1), "layer")
    require(within(graph.position, NO_POSITION, graph.n_positions), "position")
    require(within(graph.feature, -1, None), "feature")
    require(_finite(graph.activation), "activation")
    require(_finite(graph.influence) and bool(np.all(graph.influence >= 0)), "influence")


def _require_edges(graph: AttributionGraph) -> None:
    require(within(graph.source, 0, graph.n_nodes), "source")
    require(within(graph.target, 0, graph.n_nodes), "target")
    require(_finite(graph.weight), "weight")
    require(bool(np.all(graph.source != graph.target)), "source")
    require(bool(np.all(graph.layer[graph.source] <= graph.layer[graph.target])), "source")  # edges never go down
    step = np.diff(graph.target)
    require(bool(np.all(step >= 0)), "target")
    size = np.abs(graph.weight)
    require(bool(np.all((size[1:] <= size[:-1]) | (step > 0))), "weight")


def _require_targets(graph: AttributionGraph) -> None:
    require(within(graph.traced, 0, graph.n_nodes), "traced")
    require(bool(np.all(np.diff(graph.traced) > 0)), "traced")
    for name in ("value", "rest", "rest_absolute"):
        require(_finite(getattr(graph, name)), name)


def _require_logits(graph: AttributionGraph) -> None:
    require(int(np.count_nonzero(graph.kind == NodeKind.LOGIT)) == len(graph.logit_token), "logit_token")
    require(within(graph.logit_token, -1, None), "logit_token")
    require(_finite(graph.logit_probability) and bool(np.all(graph.logit_probability >= 0)), "logit_probability")


def within(column: np.ndarray[Any, Any], low: int, high: int | None) -> bool:
    """Whether every entry is in [low, high)."""
    return bool(column.size == 0 or (column.min() >= low and (high is None or column.max() < high)))


def _finite(column: np.ndarray[Any, Any]) -> bool:
    return bool(np.isfinite(column).all())
