"""What the circuit's diagram shows, and where: boxes, frames of open supernodes, edges; on screen and in files.

One unit is a pixel at 100 % and normal text size; y grows upwards, as in the engine's layout.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from engine.graphs.circuit import Box, Circuit, PlaceKey, Supernode, boxes
from engine.graphs.circuit_layout import BOX_HEIGHT, GAP, Place, circuit_places
from engine.graphs.graph import AttributionGraph
from engine.graphs.supernode_edges import SupernodeEdges, supernode_edges
from engine.graphs.visible_text import visible_text

MOST_EDGES = 300
WEAKEST = 0.03  # of the strongest edge; what is weaker is not drawn
THINNEST, THICKEST = 0.9, 7.0
FRAME_GAP, FRAME_TITLE = 10.0, 18.0
LONGEST_NAME = 30  # characters
_CURVE = np.linspace(0.0, 1.0, 17)


@dataclass(frozen=True)
class Rectangle:
    """Edges of a box or a frame; top is above bottom."""

    left: float
    bottom: float
    right: float
    top: float

    def holds(self, x: float, y: float) -> bool:
        """Whether a point is inside."""
        return self.left <= x <= self.right and self.bottom <= y <= self.top

    def around(self, other: Rectangle) -> Rectangle:
        """The smallest one that holds both."""
        return Rectangle(
            min(self.left, other.left),
            min(self.bottom, other.bottom),
            max(self.right, other.right),
            max(self.top, other.top),
        )


@dataclass(frozen=True)
class Frame:
    """An open supernode: what is drawn around its contents."""

    supernode: Supernode
    keys: tuple[PlaceKey, ...]  # the boxes inside
    depth: int
    area: Rectangle

    @property
    def title(self) -> Rectangle:
        """The strip with the name, which is what a hand takes it by."""
        return replace(self.area, bottom=self.area.top - FRAME_TITLE)


@dataclass(frozen=True)
class Drawing:
    """One state of the diagram. `places` are the centres of the boxes in `shown`."""

    circuit: Circuit
    shown: tuple[Box, ...]
    widths: tuple[float, ...]
    edges: SupernodeEdges
    places: Mapping[PlaceKey, Place]

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to draw."""
        return not self.shown

    def moved(self, places: Mapping[PlaceKey, Place]) -> Drawing:
        """The same with some boxes elsewhere."""
        return replace(self, places={**self.places, **places})

    def box(self, key: PlaceKey) -> Box | None:
        """The box of a key, if it is shown as one."""
        return next((one for one in self.shown if one.key == key), None)

    def area_of(self, number: int) -> Rectangle:
        """Where a box, by its number in `shown`, is."""
        x, y = self.places[self.shown[number].key]
        half = self.widths[number] / 2
        return Rectangle(x - half, y - BOX_HEIGHT / 2, x + half, y + BOX_HEIGHT / 2)

    @cached_property
    def frames(self) -> tuple[Frame, ...]:
        """Open supernodes with something in them, outermost first."""
        found: dict[int, Frame] = {}

        def frame_of(one: Supernode, depth: int) -> Rectangle | None:
            inside = [i for i, box in enumerate(self.shown) if box.inside[-1:] == (one.id,)]
            areas = [self.area_of(i) for i in inside]
            for child in self.circuit.children(one.id):
                area = None if child.collapsed else frame_of(child, depth + 1)
                areas += [] if area is None else [area]
            if not areas:
                return None
            area = areas[0]
            for other in areas[1:]:
                area = area.around(other)
            grown = Rectangle(
                area.left - FRAME_GAP,
                area.bottom - FRAME_GAP,
                area.right + FRAME_GAP,
                area.top + FRAME_GAP / 2 + FRAME_TITLE,
            )
            keys = tuple(box.key for box in self.shown if one.id in box.inside)
            found[one.id] = Frame(one, keys, depth, grown)
            return grown

        for top in self.circuit.children(None):
            if not top.collapsed:
                frame_of(top, 0)
        return tuple(sorted(found.values(), key=lambda frame: frame.depth))

    @cached_property
    def drawn_edges(self) -> NDArray[np.int64]:
        """Numbers of the edges that are drawn, weakest first, so that the strongest lie on top."""
        size = np.abs(self.edges.share[:MOST_EDGES])
        strong = np.flatnonzero(size >= WEAKEST * size.max(initial=0.0))
        return strong[np.argsort(size[strong], kind="stable")].astype(np.int64)

    @property
    def strongest(self) -> float:
        """The size of the thickest edge, as a share of its target's input from outside."""
        return float(np.abs(self.edges.share).max(initial=0.0))

    def thickness(self, edge: int) -> float:
        """How wide an edge is drawn; an edge's width says its size."""
        return THINNEST + (THICKEST - THINNEST) * abs(float(self.edges.share[edge])) / max(self.strongest, 1e-12)

    @cached_property
    def curves(self) -> NDArray[np.float64]:
        """(drawn, 17, 2): points along each drawn edge, from the top of its source to the bottom of its target.

        Ends are spread along the side of a box, in the order in which the other ends stand.
        """
        start, end = self._ends(self.edges.source, self.edges.target), self._ends(self.edges.target, self.edges.source)
        points = np.zeros((len(self.drawn_edges), len(_CURVE), 2))
        t = _CURVE[:, None]
        for row, edge in enumerate(self.drawn_edges.tolist()):
            source, target = int(self.edges.source[edge]), int(self.edges.target[edge])
            below, above = self.area_of(source), self.area_of(target)
            first = np.array([start[edge], below.top])
            last = np.array([end[edge], above.bottom])
            bend = np.array([0.0, max(abs(last[1] - first[1]) * 0.4, BOX_HEIGHT * 0.6)])
            points[row] = (
                (1 - t) ** 3 * first
                + 3 * (1 - t) ** 2 * t * (first + bend)
                + 3 * (1 - t) * t**2 * (last - bend)
                + t**3 * last
            )
        return points

    def _ends(self, own: NDArray[np.int64], other: NDArray[np.int64]) -> dict[int, float]:
        """Where on its box's side each drawn edge ends."""
        by_box: dict[int, list[int]] = {}
        for edge in self.drawn_edges.tolist():
            by_box.setdefault(int(own[edge]), []).append(edge)
        found: dict[int, float] = {}
        for number, edges in by_box.items():
            area = self.area_of(number)
            ordered = sorted(edges, key=lambda edge: self.places[self.shown[int(other[edge])].key][0])
            for rank, edge in enumerate(ordered):
                found[edge] = area.left + (area.right - area.left) * (0.12 + 0.76 * (rank + 0.5) / len(ordered))
        return found

    # -- what is where ------------------------------------------------------------------------------------------------

    @property
    def whole(self) -> Rectangle:
        """Everything that is drawn."""
        areas = [self.area_of(i) for i in range(len(self.shown))] + [frame.area for frame in self.frames]
        found = areas[0] if areas else Rectangle(0, 0, 1, 1)
        for area in areas[1:]:
            found = found.around(area)
        return found

    def key_at(self, x: float, y: float) -> PlaceKey | None:
        """The box at a point, or the open supernode whose title is there."""
        for number in reversed(range(len(self.shown))):
            if self.area_of(number).holds(x, y):
                return self.shown[number].key
        for frame in reversed(self.frames):
            if frame.title.holds(x, y):
                return frame.supernode.place
        return None

    def edge_at(self, x: float, y: float, reach: float) -> int | None:
        """The drawn edge nearest to a point, if it is within reach of it."""
        if not len(self.drawn_edges):
            return None
        start, step = self.curves[:, :-1], np.diff(self.curves, axis=1)  # (drawn, 16, 2) pieces of each curve
        to = np.array([x, y]) - start
        along = np.clip((to * step).sum(-1) / np.maximum((step * step).sum(-1), 1e-12), 0.0, 1.0)
        away = np.linalg.norm(to - along[..., None] * step, axis=-1).min(axis=1)
        row = int(np.argmin(away))
        return int(self.drawn_edges[row]) if away[row] <= reach else None

    def keys_of(self, key: PlaceKey) -> tuple[PlaceKey, ...]:
        """The boxes that move when a hand moves this: itself, or everything in an open supernode."""
        frame = next((one for one in self.frames if one.supernode.place == key), None)
        return (key,) if frame is None else frame.keys


