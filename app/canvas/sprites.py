"""Small pictures of every glyph that is needed, in one pixmap, so that 10,000 nodes are one drawing call."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QBrush, QColor, QPainter, QPainterPath, QPen, QPixmap

from app.canvas.scene import Mark
from app.canvas.stage import STEPS
from app.theme import Theme
from engine.graphs.glyphs import CORNER, DIAMOND, SIZES, TRIANGLE
from engine.graphs.graph import NodeKind

FILLS = STEPS + 1  # the kind's own, then the signed scale
KINDS = len(NodeKind)
LOOKS = KINDS * FILLS * len(SIZES)
DOT = 0.42  # of a changed node's glyph is its dot


def glyph_path(kind: NodeKind, centre: QPointF, size: float) -> QPainterPath:
    """A node's outline: circle, square, diamond or triangle, of about equal weight to the eye."""
    path = QPainterPath()
    half = size / 2
    x, y = centre.x(), centre.y()
    if kind is NodeKind.FEATURE:
        path.addEllipse(centre, half, half)
    elif kind in (NodeKind.EMBEDDING, NodeKind.LOGIT):
        side = half * CORNER
        path.addRoundedRect(QRectF(x - side, y - side, 2 * side, 2 * side), size * 0.1, size * 0.1)
    elif kind is NodeKind.ERROR:
        _polygon(path, [(x + half * dx, y + half * dy) for dx, dy in DIAMOND])
    else:
        _polygon(path, [(x + half * dx, y + half * dy) for dx, dy in TRIANGLE])
    return path


def _polygon(path: QPainterPath, points: list[tuple[float, float]]) -> None:
    path.moveTo(*points[0])
    for point in points[1:]:
        path.lineTo(*point)
    path.closeSubpath()


class Sprites:
    """A pixmap of glyphs by code = mark * LOOKS + (kind * FILLS + fill) * len(SIZES) + size level.

    Marks of compared graphs differ in shape, not only in colour: the left half filled, the right half, or a dot.
    """

    def __init__(self, theme: Theme, glyph_scale: float, ratio: float) -> None:
        self._brushes = _brushes(theme)
        self._outline = QColor(theme.graph.outline)
        self._background = QColor(theme.graph.background)
        self._marks = mark_colours(theme)
        self._scale = glyph_scale * ratio
        self._cell = math.ceil(SIZES[-1] * self._scale) + 4
        self._pen_width = max(1.0, min(1.15 * ratio, 0.12 * SIZES[2] * self._scale))
        self._slots: dict[int, int] = {}
        self._columns = 32
        self._table = np.zeros((len(Mark) * LOOKS, 2))  # left and top of each code's picture
        self.pixmap = QPixmap(1, 1)
        self.pixmap.fill(Qt.GlobalColor.transparent)

    @property
    def cell(self) -> int:
        """Width and height of one picture, in device pixels."""
        return self._cell

    def places(self, codes: NDArray[np.intp]) -> NDArray[np.float64]:
        """(n, 2): left and top of each code's picture; draws those not drawn yet."""
        missing = [code for code in np.unique(codes).tolist() if code not in self._slots]
        if missing:
            self._draw(missing)
        return np.asarray(self._table[codes])

    def _draw(self, codes: list[int]) -> None:
        for code in codes:
            self._slots[code] = len(self._slots)
        rows = -(-len(self._slots) // self._columns)
        grown = QPixmap(self._columns * self._cell, rows * self._cell)
        grown.fill(Qt.GlobalColor.transparent)
        painter = QPainter(grown)
        painter.drawPixmap(0, 0, self.pixmap)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        for code in codes:
            row, column = divmod(self._slots[code], self._columns)
            self._table[code] = column * self._cell, row * self._cell
            self._draw_one(painter, code, QPointF((column + 0.5) * self._cell, (row + 0.5) * self._cell))
        painter.end()
        self.pixmap = grown

    def _draw_one(self, painter: QPainter, code: int, centre: QPointF) -> None:
        mark, look = divmod(code, LOOKS)
        rest, level = divmod(look, len(SIZES))
        kind, fill = divmod(rest, FILLS)
        size = max(SIZES[level] * self._scale - self._pen_width, 1.5)
        painter.setPen(QPen(self._outline, self._pen_width, j=Qt.PenJoinStyle.RoundJoin))
        painter.setBrush(self._brushes[kind][fill])
        painter.drawPath(glyph_path(NodeKind(kind), centre, size))
        if mark != Mark.SHARED:
            paint_mark(painter, NodeKind(kind), centre, size, Mark(mark), self._marks[mark], self._background)


def mark_colours(theme: Theme) -> tuple[QColor, ...]:
    """One colour a `Mark`."""
    graph = theme.graph
    return tuple(QColor(colour) for colour in (graph.outline, graph.only_left, graph.only_right, graph.changed))


def paint_mark(
    painter: QPainter, kind: NodeKind, centre: QPointF, size: float, mark: Mark, colour: QColor, background: QColor
) -> None:
    """Half of a glyph filled on the side of the only graph that has it, or a dot in one that changed."""
    outline = glyph_path(kind, centre, size)
    painter.setPen(Qt.PenStyle.NoPen)
    if mark is Mark.CHANGED:
        dot = QPainterPath()
        dot.addEllipse(centre, size * DOT / 2, size * DOT / 2)
        painter.strokePath(dot, QPen(background, size * 0.16))
        painter.fillPath(dot, colour)
    else:
        box = outline.boundingRect()
        left = box.left() - 1 if mark is Mark.ONLY_LEFT else centre.x()
        half = QPainterPath()
        half.addRect(QRectF(left, box.top() - 1, box.right() + 1 - centre.x(), box.height() + 2))
        painter.fillPath(outline.intersected(half), colour)
    painter.strokePath(outline, QPen(colour, max(1.4, size * 0.13), j=Qt.PenJoinStyle.RoundJoin))


def _brushes(theme: Theme) -> list[list[QBrush]]:
    """(kind, fill): one brush each for the whole life of a theme."""
    signed = [QBrush(QColor(colour)) for colour in theme.signed_colours(STEPS)]
    return [[QBrush(QColor(fill)), *signed] for fill in theme.graph.kind_fills()]
