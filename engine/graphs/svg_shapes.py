"""The parts an SVG picture is made of: one node's shape, one line of text, and how wide a text is."""

from __future__ import annotations

import unicodedata
from xml.sax.saxutils import escape, quoteattr

from engine.graphs.glyphs import CORNER, DIAMOND, TRIANGLE
from engine.graphs.graph import NodeKind

TEXT = 12.0  # font size in pixels


def glyph_shape(kind: NodeKind, x: float, y: float, size: float, look: str) -> str:
    """One node's shape: circle, square, diamond or triangle."""
    half = size / 2
    if kind is NodeKind.FEATURE:
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{half:.2f}" {look}/>'
    if kind in (NodeKind.EMBEDDING, NodeKind.LOGIT):
        side = half * CORNER
        return (
            f'<rect x="{x - side:.1f}" y="{y - side:.1f}" width="{2 * side:.1f}" height="{2 * side:.1f}" '
            f'rx="{size * 0.1:.1f}" {look}/>'
        )
    corners = DIAMOND if kind is NodeKind.ERROR else TRIANGLE
    points = " ".join(f"{x + half * dx:.1f},{y + half * dy:.1f}" for dx, dy in corners)
    return f'<polygon points="{points}" {look}/>'


def text_line(
    x: float,
    y: float,
    text: str,
    colour: str,
    *,
    size: float = TEXT,
    weight: int = 400,
    anchor: str = "start",
    transform: str = "",
    kind: str = "",
    identity: str = "",
) -> str:
    """One line of text, escaped."""
    extra = "".join(
        f" {name}={quoteattr(value)}"
        for name, value in (("transform", transform), ("class", kind), ("id", identity))
        if value
    )
    style = f' font-weight="{weight}"' if weight != 400 else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}" font-size="{size:g}" text-anchor="{anchor}"{style}{extra}>'
        f"{escape(text)}</text>"
    )


def text_width(text: str, size: float) -> float:
    """About how wide a text is; no font is asked."""
    letters = sum(1.05 if unicodedata.east_asian_width(letter) in "WF" else 0.6 for letter in text)
    return letters * size


def shortened(text: str, letters: int) -> str:
    """At most so many letters, the last an ellipsis where some are left out."""
    return text if len(text) <= letters else text[: max(letters - 1, 0)] + "…"
