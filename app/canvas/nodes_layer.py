"""All nodes: one array of picture fragments, one drawing call."""

from __future__ import annotations

import math

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import Qt
from PySide6.QtGui import QPainter, QPixmap

from app.canvas.layer import Layer
from app.canvas.sprites import FILLS, LOOKS, Sprites
from app.canvas.stage import Stage
from engine.graphs.glyphs import SIZES

FADED = 0.28
MANY = 2500  # glyphs from which on a picture of them is kept while nothing but the hover changes


class NodesLayer(Layer):
    """Glyphs by kind, size and tint; weak nodes first, so that strong ones stay visible when zoomed far out."""

    depth = 2

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        self._fragments = pg.Qt.internals.PrimitiveArray(QPainter.PixmapFragment, 10)
        self._sprites: Sprites | None = None
        self._sprites_key: tuple[object, ...] = ()
        self._style_key: tuple[object, ...] = ()
        self._order = np.empty(0, dtype=np.int64)
        self._places = np.empty((0, 2))
        self.drawn = 0  # glyphs in the last picture
        self._key: tuple[object, ...] = ()
        self._picture: QPixmap | None = None

    def paint_layer(self, painter: QPainter) -> None:
        key = (*self.stage.still(), self.stage.style_changes)
        if key != self._key or self.drawn < MANY:
            self._key, self._picture = key, None
            self._paint_glyphs(painter)
            return
        if self._picture is None:
            rect, ratio = self.stage.rect, self.stage.ratio
            self._picture = QPixmap(math.ceil(rect.width() * ratio), math.ceil(rect.height() * ratio))
            self._picture.setDevicePixelRatio(ratio)
            self._picture.fill(Qt.GlobalColor.transparent)
            inner = QPainter(self._picture)
            self._paint_glyphs(inner)
            inner.end()
        painter.drawPixmap(0, 0, self._picture)

    def _paint_glyphs(self, painter: QPainter) -> None:
        stage = self.stage
        ratio = painter.device().devicePixelRatioF() if painter.device() is not None else stage.ratio
        key = (stage.theme, stage.glyph_scale, ratio)
        if self._sprites is None or key != self._sprites_key:
            self._sprites, self._sprites_key = Sprites(*key), key
            self._style_key = ()
        sprites = self._sprites
        style_key = (id(stage.scene), stage.style_changes)
        if style_key != self._style_key:
            self._style(sprites)
            self._style_key = style_key
        rect = stage.rect.adjusted(-20, -20, 20, 20)
        x, y = stage.x[self._order], stage.y[self._order]
        seen = (x > rect.left()) & (x < rect.right()) & (y > rect.top()) & (y < rect.bottom())
        nodes = self._order[seen]
        self.drawn = len(nodes)
        if not self.drawn:
            return
        self._fragments.resize(self.drawn)
        array = self._fragments.ndarray()
        # Whole device pixels keep the glyphs sharp.
        array[:, 0] = np.floor(x[seen] * ratio) / ratio
        array[:, 1] = np.floor(y[seen] * ratio) / ratio
        array[:, 2:4] = self._places[seen]
        array[:, 4:6] = sprites.cell
        array[:, 6:8] = 1 / ratio
        array[:, 8] = 0.0
        array[:, 9] = np.where(stage.faded[nodes], FADED, 1.0)
        first, count = self._fragments.drawargs()
        painter.drawPixmapFragments(first, count, sprites.pixmap)

    def _style(self, sprites: Sprites) -> None:
        """Drawing order, and where each node's picture lies."""
        stage = self.stage
        scene = stage.scene
        assert scene is not None
        shown = scene.shown
        prominence = np.nan_to_num(scene.graph.influence[shown])
        self._order = shown[np.lexsort((prominence, ~stage.faded[shown]))]
        kind = scene.graph.kind[self._order].astype(np.intp)
        fill = stage.tints[self._order] + 1
        codes = (kind * FILLS + fill) * len(SIZES) + stage.levels[self._order]
        if scene.marks is not None:
            codes = codes + scene.marks[self._order].astype(np.intp) * LOOKS
        self._places = sprites.places(codes)
