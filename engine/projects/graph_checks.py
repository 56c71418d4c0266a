"""A graph read from a project keeps the promises of `AttributionGraph`, or the project is damaged."""

from __future__ import annotations

from engine.graphs.graph import AttributionGraph
from engine.graphs.promises import MAX_EDGES, MAX_NODES, BrokenPromiseError, require, require_lengths, require_values
from engine.projects.faults import DamageError

__all__ = ["MAX_EDGES", "MAX_LAYERS", "MAX_NODES", "check_graph"]

MAX_LAYERS = 100_000


def check_graph(graph: AttributionGraph) -> None:
    """Raise `DamageError` naming the first column that breaks what `AttributionGraph` promises."""
    try:
        require(graph.n_nodes <= MAX_NODES and graph.n_edges <= MAX_EDGES, "size")
        require(0 <= graph.n_layers <= MAX_LAYERS, "n_layers")
        require_lengths(graph)
        require_values(graph)
    except BrokenPromiseError as error:
        raise DamageError(f"the graph's {error}") from error
