"""How one node looks, on screen and in exports: its size, and its name in words."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.graphs.graph import NO_POSITION, AttributionGraph, NodeKind
from engine.graphs.visible_text import visible_text

SIZES = (7.5, 8.5, 10.0, 11.5, 13.0)  # widths of glyphs in pixels at 100 %; the last is the layout's node size
PLAIN_SIZE = 2  # index into SIZES where size says nothing
CORNER = 0.9  # half a square's side, as a share of half its glyph's width: about as heavy as a circle
TRIANGLE = ((0.0, -0.95), (1.0, 0.76), (-1.0, 0.76))  # corners for half a width of 1, y downwards
DIAMOND = ((0.0, -1.0), (1.0, 0.0), (0.0, 1.0), (-1.0, 0.0))


def size_levels(graph: AttributionGraph, by: str) -> NDArray[np.intp]:
    """(N,) index into SIZES; only features grow and shrink, by the square root, because both columns have long tails.

    `by` is "influence", "activation" or "none".
    """
    levels = np.full(graph.n_nodes, PLAIN_SIZE, dtype=np.intp)
    levels[(graph.kind == NodeKind.LOGIT) | (graph.kind == NodeKind.EMBEDDING)] = PLAIN_SIZE + 1
    if by == "none":
        return levels
    feature = graph.kind == NodeKind.FEATURE
    column = graph.influence if by == "influence" else graph.activation
    amount = np.abs(np.nan_to_num(column[feature]))
    top = float(np.quantile(amount, 0.99)) if len(amount) else 0.0
    share = np.sqrt(np.minimum(amount / top, 1.0)) if top > 0 else np.zeros_like(amount)
    levels[feature] = np.minimum((share * len(SIZES)).astype(np.intp), len(SIZES) - 1)
    return levels


def row_name(layer: int, n_layers: int) -> str:
    """What stands at the left of a row."""
    if layer < 0:
        return "embed"
    return "logits" if layer >= n_layers else str(layer)


def column_name(graph: AttributionGraph, position: int) -> str:
    """What stands below a column."""
    return "bias" if position == NO_POSITION else visible_text(graph.tokens[position], 40)


def logit_index(graph: AttributionGraph, node: int) -> int:
    """The entry of a logit node in the graph's logit columns."""
    return int(np.searchsorted(graph.of_kind(NodeKind.LOGIT), node))


def percent(share: float) -> str:
    """A probability as people write it; small ones are not zero."""
    return "<1 %" if 0 < share < 0.005 else f"{share:.0%}".replace("%", " %")


def describe(graph: AttributionGraph, node: int) -> str:
    """A node's name in words: what it is, and at which token. Text that can be shown as it is, never markup."""
    kind, position = NodeKind(int(graph.kind[node])), int(graph.position[node])
    place = f"at {visible_text(graph.tokens[position], 40)} ({position})" if position >= 0 else "at no token"
    if kind is NodeKind.LOGIT:
        return f"Logit {visible_text(graph.logit_text[logit_index(graph, node)], 60)} {place}"
    if kind is NodeKind.EMBEDDING:
        return f"Embedding {place}"
    if kind is NodeKind.FEATURE:
        return f"Layer {int(graph.layer[node])} · {int(graph.feature[node])} {place}"
    where = f"layer {int(graph.layer[node])}" if graph.layer[node] >= 0 else "input"
    return f"{kind.name.capitalize()}, {where}, {place}"


def spread_apart(middles: list[float], widths: list[float], gap: float, right: float) -> list[float]:
    """New middles for texts side by side: as near the old ones as `gap` allows, none beyond `right`; order kept."""
    placed = list(middles)
    for i in range(1, len(placed)):
        placed[i] = max(placed[i], placed[i - 1] + (widths[i - 1] + widths[i]) / 2 + gap)
    limit = right
    for i in range(len(placed) - 1, -1, -1):
        placed[i] = min(placed[i], limit - widths[i] / 2)
        limit = placed[i] - widths[i] / 2 - gap
    return placed
