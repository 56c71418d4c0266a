"""Files that a graph can be written to and read from: one module a format."""

from __future__ import annotations

from engine.graphs.formats.arrays import load_npz, save_npz
from engine.graphs.formats.neuronpedia import write_json

__all__ = ["load_npz", "save_npz", "write_json"]