def shown_name(box: Box) -> str:
    """What is written in a box: one line, not too long; a supernode says how many it holds."""
    text = visible_text(" ".join(box.name.split()))
    text = text if len(text) <= LONGEST_NAME else f"{text[: LONGEST_NAME - 1]}…"
    return text if box.supernode is None else f"{text} ({len(box.nodes)})"


def draw(
    graph: AttributionGraph,
    circuit: Circuit,
    kept: Mapping[PlaceKey, Place],
    width_of: Callable[[Box], float],
) -> Drawing:
    """The diagram of a circuit. `kept` are the places a person chose; `width_of` knows the font."""
    shown = boxes(circuit, graph)
    widths = tuple(width_of(box) for box in shown)
    places = circuit_places(graph, shown, widths, dict(kept))
    return _cleared(Drawing(circuit, shown, widths, supernode_edges(graph, shown), places), kept)


def _cleared(drawing: Drawing, kept: Mapping[PlaceKey, Place]) -> Drawing:
    """With the boxes that stand in a frame without belonging there pushed out sideways; kept ones stay."""
    for frame in [one for one in drawing.frames if one.depth == 0]:
        area, pushed = frame.area, dict[PlaceKey, Place]()
        for side in (-1.0, 1.0):
            strangers = [
                i
                for i, box in enumerate(drawing.shown)
                if box.key not in frame.keys and box.key not in kept and _meets(drawing.area_of(i), area)
            ]
            middle = (area.left + area.right) / 2
            strangers = [i for i in strangers if (drawing.places[drawing.shown[i].key][0] >= middle) == (side > 0)]
            strangers.sort(key=lambda i: side * drawing.places[drawing.shown[i].key][0])
            reached: dict[float, float] = {}  # by row, how far out boxes stand already
            for i in strangers:
                key, half = drawing.shown[i].key, drawing.widths[i] / 2
                y = drawing.places[key][1]
                edge = reached.get(y, area.right if side > 0 else -area.left) + GAP
                pushed[key] = (side * (edge + half), y)
                reached[y] = edge + 2 * half
            pushed.update(_moved_on(drawing, pushed, kept, frame, side, reached))
        drawing = drawing.moved(pushed)
    return drawing


def _moved_on(
    drawing: Drawing,
    pushed: Mapping[PlaceKey, Place],
    kept: Mapping[PlaceKey, Place],
    frame: Frame,
    side: float,
    reached: dict[float, float],
) -> dict[PlaceKey, Place]:
    """The boxes further out in the same rows make room for those that were pushed there."""
    found: dict[PlaceKey, Place] = {}
    rest = [
        (side * drawing.places[box.key][0], i)
        for i, box in enumerate(drawing.shown)
        if box.key not in pushed and box.key not in kept and box.key not in frame.keys
    ]
    for away, i in sorted(rest):
        key, half = drawing.shown[i].key, drawing.widths[i] / 2
        y = drawing.places[key][1]
        beyond = side * (frame.area.right if side > 0 else frame.area.left)
        if y in reached and away > beyond:
            if away - half < reached[y] + GAP:
                away = reached[y] + GAP + half
                found[key] = (side * away, y)
            reached[y] = away + half
    return found


def _meets(one: Rectangle, other: Rectangle) -> bool:
    """Whether two areas overlap."""
    return one.left < other.right and other.left < one.right and one.bottom < other.top and other.bottom < one.top
