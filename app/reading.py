"""What the panels say about a node: words and shares, worked out from its graph, and how figures are written."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.evidence.pages import Near
from engine.graphs import AttributionGraph, NodeKind
from engine.graphs.similarity import combined
from engine.graphs.visible_text import visible_text

KIND_WORDS = {
    NodeKind.FEATURE: "feature",
    NodeKind.ERROR: "error",
    NodeKind.EMBEDDING: "embedding",
    NodeKind.BIAS: "bias",
    NodeKind.LOGIT: "logit",
}
GLYPHS = {
    NodeKind.FEATURE: "●",
    NodeKind.ERROR: "◆",
    NodeKind.EMBEDDING: "■",
    NodeKind.BIAS: "▲",
    NodeKind.LOGIT: "■",
}


@dataclass(frozen=True)
class InputShare:
    """How much of a node's input, by absolute weight, comes from one kind of node; shares sum to 1."""

    name: str
    share: float


def kind_of(graph: AttributionGraph, node: int) -> NodeKind:
    """The kind of a node."""
    return NodeKind(int(graph.kind[node]))


def layer_word(graph: AttributionGraph, node: int) -> str:
    """The row a node stands in: "Emb", "L12", "Logit"."""
    kind = kind_of(graph, node)
    if kind is NodeKind.EMBEDDING or graph.layer[node] < 0:
        return "Emb"
    return "Logit" if kind is NodeKind.LOGIT else f"L{int(graph.layer[node])}"


def token_word(graph: AttributionGraph, node: int) -> str:
    """The token a node stands at, blanks visible; for a logit, the token it stands for."""
    if kind_of(graph, node) is NodeKind.LOGIT:
        index = int(np.searchsorted(graph.of_kind(NodeKind.LOGIT), node))
        return visible_text(graph.logit_text[index])
    position = int(graph.position[node])
    return visible_text(graph.tokens[position]) if position >= 0 else "–"


def short_name(graph: AttributionGraph, node: int) -> str:
    """A node's name in a narrow list: "L12 · 503 ␣Texas"."""
    kind = kind_of(graph, node)
    if kind is NodeKind.LOGIT:
        return f"logit {token_word(graph, node)}"
    if kind is NodeKind.FEATURE:
        return f"{layer_word(graph, node)} · {int(graph.feature[node])}  {token_word(graph, node)}"
    if graph.position[node] < 0:
        return f"{KIND_WORDS[kind]} of the targets themselves"
    if kind is NodeKind.EMBEDDING:
        return f"embedding {token_word(graph, node)}"
    return f"{KIND_WORDS[kind]} {layer_word(graph, node)}  {token_word(graph, node)}"


def input_shares(graph: AttributionGraph, node: int) -> list[InputShare]:
    """Where a node's input comes from, "rest" being the edges that were not kept; empty where no row was traced."""
    mass = float(graph.input_mass[node])
    if mass <= 0:
        return []
    edges = graph.inputs(node)
    weight = np.abs(graph.weight[edges]).astype(np.float64)
    kinds = graph.kind[graph.source[edges]]
    shares = [
        InputShare(name, float(weight[kinds == kind].sum()) / mass)
        for name, kind in (
            ("features", NodeKind.FEATURE),
            ("errors", NodeKind.ERROR),
            ("embeddings", NodeKind.EMBEDDING),
            ("biases", NodeKind.BIAS),
        )
    ]
    rest = max(0.0, 1.0 - sum(entry.share for entry in shares))
    return [entry for entry in [*shares, InputShare("rest", rest)] if entry.share > 5e-4]


@dataclass(frozen=True)
class Rank:
    """Where a feature's activation stands among the features of its layer that a graph holds."""

    below: float  # the share of them that are less active, by size, in [0, 1]
    count: int  # of them, this one included
    layer: int


def activation_rank(graph: AttributionGraph, node: int) -> Rank | None:
    """How active a feature is beside the others of its layer in this graph; None for other nodes."""
    if kind_of(graph, node) is not NodeKind.FEATURE:
        return None
    layer = int(graph.layer[node])
    values: NDArray[np.float32] = np.abs(graph.activation[(graph.kind == NodeKind.FEATURE) & (graph.layer == layer)])
    return Rank(float(np.mean(values < abs(float(graph.activation[node])))), len(values), layer)


@dataclass(frozen=True)
class Similar:
    """A feature like another one; each measure from 0 to 1, None where it is not known."""

    node: int
    role: float | None
    decoder: float | None
    examples: float | None = None  # how alike by when they are active, where an index says so


def similar_features(
    graph: AttributionGraph,
    node: int,
    roles: NDArray[np.float64],
    decoders: NDArray[np.floating] | None,
    count: int,
    near: Sequence[Near] = (),
) -> list[Similar]:
    """The features most like this one by their edges in this graph and, where known, by what their decoders write.

    `roles` (N,) are how alike every node's edges are (`role_similarity`), `decoders` (F,) cosines with every feature
    node of the graph, in order, `near` the features that are active at the same tokens of an indexed text. The same
    feature at another token is no other feature, and each feature is listed once, where it is most alike.
    """
    features = graph.of_kind(NodeKind.FEATURE)
    parts = {"edges": roles[features]}
    if decoders is not None:
        parts["decoders"] = np.clip(decoders.astype(np.float64), 0.0, 1.0)
    together = {(one.layer, one.feature): one.likeness for one in near}
    names = list(zip(graph.layer[features].tolist(), graph.feature[features].tolist(), strict=True))
    parts["examples"] = np.array([together.get(name, np.nan) for name in names], dtype=np.float64)
    total = combined(parts)
    total[(graph.layer[features] == graph.layer[node]) & (graph.feature[features] == graph.feature[node])] = 0
    found: list[Similar] = []
    seen: set[tuple[int, int]] = set()
    for at in np.argsort(-total, kind="stable").tolist():
        other = int(features[at])
        name = int(graph.layer[other]), int(graph.feature[other])
        if total[at] <= 0 or len(found) == count:
            break
        if name not in seen:
            seen.add(name)
            known = (float(parts[key][at]) if key in parts else math.nan for key in ("edges", "decoders", "examples"))
            found.append(Similar(other, *(None if math.isnan(value) else value for value in known)))
    return found


def number(value: float) -> str:
    """A signed weight with three meaningful digits and a real minus sign."""
    if value == 0 or not np.isfinite(value):
        return "0" if value == 0 else "not a number"
    if 1000 <= abs(value) < 1e6:
        text = f"{value:,.0f}"
    else:
        text = f"{value:.3g}" if 1e-3 <= abs(value) < 1000 else f"{value:.1e}"
    return text.replace("-", "−")


def percent(share: float) -> str:
    """A share as a percentage with two meaningful digits: "43 %", "3.1 %", "< 0.1 %"."""
    value = 100 * share
    if value >= 9.95:
        return f"{value:.0f} %"
    return f"{value:.1f} %" if value >= 0.1 else "< 0.1 %"


def plain_percent(share: float) -> str:
    """The same for shares that are mostly small: they get more digits."""
    digits = 0 if share >= 0.1 else (1 if share >= 0.01 else (2 if share >= 0.001 else 3))
    return f"{100 * share:.{digits}f} %"


def signed_percent(share: float) -> str:
    """A signed share: "+12.3 %", small ones with more digits, with a real minus sign."""
    size = abs(share)
    digits = 1 if size >= 0.01 or size < 5e-6 else (2 if size >= 0.001 else 3)
    return f"{100 * share:+.{digits}f} %".replace("-", "−")
