"""Which of a million edges are drawn: never more than `LIVE_EDGES`. Arrays only, no Qt."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from engine.graphs.graph import AttributionGraph

Index = NDArray[np.int64]

LIVE_EDGES = 2000
STRONGEST = 300  # drawn when nothing is selected, hovered or pinned


class EdgeRanking:
    """The edges of one graph, strongest first: by their share of the target's input times the target's influence."""

    def __init__(self, graph: AttributionGraph) -> None:
        self.graph = graph
        influence = np.nan_to_num(graph.influence)
        strength = np.abs(graph.share)
        if influence.any():
            strength = strength * influence[graph.target]
        self.strength: NDArray[np.float32] = strength.astype(np.float32)
        self._order = np.argsort(-self.strength, kind="stable")

    def strongest(self, shown: NDArray[np.bool_], count: int = STRONGEST) -> Index:
        """(<= count,) edge numbers among `shown` (E,), strongest first. Looks no further than it must."""
        found: list[Index] = []
        missing, at, step = count, 0, 4 * count
        while missing > 0 and at < len(self._order):
            part = self._order[at : at + step]
            part = part[shown[part]][:missing]
            found.append(part)
            missing, at, step = missing - len(part), at + step, step * 2
        return np.concatenate(found) if found else np.empty(0, dtype=np.int64)

    def of_node(self, node: int, shown: NDArray[np.bool_], limit: int = LIVE_EDGES) -> Index:
        """(<= limit,) shown edges into and out of one node, strongest first."""
        return self.of_nodes((node,), shown, limit)

    def of_nodes(self, nodes: Iterable[int], shown: NDArray[np.bool_], limit: int = LIVE_EDGES) -> Index:
        """(<= limit,) shown edges that touch any of `nodes`, strongest first."""
        parts = [part for node in nodes for part in (self.graph.inputs(node), self.graph.outputs(node))]
        if not parts:
            return np.empty(0, dtype=np.int64)
        edges = np.unique(np.concatenate(parts))
        edges = edges[shown[edges]]
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
