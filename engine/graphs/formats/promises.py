"""What must hold of a graph that a file of another program, or an export, describes."""

from __future__ import annotations

from engine.graphs.graph import AttributionGraph, NodeKind
from engine.graphs.promises import MAX_EDGES, MAX_NODES, require, require_lengths, require_values, within

__all__ = ["MAX_EDGES", "MAX_LAYERS", "MAX_NODES", "MAX_TEXT", "require_promises"]

# More layers than any model has; drawing makes a row of each.
MAX_LAYERS = 10_000
MAX_TEXT = 10_000
_INT32 = 2**31


def require_promises(graph: AttributionGraph) -> None:
    """Raise `ValueError` that names the first column that breaks what `AttributionGraph` promises."""
    require(graph.kind.ndim == 1 and graph.source.ndim == 1, "kind")
    require(0 < graph.n_nodes <= MAX_NODES and graph.n_edges <= MAX_EDGES, "size")
    require(0 < graph.n_layers <= MAX_LAYERS, "n_layers")
    require_lengths(graph)
    require(all(-1 <= one < _INT32 for one in graph.token_ids), "token_ids")
    require(len(graph.logit_token) > 0, "logit_token")
    require(within(graph.position[graph.kind != NodeKind.BIAS], 0, None), "position")
    require_values(graph)
