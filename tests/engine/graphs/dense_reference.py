"""Influence, pruning and scores by dense matrices and power iteration, written from circuit-tracer's definitions."""

from __future__ import annotations

import numpy as np

from engine.graphs import AttributionGraph, NodeKind


def adjacency(graph: AttributionGraph) -> np.ndarray:
    """(N, N): rows targets, columns sources."""
    matrix = np.zeros((graph.n_nodes, graph.n_nodes))
    matrix[graph.target, graph.source] = graph.weight
    return matrix


def logit_weight(graph: AttributionGraph) -> np.ndarray:
    weight = np.zeros(graph.n_nodes)
    weight[graph.kind == NodeKind.LOGIT] = graph.logit_probability
    return weight


def normalise(matrix: np.ndarray, extra: np.ndarray | None = None) -> np.ndarray:
    size = np.abs(matrix)
    total = size.sum(1) + (0 if extra is None else extra)
    return size / np.maximum(total, 1e-10)[:, None]


def influence(share: np.ndarray, weight: np.ndarray) -> np.ndarray:
    term, total = weight @ share, np.zeros_like(weight)
    while np.abs(term).max() > 0:
        total += term
        term = term @ share
    return total


def threshold(values: np.ndarray, share: float) -> float:
    ordered = np.sort(values)[::-1]
    cumulative = np.cumsum(ordered) / ordered.sum()
    return float(ordered[min(np.searchsorted(cumulative, share), len(ordered) - 1)])


def prune(graph: AttributionGraph, node_share: float, edge_share: float) -> tuple[np.ndarray, np.ndarray]:
    """Masks of nodes (N,) and edges (N, N)."""
    matrix, weight = adjacency(graph), logit_weight(graph)
    everywhere = influence(normalise(matrix), weight)
    fixed = np.isin(graph.kind, [NodeKind.EMBEDDING, NodeKind.LOGIT])
    nodes = (everywhere >= threshold(everywhere, node_share)) | fixed
    kept = np.where(nodes[:, None] & nodes[None], matrix, 0)
    share = normalise(kept)
    score = share * (influence(share, weight) + weight)[:, None]
    edges = score >= threshold(score.ravel(), edge_share)
    feature = graph.kind == NodeKind.FEATURE
    while True:
        stays = nodes & (fixed | (edges.any(0) & (edges.any(1) | ~feature)))
        edges &= stays[:, None] & stays[None]
        if (stays == nodes).all():
            return nodes, edges
        nodes = stays


def scores(graph: AttributionGraph) -> tuple[float, float]:
    """Replacement and completeness, bias columns left out."""
    matrix = adjacency(graph)
    matrix[:, graph.kind == NodeKind.BIAS] = 0
    share, weight = normalise(matrix), logit_weight(graph)
    flow = influence(share, weight)
    tokens, errors = flow[graph.kind == NodeKind.EMBEDDING].sum(), flow[graph.kind == NodeKind.ERROR].sum()
    without_error = 1 - share[:, graph.kind == NodeKind.ERROR].sum(1)
    return tokens / (tokens + errors), (without_error * (flow + weight)).sum() / (flow + weight).sum()
