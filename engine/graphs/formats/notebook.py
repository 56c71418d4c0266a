"""A notebook that repeats a trace through `engine`, checks that the same graph comes out, and holds the circuit.

Written by hand as nbformat 4.5 (https://nbformat.readthedocs.io/en/latest/format_description.html): a few keys of JSON,
no dependency. Texts of the trace stand in code only, as Python literals; nothing of them is markup.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from engine.errors import RequestError
from engine.graphs.circuit import Circuit
from engine.graphs.graph import AttributionGraph, NodeKind
from engine.whole_files import written_whole

Cell = dict[str, Any]


def write_notebook(
    graph: AttributionGraph,
    path: Path,
    *,
    circuit: Circuit | None = None,
    model: str | None = None,
    features: str | None = None,
) -> None:
    """Write the notebook of a trace, whole or not at all.

    `model` and `features` are what `load_model` and `load_features` open; without, what the trace says. Raises
    `RequestError` for a graph that was not traced here or whose target is a direction, which a trace does not keep,
    and what `written_whole` raises.
    """
    document = notebook(graph, circuit=circuit, model=model, features=features)
    with written_whole(path) as file:
        file.write(json.dumps(document, indent=1, ensure_ascii=False).encode())


def notebook(
    graph: AttributionGraph, *, circuit: Circuit | None = None, model: str | None = None, features: str | None = None
) -> dict[str, Any]:
    """The same as plain JSON values."""
    meta = graph.meta
    if "imported" in meta or not isinstance(meta.get("settings"), dict) or "max_nodes" not in meta["settings"]:
        raise RequestError("This graph was not traced here, so no notebook can repeat it; trace its prompt first.")
    if (meta["settings"].get("target") or {}).get("direction") is not None:
        raise RequestError("A trace does not keep the direction it followed; trace a token to get a notebook.")
    machine = meta.get("machine") or {}
    opened = model or (meta.get("model") or {}).get("source") or (meta.get("model") or {}).get("name")
    dictionary = features or (meta.get("features") or {}).get("name")
    cells = [
        _text("# A trace, repeated", "Written by Circuit Loupe. Run the cells from top to bottom."),
        _code(
            "from engine import Prompt, Target, TraceSpec, load_features, load_model, trace",
            "",
            f"model = load_model({_literal(opened)}, dtype={_literal(machine.get('dtype', 'float32'))})",
            f"features = load_features({_literal(dictionary)}, model)",
        ),
        _text("## The trace", "The same prompt, target and budget."),
        _code(*_spec(graph), "result = trace(model, features, spec)", "graph = result.graph"),
        _text("## Is it the same graph?", "Other versions of torch may round otherwise: weights agree to about 1e-4."),
        _code(*_checks(graph)),
    ]
    if circuit is not None and circuit.nodes:
        cells += [_text("## The circuit", "Pins, supernodes and labels."), _code(*_circuit(circuit))]
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"
    return {
        "cells": cells,
        "metadata": {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }


def _spec(graph: AttributionGraph) -> list[str]:
    settings: Mapping[str, Any] = graph.meta["settings"]
    lines = [
        f"prompt = Prompt({_arguments(settings['prompt'])})",
        f"target = Target({_arguments(settings['target'])})",
    ]
    given = dict(settings)
    del given["prompt"], given["target"]
    if given.pop("nodes", None) is not None:
        feature = graph.of_kind(NodeKind.FEATURE)
        rows = np.stack([graph.layer[feature], graph.position[feature], graph.feature[feature]], axis=1).tolist()
        lines += ["# (layer, position, feature)", f"nodes = {tuple(map(tuple, rows))!r}"]
        given_nodes = ", nodes=nodes"
    else:
        given_nodes = ""
    return [*lines, f"spec = TraceSpec(prompt, target, {_arguments(given)}{given_nodes})"]


def _checks(graph: AttributionGraph) -> list[str]:
    total = float(np.abs(graph.weight).sum(dtype=np.float64))
    return [
        "import numpy as np",
        "",
        f"assert model.fingerprint == {_literal((graph.meta.get('model') or {}).get('fingerprint'))}, 'another model'",
        f"assert graph.tokens == {tuple(graph.tokens)!r}, 'other tokens'",
        f"assert graph.logit_text == {tuple(graph.logit_text)!r}, 'other targets'",
        f"print(graph.n_nodes, 'nodes; before', {graph.n_nodes})",
        f"print(graph.n_edges, 'edges; before', {graph.n_edges})",
        "total = float(np.abs(graph.weight).sum(dtype=np.float64))",
        f"assert abs(total / {total!r} - 1) < 1e-3, 'other weights'",
        "print('largest conservation error', result.report['conservation_error'])",
    ]


def _circuit(circuit: Circuit) -> list[str]:
    columns = ("id", "name", "nodes", "parent", "colour", "note")
    supernodes = [
        f"    Supernode({_arguments({column: getattr(one, column) for column in columns})}),"
        for one in circuit.supernodes
    ]
    return [
        "from engine.graphs.circuit import Circuit, Supernode, boxes, circuit_scores",
        "from engine.graphs.supernode_edges import supernode_edges",
        "",
        "supernodes = (",
        *supernodes,
        ")",
        f"labels = {dict(circuit.labels)!r}",
        f"circuit = Circuit({tuple(circuit.pins)!r}, supernodes, labels)",
        "print(circuit_scores(circuit, graph))",
        "shown = boxes(circuit, graph)",
        "found = supernode_edges(graph, shown)",
        "for source, target, share in zip(found.source, found.target, found.share):",
        "    print(f'{share:+.3f}  {shown[source].name} -> {shown[target].name}')",
    ]


def _arguments(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={_literal(value)}" for name, value in values.items() if value is not None)


def _literal(value: Any) -> str:
    """A Python literal; lists, which is what JSON makes of them, become tuples."""
    return repr(_tuples(value))


def _tuples(value: Any) -> Any:
    return tuple(_tuples(one) for one in value) if isinstance(value, list | tuple) else value


def _text(*lines: str) -> Cell:
    return {"cell_type": "markdown", "metadata": {}, "source": "\n\n".join(lines)}


def _code(*lines: str) -> Cell:
    return {"cell_type": "code", "metadata": {}, "execution_count": None, "outputs": [], "source": "\n".join(lines)}
