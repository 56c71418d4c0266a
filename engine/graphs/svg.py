"""A whole attribution graph as an SVG picture: rows, tokens, nodes, strongest edges, labels, legend and caption.

Every export is this one drawing. Texts of graphs and people are data: escaped, and control characters made visible.
"""

from __future__ import annotations

import math
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

import numpy as np
from numpy.typing import NDArray

from engine.graphs.circuit import Circuit, Supernode
from engine.graphs.colours import DARK, LIGHT, GraphColours, signed_ramp
from engine.graphs.edge_ranking import STRONGEST, EdgeRanking
from engine.graphs.glyphs import (
    SIZES,
    column_name,
    describe,
    logit_index,
    percent,
    row_name,
    size_levels,
    spread_apart,
)
from engine.graphs.graph import AttributionGraph, NodeKind
from engine.graphs.layout import Layout, lay_out
from engine.graphs.pruning import GraphView
from engine.graphs.svg_shapes import TEXT, glyph_shape, shortened, text_line, text_width
from engine.graphs.visible_text import visible_text
from engine.whole_files import written_whole

WIDTH, HEIGHT = 1160.0, 700.0  # of the grid, unless crowded cells need more
LARGEST_STRETCH = 2.4
LEFT, RIGHT, TOP, BOTTOM = 64.0, 24.0, 104.0, 96.0
FONT = "Inter, 'Segoe UI', 'Helvetica Neue', 'DejaVu Sans', Arial, sans-serif"
SMALL, TITLE = 11.0, 17.0  # font sizes in pixels, beside TEXT
PINNED_EDGES = 300
LONGEST_LABEL = 40  # characters
RING = 7.0  # how much wider the ring of a grouped node is than the node
GROUP_LINE = 20.0  # of the legend
NO_CIRCUIT = Circuit()

Box = tuple[float, float, float, float]


def write_svg(
    graph: AttributionGraph,
    view: GraphView,
    path: Path | str,
    *,
    title: str,
    caption: str = "",
    dark: bool = False,
    circuit: Circuit = NO_CIRCUIT,
) -> None:
    """Write the picture of `svg_text` to `path`, whole or not at all.

    Raises RequestError for a folder that does not exist, MachineError for a full disk or a folder not writable.
    """
    text = svg_text(graph, view, title=title, caption=caption, dark=dark, circuit=circuit)
    with written_whole(Path(path)) as file:
        file.write(text.encode("utf-8"))


def svg_text(
    graph: AttributionGraph,
    view: GraphView,
    *,
    title: str,
    caption: str = "",
    dark: bool = False,
    circuit: Circuit = NO_CIRCUIT,
) -> str:
    """The picture as XML text, with the pins, labels and supernodes of `circuit`; hidden nodes are not drawn."""
    drawing = _Drawing(graph, view, DARK if dark else LIGHT, circuit)
    return drawing.document(visible_text(title.strip()), visible_text(caption.strip()) or drawing.figures())


