"""Where every node of an attribution graph stands: rows are layers, columns are tokens, crowded cells wrap.

The arrangement follows the linear plots of Ameisen et al. 2025 ("Circuit Tracing"), with one difference: nodes of one
(layer, token) cell are wrapped into lines, so that no two glyphs ever overlap. Pure numpy; one unit is one pixel at
100 % zoom; y grows upwards.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from engine.graphs.graph import EMBEDDING_LAYER, NO_POSITION, AttributionGraph

Array = NDArray[np.float64]
Index = NDArray[np.intp]

NODE_SIZE = 13.0  # the widest glyph
NODE_GAP = 3.0  # between glyphs of one cell
CELL_PAD = 7.0  # left and right of a cell
ROW_PAD = 2.0  # above and below a cell
EMPTY_ROW = 4.0  # a layer without visible nodes
EMPTY_COLUMN = 18.0  # a token without visible nodes
LOGITS_PER_LINE = 10  # so that the texts above the logits can be told apart


@dataclass(frozen=True)
class Layout:
    """Positions of nodes and the grid they stand in, in scene units.

    x, y (N,): centres of the glyphs; nan for hidden nodes.
    layers (R,): layer of each row, bottom to top: embeddings -1, layers, logits = number of layers.
    row_edges (R + 1,): y of the rows' borders. row_used (R,): whether the row has visible nodes.
    positions (C,): token position of each column, left to right; -1 first where a node has no position.
    column_edges (C + 1,): x of the columns' borders.
    column, row (N,): each node's cell; -1 for hidden nodes.
    pitch: distance of neighbouring glyphs' centres, at least `node_size`.
    """

    x: Array
    y: Array
    layers: NDArray[np.int64]
    row_edges: Array
    row_used: NDArray[np.bool_]
    positions: NDArray[np.int64]
    column_edges: Array
    column: Index
    row: Index
    node_size: float
    pitch: float

    @property
    def width(self) -> float:
        """Width of the whole drawing."""
        return float(self.column_edges[-1] - self.column_edges[0])

    @property
    def height(self) -> float:
        """Height of the whole drawing."""
        return float(self.row_edges[-1] - self.row_edges[0])


def lay_out(
    graph: AttributionGraph,
    nodes: NDArray[np.bool_],
    *,
    node_size: float = NODE_SIZE,
    viewport: tuple[float, float] = (960.0, 540.0),
) -> Layout:
    """Place the visible nodes. Deterministic; the strongest node of a cell comes first.

    Parameters
    ----------
    graph:
        Gives layer, position and influence of each node.
    nodes:
        (N,) which nodes are shown.
    node_size:
        Width of the widest glyph.
    viewport:
        Width and height to be filled, in pixels: decides after how many nodes a cell wraps, nothing else.

    Raises ValueError when `nodes` is not one flag a node.
    """
    if nodes.shape != (graph.n_nodes,):
        raise ValueError(f"{nodes.shape[0]} flags for {graph.n_nodes} nodes")
    shown = np.flatnonzero(nodes)
    layers = np.arange(EMBEDDING_LAYER, graph.n_layers + 1, dtype=np.int64)
    row = np.clip(graph.layer[shown] - EMBEDDING_LAYER, 0, len(layers) - 1).astype(np.intp)
    place = np.clip(graph.position[shown], NO_POSITION, graph.n_positions - 1)
    first = NO_POSITION if bool((place < 0).any()) or graph.n_positions == 0 else 0
    positions = np.arange(first, graph.n_positions, dtype=np.int64)
    column = (place - first).astype(np.intp)

    counts = np.zeros((len(layers), len(positions)), dtype=np.int64)  # (R, C)
    np.add.at(counts, (row, column), 1)
    pitch = node_size + NODE_GAP
    limit = _wrap_limit(counts, pitch, viewport)
    lines, per_line = _wrapped(counts, limit)
    column_edges, row_edges = _edges(counts, lines, per_line, pitch)

    rank = _rank_in_cell(graph.influence[shown], row * len(positions) + column)
    own_lines, own_per_line, own_count = lines[row, column], per_line[row, column], counts[row, column]
    line, slot = rank // own_per_line, rank % own_per_line
    in_line = np.minimum(own_per_line, own_count - line * own_per_line)
    centre_x = (column_edges[:-1] + column_edges[1:]) / 2
    centre_y = (row_edges[:-1] + row_edges[1:]) / 2
    everywhere = np.full(graph.n_nodes, np.nan)
    x, y = everywhere.copy(), everywhere.copy()
    x[shown] = centre_x[column] + (slot - (in_line - 1) / 2) * pitch
    y[shown] = centre_y[row] - (line - (own_lines - 1) / 2) * pitch
    node_column, node_row = np.full((2, graph.n_nodes), -1, dtype=np.intp)
    node_column[shown], node_row[shown] = column, row
    return Layout(
        x=x,
        y=y,
        layers=layers,
        row_edges=row_edges,
        row_used=np.asarray(counts.sum(axis=1) > 0),
        positions=positions,
        column_edges=column_edges,
        column=node_column,
        row=node_row,
        node_size=node_size,
        pitch=pitch,
    )


def with_shared_rows(left: Layout, right: Layout) -> tuple[Layout, Layout]:
    """Two drawings whose rows are at the same heights, each as tall as the taller needs: one layer axis for both.

    Drawings with different numbers of rows come back as they are.
    """
    if len(left.layers) != len(right.layers):
        return left, right
    heights = np.maximum(np.diff(left.row_edges), np.diff(right.row_edges))
    edges = np.r_[0.0, np.cumsum(heights)]
    used = left.row_used | right.row_used
    return _with_rows(left, edges, used), _with_rows(right, edges, used)


def _with_rows(layout: Layout, row_edges: Array, row_used: NDArray[np.bool_]) -> Layout:
    moved = (row_edges[1:] + row_edges[:-1] - layout.row_edges[1:] - layout.row_edges[:-1]) / 2
    y = np.where(layout.row < 0, layout.y, layout.y + moved[layout.row])
    return replace(layout, y=y, row_edges=row_edges, row_used=row_used)


def _rank_in_cell(influence: NDArray[np.float32], cell: Index) -> NDArray[np.int64]:
    """(n,): 0 for the strongest node of a cell, 1 for the next; equal ones in node order."""
    order = np.lexsort((np.arange(len(cell)), -np.nan_to_num(influence), cell))
    ordered = cell[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]]) if len(cell) else np.empty(0, dtype=np.intp)
    lengths = np.diff(np.r_[starts, len(cell)])
    rank = np.empty(len(cell), dtype=np.int64)
    rank[order] = np.arange(len(cell)) - np.repeat(starts, lengths)
    return rank


def _wrapped(counts: NDArray[np.int64], limit: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(R, C) lines of each cell and nodes a line (at least 1), as even as `limit` nodes a line allow."""
    limits = np.full((counts.shape[0], 1), limit, dtype=np.int64)
    limits[-1] = max(limit, LOGITS_PER_LINE)
    lines = -(-counts // limits)
    return lines, np.maximum(-(-counts // np.maximum(lines, 1)), 1)


def _edges(
    counts: NDArray[np.int64], lines: NDArray[np.int64], per_line: NDArray[np.int64], pitch: float
) -> tuple[Array, Array]:
    """The x of the column borders (C + 1,) and y of the row borders (R + 1,)."""
    busiest = np.where(counts > 0, per_line, 0).max(axis=0)
    widths = np.where(busiest > 0, np.maximum(busiest * pitch + 2 * CELL_PAD, EMPTY_COLUMN), EMPTY_COLUMN)
    tallest = lines.max(axis=1)
    heights = np.where(tallest > 0, tallest * pitch + 2 * ROW_PAD, EMPTY_ROW)
    return np.r_[0.0, np.cumsum(widths)], np.r_[0.0, np.cumsum(heights)]


def _wrap_limit(counts: NDArray[np.int64], pitch: float, viewport: tuple[float, float]) -> int:
    """How many nodes a line holds so that the whole drawing fits the viewport at the largest scale."""
    most = int(counts.max(initial=1))
    candidates = np.unique(np.r_[np.arange(1, 17), np.geomspace(16, max(most, 17), 12).astype(np.int64)])
    best, best_scale = 1, -1.0
    for limit in candidates[candidates <= max(most, 1)].tolist():
        column_edges, row_edges = _edges(counts, *_wrapped(counts, limit), pitch)
        scale = min(viewport[0] / column_edges[-1], viewport[1] / row_edges[-1])
        if scale > best_scale:
            best, best_scale = limit, scale
    return best
