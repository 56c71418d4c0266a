"""Whether two graphs are the same to the bit, and what a document says apart from order."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

import numpy as np

from engine.graphs import AttributionGraph
from engine.graphs.formats.graph_file import GraphFile
from engine.graphs.formats.neuronpedia import as_document
from engine.graphs.formats.neuronpedia_reading import read_document


def assert_same_graph(one: AttributionGraph, other: AttributionGraph) -> None:
    """Every column, its type included."""
    for field in fields(one):
        before, after = getattr(one, field.name), getattr(other, field.name)
        if isinstance(before, np.ndarray):
            assert before.dtype == after.dtype, field.name
            assert before.tobytes() == after.tobytes(), field.name
        else:
            assert before == after, field.name


def exported(file: GraphFile, **more: Any) -> dict[str, Any]:
    """The document that a graph file is written as, through real JSON text."""
    asked = {"node_threshold": None, "edge_threshold": None, "slug": "", "pins": file.pins, "groups": file.groups}
    document = as_document(file.graph, **{**asked, "labels": file.labels, **more})
    found: dict[str, Any] = json.loads(json.dumps(document, allow_nan=False))
    return found


def imported(document: Any) -> GraphFile:
    """What our reader makes of a document, through real JSON text."""
    return read_document(json.loads(json.dumps(document)), "graph.json")


def in_any_order(document: dict[str, Any]) -> dict[str, Any]:
    """The document with its links sorted: their order means nothing."""
    return {**document, "links": sorted(document["links"], key=lambda link: json.dumps(link, sort_keys=True))}
