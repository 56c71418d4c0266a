"""The names of rows and columns: they stay at the edges of the view while the drawing moves under them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from PySide6.QtCore import QLineF, QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QPainter, QPen, QPixmap

from app.canvas.camera import Margins
from app.canvas.layer import Layer
from app.canvas.scene import NOTHING, Scene
from app.canvas.stage import Stage
from engine.graphs.glyphs import column_name, percent, row_name, spread_apart

SLANT = 38.0  # degrees, of token texts that do not fit side by side
SLANT_LINES = 10  # lines of text that a drawing with such texts has at least
LONGEST_TOKEN = 96.0  # pixels
LONGEST_LOGIT = 120.0
OVERHANG = 4.0  # pixels by which a token's text may pass its column
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
    # Where there is little height, some rows of nodes are worth more than whole texts of tokens.
    stage.crowded = bool(fitting < 0.75)
    slanted = (stage.crowded or stage.beside_crowded) and stage.rect.height() >= SLANT_LINES * line
    longest = min(max(widths, default=0.0), LONGEST_TOKEN)
    bottom = longest * math.sin(math.radians(SLANT)) + line + 2 if slanted else line + 10
    stage.own_bottom = bottom
    return Margins(left=left, top=2 * line + 14, right=12, bottom=max(bottom, stage.least_bottom)), slanted


class HeadersLayer(Layer):
    """Layer names at the left, tokens below, logits and their probabilities above.

    They are a hundred texts and stay the same while the pointer moves over the nodes: from the second frame on which
    shows the same they are one picture, and only the names of what is hovered are written over it.
    """

    depth = 5

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        self._key: tuple[object, ...] = ()
        self._picture: QPixmap | None = None
        self._logit_texts: list[LogitText] = []
        self._row_heights: list[float] = []  # of the row names that are written
        self.texts = 0  # written for the last frame

    def paint_layer(self, painter: QPainter) -> None:
        self.texts = 0
        key = self.stage.still()
        if key != self._key:
            self._key, self._picture = key, None
            self._logit_texts = place_logits(self.stage)
            self._paint_still(painter)
        else:
            if self._picture is None:
                self._picture = self._painted()
            ratio = self._picture.devicePixelRatio()
            for strip in self._strips():
                source = QRectF(strip.x() * ratio, strip.y() * ratio, strip.width() * ratio, strip.height() * ratio)
                painter.drawPixmap(strip, self._picture, source)
        self._paint_active(painter)

    def _strips(self) -> tuple[QRectF, ...]:
        """Whole pixels above, below and left of the drawing."""
        rect, inner, margins = self.stage.rect, self.stage.inner, self.stage.camera.margins
        bottom = math.floor(inner.bottom())
        return (
            QRectF(0, 0, rect.width(), math.ceil(margins.top)),
            QRectF(0, bottom, rect.width(), math.ceil(rect.height()) - bottom),
            QRectF(0, 0, math.ceil(margins.left) + 1, rect.height()),
        )

    def _painted(self) -> QPixmap:
        rect, ratio = self.stage.rect, self.stage.ratio
        picture = QPixmap(math.ceil(rect.width() * ratio), math.ceil(rect.height() * ratio))
        picture.setDevicePixelRatio(ratio)
        picture.fill(QColor(self.stage.theme.graph.background))  # opaque, so that text is smoothed as on the window
        painter = QPainter(picture)
        self._paint_still(painter)
        painter.end()
        return picture

    def _paint_still(self, painter: QPainter) -> None:
        """Everything that hovering does not change."""
        stage = self.stage
        scene, theme, inner, margins = stage.scene, stage.theme, stage.inner, stage.camera.margins
        assert scene is not None
        for strip in self._strips():
            painter.fillRect(strip, QColor(theme.graph.background))
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        edges_x, edges_y = stage.grid()
        self._rows(painter, scene, edges_y)
        painter.setClipRect(self._column_clip())
        last = -math.inf
        for column in range(len(scene.layout.positions)):
            middle = float(edges_x[column] + edges_x[column + 1]) / 2
            if not stage.rotated_tokens or middle - last >= stage.metrics.height() * 0.9:
                last = middle if self._column(painter, scene, edges_x, column, False) else last
        painter.setClipRect(self._strips()[0])
        for item in self._logit_texts:
            self._logit(painter, scene, item, False)
        painter.setClipping(False)
        painter.setPen(QPen(QColor(theme.graph.rule), 1.0))
        x, bottom = math.floor(margins.left) + 0.5, math.floor(inner.bottom()) + 0.5
        painter.drawLines([QLineF(x, margins.top, x, bottom), QLineF(x, bottom, stage.rect.width(), bottom)])

    def _paint_active(self, painter: QPainter) -> None:
        """The names of the row, the token and the logit in focus, over the others."""
        stage, scene = self.stage, self.stage.scene
        assert scene is not None
        focus = scene.hovered if scene.hovered != NOTHING else scene.selected
        if not scene.is_shown(focus):
            return
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        edges_x, edges_y = stage.grid()
        row, column = int(scene.layout.row[focus]), int(scene.layout.column[focus])
        self._active_row(painter, scene, float(edges_y[row] + edges_y[row + 1]) / 2, row)
        painter.setClipRect(self._column_clip())
        self._column(painter, scene, edges_x, column, True)
        painter.setClipRect(self._strips()[0])
        for item in self._logit_texts:
            if item.node == focus:
                self._logit(painter, scene, item, True)
        painter.setClipping(False)

    def _write(self, painter: QPainter, box: QRectF, align: Qt.AlignmentFlag, text: str, active: bool) -> None:
        theme = self.stage.theme
        if active:
            painter.fillRect(box, QColor(theme.graph.background))
        painter.setFont(self.stage.bold if active else self.stage.font)
        painter.setPen(QColor(theme.link if active else theme.graph.muted))
        painter.drawText(box, _FLAGS[align], text)
        self.texts += 1

    # -- rows ---------------------------------------------------------------------------------------------------------

    def _rows(self, painter: QPainter, scene: Scene, edges: np.ndarray) -> None:
        """Names of the rows, skipping those for which there is no room."""
        stage, inner = self.stage, self.stage.inner
        line = stage.metrics.height()
        middles = (edges[:-1] + edges[1:]) / 2
        rows = np.flatnonzero(scene.layout.row_used).tolist()
        self._row_heights = []
        painter.setClipRect(QRectF(0, inner.top() - line / 2, stage.camera.margins.left, inner.height() + line))
        for row in dict.fromkeys([*rows[-1:], *rows]):
            y = float(middles[row])
            free = all(abs(y - other) >= line * 0.86 for other in self._row_heights)
            if inner.top() - 2 <= y <= inner.bottom() + 2 and free:
                self._row_heights.append(y)
                name = row_name(int(scene.layout.layers[row]), scene.graph.n_layers)
                self._write(painter, self._row_box(y), Qt.AlignmentFlag.AlignRight, name, False)
        painter.setClipping(False)

    def _row_box(self, y: float) -> QRectF:
        line = self.stage.metrics.height()
        return QRectF(0, y - line / 2, self.stage.camera.margins.left - 9, line)

    def _active_row(self, painter: QPainter, scene: Scene, y: float, row: int) -> None:
        """In place of the names that it would cover in part."""
        inner, line = self.stage.inner, self.stage.metrics.height()
        if not inner.top() - 2 <= y <= inner.bottom() + 2:
            return
        for other in self._row_heights:
            if 0 < abs(y - other) < line * 0.86:
                painter.fillRect(self._row_box(other), QColor(self.stage.theme.graph.background))
        name = row_name(int(scene.layout.layers[row]), scene.graph.n_layers)
        self._write(painter, self._row_box(y), Qt.AlignmentFlag.AlignRight, name, True)

    # -- columns ------------------------------------------------------------------------------------------------------

    def _column_clip(self) -> QRectF:
        stage, inner = self.stage, self.stage.inner
        return QRectF(0 if stage.rotated_tokens else inner.left(), inner.bottom() + 1, stage.rect.width(), 400)

    def _column(self, painter: QPainter, scene: Scene, edges: np.ndarray, column: int, active: bool) -> bool:
        """Write a token's text; False where none of it is in sight."""
        stage, inner = self.stage, self.stage.inner
        name = column_name(scene.graph, int(scene.layout.positions[column]))
        middle = float(edges[column] + edges[column + 1]) / 2
        if stage.rotated_tokens:
            if not inner.left() - 4 <= middle <= stage.rect.width() + LONGEST_TOKEN:
                return False
            self._slanted(painter, middle, inner.bottom(), name, active)
            return True
        # Upright texts stay in sight as long as any of their column does.
        low, high = max(float(edges[column]), inner.left()), min(float(edges[column + 1]), inner.right() + 8)
        if high - low < 8:
            return False
        # A little over the column's lines, rather than a word cut for a pixel or two.
        box = QRectF(low - OVERHANG, inner.bottom() + 3, high - low + 2 * OVERHANG, stage.metrics.height() + 4)
        shown = stage.shortened(name, high - low + 2 * OVERHANG - 2)
        if shown == "…":  # an empty column: a lone mark says nothing
            return False
        self._write(painter, box, Qt.AlignmentFlag.AlignHCenter, shown, active)
        return True

    def _slanted(self, painter: QPainter, middle: float, top: float, name: str, active: bool) -> None:
        stage = self.stage
        shown = stage.shortened(name, LONGEST_TOKEN)
        line = stage.metrics.height()
        painter.save()
        painter.translate(middle + line * 0.25, top + 5)
        painter.rotate(-SLANT)
        box = QRectF(-LONGEST_TOKEN - 8, -line * 0.1, LONGEST_TOKEN + 8, line)
        painter.setFont(stage.font)
        painter.setPen(QColor(stage.theme.link if active else stage.theme.graph.muted))
        # A bold text would not lie on the plain one, and there is no room to clear: twice, half a pixel apart.
        for shift in (0.0, 0.5) if active else (0.0,):
            painter.drawText(box.translated(-shift, 0), _FLAGS[Qt.AlignmentFlag.AlignRight], shown)
        painter.restore()
        self.texts += 1

    # -- logits -------------------------------------------------------------------------------------------------------

    def _logit(self, painter: QPainter, scene: Scene, item: LogitText, active: bool) -> None:
        stage, theme = self.stage, self.stage.theme
        margins = stage.camera.margins
        line = stage.metrics.height()
        box = QRectF(item.middle - item.width / 2, 5, item.width, line + 2)
        if active:
            painter.fillRect(box, QColor(theme.graph.background))
        painter.setPen(QPen(QColor(theme.link if active else theme.graph.muted), 1.0))
        painter.drawPolyline(
            [
                QPointF(item.middle, line + 8),
                QPointF(item.middle, line + 11),
                QPointF(item.foot, margins.top - 4),
                QPointF(item.foot, margins.top),
            ]
        )
        painter.setFont(stage.bold if active else stage.font)
        painter.setPen(QColor(theme.link if active else theme.graph.text))
        painter.drawText(box, _FLAGS[Qt.AlignmentFlag.AlignLeft], item.text)
        painter.setFont(stage.font)
        painter.setPen(QColor(theme.graph.muted))
        painter.drawText(box, _FLAGS[Qt.AlignmentFlag.AlignRight], percent(scene.logit_probability(item.node)))
        self.texts += 1


def place_logits(stage: Stage) -> list[LogitText]:
    """Texts of the logits in sight, side by side and in the order of their nodes; the weakest go where room ends."""
    scene = stage.scene
    if scene is None:
        return []
    inner, metrics = stage.inner, stage.metrics
    seen = [node for node in scene.logits if scene.node_shown[node]]
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
