"""Figures and reports for people, the same from the window and from a terminal: a graph, its circuit, their report."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path

from engine.errors import RequestError
from engine.graphs.circuit import Circuit, PlaceKey, circuit_scores
from engine.graphs.circuit_layout import Place
from engine.graphs.circuit_svg import circuit_svg
from engine.graphs.formats.html_report import Evidence, write_html_report
from engine.graphs.graph import AttributionGraph
from engine.graphs.pruning import GraphView, prune
from engine.graphs.svg import svg_text
from engine.progress import Progress, checkpoint, silent, watched


def graph_figure(
    graph: AttributionGraph,
    view: GraphView,
    circuit: Circuit,
    title: str,
    caption: str,
    *,
    dark: bool = False,
) -> str:
    """The shown graph as SVG text, with the labels, pins and supernodes of its circuit, legend and caption."""
    return svg_text(graph, view, title=title, caption=caption, dark=dark, circuit=circuit)


def circuit_figure(
    graph: AttributionGraph,
    circuit: Circuit,
    *,
    title: str,
    places: Mapping[PlaceKey, Place] | None = None,
    dark: bool = False,
) -> str:
    """The circuit's diagram as SVG text, with legend and its figures as caption; RequestError where it is empty."""
    if not circuit.nodes:
        raise RequestError("There is no circuit to draw yet; pin nodes first.")
    caption = circuit_caption(graph, circuit)
    return circuit_svg(graph, circuit, title=title, places=places, dark=dark, caption=caption)


def circuit_caption(graph: AttributionGraph, circuit: Circuit) -> str:
    """One line of figures under a circuit."""
    found = circuit_scores(circuit, graph)
    parts = [f"{len(circuit.nodes):,} of {graph.n_nodes:,} nodes"]
    for name in ("replacement", "completeness"):
        own, whole = getattr(found.circuit, name), getattr(found.graph, name)
        if own is not None and whole is not None and graph.measure != "relevance":
            parts.append(f"{name} {own:.2f} (graph {whole:.2f})")
    parts.append(f"holds {found.explained:.1%} of all features' {graph.measure}".replace("%", " %"))
    return "; ".join(parts)


def circuit_report(
    graph: AttributionGraph,
    circuit: Circuit,
    path: Path,
    *,
    title: str,
    places: Mapping[PlaceKey, Place] | None = None,
    evidence: Evidence | None = None,
    view: GraphView | None = None,
    progress: Progress = silent,
    cancel: threading.Event | None = None,
) -> None:
    """Write the report of a circuit with a picture of its graph, light and dark; without a view one at 80 %.

    Raises `Cancelled`, and then writes nothing.
    """
    view = view or prune(graph, keep=circuit.nodes)
    one, other = (
        graph_figure(graph, view, circuit, title, "", dark=dark)
        for dark in watched((False, True), 4, "Drawing the graph", progress, cancel, every=1)
    )
    checkpoint(cancel)
    progress("Writing the report", 0.5)
    write_html_report(graph, circuit, path, title=title, places=places, evidence=evidence, picture=(one, other))
