"""Measures a large project: how long it takes to open, and its room beside the same graphs as gzipped JSON.

python -m tests.engine.projects.sizes --traces 100 --nodes 5000
"""

from __future__ import annotations

import argparse
import gzip
import json
import shutil
import sys
import tempfile
import time
from dataclasses import fields
from pathlib import Path

import numpy as np

from engine.graphs.graph import AttributionGraph
from engine.projects import Project
from tests.graph_builder import build_graph


def gzipped_json(graph: AttributionGraph) -> int:
    """Bytes of a graph as JSON of its columns, floats in their shortest form, gzipped as hard as can be."""
    columns = {}
    for column in fields(graph):
        value = getattr(graph, column.name)
        if isinstance(value, np.ndarray):
            value = [float(str(one)) for one in value] if value.dtype == np.float32 else value.tolist()
        columns[column.name] = value
    return len(gzip.compress(json.dumps(columns, separators=(",", ":")).encode(), 9))


def measure(folder: Path, traces: int, nodes: int, edges: int) -> dict[str, float]:
    path = folder / "large.loupe"
    as_json = 0
    with Project.create(path) as project:
        for number in range(traces):
            graph = build_graph(n_layers=26, n_positions=20, n_features=nodes - 300, n_edges=edges, seed=number)
            project.add_trace({"number": number}, graph, title=f"Trace {number}")
            for node in range(20):
                project.set_label(number + 1, node, f"label {node} of {number}", merge="labels")
            if number < 5:
                as_json += gzipped_json(graph)
    size = path.stat().st_size
    opened = []
    for _ in range(5):
        start = time.perf_counter()
        with Project.open(path) as project:
            rows = project.traces()
            project.tree.entries()
            opened.append(time.perf_counter() - start)
    start = time.perf_counter()
    with Project.open(path, read_only=True) as project:
        for row in rows[:10]:
            project.load_graph(row.id)
    return {
        "traces": traces,
        "nodes": rows[0].n_nodes,
        "edges": rows[0].n_edges,
        "megabytes": round(size / 1e6, 1),
        "room beside gzipped JSON": round(size / (as_json / min(traces, 5) * traces), 3),
        "milliseconds to open, median": round(1000 * sorted(opened)[2], 1),
        "milliseconds to open, worst of 5": round(1000 * max(opened), 1),
        "milliseconds to load a graph": round(100 * (time.perf_counter() - start), 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--traces", type=int, default=100)
    parser.add_argument("--nodes", type=int, default=5000)
    parser.add_argument("--edges", type=int, default=100_000)
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp())
    try:
        sys.stdout.write(json.dumps(measure(folder, arguments.traces, arguments.nodes, arguments.edges)) + "\n")
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
