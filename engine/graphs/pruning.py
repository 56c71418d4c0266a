"""Views of a graph: which nodes and edges are shown at two thresholds. Nothing is copied and nothing is thrown away.

Thresholds follow circuit-tracer (`prune_graph`): nodes by cumulative influence, then edges by cumulative edge score on
the kept nodes, then nodes without a way in or out go. With neurons the measure is relevance, see docs/method-notes.md.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.graphs.graph import AttributionGraph, NodeKind
from engine.graphs.influence import cumulative_cut, propagate, target_weight

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class GraphView:
    """Masks over a graph: `nodes` (N,), `edges` (E,), and the share of all nodes' influence that `nodes` hold."""

    nodes: Mask
    edges: Mask
    explained: float


def everything(graph: AttributionGraph) -> GraphView:
    """The view that hides nothing."""
    return GraphView(np.ones(graph.n_nodes, bool), np.ones(graph.n_edges, bool), 1.0)


def prune(
    graph: AttributionGraph,
    node_threshold: float = 0.8,
    edge_threshold: float = 0.98,
    *,
    hide_errors: bool = False,
    hide_bos: bool = False,
    hide: Mask | None = None,
    keep: Iterable[int] = (),
    compatible: bool = False,
) -> GraphView:
    """Show the nodes that hold `node_threshold` of influence and the edges that hold `edge_threshold` of edge score.

    Both are shares in [0, 1], taken as in Ameisen et al. 2025 (Appendix, "Graph Pruning").

    Tokens and logits always stay, and so do the nodes in `keep` (pins). `hide_errors` and `hide_bos` take error nodes
    and everything at the first position away, and `hide`, (N,), what else is not wanted. `compatible` normalises as
    circuit-tracer does, without the rest.
    """
    score = graph.influence.astype(np.float64)
    kept = np.fromiter(keep, dtype=np.int64)
    nodes = strong_nodes(graph, node_threshold, hide_errors=hide_errors, hide_bos=hide_bos, hide=hide)
    nodes[kept] = True
    always = (graph.kind == NodeKind.EMBEDDING) | (graph.kind == NodeKind.LOGIT)
    always[kept] = True
    number = np.flatnonzero(np.repeat(nodes, np.diff(graph.row_start)))  # edges lie by target: no look-up for each
    number = number[nodes[graph.source[number]]]
    edge_score = score_edges(graph, number, compatible=compatible)
    number = number[(edge_score >= cumulative_cut(edge_score, edge_threshold)) & (edge_score > 0)]
    nodes, edges = _drop_loose_ends(graph, nodes, number, always & nodes)
    total = float(score.sum())
    return GraphView(nodes, edges, float(score[nodes].sum()) / total if total > 0 else 1.0)


def strong_nodes(
    graph: AttributionGraph,
    node_threshold: float,
    *,
    hide_errors: bool = False,
    hide_bos: bool = False,
    hide: Mask | None = None,
) -> Mask:
    """(N,) tokens, logits, and the nodes that hold `node_threshold` of influence, whatever edges they have."""
    score = graph.influence.astype(np.float64)
    always = (graph.kind == NodeKind.EMBEDDING) | (graph.kind == NodeKind.LOGIT)
    nodes = always | ((score >= cumulative_cut(score, node_threshold)) & (score > 0))
    if hide_errors:
        nodes &= graph.kind != NodeKind.ERROR
    if hide_bos:
        nodes &= graph.position != 0
    if hide is not None:
        nodes &= ~hide
    return np.asarray(nodes)


def score_edges(graph: AttributionGraph, edges: NDArray[np.int64], *, compatible: bool = False) -> NDArray[np.float64]:
    """For each of these edge numbers: its share of its target's input times the target's influence (a logit: weight).

    Shares and influence are those of a graph that has only these edges.
    """
    target, size = graph.target[edges], np.abs(graph.weight[edges].astype(np.float64))
    total = np.bincount(target, weights=size, minlength=graph.n_nodes)
    share = size / np.maximum(total, 1e-10)[target]
    if graph.measure == "relevance" and not compatible:
        importance = graph.influence.astype(np.float64)
    else:
        importance = propagate(graph, share, edges)
    return share * (importance + target_weight(graph))[target]


def _drop_loose_ends(
    graph: AttributionGraph, nodes: Mask, number: NDArray[np.int64], always: Mask
) -> tuple[Mask, Mask]:
    """Remove, until nothing changes, nodes without an outgoing edge and features without an incoming one."""
    feature = graph.kind == NodeKind.FEATURE
    source, target = graph.source[number], graph.target[number]
    while True:
        has_out, has_in = np.zeros(graph.n_nodes, bool), np.zeros(graph.n_nodes, bool)
        has_out[source], has_in[target] = True, True
        stay = nodes & (always | (has_out & (has_in | ~feature)))
        if (stay == nodes).all():
            break
        nodes = stay
        left = nodes[source] & nodes[target]
        number, source, target = number[left], source[left], target[left]
    edges = np.zeros(graph.n_edges, bool)
    edges[number] = True
    return nodes, edges
