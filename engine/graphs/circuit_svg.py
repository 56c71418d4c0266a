"""A circuit's diagram as an SVG picture: what the window draws, with a legend.

Texts and colours are data: texts escaped and control characters made visible, colours taken only as '#rrggbb'.
"""

from __future__ import annotations

from collections.abc import Mapping
from xml.sax.saxutils import escape, quoteattr

from engine.graphs.circuit import Box, Circuit, PlaceKey
from engine.graphs.circuit_drawing import THICKEST, WEAKEST, Drawing, Frame, Rectangle, draw, shown_name
from engine.graphs.circuit_layout import Place
from engine.graphs.colours import DARK, LIGHT, GraphColours
from engine.graphs.graph import AttributionGraph, NodeKind
from engine.graphs.svg import FONT
from engine.graphs.svg_shapes import TEXT, glyph_shape, text_line, text_width
from engine.graphs.visible_text import visible_text

MARGIN, LEGEND = 28.0, 34.0
HEAD, FOOT = 20.0, 22.0  # for a title above and a caption below
LEGEND_SIZE, FRAME_TITLE_SIZE = 10.0, 11.0
SWATCH = 18.0
GLYPH, GLYPH_ROOM, SIDE = 9.0, 15.0, 9.0
ROUND = 6.0
TINT, FRAME_TINT = 0.16, 0.07  # how much of a supernode's colour its surface has
EDGE_OPACITY = 0.82


def circuit_svg(
    graph: AttributionGraph,
    circuit: Circuit,
    *,
    title: str,
    places: Mapping[PlaceKey, Place] | None = None,
    dark: bool = False,
    caption: str = "",
) -> str:
    """The diagram as XML text. `places` are those a person chose; the other boxes make room.

    With a `caption` it is a figure of its own: the title is written above, the caption below the legend.
    """
    drawing = draw(graph, circuit, places or {}, box_width)
    return _Picture(graph, drawing, DARK if dark else LIGHT).document(title, caption)


def box_width(box: Box) -> float:
    """How wide a box is for its name and its sign."""
    return max(text_width(shown_name(box), TEXT) + 2 * SIDE + (GLYPH_ROOM if box.supernode is None else 0), 56.0)


