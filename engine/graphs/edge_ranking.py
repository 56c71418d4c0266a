"""Which of a million edges are drawn: never more than `LIVE_EDGES`. Arrays only, no Qt."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from engine.graphs.graph import AttributionGraph, NodeKind

Index = NDArray[np.int64]

LIVE_EDGES = 2000
STRONGEST = 500  # drawn when nothing is selected, hovered or pinned
LOGIT_INPUTS = 8  # of these, how many strongest inputs of a logit count as much as a feature's strongest


class EdgeRanking:
    """Edges of one graph by strength: the share of the target's input times the target's influence."""

    def __init__(self, graph: AttributionGraph) -> None:
        self.graph = graph
        importance = np.nan_to_num(graph.influence)
        importance[graph.of_kind(NodeKind.LOGIT)] = np.maximum(graph.logit_probability, 1e-6)
        self.strength: NDArray[np.float32] = (np.abs(graph.share) * importance[graph.target]).astype(np.float32)

    def prepare(self) -> None:
        """Sort outgoing edges now, so that the first hover does not wait for it."""
        if self.graph.n_nodes:
            self.graph.outputs(0)

    def strongest(self, shown: NDArray[np.bool_], count: int = STRONGEST) -> Index:
        """(<= count,) edges among `shown` (E,): the strongest input of every node, then every second, and so on.

        The strongest by number alone crowd into the first layers, where a node has few inputs.
        """
        edges = np.flatnonzero(shown)
        if not len(edges):
            return edges
        target = self.graph.target[edges]
        first = np.flatnonzero(np.r_[True, target[1:] != target[:-1]])
        rank = np.arange(len(edges)) - np.repeat(first, np.diff(np.r_[first, len(edges)]))
        rank = np.where(self.graph.kind[target] == NodeKind.LOGIT, rank // LOGIT_INPUTS, rank)
        enough = int(np.searchsorted(np.cumsum(np.bincount(rank)), count))
        near = np.flatnonzero(rank <= enough)
        order = np.lexsort((-self.strength[edges[near]], rank[near]))
        return edges[near[order[:count]]]

    def of_node(self, node: int, shown: NDArray[np.bool_], limit: int = LIVE_EDGES) -> Index:
        """(<= limit,) shown edges into and out of one node, strongest first."""
        return self.of_nodes((node,), shown, limit)

    def of_nodes(self, nodes: Iterable[int], shown: NDArray[np.bool_], limit: int = LIVE_EDGES) -> Index:
        """(<= limit,) shown edges that touch any of `nodes`, strongest first."""
        parts = [part for node in nodes for part in (self.graph.inputs(node), self.graph.outputs(node))]
        if not parts:
            return np.empty(0, dtype=np.int64)
        touching = np.zeros(self.graph.n_edges, dtype=np.bool_)
        for part in parts:
            touching[part] = True
        edges = np.flatnonzero(touching & shown)
        strength = np.abs(self.graph.share[edges])
        return edges[np.argsort(-strength, kind="stable")[:limit]]

    def between(self, nodes: Iterable[int], shown: NDArray[np.bool_], limit: int = LIVE_EDGES) -> Index:
        """(<= limit,) shown edges that run from one of `nodes` to another, strongest first."""
        chosen = list(nodes)
        member = np.zeros(self.graph.n_nodes, dtype=np.bool_)
        member[chosen] = True
        parts = [self.graph.inputs(node) for node in chosen]
        edges = np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)
        edges = edges[shown[edges] & member[self.graph.source[edges]]]
        strength = np.abs(self.graph.share[edges])
        return edges[np.argsort(-strength, kind="stable")[:limit]]
