"""Files that a graph can be written to and read from: one module a format. docs/graph-files.md describes them."""

from __future__ import annotations

from engine.graphs.formats.arrays import load_npz, save_npz
from engine.graphs.formats.csv_tables import part_paths, write_csv
from engine.graphs.formats.graph_file import GraphFile, Groups
from engine.graphs.formats.graphml import write_graphml
from engine.graphs.formats.html_report import Evidence, write_html_report
from engine.graphs.formats.neuronpedia import write_json
from engine.graphs.formats.notebook import write_notebook
from engine.graphs.formats.reading import read_graph_file

__all__ = [
    "Evidence",
    "GraphFile",
    "Groups",
    "load_npz",
    "part_paths",
    "read_graph_file",
    "save_npz",
    "write_csv",
    "write_graphml",
    "write_html_report",
    "write_json",
    "write_notebook",
]
