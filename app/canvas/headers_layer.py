"""The names of rows and columns: they stay at the edges of the view while the drawing moves under them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from PySide6.QtCore import QLineF, QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QPainter, QPen

from app.canvas.camera import Margins
from app.canvas.layer import Layer
from app.canvas.scene import NOTHING, Scene
from app.canvas.stage import Stage
from engine.graphs.glyphs import column_name, percent, row_name, spread_apart
from engine.graphs.graph import NodeKind

SLANT = 38.0  # degrees, of token texts that do not fit side by side
LONGEST_TOKEN = 96.0  # pixels
LONGEST_LOGIT = 120.0
GAP = 18.0  # between two logits' texts

# Flags put together once: Python takes longer to join them than Qt to draw a word.
_FLAGS = {
    align: align | Qt.AlignmentFlag.AlignVCenter | Qt.TextFlag.TextSingleLine
    for align in (Qt.AlignmentFlag.AlignLeft, Qt.AlignmentFlag.AlignRight, Qt.AlignmentFlag.AlignHCenter)
}


@dataclass(frozen=True)
class LogitText:
    """One text above the drawing: where its middle is, and the pixel of the node it belongs to."""

    node: int
    text: str
    middle: float
    width: float
    foot: float


def plan_margins(stage: Stage) -> tuple[Margins, bool]:
    """Room for the headers, and whether token texts are slanted, for a graph fitted into the view."""
    scene = stage.scene
    if scene is None:
        return Margins(), False
    line = stage.metrics.height()
    names = [column_name(scene.graph, position) for position in scene.layout.positions.tolist()]
    widths = [stage.metrics.horizontalAdvance(name) for name in names]
    left = max(stage.metrics.horizontalAdvance(text) for text in ("logits", "embed")) + 16
    free = stage.rect.width() - left - 12
    scale = free / max(scene.layout.width, 1e-9)
    columns = np.diff(scene.layout.column_edges) * scale
    fitting = np.mean([width + 4 <= column for width, column in zip(widths, columns, strict=True)]) if names else 1.0
    slanted = bool(fitting < 0.75)
    longest = min(max(widths, default=0.0), LONGEST_TOKEN)
    bottom = longest * math.sin(math.radians(SLANT)) + line + 2 if slanted else line + 10
    return Margins(left=left, top=2 * line + 14, right=12, bottom=bottom), slanted


class HeadersLayer(Layer):
    """Layer names at the left, tokens below, logits and their probabilities above."""

    depth = 5

    def paint_layer(self, painter: QPainter) -> None:
        stage = self.stage
        scene, theme = stage.scene, stage.theme
        assert scene is not None
        rect, inner = stage.rect, stage.inner
        margins = stage.camera.margins
        background = QColor(theme.graph.background)
        for strip in (
            QRectF(0, 0, rect.width(), margins.top),
            QRectF(0, inner.bottom(), rect.width(), margins.bottom),
            QRectF(0, 0, margins.left, rect.height()),
        ):
            painter.fillRect(strip, background)
        focus = scene.hovered if scene.hovered != NOTHING else scene.selected
        shown = scene.is_shown(focus)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        edges_x, edges_y = stage.grid()
        self._rows(painter, scene, edges_y, int(scene.layout.row[focus]) if shown else NOTHING)
        self._columns(painter, scene, edges_x, int(scene.layout.column[focus]) if shown else NOTHING)
        self._logits(painter, scene, focus)
        painter.setPen(QPen(QColor(theme.graph.rule), 1.0))
        x, bottom = math.floor(margins.left) + 0.5, math.floor(inner.bottom()) + 0.5
        painter.drawLines([QLineF(x, margins.top, x, bottom), QLineF(x, bottom, rect.width(), bottom)])

    def _write(self, painter: QPainter, box: QRectF, align: Qt.AlignmentFlag, text: str, active: bool) -> None:
        theme = self.stage.theme
        painter.setFont(self.stage.bold if active else self.stage.font)
        painter.setPen(QColor(theme.link if active else theme.graph.muted))
        painter.drawText(box, _FLAGS[align], text)

    def _rows(self, painter: QPainter, scene: Scene, edges: np.ndarray, active: int) -> None:
        """Names from the focused row outwards, skipping those for which there is no room."""
        stage, inner = self.stage, self.stage.inner
        line = stage.metrics.height()
        middles = (edges[:-1] + edges[1:]) / 2
        rows = np.flatnonzero(scene.layout.row_used).tolist()
        taken: list[float] = []
        painter.setClipRect(QRectF(0, inner.top() - line / 2, stage.camera.margins.left, inner.height() + line))
        ends = [row for row in (active, rows[-1] if rows else NOTHING, rows[0] if rows else NOTHING) if row != NOTHING]
        for row in dict.fromkeys([*ends, *rows]):
            y = float(middles[row])
            if inner.top() - 2 <= y <= inner.bottom() + 2 and all(abs(y - other) >= line * 0.86 for other in taken):
                taken.append(y)
                box = QRectF(0, y - line / 2, stage.camera.margins.left - 9, line)
                name = row_name(int(scene.layout.layers[row]), scene.graph.n_layers)
                self._write(painter, box, Qt.AlignmentFlag.AlignRight, name, row == active)
        painter.setClipping(False)

    def _columns(self, painter: QPainter, scene: Scene, edges: np.ndarray, active: int) -> None:
        stage, inner = self.stage, self.stage.inner
        line, top = stage.metrics.height(), inner.bottom()
        painter.setClipRect(QRectF(0 if stage.rotated_tokens else inner.left(), top, stage.rect.width(), 400))
        last = -math.inf
        for column, position in enumerate(scene.layout.positions.tolist()):
            name = column_name(scene.graph, position)
            # Upright texts stay in sight as long as any of their column does.
            low, high = max(float(edges[column]), inner.left()), min(float(edges[column + 1]), inner.right() + 8)
            middle = float(edges[column] + edges[column + 1]) / 2
            if stage.rotated_tokens:
                if middle >= inner.left() - 4 and (middle - last >= line * 0.9 or column == active):
                    last = middle
                    self._slanted(painter, middle, top, name, column == active)
            elif high - low >= 8:
                shown = stage.shortened(name, high - low - 3)
                box = QRectF(low, top + 3, high - low, line + 4)
                self._write(painter, box, Qt.AlignmentFlag.AlignHCenter, shown, column == active)
        painter.setClipping(False)

    def _slanted(self, painter: QPainter, middle: float, top: float, name: str, active: bool) -> None:
        stage = self.stage
        shown = stage.shortened(name, LONGEST_TOKEN)
        line = stage.metrics.height()
        painter.save()
        painter.translate(middle + line * 0.25, top + 5)
        painter.rotate(-SLANT)
        box = QRectF(-LONGEST_TOKEN - 8, -line * 0.1, LONGEST_TOKEN + 8, line)
        self._write(painter, box, Qt.AlignmentFlag.AlignRight, shown, active)
        painter.restore()

    def _logits(self, painter: QPainter, scene: Scene, focus: int) -> None:
        stage, theme = self.stage, self.stage.theme
        margins = stage.camera.margins
        line = stage.metrics.height()
        for item in place_logits(stage):
            active = item.node == focus
            painter.setPen(QPen(QColor(theme.link if active else theme.graph.muted), 1.0))
            painter.drawPolyline(
                [
                    QPointF(item.middle, line + 8),
                    QPointF(item.middle, line + 11),
                    QPointF(item.foot, margins.top - 4),
                    QPointF(item.foot, margins.top),
                ]
            )
            box = QRectF(item.middle - item.width / 2, 5, item.width, line + 2)
            painter.setFont(stage.bold if active else stage.font)
            painter.setPen(QColor(theme.link if active else theme.graph.text))
            painter.drawText(box, _FLAGS[Qt.AlignmentFlag.AlignLeft], item.text)
            painter.setFont(stage.font)
            painter.setPen(QColor(theme.graph.muted))
            painter.drawText(box, _FLAGS[Qt.AlignmentFlag.AlignRight], percent(scene.logit_probability(item.node)))


def place_logits(stage: Stage) -> list[LogitText]:
    """Texts of the logits in sight, side by side and in the order of their nodes; the weakest go where room ends."""
    scene = stage.scene
    if scene is None:
        return []
    inner, metrics = stage.inner, stage.metrics
    seen = [node for node in scene.graph.of_kind(NodeKind.LOGIT).tolist() if scene.node_shown[node]]
    seen = [node for node in seen if inner.left() <= stage.x[node] <= inner.right() + 8]
    seen.sort(key=scene.logit_probability, reverse=True)
    texts: list[tuple[int, str, float]] = []
    room = stage.rect.width() - inner.left() - 4
    for node in seen:
        text = stage.shortened(scene.logit_text(node), LONGEST_LOGIT)
        share = percent(scene.logit_probability(node))
        width = stage.bold_metrics.horizontalAdvance(text) + 6 + metrics.horizontalAdvance(share)
        if width + GAP > room:
            break
        room -= width + GAP
        texts.append((node, text, width))
    texts.sort(key=lambda item: float(stage.x[item[0]]))
    widths = [width for _, _, width in texts]
    feet = [float(stage.x[node]) for node, _, _ in texts]
    middles = spread_apart(feet, widths, GAP, stage.rect.width() - 4)
    return [
        LogitText(*text[:2], middle, text[2], foot) for text, middle, foot in zip(texts, middles, feet, strict=True)
    ]
