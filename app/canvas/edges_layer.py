"""The live edges: at most 2,000 lines, a few pens, one call a pen."""

from __future__ import annotations

import numpy as np
import pyqtgraph as pg
from numpy.typing import NDArray
from PySide6.QtCore import QLineF, Qt
from PySide6.QtGui import QColor, QPainter, QPen

from app.canvas.layer import Layer
from app.canvas.stage import Stage
from app.theme import Theme

LEVELS = 6  # of strength, for each sign
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

    def paint_layer(self, painter: QPainter) -> None:
        scene = self.stage.scene
        assert scene is not None
        edges = self.stage.edges
        self.drawn = len(edges)
        if not len(edges):
            return
        bucket = self._buckets(scene.graph.share[edges])
        x, y = self.stage.x, self.stage.y
        source, target = scene.graph.source[edges], scene.graph.target[edges]
        points = np.stack([x[source], y[source], x[target], y[target]], axis=1)  # (n, 4)
        painter.setClipRect(
            self.stage.inner.adjusted(0, -self.stage.camera.margins.top, self.stage.camera.margins.right, 0)
        )
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
