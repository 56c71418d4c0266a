"""A feature index for the features of a test graph, written as the program writes it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from engine.evidence.index_file import IndexHead, write_index
from engine.evidence.page_blocks import BLOCK, EMPTY, BlockShape, count_code, packed
from engine.graphs import AttributionGraph, NodeKind
from engine.places import indexes_folder

SHAPE = BlockShape(sides=1, top=2, drawn=1, before=2, after=1, bins=6, near=1)
TEXT = ["It", " is", " the", " capital", " of", " Texas", ",", " Austin", ".", " Yes"]


def write_for(graph: AttributionGraph, dictionary: str = "f" * 8, labelled: str = "say “austin”") -> Path:
    """Every feature's strongest example is " Texas" at 8.0, then " Austin"; every second feature has a label."""
    features = graph.of_kind(NodeKind.FEATURE)
    layers = tuple(sorted(set(graph.layer[features].tolist())))
    widths = tuple(int(graph.feature[features][graph.layer[features] == layer].max()) + 1 for layer in layers)
    head = IndexHead(
        model="m" * 8,
        model_name="test model",
        dictionary=dictionary,
        dictionary_name="test transcoders",
        kind="transcoders",
        corpus="a text of a test",
        corpus_digest="0" * 64,
        tokens_seen=1000,
        n_tokens=len(TEXT),
        layers=layers,
        widths=widths,
        shape=SHAPE,
        settings={},
    )
    indexes_folder().mkdir(parents=True, exist_ok=True)
    path = indexes_folder() / f"test-{dictionary[:4]}.features"
    write_index(
        path,
        head,
        (block for width in widths for block in _blocks(width, labelled)),
        np.concatenate([np.linspace(0, 0.5, width, dtype=np.float32) for width in widths]),
        np.arange(len(TEXT), dtype=np.uint32),
        np.array([0]),
        dict(enumerate(TEXT)),
    )
    return path


def _blocks(width: int, labelled: str) -> list[bytes]:
    made = []
    for start in range(0, width, BLOCK):
        count = min(BLOCK, width - start)
        arrays = {
            "maximum": np.full((count, 1), 8.0),
            "place": np.tile(np.array([5, 7, EMPTY]), (count, 1, 1)),
            "strength": np.tile(np.array([255, 128, 0]), (count, 1, 1)),
            "window": np.tile(np.array([[0, 51, 255, 0], [0, 0, 128, 0], [0, 0, 0, 0]]), (count, 1, 1, 1)),
            "histogram": np.tile(count_code(np.array([100, 50, 20, 10, 5, 1])), (count, 1, 1)),
            "near": np.zeros((count, 1)),
            "likeness": np.zeros((count, 1)),
        }
        labels = [[[labelled, "say", 0.93, 0.51] if (start + i) % 2 == 0 else None] for i in range(count)]
        made.append(packed(SHAPE, arrays, labels))
    return made
