"""Which node is nearest to a point: shown nodes in square bins, so that few of ten thousand are looked at. No Qt."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class NodeBins:
    """Points by bins of `size` scene units. Bins of one row lie side by side in the order, so a row is one slice."""

    def __init__(self, nodes: NDArray[np.int64], x: Array, y: Array, size: float) -> None:
        self.size = size
        column, row = np.floor(x[nodes] / size).astype(np.int64), np.floor(y[nodes] / size).astype(np.int64)
        self._left, self._bottom = int(column.min(initial=0)), int(row.min(initial=0))
        self._columns, self._top = int(column.max(initial=0)) - self._left + 1, int(row.max(initial=0))
        code = (row - self._bottom) * self._columns + (column - self._left)
        order = np.argsort(code, kind="stable")
        self._nodes, self._codes = nodes[order], code[order]
        self._x, self._y = x[self._nodes], y[self._nodes]
        self.looked_at = 0  # points whose distance the last search took

    def nearest(self, x: float, y: float, reach: float, scales: tuple[float, float]) -> int:
        """The node nearest to a point, at most `reach` pixels away, or -1; `scales` are pixels for one unit.

        Of equally near ones the first in node order.
        """
        wide, high = reach / scales[0], reach / scales[1]
        first = max(math.floor((x - wide) / self.size), self._left) - self._left
        last = min(math.floor((x + wide) / self.size) - self._left, self._columns - 1)
        low = max(math.floor((y - high) / self.size), self._bottom)
        top = min(math.floor((y + high) / self.size), self._top)
        best, found, self.looked_at = reach * reach, -1, 0
        if first > last or not len(self._nodes):
            return found
        starts = (np.arange(low, top + 1) - self._bottom) * self._columns
        begins = np.searchsorted(self._codes, starts + first)
        ends = np.searchsorted(self._codes, starts + last, side="right")
        for begin, end in zip(begins.tolist(), ends.tolist(), strict=True):
            if begin == end:
                continue
            self.looked_at += end - begin
            dx, dy = (self._x[begin:end] - x) * scales[0], (self._y[begin:end] - y) * scales[1]
            distance = dx * dx + dy * dy
            near = float(distance.min())
            node = int(self._nodes[begin:end][distance == near].min())
            if near < best or (near == best and (found < 0 or node < found)):
                best, found = near, node
        return found
