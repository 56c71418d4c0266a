"""A circuit's diagram as an SVG picture: boxes in layers, edges between supernodes, a legend.

Texts are data: escaped, and control characters made visible. Colours as everywhere: green for, purple against.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape, quoteattr

import numpy as np

from engine.graphs.circuit import Box, PlaceKey
from engine.graphs.circuit_layout import BOX_HEIGHT, Place, circuit_places
from engine.graphs.colours import DARK, LIGHT, GraphColours
from engine.graphs.graph import AttributionGraph, NodeKind
from engine.graphs.supernode_edges import supernode_edges
from engine.graphs.svg import FONT
from engine.graphs.svg_shapes import TEXT, shortened, text_line, text_width
from engine.graphs.visible_text import visible_text

MARGIN, LEGEND = 28.0, 34.0
HEAD, FOOT = 20.0, 22.0  # for a title above and a caption below
LEGEND_WORDS = "edges: share of the target's input from outside, for (green) and against (purple)"
LEGEND_SIZE = 10.0
WIDEST_EDGE = 9.0  # pixels, of an edge that is all of its target's input
LONGEST_NAME = 28  # characters
MOST_EDGES = 400


def box_widths(shown: Sequence[Box]) -> list[float]:
    """How wide each box is for its name."""
    return [max(text_width(_name(box), TEXT) + 22, 56.0) for box in shown]


def circuit_svg(
    graph: AttributionGraph,
    shown: Sequence[Box],
    *,
    title: str,
    places: Mapping[PlaceKey, Place] | None = None,
    dark: bool = False,
    caption: str = "",
) -> str:
    """The diagram as XML text. `places` are those a person chose; the other boxes make room.

    With a `caption` it is a figure of its own: the title is written above, the caption below the legend.
    """
    colours, widths = DARK if dark else LIGHT, box_widths(shown)
    placed = circuit_places(graph, shown, widths, places)
    centres = np.array([placed[box.key] for box in shown], dtype=np.float64).reshape(-1, 2)
    half = np.array(widths) / 2
    left, right = (centres[:, 0] - half).min(initial=0), (centres[:, 0] + half).max(initial=200)
    bottom, top = centres[:, 1].min(initial=0), centres[:, 1].max(initial=0)
    x = centres[:, 0] - left + MARGIN
    head, foot = (HEAD, FOOT) if caption else (0.0, 0.0)
    y = top - centres[:, 1] + MARGIN + BOX_HEIGHT / 2 + head
    words = (visible_text(title.strip()), visible_text(caption.strip())) if caption else ()
    narrowest = text_width(LEGEND_WORDS, LEGEND_SIZE) * 1.06 + 2 * MARGIN + 50  # other fonts are a little wider
    width = max(right - left + 2 * MARGIN, narrowest, *(text_width(text, TEXT) + 2 * MARGIN for text in words))
    x += (width - (right - left + 2 * MARGIN)) / 2
    height = top - bottom + BOX_HEIGHT + 2 * MARGIN + LEGEND + head + foot
    size = f'width="{width:.0f}" height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}"'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family={quoteattr(FONT)} role="img">',
            f"<title>{escape(visible_text(title))}</title>",
            f'<rect width="{width:.0f}" height="{height:.0f}" fill="{colours.background}"/>',
            *_edges(graph, shown, x, y, colours),
            *(_box(graph, box, x[i], y[i], widths[i], colours) for i, box in enumerate(shown)),
            *_legend(height - LEGEND / 2 - foot, colours),
            *(text_line(MARGIN, at, text, colours.text) for text, at in zip(words, (24.0, height - 14), strict=False)),
            "</svg>",
        ]
    )


def _edges(
    graph: AttributionGraph, shown: Sequence[Box], x: np.ndarray, y: np.ndarray, colours: GraphColours
) -> list[str]:
    found = supernode_edges(graph, shown)
    parts = []
    for i in reversed(range(min(len(found.source), MOST_EDGES))):  # the strongest lie on top
        start, to, share = int(found.source[i]), int(found.target[i]), float(found.share[i])
        x1, y1, x2, y2 = x[start], y[start] - BOX_HEIGHT / 2, x[to], y[to] + BOX_HEIGHT / 2
        colour = colours.positive if share > 0 else colours.negative
        told = f"{_name(shown[start])} to {_name(shown[to])}: {share:+.3f}"
        bend = abs(y2 - y1) * 0.4
        parts.append(
            f'<path d="M{x1:.1f} {y1:.1f}C{x1:.1f} {y1 - bend:.1f} {x2:.1f} {y2 + bend:.1f} {x2:.1f} {y2:.1f}" '
            f'fill="none" stroke="{colour}" stroke-width="{0.6 + WIDEST_EDGE * abs(share):.2f}" '
            f'stroke-opacity="0.75"><title>{escape(told)}</title></path>'
        )
    return parts


def _box(graph: AttributionGraph, box: Box, x: float, y: float, width: float, colours: GraphColours) -> str:
    kind = NodeKind(int(graph.kind[box.nodes[0]])) if len(box.nodes) == 1 else NodeKind.FEATURE
    edge = colours.kind_fills()[kind] if box.supernode is None else colours.outline
    stroke = 2.4 if box.supernode is not None else 1.4
    return (
        f"<g><title>{escape(visible_text(box.name))} ({len(box.nodes)})</title>"
        f'<rect x="{x - width / 2:.1f}" y="{y - BOX_HEIGHT / 2:.1f}" width="{width:.1f}" height="{BOX_HEIGHT:g}" '
        f'rx="6" fill="{colours.band}" stroke="{edge if kind is not NodeKind.ERROR else colours.muted}" '
        f'stroke-width="{stroke:g}"/>' + text_line(x, y + 4, _name(box), colours.text, anchor="middle") + "</g>"
    )


def _legend(y: float, colours: GraphColours) -> list[str]:
    return [
        f'<line x1="{MARGIN:g}" y1="{y:.1f}" x2="{MARGIN + 18:g}" y2="{y:.1f}" stroke="{colours.positive}" '
        'stroke-width="3"/>',
        f'<line x1="{MARGIN + 24:g}" y1="{y:.1f}" x2="{MARGIN + 42:g}" y2="{y:.1f}" stroke="{colours.negative}" '
        'stroke-width="3"/>',
        text_line(MARGIN + 50, y + 4, LEGEND_WORDS, colours.muted, size=LEGEND_SIZE),
    ]


def _name(box: Box) -> str:
    name = box.name if box.supernode is None else f"{box.name} ({len(box.nodes)})"
    return shortened(visible_text(name.strip()), LONGEST_NAME)
