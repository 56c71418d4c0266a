"""The live edges: at most 2,000 lines, a few pens, one call a pen; those that hovering does not change are kept as a
picture while nothing else changes.
"""

from __future__ import annotations

import math

import numpy as np
import pyqtgraph as pg
from numpy.typing import NDArray
from PySide6.QtCore import QLineF, Qt
from PySide6.QtGui import QColor, QPainter, QPen, QPixmap

from app.canvas.layer import Layer
from app.canvas.stage import Stage
from app.theme import Theme

LEVELS = 6  # of strength, for each sign
MANY = 200  # from which on a picture is kept
SMOOTH_EDGES = 900  # with more, lines are drawn without antialiasing
# For the edges of nodes in focus, and for the strongest of the whole graph, which must not drown its nodes.
_OPACITY = (np.linspace(0.12, 0.55, LEVELS), np.linspace(0.16, 0.92, LEVELS))
# Lines wider than a pixel are painted ten times slower: only few, and only of nodes in focus.
_WIDTH = (1.0, 1.0, 1.0, 1.0, 1.6, 2.2)
MOST_WIDE = 24


class EdgesLayer(Layer):
    """Straight lines in the colour of the sign; the stronger the share, the less transparent."""

    depth = 1

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        self._lines = [pg.Qt.internals.PrimitiveArray(QLineF, 4) for _ in range(2 * LEVELS)]
        self._pens: list[list[QPen]] = []
        self._key: tuple[Theme, bool] | None = None
        self.drawn = 0  # lines in the last picture
        self.lines = 0  # painted one by one for it
        self._still_key: tuple[object, ...] = ()
        self._picture: QPixmap | None = None

    def paint_layer(self, painter: QPainter) -> None:
        stage, still = self.stage, self.stage.still_edges
        self.drawn, self.lines = len(stage.edges), 0
        painter.setClipRect(stage.inner.adjusted(0, -stage.camera.margins.top, stage.camera.margins.right, 0))
        key = (*stage.still(), stage.edge_changes, stage.domain, stage.in_focus)
        if key != self._still_key or len(still) < MANY:
            self._still_key, self._picture = key, None
            self._paint_lines(painter, still)
        else:  # the second frame that shows the same
            if self._picture is None:
                self._picture = self._painted(painter, still)
            painter.drawPixmap(0, 0, self._picture)
        self._paint_lines(painter, stage.edges[len(still) :])

    def _painted(self, painter: QPainter, edges: NDArray[np.int64]) -> QPixmap:
        rect, ratio = self.stage.rect, self.stage.ratio
        picture = QPixmap(math.ceil(rect.width() * ratio), math.ceil(rect.height() * ratio))
        picture.setDevicePixelRatio(ratio)
        picture.fill(Qt.GlobalColor.transparent)
        inner = QPainter(picture)
        inner.setClipRect(painter.clipBoundingRect())
        self._paint_lines(inner, edges)
        inner.end()
        return picture

    def _paint_lines(self, painter: QPainter, edges: NDArray[np.int64]) -> None:
        scene = self.stage.scene
        assert scene is not None
        self.lines += len(edges)
        if not len(edges):
            return
        bucket = self._buckets(scene.graph.share[edges])
        x, y = self.stage.x, self.stage.y
        source, target = scene.graph.source[edges], scene.graph.target[edges]
        points = np.stack([x[source], y[source], x[target], y[target]], axis=1)  # (n, 4)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing, len(edges) <= SMOOTH_EDGES)
        # Weak ones first; both signs of one level after each other.
        for level in range(LEVELS):
            for sign in (0, 1):
                index = sign * LEVELS + level
                chosen = points[bucket == index]
                if len(chosen):
                    lines = self._lines[index]
                    lines.resize(len(chosen))
                    lines.ndarray()[:] = chosen
                    painter.setPen(self._pen(index, len(chosen)))
                    painter.drawLines(*lines.drawargs())

    def _buckets(self, share: NDArray[np.float32]) -> NDArray[np.intp]:
        strength = np.sqrt(np.minimum(np.abs(share) / self.stage.domain, 1.0))
        if self.stage.scene is not None and self.stage.scene.lit:
            strength[:] = 1.0  # the edges of a path are all seen well; how strong each is stands beside it
        level = np.minimum((strength * LEVELS).astype(np.intp), LEVELS - 1)
        return np.asarray(level + LEVELS * (share > 0), dtype=np.intp)

    def _pen(self, index: int, count: int) -> QPen:
        key = (self.stage.theme, self.stage.ratio >= 1.5)
        if key != self._key:
            self._key = key
            self._pens = [[_make_pen(*key, i, look) for i in range(2 * LEVELS)] for look in (0, 1)]
        pen = QPen(self._pens[self.stage.in_focus][index])
        if self.stage.in_focus and count <= MOST_WIDE:
            pen.setWidthF(_WIDTH[index % LEVELS])
        return pen


def _make_pen(theme: Theme, fine: bool, index: int, look: int) -> QPen:
    """One pen; on a fine screen a one-pixel line is thin, so it is more opaque there."""
    sign, level = divmod(index, LEVELS)
    colour = QColor(theme.positive if sign else theme.negative)
    colour.setAlphaF(min(float(_OPACITY[look][level]) * (1.4 if fine else 1.0), 1.0))
    pen = QPen(colour, 1.0)
    pen.setCosmetic(True)
    pen.setCapStyle(Qt.PenCapStyle.FlatCap)
    return pen
