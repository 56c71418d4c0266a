"""One line under the drawing: what glyphs and colours mean, and what the sizes say."""

from __future__ import annotations

from PySide6.QtCore import QPointF, QRectF, QSize, Qt, Slot
from PySide6.QtGui import QColor, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QWidget

from app.canvas.scene import Scene
from app.canvas.sprites import glyph_path
from app.canvas.stage import STEPS
from app.canvas.surface import Surface
from engine.graphs.graph import NodeKind

_KINDS = (NodeKind.FEATURE, NodeKind.EMBEDDING, NodeKind.LOGIT, NodeKind.ERROR, NodeKind.BIAS)
_GAP = 14.0


class LegendBar(QWidget):
    """Kinds of nodes in this graph, and the signed scale with its ends."""

    def __init__(self, surface: Surface, parent: QWidget) -> None:
        super().__init__(parent)
        self.stage, self.all_edges = surface.stage, surface.all_edges
        self._said: tuple[str, float] = ("", 0.0)  # what the scale was last painted for
        self.setAccessibleName("Legend of the graph")
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)

    def sizeHint(self) -> QSize:
        return QSize(200, round(self.stage.metrics.height()) + 10)

    @Slot()
    def follow(self) -> None:
        """Paint again where the words or the scale are others now; hovering beside a selection changes neither."""
        scene = self.stage.scene
        if scene is not None and (self.words(scene), self.stage.domain) != self._said:
            self.update()

    def kinds(self) -> list[NodeKind]:
        """Kinds that this graph has."""
        scene = self.stage.scene
        if scene is None:
            return []
        return [kind for kind in _KINDS if bool((scene.graph.kind[scene.shown] == kind).any())]

    def words(self, scene: Scene) -> str:
        """What is drawn now, in words."""
        if self.all_edges.on:
            count = int(scene.edge_shown.sum())
            return f"drawing all {count:,} edges…" if self.all_edges.busy else f"all {count:,} edges, by input share"
        if scene.is_shown(scene.selected):
            return "share of the target's input, of the selected node's edges"
        if not self.stage.in_focus:
            return "strongest inputs of each node, by their share of all its input"
        return "share of the target's input"

    def paintEvent(self, event: QPaintEvent) -> None:
        scene, theme = self.stage.scene, self.stage.theme
        painter = QPainter(self)
        painter.fillRect(self.rect(), QColor(theme.graph.background))
        if scene is None:
            return
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setFont(self.stage.font)
        end = self._paint_scale(painter, scene)
        x, middle, metrics = 12.0, self.height() / 2, self.stage.metrics
        fills = theme.graph.kind_fills()
        for kind in self.kinds():
            width = metrics.horizontalAdvance(kind.name.lower())
            if x + 18 + width > end:
                break
            painter.setPen(QPen(QColor(theme.graph.outline), 1.1))
            painter.setBrush(QColor(fills[kind]))
            painter.drawPath(glyph_path(kind, QPointF(x + 6, middle), 10))
            painter.setPen(QColor(theme.graph.muted))
            box = QRectF(x + 16, 0, width + 2, self.height())
            painter.drawText(box, Qt.AlignmentFlag.AlignVCenter, kind.name.lower())
            x += 16 + width + _GAP

    def _paint_scale(self, painter: QPainter, scene: Scene) -> float:
        """The scale at the right; returns where it begins."""
        theme, metrics, middle = self.stage.theme, self.stage.metrics, self.height() / 2
        ends = [f"{sign}{self.stage.domain:.0%}".replace("%", " %") for sign in ("−", "+")]
        words = self.words(scene)
        self._said = (words, self.stage.domain)
        widths = [metrics.horizontalAdvance(text) for text in (*ends, words)]
        bar = 6.0 * STEPS
        x = self.width() - 12 - sum(widths) - bar - 22
        needed = sum(16 + metrics.horizontalAdvance(kind.name.lower()) + _GAP for kind in self.kinds())
        if x < 12 + needed:
            words, x = "", self.width() - 12 - widths[0] - widths[1] - bar - 12
        start = x
        painter.setPen(QColor(theme.graph.muted))
        for text, width in ((words, widths[2] + 10 if words else 0.0), (ends[0], widths[0] + 6)):
            painter.drawText(QRectF(x, 0, width, self.height()), Qt.AlignmentFlag.AlignVCenter, text)
            x += width
        for colour in theme.signed_colours(STEPS):
            painter.fillRect(QRectF(x, round(middle) - 4, 6, 8), QColor(colour))
            x += 6
        box = QRectF(x + 6, 0, widths[1] + 2, self.height())
        painter.drawText(box, Qt.AlignmentFlag.AlignVCenter, ends[1])
        return start - _GAP
