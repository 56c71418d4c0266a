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
        self._before = session.trace_id  # what was open when it was asked for
        self.prompt = session.prompt.snapshot()  # what it was asked of, whatever is in the prompt bar later

    @property
    def left(self) -> bool:
        """Whether the person has turned to another trace meanwhile."""
        session = self.session
        if self._shown is not None:
            return session.graph is not None and session.graph is not self._shown
        return session.trace_id is not None and session.trace_id != self._before

    def show(self, graph: AttributionGraph) -> None:
        """More was found."""
        if not self.left:
            first, self._shown = self._shown is None, graph
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
