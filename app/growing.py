"""A graph that grows while it is traced: shown as it grows, and the same node found in the next, larger graph."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from engine.graphs import AttributionGraph

if TYPE_CHECKING:
    from app.session import Session


class Growth:
    """Shows what one run has found so far, unless the person turns to something else."""

    def __init__(self, session: Session, features: str) -> None:
        self.session = session
        self.features = features
        self._shown: AttributionGraph | None = None

    def show(self, graph: AttributionGraph) -> None:
        """More was found."""
        first = self._shown is None
        if first or self.session.graph is self._shown:
            self._shown = graph
            self.session.show_growing(graph, self.features, first=first)


def same_node(graph: AttributionGraph, node: int, other: AttributionGraph) -> int:
    """The number in `other` of a node of `graph`, or -1: node numbers change as layers come in."""
    if not 0 <= node < graph.n_nodes:
        return -1
    here = np.ones(other.n_nodes, dtype=np.bool_)
    for name in ("kind", "layer", "position", "feature"):
        here &= getattr(other, name) == getattr(graph, name)[node]
    found = np.flatnonzero(here)
    return int(found[0]) if len(found) else -1