class _Drawing:
    """Positions and colours of one picture, and its parts as XML."""

    def __init__(
        self,
        graph: AttributionGraph,
        view: GraphView,
        colours: GraphColours,
        circuit: Circuit,
    ) -> None:
        self.graph, self.view, self.colours = graph, view, colours
        self.layout: Layout = lay_out(graph, view.nodes, viewport=(WIDTH, HEIGHT))
        self.stretch_x = min(max(WIDTH / self.layout.width, 1.0), LARGEST_STRETCH)
        self.stretch_y = min(max(HEIGHT / self.layout.height, 1.0), LARGEST_STRETCH)
        self.grid_width = self.layout.width * self.stretch_x
        self.grid_height = self.layout.height * self.stretch_y
        self.x = LEFT + self.layout.x * self.stretch_x
        self.y = TOP + (self.layout.height - self.layout.y) * self.stretch_y
        self.sizes = np.array(SIZES)[size_levels(graph, "influence")]
        self.shown = np.flatnonzero(view.nodes)
        self.pins = [node for node in dict.fromkeys(circuit.pins) if self._is_shown(node)]
        self.labels = {node: visible_text(text, LONGEST_LABEL) for node, text in circuit.labels.items() if text}
        self.supernodes = [one for one in circuit.supernodes if any(map(self._is_shown, one.nodes))]
        self.group_of = {node: one for one in self.supernodes for node in one.nodes if self._is_shown(node)}
        self.edges, self.domain = self._choose_edges()
        self.width = LEFT + self.grid_width + RIGHT
        self.group_lines = self._lay_out_groups()
        self.height = TOP + self.grid_height + BOTTOM + self._token_room() + GROUP_LINE * len(self.group_lines)

    def _is_shown(self, node: int) -> bool:
        return 0 <= node < self.graph.n_nodes and bool(self.view.nodes[node])

    def _choose_edges(self) -> tuple[NDArray[np.int64], float]:
        """The strongest inputs of every node, and the strongest edges of pinned nodes; weakest first."""
        graph, view = self.graph, self.view
        shown = view.edges & view.nodes[graph.source] & view.nodes[graph.target]
        ranking = EdgeRanking(graph)
        edges = np.union1d(ranking.strongest(shown, STRONGEST), ranking.of_nodes(self.pins, shown, PINNED_EDGES))
        strength = np.abs(graph.share[edges])
        domain = min(max(float(np.quantile(strength, 0.9)) if len(edges) else 0.0, 0.02), 0.4)
        return edges[np.argsort(strength, kind="stable")], domain

    def figures(self) -> str:
        """The caption where none was given: how much is shown, and the scores that the trace has."""
        explained = getattr(self.view, "explained", None)
        parts = [f"{len(self.shown):,} of {self.graph.n_nodes:,} nodes"]
        if isinstance(explained, float):
            parts[0] += f", {percent(explained)} of {self.graph.measure}"
        for name in ("replacement", "completeness"):
            value = self.graph.meta.get(name)
            if isinstance(value, int | float):
                parts.append(f"{name} {value:.2f}")
        return " · ".join(parts)

    def document(self, title: str, caption: str) -> str:
        """All of it."""
        c = self.colours
        size = f'width="{self.width:.0f}" height="{self.height:.0f}" viewBox="0 0 {self.width:.0f} {self.height:.0f}"'
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family={quoteattr(FONT)} font-size="{TEXT:g}" '
            'role="img">'
        )
        parts = [
            '<?xml version="1.0" encoding="UTF-8"?>',
            head,
            f"<title>{escape(title)}</title>",
            f"<desc>{escape(caption)}</desc>",
            f'<rect id="background" width="{self.width:.0f}" height="{self.height:.0f}" fill="{c.background}"/>',
            text_line(LEFT, 34, title, c.text, size=TITLE, weight=600, identity="heading"),
            *self._rows(),
            *self._tokens(),
            *self._edges(),
            *self._rings(),
            *self._nodes(),
            *self._logits(),
            *self._labels(),
            *self._legend(),
            text_line(LEFT, self.height - 18, caption, c.muted, size=SMALL, identity="caption"),
            "</svg>\n",
        ]
        return "\n".join(parts)

    # -- the grid -----------------------------------------------------------------------------------------------------

    def _rows(self) -> list[str]:
        c, layout = self.colours, self.layout
        edges = TOP + (layout.height - layout.row_edges) * self.stretch_y
        parts, last = ['<g id="rows">'], math.inf
        for row in np.flatnonzero(layout.row_used).tolist():
            top, bottom = float(edges[row + 1]), float(edges[row])
            parts.append(
                f'<rect class="row" x="{LEFT:g}" y="{top + 1:.1f}" width="{self.grid_width:.1f}" '
                f'height="{max(bottom - top - 2, 1):.1f}" fill="{c.band}"/>'
            )
            middle = (top + bottom) / 2
            if last - middle >= TEXT:
                name = row_name(int(layout.layers[row]), self.graph.n_layers)
                parts.append(text_line(LEFT - 9, middle + 4, name, c.muted, size=SMALL, anchor="end"))
                last = middle
        for border in (LEFT + layout.column_edges * self.stretch_x).tolist():
            parts.append(
                f'<line x1="{border:.1f}" y1="{TOP:g}" x2="{border:.1f}" y2="{TOP + self.grid_height:.1f}" '
                f'stroke="{c.rule}"/>'
            )
        return [*parts, "</g>"]

    def _slanted(self) -> bool:
        widths = np.diff(self.layout.column_edges) * self.stretch_x
        names = [column_name(self.graph, int(p)) for p in self.layout.positions]
        fitting = [text_width(name, TEXT) + 6 <= width for name, width in zip(names, widths.tolist(), strict=True)]
        return bool(sum(fitting) < 0.75 * len(fitting))

    def _token_room(self) -> float:
        return 46.0 if self._slanted() else 0.0

    def _tokens(self) -> list[str]:
        c, bottom = self.colours, TOP + self.grid_height
        slanted = self._slanted()
        edges = LEFT + self.layout.column_edges * self.stretch_x
        parts = ['<g id="tokens">']
        for i, position in enumerate(self.layout.positions.tolist()):
            middle = float(edges[i] + edges[i + 1]) / 2
            name = column_name(self.graph, position)
            if slanted:
                turn = f"rotate(-38 {middle + 4:.1f} {bottom + 16:.1f})"
                parts.append(
                    text_line(
                        middle + 4, bottom + 16, shortened(name, 14), c.text, anchor="end", transform=turn, kind="token"
                    )
                )
            else:
                room = float(edges[i + 1] - edges[i]) - 4
                told = shortened(name, max(int(room / (0.62 * TEXT)), 1))
                if told != "…":  # an empty column: a lone mark says nothing
                    parts.append(text_line(middle, bottom + 19, told, c.text, anchor="middle", kind="token"))
        return [*parts, "</g>"]

    # -- what stands in it --------------------------------------------------------------------------------------------

    def _edges(self) -> list[str]:
        graph, edges = self.graph, self.edges
        share = graph.share[edges].astype(np.float64)
        strength = np.sqrt(np.minimum(np.abs(share) / self.domain, 1.0))
        x1, y1 = self.x[graph.source[edges]], self.y[graph.source[edges]]
        x2, y2 = self.x[graph.target[edges]], self.y[graph.target[edges]]
        rows = np.stack([x1, y1, x2, y2, 0.5 + 1.3 * strength**2, 0.10 + 0.5 * strength], axis=1)
        parts = ['<g id="edges" fill="none" stroke-linecap="round">']
        for (a, b, p, q, width, opacity), positive in zip(rows.tolist(), (share > 0).tolist(), strict=True):
            colour = self.colours.positive if positive else self.colours.negative
            parts.append(
                f'<line class="edge" x1="{a:.1f}" y1="{b:.1f}" x2="{p:.1f}" y2="{q:.1f}" stroke="{colour}" '
                f'stroke-width="{width:.2f}" stroke-opacity="{opacity:.2f}"/>'
            )
        return [*parts, "</g>"]

    def _nodes(self) -> list[str]:
        fills = self.colours.kind_fills()
        pinned = set(self.pins)
        parts = [f'<g id="nodes" stroke="{self.colours.outline}" stroke-width="1.1" stroke-linejoin="round">']
        for node in self.shown.tolist():
            kind = NodeKind(int(self.graph.kind[node]))
            look = f'fill="{fills[kind]}"'
            if node in pinned:
                look += f' stroke="{self.colours.text}" stroke-width="2.2"'
            shape = glyph_shape(kind, float(self.x[node]), float(self.y[node]), float(self.sizes[node]), look)
            name = describe(self.graph, node)
            label = self.labels.get(node)
            told = f"{label} ({name})" if label else name
            if node in self.group_of:
                told += f", in {visible_text(self.group_of[node].name, LONGEST_LABEL)}"
            parts.append(f'<g class="node {kind.name.lower()}"><title>{escape(told)}</title>{shape}</g>')
        return [*parts, "</g>"]

    def _rings(self) -> list[str]:
        """A ring in its supernode's colour around each grouped node, in the shape of the node."""
        parts = ['<g id="groups" fill="none" stroke-width="2" stroke-linejoin="round">']
        for node, supernode in self.group_of.items():
            kind, size = NodeKind(int(self.graph.kind[node])), float(self.sizes[node]) + RING
            look = f'stroke="{supernode.shown_colour}"'
            parts.append(glyph_shape(kind, float(self.x[node]), float(self.y[node]), size, look))
        return [*parts, "</g>"]

    def _logits(self) -> list[str]:
        """Texts above the logits, side by side, each with a line to its node; the weakest go where room ends."""
        c, graph = self.colours, self.graph
        room, chosen = self.width - LEFT - 8, []
        logits = [n for n in graph.of_kind(NodeKind.LOGIT).tolist() if self.view.nodes[n]]
        for node in sorted(logits, key=lambda n: -graph.logit_probability[logit_index(graph, n)]):
            index = logit_index(graph, node)
            text = visible_text(graph.logit_text[index], 24)
            share = percent(float(graph.logit_probability[index]))
            width = text_width(f"{text} {share}", TEXT) + 4
            room -= width + 14
            if room < 0:
                break
            chosen.append((node, text, share, width))
        chosen.sort(key=lambda entry: float(self.x[entry[0]]))
        feet = [float(self.x[node]) for node, *_ in chosen]
        middles = spread_apart(feet, [entry[3] for entry in chosen], 14, self.width - 8)
        parts = ['<g id="logits">']
        for (_, text, share, _), foot, middle in zip(chosen, feet, middles, strict=True):
            parts.append(
                f'<polyline points="{middle:.1f},{TOP - 28:g} {middle:.1f},{TOP - 24:g} {foot:.1f},{TOP - 8:g} '
                f'{foot:.1f},{TOP - 2:g}" fill="none" stroke="{c.muted}" stroke-width="0.8"/>'
            )
            spans = f'{escape(text)} <tspan fill="{c.muted}">{escape(share)}</tspan>'
            parts.append(
                f'<text class="logit" x="{middle:.1f}" y="{TOP - 33:g}" fill="{c.text}" text-anchor="middle">'
                f"{spans}</text>"
            )
        return [*parts, "</g>"]

    def _labels(self) -> list[str]:
        """Names of pinned and labelled nodes, each on a card so that lines do not cross the letters."""
        c = self.colours
        parts, boxes = ['<g id="labels">'], list[Box]()
        for node in dict.fromkeys([*self.pins, *self.labels]):
            if not (0 <= node < self.graph.n_nodes and self.view.nodes[node]):
                continue
            text = self.labels.get(node) or f"{int(self.graph.layer[node])} · {int(self.graph.feature[node])}"
            if NodeKind(int(self.graph.kind[node])) is not NodeKind.FEATURE and node not in self.labels:
                text = describe(self.graph, node)
            left, top, width, height = box = self._label_box(node, text_width(text, TEXT) + 8, boxes)
            boxes.append(box)
            parts.append(
                f'<rect x="{left:.1f}" y="{top:.1f}" width="{width:.1f}" height="{height:g}" rx="3" '
                f'fill="{c.background}" fill-opacity="0.85"/>'
            )
            parts.append(text_line(left + 4, top + 13, text, c.text, weight=600, kind="label"))
        return [*parts, "</g>"]

    def _label_box(self, node: int, width: float, boxes: list[Box]) -> Box:
        """Left, top, width, height beside a node: where it covers the fewest nodes and other labels."""
        x, y, height = float(self.x[node]), float(self.y[node]), 18.0
        away = float(self.sizes[node]) / 2 + 4
        choices = [
            (x + away, y - height / 2),
            (x - away - width, y - height / 2),
            (x - width / 2, y - away - height),
            (x - width / 2, y + away),
        ]
        best, least = (*choices[0], width, height), math.inf
        for left, top in choices:
            right, bottom = left + width, top + height
            inside = (self.x > left - 3) & (self.x < right + 3) & (self.y > top - 3) & (self.y < bottom + 3)
            hits = sum(a < right and a + w > left and b < bottom and b + h > top for a, b, w, h in boxes)
            cost = int(np.count_nonzero(inside)) + 5 * hits + 50 * (left < LEFT or right > self.width - 4)
            if cost < least:
                best, least = (left, top, width, height), cost
        return best

    def _legend(self) -> list[str]:
        c, y = self.colours, self.height - 46 - GROUP_LINE * len(self.group_lines)
        parts, x = ['<g id="legend">'], LEFT
        present = set(self.graph.kind[self.shown].tolist())
        for kind in (NodeKind.FEATURE, NodeKind.EMBEDDING, NodeKind.LOGIT, NodeKind.ERROR, NodeKind.BIAS):
            if int(kind) in present:
                look = f'fill="{c.kind_fills()[kind]}" stroke="{c.outline}" stroke-width="1.1"'
                parts.append(glyph_shape(kind, x + 5, y, 10, look))
                parts.append(text_line(x + 15, y + 4, kind.name.lower(), c.muted, size=SMALL))
                x += 15 + text_width(kind.name.lower(), SMALL) + 18
        words = "strongest inputs of each node, by share of its input"
        ramp = signed_ramp(c)
        end = f"{self.domain:.0%}".replace("%", " %")
        right = self.width - RIGHT - text_width(f"+{end}", SMALL) - 8
        left = right - 7 * len(ramp)
        for i, colour in enumerate(ramp):
            parts.append(f'<rect x="{left + 7 * i:.1f}" y="{y - 5:.1f}" width="7.2" height="10" fill="{colour}"/>')
        parts.append(text_line(right + 6, y + 4, f"+{end}", c.muted, size=SMALL))
        parts.append(text_line(left - 6, y + 4, f"{words}   −{end}", c.muted, size=SMALL, anchor="end"))
        for line in self.group_lines:
            y += GROUP_LINE
            for x, supernode, name in line:
                look = f'fill="none" stroke="{supernode.shown_colour}" stroke-width="2"'
                parts.append(glyph_shape(NodeKind.FEATURE, x + 5, y, 10, look))
                parts.append(text_line(x + 15, y + 4, name, c.muted, size=SMALL, kind="group"))
        return [*parts, "</g>"]

    def _lay_out_groups(self) -> list[list[tuple[float, Supernode, str]]]:
        """Lines of the legend that name the supernodes: where each stands, and its name as far as it is written."""
        lines, right = list[list[tuple[float, Supernode, str]]](), math.inf
        for supernode in self.supernodes:
            name = visible_text(" ".join(supernode.name.split()), LONGEST_LABEL)
            width = 15 + text_width(name, SMALL) + 18
            if right + width > self.width - RIGHT:
                lines.append([])
                right = LEFT
            lines[-1].append((right, supernode, name))
            right += width
        return lines
