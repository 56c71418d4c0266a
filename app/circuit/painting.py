"""How the circuit's diagram is painted: edges below, then frames of open supernodes, then boxes."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass

from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QFont, QPainter, QPainterPath, QPen, QPolygonF

from app.canvas.sprites import glyph_path
from app.theme import Theme
from engine.graphs import AttributionGraph, NodeKind
from engine.graphs.circuit import Box, PlaceKey
from engine.graphs.circuit_drawing import Drawing, Frame, Rectangle, shown_name
from engine.graphs.visible_text import visible_text

ROUND = 6.0
GLYPH = 9.0
EDGE_OPACITY, QUIET_OPACITY = 0.82, 0.16
TINT = 0.16  # how much of a supernode's colour its surface has


@dataclass(frozen=True)
class Look:
    """Everything but the drawing itself: colours, letters, and what is chosen, hovered and quiet."""

    theme: Theme
    font: QFont
    unit: float  # pixels of one unit in the painter's coordinates: letters are as large as the font says
    chosen: Collection[PlaceKey]
    hovered: PlaceKey | None
    hovered_edge: int | None
    focused: bool


def surface_colour(theme: Theme, colour: str) -> QColor:
    """A supernode's surface: a little of its colour on that of a panel, so that text on it stays legible."""
    base, own = QColor(theme.raised), group_colour(theme, colour)
    pairs = ((base.red(), own.red()), (base.green(), own.green()), (base.blue(), own.blue()))
    return QColor(*(round((1 - TINT) * one + TINT * other) for one, other in pairs))


def group_colour(theme: Theme, colour: str) -> QColor:
    """A supernode's own colour, or the outline's where a file gave it one that is none."""
    found = QColor(colour)
    return found if found.isValid() else QColor(theme.graph.outline)


