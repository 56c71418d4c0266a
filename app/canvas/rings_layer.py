"""Marks on few nodes: pinned, in a supernode, found, being grouped, hovered, selected."""

from __future__ import annotations

from PySide6.QtCore import QPointF, Qt
from PySide6.QtGui import QColor, QPainter, QPen

from app.canvas.layer import Layer
from app.canvas.sprites import glyph_path
from engine.graphs.graph import NodeKind

MOST_RINGS = 600


class RingsLayer(Layer):
    """Rings in the shape of the glyph they surround, so that a mark never hides what a node is."""

    depth = 3

    def paint_layer(self, painter: QPainter) -> None:
        scene, theme = self.stage.scene, self.stage.theme
        assert scene is not None
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        for group in scene.groups:
            for node in group.nodes[:MOST_RINGS]:
                self._ring(painter, node, group.colour, 2.0, 2.0)
        for node in scene.pins[:MOST_RINGS]:
            self._ring(painter, node, theme.graph.text, 1.8, -0.4)
        for node in scene.shown_found()[:MOST_RINGS].tolist():
            self._ring(painter, node, theme.accent, 1.4, 2.2)
        for node in self.stage.grouping:
            self._ring(painter, node, theme.accent, 2.0, 3.5, Qt.PenStyle.DotLine)
        if scene.hovered != scene.selected:
            self._ring(painter, scene.hovered, theme.accent, 1.5, 3.0)
        self._ring(painter, scene.selected, theme.graph.background, 5.0, 3.6)
        self._ring(painter, scene.selected, theme.accent, 2.4, 3.6)
        if self.stage.focused and scene.is_shown(scene.selected):
            self._ring(painter, scene.selected, theme.accent, 1.0, 7.0, Qt.PenStyle.DashLine)

    def _ring(
        self,
        painter: QPainter,
        node: int,
        colour: str,
        width: float,
        gap: float,
        style: Qt.PenStyle = Qt.PenStyle.SolidLine,
    ) -> None:
        scene = self.stage.scene
        if scene is None or not scene.is_shown(node):
            return
        centre = QPointF(float(self.stage.x[node]), float(self.stage.y[node]))
        if not self.stage.rect.contains(centre):
            return
        painter.setPen(QPen(QColor(colour), width, style, Qt.PenCapStyle.FlatCap, Qt.PenJoinStyle.RoundJoin))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.drawPath(glyph_path(NodeKind(int(scene.graph.kind[node])), centre, self.stage.size_of(node) + 2 * gap))
