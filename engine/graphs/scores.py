"""Replacement and completeness: how much of the targets a graph of transcoder features explains.

Ameisen et al. 2025, "Graph evaluation"; definitions as in circuit-tracer's `compute_graph_scores`. Two sets:

* `scores(graph)`: what the graph leaves out (`rest`: nodes not traced, edges not kept) counts as error, so neither a
  smaller budget nor pruning can raise a score. Biases are not error in completeness and absent from replacement.
* `scores(graph, compatible=True)`: rows are normalised over features, errors and embeddings only, as circuit-tracer's.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.graphs.graph import EDGES_AT_ONCE, AttributionGraph, NodeKind
from engine.graphs.influence import propagate, row_scale, target_weight


@dataclass(frozen=True)
class Scores:
    """Both in [0, 1]; None for neurons, to which they do not apply (there is no error to leave unexplained)."""

    replacement: float | None
    completeness: float | None


def scores(graph: AttributionGraph, *, compatible: bool = False, kept: NDArray[np.bool_] | None = None) -> Scores:
    """Replacement and completeness of a graph, in [0, 1]; None for both where the features leave no error.

    Ameisen et al. 2025 ("Graph evaluation"), but what the graph leaves out counts as error; with `compatible` rows are
    normalised over features, errors and embeddings only, as circuit-tracer has them.

    With `kept` (N,), those of a circuit: a feature that is not kept counts as error, with the absolute mass of its
    edges, and what flows into it ends there. So keeping one more feature can lower neither score.
    """
    if graph.measure == "relevance":
        return Scores(None, None)
    size = np.abs(graph.weight)
    if compatible:
        _leave_out(size, graph, graph.kind == NodeKind.BIAS)
    scale = row_scale(graph, size, count_rest=not compatible)
    ended = np.zeros(graph.n_nodes, dtype=np.bool_) if kept is None else (graph.kind == NodeKind.FEATURE) & ~kept
    scale[ended] = 0
    influence = propagate(graph, size, scale=scale)
    is_error = (graph.kind == NodeKind.ERROR) | ended
    _leave_out(size, graph, ~is_error)
    from_error = graph.sum_by_target(size) * scale
    flow = influence + target_weight(graph)
    lost = 0.0
    if not compatible:
        traced = graph.traced[~ended[graph.traced]]
        absolute = graph.rest_absolute[~ended[graph.traced]]
        unkept = np.zeros(graph.n_nodes)
        unkept[traced] = absolute / np.maximum(graph.input_mass[traced], 1e-10)
        lost = float((unkept * flow).sum())
        from_error = from_error + unkept
    embedded = float(influence[graph.kind == NodeKind.EMBEDDING].sum())
    wrong = float(influence[is_error].sum()) + lost
    return Scores(
        replacement=embedded / (embedded + wrong) if embedded + wrong > 0 else None,
        completeness=float(((1 - from_error) * flow).sum() / flow.sum()) if flow.sum() > 0 else None,
    )


def _leave_out(size: NDArray[np.floating], graph: AttributionGraph, which: NDArray[np.bool_]) -> None:
    """Set the `size` (E,) of edges from these nodes (N,) to 0, some at a time: a look-up widens the nodes' numbers."""
    for first in range(0, len(size), EDGES_AT_ONCE):
        some = slice(first, first + EDGES_AT_ONCE)
        size[some][which[graph.source[some]]] = 0
