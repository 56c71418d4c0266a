"""The attribution graph and everything that can be read off it: influence, pruning, scores, layout, files."""

from __future__ import annotations

from engine.graphs.circuit import Circuit, Supernode, boxes, circuit_scores
from engine.graphs.graph import KIND_NAMES, AttributionGraph, NodeKind
from engine.graphs.pruning import GraphView, everything, prune
from engine.graphs.scores import Scores, scores
from engine.graphs.trimming import keep_strongest

__all__ = [
    "KIND_NAMES",
    "AttributionGraph",
    "Circuit",
    "GraphView",
    "NodeKind",
    "Scores",
    "Supernode",
    "boxes",
    "circuit_scores",
    "everything",
    "keep_strongest",
    "prune",
    "scores",
]
