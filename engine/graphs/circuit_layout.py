"""Where the boxes of a circuit stand in its diagram: layers go up, tokens go to the right, nothing overlaps.

Pure arithmetic; one unit is one pixel at 100 %, and y grows upwards as in `layout`. What a person placed stays there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from engine.graphs.circuit import Box, PlaceKey
from engine.graphs.graph import AttributionGraph

BOX_HEIGHT = 28.0
GAP = 18.0  # between boxes of one row
ROW_PITCH = 60.0
COLUMN_PITCH = 120.0  # between two tokens, where there is room
LAYERS_A_ROW = 1.0  # boxes whose mean layers are nearer than this share a row

Place = tuple[float, float]


@dataclass(frozen=True)
class _Rectangle:
    x: float
    y: float
    width: float

    def overlaps(self, other: _Rectangle) -> bool:
        """Whether two boxes come nearer than the gap; touching at exactly the gap is apart."""
        return (
            abs(self.x - other.x) < (self.width + other.width) / 2 + GAP - 1e-6
            and abs(self.y - other.y) < BOX_HEIGHT + GAP / 2
        )


def circuit_places(
    graph: AttributionGraph,
    shown: Sequence[Box],
    widths: Sequence[float],
    kept: Mapping[PlaceKey, Place] | None = None,
) -> dict[PlaceKey, Place]:
    """The centre of every box.

    A row holds the boxes of about one mean layer, rows in the order of layers; in a row boxes stand at the mean of
    their tokens, pushed apart where they would overlap. Boxes in `kept` stand exactly where it says, and the others
    make room. Deterministic. `widths` are those of the boxes, in pixels.
    """
    kept = kept or {}
    width = {one.key: wide for one, wide in zip(shown, widths, strict=True)}
    fixed = [_Rectangle(*kept[one.key], width[one.key]) for one in shown if one.key in kept]
    placed = list[_Rectangle]()
    places: dict[PlaceKey, Place] = {one.key: kept[one.key] for one in shown if one.key in kept}
    for key, wanted in _wishes(graph, shown).items():
        if key not in kept:
            found = _free_spot(_Rectangle(*wanted, width[key]), [*fixed, *placed])
            placed.append(found)
            places[key] = (found.x, found.y)
    return places


def _wishes(graph: AttributionGraph, shown: Sequence[Box]) -> dict[PlaceKey, Place]:
    """Where each box would stand if it were alone; those a person placed count, so that moving one moves no other."""
    depth = [_mean(graph.layer, one) for one in shown]
    position = [_mean(graph.position, one) for one in shown]
    columns = {value: i for i, value in enumerate(sorted(set(position)))}
    wishes: dict[PlaceKey, Place] = {}
    row, first = -1, -np.inf
    for i in sorted(range(len(shown)), key=lambda i: (depth[i], position[i], str(shown[i].key))):
        if depth[i] - first >= LAYERS_A_ROW:
            row, first = row + 1, depth[i]
        wishes[shown[i].key] = (columns[position[i]] * COLUMN_PITCH, row * ROW_PITCH)
    return wishes


def _free_spot(wanted: _Rectangle, taken: Sequence[_Rectangle]) -> _Rectangle:
    """The nearest spot in the same row, the right one of two equally near, that overlaps nothing."""
    near = [one for one in taken if abs(one.y - wanted.y) < BOX_HEIGHT + GAP / 2]
    spots = [wanted.x]
    for one in near:
        away = (one.width + wanted.width) / 2 + GAP
        spots += [one.x + away, one.x - away]
    for x in sorted(spots, key=lambda x: (abs(x - wanted.x), -x)):
        spot = _Rectangle(x, wanted.y, wanted.width)
        if not any(spot.overlaps(one) for one in near):
            return spot
    raise AssertionError("the spot beyond the outermost box is always free")


def _mean(column: np.ndarray[tuple[int], np.dtype[np.int32]], box: Box) -> float:
    return float(np.mean(column[list(box.nodes)]))