class DiagramPainter:
    """Paints one picture. The painter's coordinates are pixels; `at` turns units into them."""

    def __init__(
        self, painter: QPainter, graph: AttributionGraph, drawing: Drawing, look: Look, corner: QPointF
    ) -> None:
        self.painter, self.graph, self.drawing, self.look = painter, graph, drawing, look
        self.corner = corner

    def paint(self) -> None:
        """The whole diagram."""
        self.painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        for frame in self.drawing.frames:
            self._frame(frame)
        for row, edge in enumerate(self.drawing.drawn_edges.tolist()):
            self._edge(row, edge)
        for frame in self.drawing.frames:
            self._title(frame)
        for number, box in enumerate(self.drawing.shown):
            self._box(number, box)

    # -- units to pixels ----------------------------------------------------------------------------------------------

    def at(self, x: float, y: float) -> QPointF:
        """The pixel of a point."""
        return QPointF(self.corner.x() + x * self.look.unit, self.corner.y() - y * self.look.unit)

    def rect(self, area: Rectangle) -> QRectF:
        """The pixels of a rectangle."""
        return QRectF(self.at(area.left, area.top), self.at(area.right, area.bottom))

    # -- the parts ----------------------------------------------------------------------------------------------------

    def _edge(self, row: int, edge: int) -> None:
        drawing, theme, unit = self.drawing, self.look.theme, self.look.unit
        edges = drawing.edges
        ends = {drawing.shown[int(edges.source[edge])].key, drawing.shown[int(edges.target[edge])].key}
        busy = set(self.look.chosen) | ({self.look.hovered} if self.look.hovered is not None else set())
        touched = self.look.hovered_edge == edge or bool(ends & busy)
        quiet = not touched and (self.look.hovered_edge is not None or self._something_in_hand(busy))
        colour = QColor(theme.positive if edges.share[edge] > 0 else theme.negative)
        colour.setAlphaF(QUIET_OPACITY if quiet else EDGE_OPACITY)
        width = drawing.thickness(edge) * unit
        points = [self.at(x, y) for x, y in drawing.curves[row].tolist()]
        head = min(max(3.0 + 1.1 * drawing.thickness(edge), 5.0), 9.0) * unit
        path = QPainterPath(points[0])
        for point in points[1:-1]:
            path.lineTo(point)
        path.lineTo(points[-1] + QPointF(0, head * 0.8))
        pen = QPen(colour, width + (1.5 * unit if self.look.hovered_edge == edge else 0))
        pen.setCapStyle(Qt.PenCapStyle.FlatCap)
        pen.setJoinStyle(Qt.PenJoinStyle.RoundJoin)
        self.painter.setPen(pen)
        self.painter.setBrush(Qt.BrushStyle.NoBrush)
        self.painter.drawPath(path)
        self.painter.setPen(Qt.PenStyle.NoPen)
        self.painter.setBrush(colour)
        tip = points[-1]
        half = max(head * 0.55, width * 0.8)
        self.painter.drawPolygon(QPolygonF([tip, tip + QPointF(-half, head), tip + QPointF(half, head)]))

    def _something_in_hand(self, busy: set[PlaceKey]) -> bool:
        """Whether one of the boxes is chosen or hovered: then edges that touch none step back."""
        return any(box.key in busy for box in self.drawing.shown)

    def _frame(self, frame: Frame) -> None:
        theme, painter = self.look.theme, self.painter
        colour = group_colour(theme, frame.supernode.colour)
        surface = QColor(colour)
        surface.setAlphaF(0.07)
        chosen = frame.supernode.place in self.look.chosen
        pen = QPen(QColor(theme.accent) if chosen else colour, (2.2 if chosen else 1.3) * self.look.unit)
        pen.setStyle(Qt.PenStyle.SolidLine if chosen else Qt.PenStyle.DashLine)
        painter.setPen(pen)
        painter.setBrush(surface)
        painter.drawRoundedRect(self.rect(frame.area), ROUND * self.look.unit, ROUND * self.look.unit)

    def _title(self, frame: Frame) -> None:
        """The name of an open supernode, on a plate: edges may run below it."""
        theme, painter, unit = self.look.theme, self.painter, self.look.unit
        painter.setFont(self._font(bold=True, size=0.88))
        strip = self.rect(frame.title).adjusted(6 * unit, 2 * unit, -6 * unit, -2 * unit)
        name = f"{frame.supernode.name}{' ✎' if frame.supernode.note else ''}"
        words = painter.fontMetrics().elidedText(
            visible_text(" ".join(name.split())), Qt.TextElideMode.ElideRight, int(strip.width() - 6 * unit)
        )
        plate = QRectF(strip)
        plate.setWidth(painter.fontMetrics().horizontalAdvance(words) + 6 * unit)
        surface = surface_colour(theme, frame.supernode.colour)
        surface.setAlphaF(0.9)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(surface)
        painter.drawRoundedRect(plate, 3 * unit, 3 * unit)
        painter.setPen(QColor(theme.text))
        painter.drawText(plate, Qt.AlignmentFlag.AlignCenter, words)

    def _box(self, number: int, box: Box) -> None:
        theme, painter, unit = self.look.theme, self.painter, self.look.unit
        area = self.rect(self.drawing.area_of(number))
        if box.supernode is None:
            line, fill = self._line_of_node(box), QColor(theme.raised)
        else:
            line, fill = group_colour(theme, box.supernode.colour), surface_colour(theme, box.supernode.colour)
            painter.setPen(QPen(line, 1.2 * unit))
            painter.setBrush(fill)
            painter.drawRoundedRect(area.translated(3 * unit, -3 * unit), ROUND * unit, ROUND * unit)
        width = 1.2 if box.supernode is None else 1.6
        if box.key in self.look.chosen:
            line, width = QColor(theme.accent), 2.4
        elif box.key == self.look.hovered:
            line, width = QColor(theme.link), 1.8
        painter.setPen(QPen(line, width * unit))
        painter.setBrush(fill)
        painter.drawRoundedRect(area, ROUND * unit, ROUND * unit)
        if self.look.focused and box.key in self.look.chosen:
            painter.setPen(QPen(QColor(theme.accent), unit, Qt.PenStyle.DashLine))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            around = area.adjusted(-4 * unit, -4 * unit, 4 * unit, 4 * unit)
            painter.drawRoundedRect(around, (ROUND + 3) * unit, (ROUND + 3) * unit)
        self._words(box, area)

    def _line_of_node(self, box: Box) -> QColor:
        """Members of an open supernode wear its colour: other boxes may stand inside its frame, too."""
        theme = self.look.theme
        if box.inside:
            return group_colour(theme, self.drawing.circuit.supernode(box.inside[-1]).colour)
        return QColor(theme.graph.outline)

    def _words(self, box: Box, area: QRectF) -> None:
        theme, painter, unit = self.look.theme, self.painter, self.look.unit
        left = area.left() + 9 * unit
        if box.supernode is None:
            kind = NodeKind(int(self.graph.kind[box.nodes[0]]))
            painter.setPen(QPen(QColor(theme.graph.outline), unit))
            painter.setBrush(QColor(theme.graph.kind_fills()[kind]))
            painter.drawPath(glyph_path(kind, QPointF(left + GLYPH * unit / 2, area.center().y()), GLYPH * unit))
            left += (GLYPH + 6) * unit
        elif box.supernode.note:
            painter.setPen(QColor(theme.muted))
            painter.setFont(self._font())
            strip = area.adjusted(0, 0, -6 * unit, 0)
            painter.drawText(strip, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignRight, "✎")
        painter.setFont(self._font(bold=box.supernode is not None))
        painter.setPen(QColor(theme.text))
        strip = QRectF(left, area.top(), area.right() - left, area.height())
        painter.drawText(strip, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft, shown_name(box))

    def _font(self, *, bold: bool = False, size: float = 1.0) -> QFont:
        font = QFont(self.look.font)
        font.setPixelSize(max(1, math.floor(12.5 * size * self.look.unit)))
        font.setBold(bold)
        return font
