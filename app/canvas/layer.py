"""What the layers of the canvas have in common."""

from __future__ import annotations

import pyqtgraph as pg
from PySide6.QtCore import QRectF
from PySide6.QtGui import QPainter
from PySide6.QtWidgets import QStyleOptionGraphicsItem, QWidget

from app.canvas.stage import Stage


class Layer(pg.GraphicsObject):  # type: ignore[misc] # pyqtgraph ships no types
    """One item that covers the view and paints in its pixels."""

    depth: float = 0

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        self.stage = stage
        self.setParentItem(stage.camera)
        self.setZValue(10 + self.depth)

    def boundingRect(self) -> QRectF:
        return self.stage.rect

    def paint(self, painter: QPainter, option: QStyleOptionGraphicsItem, widget: QWidget | None = None) -> None:
        if self.stage.scene is not None:
            painter.save()
            self.paint_layer(painter)
            painter.restore()

    def paint_layer(self, painter: QPainter) -> None:
        """Draw; only called while there is a graph."""
        raise NotImplementedError
