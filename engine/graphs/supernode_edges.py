"""Edges between supernodes, normalised so that supernodes of any size can be compared.

Ameisen et al. 2025, "Circuit Tracing", supernodes: with Â the row-normalised weights and f(t) the share of t's input
that comes from outside its own supernode T,

    edge(S -> T) = sum over t in T of f(t) * (sum over s in S of Â[t, s]) / sum over t in T of f(t).

Signed here: Â keeps the sign of each edge, and the same sum over absolute values stands beside it. Rows are normalised
by everything that goes in, edges that the graph does not keep included.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.graphs.circuit import Box
from engine.graphs.graph import AttributionGraph

Array = NDArray[np.float64]


@dataclass(frozen=True)
class SupernodeEdges:
    """Edges between B boxes, strongest first, and where each box's input from outside comes from.

    source, target (K,): numbers of boxes. share (K,): the normalised signed edge, in [-1, 1]. absolute (K,): the same
    over |edges|. weight (K,): plain sum of the edges. covered (B,): the share of the box's input from outside, by
    absolute value, that comes from other boxes; 0 where there is none.
    """

    source: NDArray[np.int64]
    target: NDArray[np.int64]
    share: Array
    absolute: Array
    weight: Array
    covered: Array


def supernode_edges(graph: AttributionGraph, shown: Sequence[Box], *, of_outside_input: bool = False) -> SupernodeEdges:
    """The edges between boxes on the unpruned graph; edges inside one box are left out.

    With `of_outside_input` each member's inputs are normalised by what comes from outside its supernode, the form
    Neuronpedia's subgraph uses: then the absolute inputs of a box from everywhere outside sum to 1.
    """
    n_boxes = len(shown)
    box = np.full(graph.n_nodes, -1, dtype=np.int64)
    for number, one in enumerate(shown):
        box[list(one.nodes)] = number
    edges = _rows_of(graph, np.flatnonzero(box >= 0))
    source, target = graph.source[edges], graph.target[edges]
    mass = graph.input_mass.astype(np.float64)
    share = np.divide(graph.weight[edges], mass[target], out=np.zeros(len(edges)), where=mass[target] > 0)
    own = box[source] == box[target]
    inside = np.bincount(target[own], weights=np.abs(share[own]), minlength=graph.n_nodes)
    outside = np.where(mass > 0, np.clip(1.0 - inside, 0.0, 1.0), 0.0)  # (N,) f(t)
    member = box >= 0
    norm = np.bincount(box[member], weights=outside[member], minlength=n_boxes).astype(np.float64)  # sum of f
    between = (box[source] >= 0) & ~own
    factor = np.ones(graph.n_nodes) if of_outside_input else outside
    pair = box[target[between]] * n_boxes + box[source[between]]
    used, column = np.unique(pair, return_inverse=True)
    to, start = used // max(n_boxes, 1), used % max(n_boxes, 1)
    amount = factor[target[between]] * share[between] / np.maximum(norm[box[target[between]]], 1e-30)
    signed = np.bincount(column, weights=amount, minlength=len(used)).astype(np.float64)
    absolute = np.bincount(column, weights=np.abs(amount), minlength=len(used)).astype(np.float64)
    plain = np.bincount(column, weights=graph.weight[edges][between], minlength=len(used)).astype(np.float64)
    # What all outside inputs together come to, in the same measure.
    full = np.bincount(box[member], weights=(factor * outside)[member], minlength=n_boxes) / np.maximum(norm, 1e-30)
    from_boxes = np.bincount(to, weights=absolute, minlength=n_boxes)
    order = np.argsort(-absolute, kind="stable")
    return SupernodeEdges(
        source=start[order],
        target=to[order],
        share=signed[order],
        absolute=absolute[order],
        weight=plain[order],
        covered=np.divide(from_boxes, full, out=np.zeros(n_boxes), where=full > 0),
    )


def _rows_of(graph: AttributionGraph, nodes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Numbers of all edges into these nodes."""
    rows = [np.arange(graph.row_start[node], graph.row_start[node + 1]) for node in nodes.tolist()]
    return np.concatenate(rows) if rows else np.empty(0, dtype=np.int64)
