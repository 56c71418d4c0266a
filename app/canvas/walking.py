"""Which node an arrow key leads to. Arrays only, no Qt."""

from __future__ import annotations

from enum import Enum

import numpy as np
from numpy.typing import NDArray

from app.canvas.scene import NOTHING, Scene


class Step(Enum):
    """Directions of the arrow keys."""

    LEFT = "the nearest token to the left in the same row, its strongest node"
    RIGHT = "the nearest token to the right in the same row, its strongest node"
    UP = "the strongest edge out of the node"
    DOWN = "the strongest edge into the node"
    PREVIOUS = "the node before in the same row"
    NEXT = "the node after in the same row"


def walk(scene: Scene, step: Step) -> int:
    """The node to select next; from nothing the strongest logit, and the node itself where the way ends."""
    node = scene.selected
    if not scene.is_shown(node):
        return _start(scene)
    if step in (Step.UP, Step.DOWN):
        return _along_edge(scene, node, step)
    if step in (Step.LEFT, Step.RIGHT):
        return _next_token(scene, node, -1 if step is Step.LEFT else 1)
    return _next_in_row(scene, node, -1 if step is Step.PREVIOUS else 1)


def _start(scene: Scene) -> int:
    if not len(scene.shown):
        return NOTHING
    top = scene.shown[scene.layout.row[scene.shown] == scene.layout.row[scene.shown].max()]
    return _strongest(scene, top)


def _strongest(scene: Scene, nodes: NDArray[np.int64]) -> int:
    return int(nodes[np.argmax(np.nan_to_num(scene.graph.influence[nodes]))])


def _along_edge(scene: Scene, node: int, step: Step) -> int:
    graph = scene.graph
    edges, ends = (graph.outputs(node), graph.target) if step is Step.UP else (graph.inputs(node), graph.source)
    edges = edges[scene.edge_shown[edges]]
    if not len(edges):
        return node
    return int(ends[edges[np.argmax(np.abs(graph.share[edges]))]])


def _row_of(scene: Scene, node: int) -> NDArray[np.int64]:
    same = scene.layout.row[scene.shown] == scene.layout.row[node]
    return np.asarray(scene.shown[same], dtype=np.int64)


def _next_token(scene: Scene, node: int, direction: int) -> int:
    row, column = _row_of(scene, node), scene.layout.column
    distance = (column[row] - column[node]) * direction
    ahead = row[distance > 0]
    if not len(ahead):
        return node
    nearest = ahead[column[ahead] == column[ahead[np.argmin(np.abs(column[ahead] - column[node]))]]]
    return _strongest(scene, nearest)


def _next_in_row(scene: Scene, node: int, direction: int) -> int:
    row, layout = _row_of(scene, node), scene.layout
    ordered = row[np.lexsort((layout.x[row], -layout.y[row], layout.column[row]))]
    at = int(np.flatnonzero(ordered == node)[0]) + direction
    return int(ordered[at]) if 0 <= at < len(ordered) else node