class _Picture:
    """Turns units of the drawing, whose y grows upwards, into those of the page."""

    def __init__(self, graph: AttributionGraph, drawing: Drawing, colours: GraphColours) -> None:
        self.graph, self.drawing, self.colours = graph, drawing, colours
        self.whole = drawing.whole if not drawing.is_empty else Rectangle(0, 0, 200, 0)
        self.left = self.top = 0.0

    def document(self, title: str, caption: str) -> str:
        """The whole picture."""
        head, foot = (HEAD, FOOT) if caption else (0.0, 0.0)
        words = (visible_text(title.strip()), visible_text(caption.strip())) if caption else ()
        wide = self.whole.right - self.whole.left + 2 * MARGIN
        legend, narrowest = self._legend()
        width = max(wide, narrowest, *(text_width(text, TEXT) + 2 * MARGIN for text in words))
        height = self.whole.top - self.whole.bottom + 2 * MARGIN + LEGEND + head + foot
        self.left, self.top = MARGIN + (width - wide) / 2, MARGIN + head
        size = f'width="{width:.0f}" height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}"'
        texts = zip(words, (24.0, height - 14), strict=False)
        return "\n".join(
            [
                f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family={quoteattr(FONT)} role="img">',
                f"<title>{escape(visible_text(title))}</title>",
                f'<rect width="{width:.0f}" height="{height:.0f}" fill="{self.colours.background}"/>',
                *(self._frame(frame) for frame in self.drawing.frames),
                *(self._edge(row, edge) for row, edge in enumerate(self.drawing.drawn_edges.tolist())),
                *(self._frame_title(frame) for frame in self.drawing.frames),
                *(self._box(number, box) for number, box in enumerate(self.drawing.shown)),
                f'<g transform="translate(0 {height - LEGEND / 2 - foot:.1f})">{legend}</g>',
                *(text_line(MARGIN, at, text, self.colours.text) for text, at in texts),
                "</svg>",
            ]
        )

    def _at(self, x: float, y: float) -> tuple[float, float]:
        return x - self.whole.left + self.left, self.whole.top - y + self.top

    def _rect(self, area: Rectangle, look: str) -> str:
        x, y = self._at(area.left, area.top)
        wide, high = area.right - area.left, area.top - area.bottom
        return f'<rect x="{x:.1f}" y="{y:.1f}" width="{wide:.1f}" height="{high:.1f}" rx="{ROUND:g}" {look}/>'

    # -- the parts ----------------------------------------------------------------------------------------------------

    def _frame(self, frame: Frame) -> str:
        colour = frame.supernode.shown_colour
        look = f'fill="{colour}" fill-opacity="{FRAME_TINT:g}" stroke="{colour}" stroke-dasharray="4 3"'
        return f"<g><title>{escape(visible_text(frame.supernode.name))}</title>{self._rect(frame.area, look)}</g>"

    def _frame_title(self, frame: Frame) -> str:
        """The name of an open supernode, on a plate: edges may run below it."""
        area = frame.title
        letters = max(int((area.right - area.left - 16) / (FRAME_TITLE_SIZE * 0.62)), 1)
        name = visible_text(" ".join(frame.supernode.name.split()))
        name = name if len(name) <= letters else f"{name[: letters - 1]}…"
        left, bottom = area.left + 6, area.bottom + 2
        plate = Rectangle(left, bottom, left + text_width(name, FRAME_TITLE_SIZE) * 1.05 + 8, area.top - 2)
        x, y = self._at(left + 4, bottom + 4)
        return self._rect(plate, f'fill="{self.colours.background}" fill-opacity="0.85"') + text_line(
            x, y, name, self.colours.text, size=FRAME_TITLE_SIZE, weight=600
        )

    def _edge(self, row: int, edge: int) -> str:
        drawing = self.drawing
        share = float(drawing.edges.share[edge])
        start, to = (drawing.shown[int(ends[edge])] for ends in (drawing.edges.source, drawing.edges.target))
        colour = self.colours.positive if share > 0 else self.colours.negative
        points = [self._at(x, y) for x, y in drawing.curves[row].tolist()]
        width = drawing.thickness(edge)
        head = min(max(3.0 + 1.1 * width, 5.0), 9.0)
        tip_x, tip_y = points[-1]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in [*points[:-1], (tip_x, tip_y + head * 0.8)])
        half = max(head * 0.55, width * 0.8)
        tip = f"{tip_x:.1f},{tip_y:.1f} {tip_x - half:.1f},{tip_y + head:.1f} {tip_x + half:.1f},{tip_y + head:.1f}"
        told = f"{shown_name(start)} to {shown_name(to)}: {share:+.4f}"
        return (
            f'<g opacity="{EDGE_OPACITY:g}"><title>{escape(told)}</title><polyline points="{line}" fill="none" '
            f'stroke="{colour}" stroke-width="{width:.2f}" stroke-linejoin="round"/>'
            f'<polygon points="{tip}" fill="{colour}"/></g>'
        )

    def _box(self, number: int, box: Box) -> str:
        colours, area = self.colours, self.drawing.area_of(number)
        line = colours.outline
        if box.supernode is not None:
            line = box.supernode.shown_colour
        elif box.inside:
            line = self.drawing.circuit.supernode(box.inside[-1]).shown_colour
        plain = self._rect(area, f'fill="{colours.band}"')
        parts = [f"<title>{escape(visible_text(box.name))} ({len(box.nodes)})</title>"]
        x, y = self._at(area.left + SIDE, (area.top + area.bottom) / 2)
        if box.supernode is not None:
            behind = Rectangle(area.left + 3, area.bottom + 3, area.right + 3, area.top + 3)
            look = f'fill="{line}" fill-opacity="{TINT:g}" stroke="{line}"'
            parts += [self._rect(behind, f'fill="{colours.band}"'), self._rect(behind, look), plain]
            parts.append(self._rect(area, f'{look} stroke-width="1.6"'))
        else:
            kind = NodeKind(int(self.graph.kind[box.nodes[0]]))
            look = f'fill="{colours.kind_fills()[kind]}" stroke="{colours.outline}"'
            parts += [plain, self._rect(area, f'fill="none" stroke="{line}" stroke-width="1.2"')]
            parts.append(glyph_shape(kind, x + GLYPH / 2, y, GLYPH, look))
            x += GLYPH_ROOM
        weight = 600 if box.supernode is not None else 400
        return f'<g class="box">{"".join(parts)}{text_line(x, y + 4, shown_name(box), colours.text, weight=weight)}</g>'

    def _legend(self) -> tuple[str, float]:
        """One line at y = 0, and how wide a picture must be for it."""
        drawing, colours = self.drawing, self.colours
        entries = [(colours.positive, 3.0, "positive"), (colours.negative, 3.0, "negative")]
        most, least = _percent(drawing.strongest), f"{100 * WEAKEST:.0f} %"
        words = f"{most} of the target's input from outside; below {least} of that: not drawn"
        entries.append((colours.muted, THICKEST, words))
        if not len(drawing.drawn_edges):
            entries = []
        x, parts = MARGIN, []
        for colour, width, text in entries or [(colours.muted, 0.0, "No edges run between these boxes")]:
            if width:
                ends = f'x1="{x:.1f}" y1="0" x2="{x + SWATCH:.1f}" y2="0"'
                parts.append(f'<line {ends} stroke="{colour}" stroke-width="{width:g}"/>')
                x += SWATCH + 6
            parts.append(text_line(x, 4, text, colours.muted, size=LEGEND_SIZE))
            x += text_width(text, LEGEND_SIZE) * 1.06 + 14  # other fonts are a little wider
        return "".join(parts), x + MARGIN - 14


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %"
