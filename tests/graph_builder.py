"""Random but valid attribution graphs of any size for tests and benchmarks. The same arguments give the same graph."""

from __future__ import annotations

import numpy as np

from engine.graphs.graph import EMBEDDING_LAYER, NO_POSITION, AttributionGraph, NodeKind

WORDS = ("<|im_start|>", "The", " capital", " of", " Texas", " is", " a", " city", "\n", " that", " many", " know")
LOGITS = (" Austin", " the", " a", " not", " Houston", " located", " Dallas", " called", " one", " in")


def build_graph(
    *,
    n_layers: int = 12,
    n_positions: int = 6,
    n_features: int = 120,
    n_logits: int = 4,
    n_edges: int | None = None,
    errors: bool = True,
    biases: bool = True,
    seed: int = 0,
) -> AttributionGraph:
    """A graph whose features crowd into late layers and late tokens, as real ones do.

    `n_edges` is an upper bound: an edge is kept once, and runs from a lower layer to a higher one and never to an
    earlier token. Errors (one for every other cell), and biases (one a layer at the last token, and one of no
    position) are optional.
    """
    rng = np.random.default_rng(seed)
    columns = _nodes(rng, n_layers, n_positions, n_features, n_logits, errors, biases)
    kind, layer, position, feature = columns
    n_nodes = len(kind)
    source, target = _edges(rng, kind, layer, position, n_edges if n_edges is not None else 12 * n_nodes)
    weight = (rng.standard_normal(len(source)) * rng.pareto(1.5, len(source))).astype(np.float32)
    weight[weight == 0] = 1e-6
    order = np.lexsort((-np.abs(weight), target))
    source, target, weight = source[order], target[order], weight[order]
    traced = np.flatnonzero((kind == NodeKind.FEATURE) | (kind == NodeKind.LOGIT)).astype(np.int32)
    total = np.bincount(target, weights=weight.astype(np.float64), minlength=n_nodes)[traced]
    rest = (rng.standard_normal(len(traced)) * 0.01).astype(np.float32)
    probability = np.sort(rng.dirichlet(np.full(n_logits, 0.7)))[::-1].astype(np.float32) * np.float32(0.9)
    influence = (rng.pareto(1.3, n_nodes) * 0.01).astype(np.float32)
    influence[kind == NodeKind.LOGIT] = probability
    activation = np.where(kind == NodeKind.FEATURE, rng.gamma(1.5, 2.0, n_nodes), 0).astype(np.float32)
    return AttributionGraph(
        kind=kind,
        layer=layer,
        position=position,
        feature=feature,
        activation=activation,
        influence=np.minimum(influence, 1.0).astype(np.float32),
        source=source.astype(np.int32),
        target=target.astype(np.int32),
        weight=weight,
        traced=traced,
        value=(total + rest).astype(np.float32),
        rest=rest,
        rest_absolute=np.abs(rest),
        tokens=tuple(WORDS[i % len(WORDS)] for i in range(n_positions)),
        token_ids=tuple(range(1, n_positions + 1)),
        logit_token=feature[kind == NodeKind.LOGIT],
        logit_text=tuple(LOGITS[i % len(LOGITS)] for i in range(n_logits)),
        logit_probability=probability,
        n_layers=n_layers,
        meta={"replacement": 0.62, "completeness": 0.87},
    )


def _nodes(
    rng: np.random.Generator,
    n_layers: int,
    n_positions: int,
    n_features: int,
    n_logits: int,
    errors: bool,
    biases: bool,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Kind, layer, position and feature number of every node, in the order of layers."""
    blocks = [(NodeKind.EMBEDDING, EMBEDDING_LAYER, p, p + 1) for p in range(n_positions)]
    layers = np.minimum((n_layers * rng.beta(1.6, 1.2, n_features)).astype(int), n_layers - 1)
    places = np.minimum((n_positions * rng.beta(2.2, 1.0, n_features)).astype(int), n_positions - 1)
    numbers = rng.integers(0, 16384, n_features)
    blocks += [(NodeKind.FEATURE, int(a), int(p), int(f)) for a, p, f in zip(layers, places, numbers, strict=True)]
    if errors:
        blocks += [(NodeKind.ERROR, a, p, -1) for a in range(0, n_layers, 2) for p in range(n_positions)]
    if biases:
        blocks += [(NodeKind.BIAS, a, n_positions - 1, -1) for a in range(n_layers)]
        blocks += [(NodeKind.BIAS, EMBEDDING_LAYER, NO_POSITION, -1)]
    blocks += [(NodeKind.LOGIT, n_layers, n_positions - 1, 100 + i) for i in range(n_logits)]
    blocks.sort(key=lambda block: block[1])
    kind, layer, position, feature = (np.array(column) for column in zip(*blocks, strict=True))
    return kind.astype(np.uint8), layer.astype(np.int32), position.astype(np.int32), feature.astype(np.int32)


def _edges(
    rng: np.random.Generator, kind: np.ndarray, layer: np.ndarray, position: np.ndarray, n_edges: int
) -> tuple[np.ndarray, np.ndarray]:
    """Different (source, target) pairs that respect layers, tokens and kinds; about `n_edges` of them."""
    targets = np.flatnonzero((kind == NodeKind.FEATURE) | (kind == NodeKind.LOGIT))
    sources = np.flatnonzero(kind != NodeKind.LOGIT)
    pairs = np.empty(0, dtype=np.int64)
    for _ in range(12):
        source = sources[rng.integers(0, len(sources), 2 * n_edges)]
        target = targets[rng.integers(0, len(targets), 2 * n_edges)]
        good = (layer[source] < layer[target]) & (position[source] <= position[target])
        pairs = np.unique(np.concatenate([pairs, (target * len(kind) + source)[good]]))
        if len(pairs) >= n_edges:
            break
    if len(pairs) > n_edges:
        pairs = pairs[np.sort(rng.permutation(len(pairs))[:n_edges])]
    return pairs % len(kind), pairs // len(kind)
