"""Behind everything: a band for each row that has nodes, hairlines between tokens, and the cell in focus."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import QLineF, QRectF
from PySide6.QtGui import QColor, QPainter, QPen

from app.canvas.layer import Layer
from app.canvas.scene import NOTHING
from engine.graphs.colours import mix


class BackdropLayer(Layer):
    """Rows and columns of the grid."""

    depth = 0

    def paint_layer(self, painter: QPainter) -> None:
        scene, graph = self.stage.scene, self.stage.theme.graph
        assert scene is not None
        layout, camera = scene.layout, self.stage.camera
        edges_x, edges_y = self.stage.grid()
        left, right = float(edges_x[0]), float(edges_x[-1])
        gap = min(1.0, 0.12 * camera.scales()[1] * layout.pitch)
        for row in np.flatnonzero(layout.row_used).tolist():
            bottom, top = float(edges_y[row]), float(edges_y[row + 1])
            band = QRectF(left, top + gap, right - left, max(bottom - top - 2 * gap, 0.5))
            painter.fillRect(band, QColor(graph.band))
        focus = scene.hovered if scene.hovered != NOTHING else scene.selected
        if scene.is_shown(focus):
            row_tint, column_tint = (QColor(mix(graph.band, self.stage.theme.accent, share)) for share in (0.09, 0.035))
            row, column = int(layout.row[focus]), int(layout.column[focus])
            x0, x1 = float(edges_x[column]), float(edges_x[column + 1])
            painter.fillRect(QRectF(x0, float(edges_y[-1]), x1 - x0, float(edges_y[0] - edges_y[-1])), column_tint)
            top, bottom = float(edges_y[row + 1]), float(edges_y[row])
            painter.fillRect(QRectF(left, top + gap, right - left, bottom - top - 2 * gap), row_tint)
        painter.setPen(QPen(QColor(graph.rule), 1.0))
        upper, lower = float(edges_y[-1]), float(edges_y[0])
        painter.drawLines([QLineF(x, upper, x, lower) for x in (np.floor(edges_x) + 0.5).tolist()])
