"""The line below the diagram: what edges mean, or figures of what the pointer is on."""

from __future__ import annotations

from PySide6.QtCore import QSize, Qt, Slot
from PySide6.QtGui import QColor, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QSizePolicy, QWidget

from app.circuit.diagram import CircuitDiagram
from app.panels.plain import tip
from app.reading import plain_percent
from app.theme import current_theme, theme_watcher
from engine.graphs.circuit_drawing import THICKEST, WEAKEST

SWATCH = 18
MEANING = (
    "An edge is the share of what its target receives from outside that comes from its source, averaged over the "
    "members of a group by how much each receives from outside; computed on the unpruned graph. Edges weaker than "
    f"{100 * WEAKEST:.0f} % of the strongest are left out."
)


class CircuitLegend(QWidget):
    """One line; hovering replaces the legend by figures."""

    def __init__(self, diagram: CircuitDiagram, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.diagram = diagram
        self.words = ""
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.setAccessibleName("Legend of the circuit diagram")
        self.setToolTip(tip(MEANING))
        diagram.told.connect(self._tell)
        diagram.session.annotationsChanged.connect(self.update)
        theme_watcher().changed.connect(self.update)

    def sizeHint(self) -> QSize:
        """One line of text."""
        return QSize(200, self.fontMetrics().height() + 8)

    @Slot(str)
    def _tell(self, words: str) -> None:
        self.words = " · ".join(words.splitlines())
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        theme, painter = current_theme(), QPainter(self)
        painter.fillRect(self.rect(), QColor(theme.graph.background))
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        middle, left = self.height() / 2, 8
        drawing = self.diagram.drawing
        if self.words or drawing is None:
            self._write(painter, left, self.words, theme.text)
            return
        if len(drawing.drawn_edges) == 0:
            self._write(painter, left, "No edges run between these boxes", theme.muted)
            return
        for colour, word in ((theme.positive, "positive"), (theme.negative, "negative")):
            painter.setPen(QPen(QColor(colour), 3))
            painter.drawLine(int(left), int(middle), int(left + SWATCH), int(middle))
            left = self._write(painter, left + SWATCH + 5, word, theme.muted) + 12
        thick = min(THICKEST * self.diagram.unit, self.height() - 8)
        painter.setPen(QPen(QColor(theme.muted), thick, Qt.PenStyle.SolidLine, Qt.PenCapStyle.FlatCap))
        painter.drawLine(int(left), int(middle), int(left + SWATCH), int(middle))
        self._write(
            painter, left + SWATCH + 5, f"{plain_percent(drawing.strongest)} of the target's input", theme.muted
        )

    def _write(self, painter: QPainter, left: float, words: str, colour: str) -> int:
        """Write, shortened where there is too little room; gives where the text ends."""
        painter.setPen(QColor(colour))
        room = self.rect().adjusted(int(left), 0, -8, 0)
        text = painter.fontMetrics().elidedText(words, Qt.TextElideMode.ElideRight, max(room.width(), 0))
        painter.drawText(room, int(Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft), text)
        return int(left) + painter.fontMetrics().horizontalAdvance(text)
