"""The notebook: its cells compile, hostile texts stay texts, and running it repeats the trace on a real model."""

from __future__ import annotations

import ast
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from engine.dictionaries import load_features
from engine.errors import RequestError
from engine.graphs import AttributionGraph, NodeKind
from engine.graphs.circuit import Circuit, Supernode
from engine.graphs.formats.notebook import notebook, write_notebook
from engine.tracing import Prompt, Target, TraceSpec, trace
from tests.graph_builder import build_graph

if TYPE_CHECKING:
    from engine.models import LanguageModel

HOSTILE = '\'); import os; os.abort() #\n"""<script>\ud800'


def sources(document: dict[str, Any], kind: str = "code") -> list[str]:
    return [cell["source"] for cell in document["cells"] if cell["cell_type"] == kind]


def traced(spec: TraceSpec) -> AttributionGraph:
    meta = {"settings": spec.settings(), "model": {"name": "m", "source": HOSTILE, "fingerprint": "f"}}
    return replace(build_graph(), meta={**meta, "features": {"name": "neurons"}})


def test_cells_compile_and_texts_stay_literals(tmp_path: Path) -> None:
    graph = traced(TraceSpec(Prompt(HOSTILE), Target(weighted=((HOSTILE, 1.0), ("a", -1.0)))))
    circuit = Circuit((9,), (Supernode(1, HOSTILE, (5, 6), note=HOSTILE),), {9: HOSTILE})
    write_notebook(graph, tmp_path / "a.ipynb", circuit=circuit)
    document = json.loads((tmp_path / "a.ipynb").read_text(encoding="utf-8"))
    assert document == notebook(graph, circuit=circuit)
    assert (document["nbformat"], document["nbformat_minor"]) == (4, 5)
    assert len({cell["id"] for cell in document["cells"]}) == len(document["cells"])
    for source in sources(document):
        modules = {
            name.name for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Import) for name in node.names
        }
        assert modules <= {"numpy"}
    assert not any("script" in source for source in sources(document, "markdown"))
    spec: dict[str, Any] = {}
    exec(sources(document)[1].split("result =")[0], {"Prompt": Prompt, "Target": Target, "TraceSpec": TraceSpec}, spec)
    assert spec["spec"] == TraceSpec(Prompt(HOSTILE), Target(weighted=((HOSTILE, 1.0), ("a", -1.0))))


def test_a_forced_list_of_nodes_is_written_out() -> None:
    graph = traced(TraceSpec(Prompt("a"), nodes=((1, 2, 3),)))
    spec: dict[str, Any] = {}
    names = {"Prompt": Prompt, "Target": Target, "TraceSpec": TraceSpec}
    exec(sources(notebook(graph))[1].split("result =")[0], names, spec)
    node = int(graph.of_kind(NodeKind.FEATURE)[4])
    assert spec["spec"].nodes[4] == (graph.layer[node], graph.position[node], graph.feature[node])
    assert len(spec["spec"].nodes) == len(graph.of_kind(NodeKind.FEATURE))


def test_what_cannot_be_repeated() -> None:
    with pytest.raises(RequestError, match="not traced here"):
        notebook(build_graph())
    with pytest.raises(RequestError, match="direction"):
        notebook(traced(TraceSpec(Prompt("a"), Target(direction=(1.0, 2.0)))))


def test_running_it_repeats_the_trace(smollm: LanguageModel) -> None:
    spec = TraceSpec(Prompt("The capital of Texas is"), Target(token=" Austin"), max_nodes=60)
    graph = trace(smollm, load_features(None, smollm), spec).graph
    feature = graph.of_kind(NodeKind.FEATURE)
    circuit = Circuit((int(feature[0]), int(feature[9])), (Supernode(1, "two", (int(feature[3]), int(feature[4]))),))
    names: dict[str, Any] = {}
    for source in sources(notebook(graph, circuit=circuit)):
        exec(source, names)
    again = names["graph"]
    for column in ("kind", "layer", "position", "feature", "source", "target"):
        assert (getattr(again, column) == getattr(graph, column)).all(), column
    assert again.weight == pytest.approx(graph.weight, rel=1e-4, abs=1e-7)
    assert names["circuit"].nodes == circuit.nodes
    wrong = replace(graph, weight=(graph.weight * np.float32(1.1)).astype(np.float32))
    with pytest.raises(AssertionError, match="other weights"):
        exec(sources(notebook(wrong))[2], names)
