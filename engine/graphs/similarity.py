"""How alike nodes of a graph are: by their edges, by what their decoders write, by the words of their labels.

Every measure is (n, n), symmetric, from 0 to 1, and nan where it says nothing about two nodes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from engine.graphs.graph import AttributionGraph
from engine.graphs.influence import target_weight

Array = NDArray[np.float64]
Index = NDArray[np.int64]
# How much each measure counts where all of them speak: edges are there for every node, labels say least.
WEIGHTS: Mapping[str, float] = {"edges": 0.5, "decoders": 0.3, "examples": 0.3, "labels": 0.2}
_WORD = re.compile(r"\w+")
_SAY_NOTHING = frozenset(
    [
        "a",
        "an",
        "and",
        "at",
        "for",
        "in",
        "of",
        "on",
        "or",
        "say",
        "says",
        "the",
        "to",
        "feature",
        "features",
        "token",
        "tokens",
    ]
)


def edge_similarity(graph: AttributionGraph, nodes: Sequence[int], kept: NDArray[np.bool_] | None = None) -> Array:
    """Cosine of edge profiles, inputs and outputs averaged; opposite profiles count as 0.

    A node's inputs are their signed shares, by source; its outputs the signed shares of their targets' input, times
    how much each target matters (influence; of a logit its probability). Only edges in `kept` (E,) count.
    """
    share = graph.share.astype(np.float64)
    importance = np.maximum(graph.influence.astype(np.float64), target_weight(graph))

    def profile(edges_of: Callable[[int], Index], other: NDArray[np.int32], size: Callable[[Index], Array]) -> Array:
        edges = [edges_of(node) for node in nodes]
        if kept is not None:
            edges = [own[kept[own]] for own in edges]
        row = np.repeat(np.arange(len(nodes)), [len(own) for own in edges])
        number = np.concatenate([np.empty(0, dtype=np.int64), *edges]).astype(np.int64)
        columns, column = np.unique(other[number], return_inverse=True)
        table = np.zeros((len(nodes), len(columns)))
        np.add.at(table, (row, column), size(number))
        return table

    inputs = _cosine(profile(graph.inputs, graph.source, lambda e: share[e]))
    outputs = _cosine(profile(graph.outputs, graph.target, lambda e: share[e] * importance[graph.target[e]]))
    return _mean_of([inputs, outputs], [1.0, 1.0])


def role_similarity(graph: AttributionGraph, node: int) -> Array:
    """(N,) how alike every node's edges are to one node's: its row of `edge_similarity`, in one pass over the edges.

    Nan where neither inputs nor outputs say anything; the node itself has 1.
    """
    share = graph.share.astype(np.float64)
    importance = np.maximum(graph.influence.astype(np.float64), target_weight(graph))

    def cosine(own: Index, here: NDArray[np.int32], other: NDArray[np.int32], size: Array) -> Array:
        profile = np.bincount(other[own], weights=size[own], minlength=graph.n_nodes)
        product = np.bincount(here, weights=size * profile[other], minlength=graph.n_nodes)
        length = np.sqrt(np.bincount(here, weights=size * size, minlength=graph.n_nodes))
        found: Array = np.full(graph.n_nodes, np.nan)
        scale = length * length[node]
        np.divide(product, scale, out=found, where=scale > 0)
        return np.clip(found, 0.0, 1.0)

    inputs = cosine(graph.inputs(node), graph.target, graph.source, share)
    outputs = cosine(graph.outputs(node), graph.source, graph.target, share * importance[graph.target])
    return _mean_of([inputs, outputs], [1.0, 1.0])


def decoder_similarity(vectors: NDArray[np.floating]) -> Array:
    """Cosine of the vectors that nodes write, (n, d); opposite ones count as 0, rows of nan or 0 say nothing."""
    plain = np.where(np.isfinite(vectors).all(axis=1, keepdims=True), vectors, 0).astype(np.float64)
    return _cosine(plain)


def label_similarity(labels: Sequence[str]) -> Array:
    """Shared words over all words of two labels; nan where one of the two has no label or none of meaning."""
    words = [label_words(label) for label in labels]
    found = np.full((len(labels), len(labels)), np.nan)
    for i, one in enumerate(words):
        for j, other in enumerate(words):
            if one and other:
                found[i, j] = len(one & other) / len(one | other)
    return found


def label_words(label: str) -> frozenset[str]:
    """The words of a label that say something."""
    return frozenset(_WORD.findall(label.casefold())) - _SAY_NOTHING


def combined(parts: Mapping[str, Array]) -> Array:
    """The mean of measures by `WEIGHTS`, for each pair over those that say something; 0 where none does."""
    mean = _mean_of(list(parts.values()), [WEIGHTS[name] for name in parts])
    return np.where(np.isnan(mean), 0.0, mean)


def _mean_of(parts: Sequence[Array], weights: Sequence[float]) -> Array:
    stacked = np.stack(parts)  # (parts, n, n) or (parts, n)
    counted = np.where(np.isnan(stacked), 0.0, np.array(weights).reshape(-1, *(1,) * (stacked.ndim - 1)))
    total: Array = counted.sum(axis=0)
    summed: Array = (np.nan_to_num(stacked) * counted).sum(axis=0)
    mean = np.full(total.shape, np.nan)
    np.divide(summed, total, out=mean, where=total > 0)
    return mean


def _cosine(rows: Array) -> Array:
    """(n, n); nan for rows of nothing."""
    length = np.linalg.norm(rows, axis=1)
    unit = np.divide(rows, length[:, None], out=np.zeros_like(rows), where=length[:, None] > 0)
    found: Array = np.clip(unit @ unit.T, 0.0, 1.0)
    found[length == 0] = np.nan
    found[:, length == 0] = np.nan
    return found
