"""What a report of a circuit takes from a project: the circuit that its annotations make, and what is known of it."""

from __future__ import annotations

from typing import Any

import numpy as np

from engine.graphs.circuit import Circuit, Supernode
from engine.graphs.formats.html_report import Evidence
from engine.graphs.graph import AttributionGraph, NodeKind
from engine.projects.annotations import Annotations
from engine.projects.project import Project

TOKENS_TOLD = 5  # of those that a feature raises or lowers most


def circuit_of(annotations: Annotations) -> Circuit:
    """The circuit that a person made of a trace by pinning and grouping."""
    supernodes = tuple(
        Supernode(one.id, one.name, one.nodes, one.parent, one.colour, one.note, one.collapsed)
        for one in annotations.groups
    )
    return Circuit(annotations.pins, supernodes, annotations.labels)


def effects_key(report: dict[str, Any], graph: AttributionGraph, node: int) -> str:
    """The key under which a project keeps what a feature of this trace writes to the output."""
    model = (report.get("model") or {}).get("fingerprint", "")
    features = report.get("features") or {}
    source = features.get("fingerprint") or features.get("name", "")
    return f"{model}/{source}/{int(graph.layer[node])}/{int(graph.feature[node])}"


def evidence_of(
    project: Project, report: dict[str, Any], graph: AttributionGraph, annotations: Annotations
) -> Evidence:
    """The note of the trace, and for each node of its circuit what the project knows: label's source, logit effects."""
    lines: dict[int, tuple[str, ...]] = {}
    for node in circuit_of(annotations).nodes:
        told = []
        if node in annotations.sources:
            told.append(f"label {annotations.sources[node]}")
        if graph.kind[node] == NodeKind.FEATURE:
            told += _effects(project.effects(effects_key(report, graph, node)), float(graph.activation[node]))
        lines[node] = tuple(told)
    return Evidence(annotations.note, lines)


def _effects(stored: Any, activation: float) -> list[str]:
    """Tokens whose logits the feature moves most, as it is active here."""
    try:
        pairs = [(str(text), float(value)) for text, value in [*stored["top"], *stored["bottom"]]]
    except (KeyError, TypeError, ValueError):
        return []
    pairs = [(text, value * float(np.sign(activation) or 1.0)) for text, value in pairs]
    up = sorted((pair for pair in pairs if pair[1] > 0), key=lambda pair: -pair[1])[:TOKENS_TOLD]
    down = sorted((pair for pair in pairs if pair[1] < 0), key=lambda pair: pair[1])[:TOKENS_TOLD]
    found = (("raises", up), ("lowers", down))
    return [f"{word} {', '.join(repr(text) for text, _ in some)}" for word, some in found if some]
