"""The circuit's diagram on screen: boxes that a person arranges, chooses, opens and closes."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QPointF, QSize, Qt, Signal, Slot
from PySide6.QtGui import (
    QFocusEvent,
    QFont,
    QFontInfo,
    QFontMetricsF,
    QHelpEvent,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QResizeEvent,
    QWheelEvent,
)
from PySide6.QtWidgets import QToolTip, QWidget

from app.circuit.choice import CircuitChoice
from app.circuit.painting import DiagramPainter, Look
from app.circuit.words import edge_words, place_words
from app.panels.plain import tip
from app.session import Session
from app.theme import current_theme, theme_watcher
from engine.graphs.circuit import Box, PlaceKey
from engine.graphs.circuit_drawing import Drawing, draw, shown_name

LETTERS = 12.5  # pixels of text in one unit's scale, as `painting` writes
MARGIN = 14
DRAG = 4.0  # pixels before a press becomes a drag
SMALLEST, LARGEST = 0.4, 3.0  # zoom
FIT_SMALLEST = 0.7  # a diagram is not fitted smaller than this: what is outside is reached by dragging
WHEEL_STEP = 1.0015
NUDGE = 10.0  # units, for one press of Alt and an arrow key
REACH = 6.0  # pixels from an edge
_ARROWS = {
    Qt.Key.Key_Left: (-1.0, 0.0),
    Qt.Key.Key_Right: (1.0, 0.0),
    Qt.Key.Key_Up: (0.0, 1.0),
    Qt.Key.Key_Down: (0.0, -1.0),
}
_MANY = Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.ShiftModifier


class CircuitDiagram(QWidget):
    """Draws the session's circuit. Moving and opening are asked for by signals; nothing is edited here."""

    moved = Signal(object, bool)  # {place key: (x, y)}; whether by the keyboard, where many steps are one edit
    toggled = Signal(int)  # a supernode to open or close
    told = Signal(str)  # figures of what the pointer is on

    def __init__(self, session: Session, choice: CircuitChoice, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.session, self.choice = session, choice
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setMouseTracking(True)
        self.setMinimumSize(160, 90)
        self.setAccessibleName("Circuit diagram")
        self.drawing: Drawing | None = None
        self.zoom = 1.0
        self.corner = QPointF()  # the pixel of the point (0, 0)
        self.fitted = True
        self.hovered: PlaceKey | None = None
        self.hovered_edge: int | None = None
        self._pressed: QPointF | None = None
        self._taken: tuple[PlaceKey, ...] = ()
        self._last = QPointF()
        self._dragging = False
        session.annotationsChanged.connect(self.refresh)
        session.traceChanged.connect(self._another)
        choice.changed.connect(self._chosen)
        theme_watcher().changed.connect(self.update)
        self.refresh()

    # -- what is drawn ------------------------------------------------------------------------------------------------

    @Slot()
    def _another(self) -> None:
        self.fitted = True
        self.refresh()

    @Slot()
    def refresh(self) -> None:
        """Draw the circuit as it is now."""
        session = self.session
        self._let_go()
        if session.graph is None or not session.circuit.nodes:
            self.drawing = None
        else:
            self.drawing = draw(session.graph, session.circuit, session.annotations.positions, self._width_of)
        self.hovered = self.hovered_edge = None
        if self.fitted:
            self.fit()
        self._describe()
        self.update()

    def _width_of(self, box: Box) -> float:
        font = QFont(self.font())
        font.setPixelSize(25)  # twice the size, so that rounding to pixels counts half
        font.setBold(box.supernode is not None)
        extra = 18.0 if box.supernode is not None and box.supernode.note else 6.0
        glyph = 15.0 if box.supernode is None else 0.0
        return max(QFontMetricsF(font).horizontalAdvance(shown_name(box)) / 2 + glyph + extra + 16, 56.0)

    @property
    def unit(self) -> float:
        """Pixels of one unit: the size of text times the zoom."""
        return max(QFontInfo(self.font()).pixelSize(), 6) / LETTERS * self.zoom

    def sizeHint(self) -> QSize:
        """Room for a small circuit."""
        return QSize(420, 220)

    # -- the camera ---------------------------------------------------------------------------------------------------

    def fit(self) -> None:
        """Show the whole circuit, or as much as stays legible, in the middle."""
        self.fitted = True
        if self.drawing is None:
            return
        whole = self.drawing.whole
        room = QPointF(max(self.width() - 2 * MARGIN, 1), max(self.height() - 2 * MARGIN, 1))
        self.zoom = 1.0
        wanted = min(
            room.x() / ((whole.right - whole.left + 4) * self.unit),
            room.y() / ((whole.top - whole.bottom + 4) * self.unit),
        )
        self.zoom = min(max(wanted, FIT_SMALLEST), 1.0)
        middle_x, middle_y = (whole.left + whole.right) / 2, (whole.top + whole.bottom) / 2
        self.corner = QPointF(self.width() / 2 - middle_x * self.unit, self.height() / 2 + middle_y * self.unit)
        self.update()

    def zoom_by(self, factor: float, around: QPointF | None = None) -> None:
        """Come closer or go away, around a pixel."""
        pixel = around if around is not None else QPointF(self.width() / 2, self.height() / 2)
        x, y = self.point_at(pixel)
        self.zoom = min(max(self.zoom * factor, SMALLEST), LARGEST)
        self.corner = QPointF(pixel.x() - x * self.unit, pixel.y() + y * self.unit)
        self.fitted = False
        self.update()

    def point_at(self, pixel: QPointF) -> tuple[float, float]:
        """The point, in units, at a pixel."""
        return (pixel.x() - self.corner.x()) / self.unit, (self.corner.y() - pixel.y()) / self.unit

    def pixel_of(self, key: PlaceKey) -> QPointF:
        """The middle of a box, or of an open supernode's title; raises `KeyError`."""
        assert self.drawing is not None
        for frame in self.drawing.frames:
            if frame.supernode.place == key:
                title = frame.title
                return self._pixel((title.left + title.right) / 2, (title.bottom + title.top) / 2)
        return self._pixel(*self.drawing.places[key])

    def _pixel(self, x: float, y: float) -> QPointF:
        return QPointF(self.corner.x() + x * self.unit, self.corner.y() - y * self.unit)

    def _show(self, key: PlaceKey) -> None:
        """Bring a box into sight; the picture moves only if it is out of sight."""
        pixel, room = self.pixel_of(key), self.rect().adjusted(MARGIN, MARGIN, -MARGIN, -MARGIN)
        if not room.contains(pixel.toPoint()):
            self.corner += QPointF(room.center()) - pixel
            self.fitted = False

    # -- painting -----------------------------------------------------------------------------------------------------

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        theme = current_theme()
        painter.fillRect(self.rect(), theme.graph.background)
        graph = self.session.graph
        if self.drawing is not None and graph is not None:
            look = Look(
                theme, self.font(), self.unit, self.choice.places, self.hovered, self.hovered_edge, self.hasFocus()
            )
            DiagramPainter(painter, graph, self.drawing, look, self.corner).paint()
        painter.end()

    # -- the mouse ----------------------------------------------------------------------------------------------------

    def key_at(self, pixel: QPointF) -> PlaceKey | None:
        """What can be taken by hand at a pixel: a box, or the title of an open supernode."""
        return None if self.drawing is None else self.drawing.key_at(*self.point_at(pixel))

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if event.button() not in (Qt.MouseButton.LeftButton, Qt.MouseButton.MiddleButton):
            super().mousePressEvent(event)
            return
        self._pressed = self._last = event.position()
        self._dragging = False
        key = self.key_at(event.position()) if event.button() == Qt.MouseButton.LeftButton else None
        self._taken = () if key is None or self.drawing is None else self.drawing.keys_of(key)
        event.accept()

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        at = event.position()
        if self._pressed is None:
            self._hover(at)
            return
        if not self._dragging and (at - self._pressed).manhattanLength() > DRAG:
            self._dragging = True
            self.setCursor(Qt.CursorShape.ClosedHandCursor)
        if self._dragging:
            self._drag(at - self._last)
            self._last = at

    def _drag(self, by: QPointF) -> None:
        self.fitted = False
        if self.drawing is not None and self._taken and self.session.can_edit:
            self._shift(self._taken, by.x() / self.unit, -by.y() / self.unit)
        else:
            self.corner += by
        self.update()

    def _shift(self, keys: tuple[PlaceKey, ...], dx: float, dy: float) -> None:
        assert self.drawing is not None
        places = self.drawing.places
        self.drawing = self.drawing.moved({key: (places[key][0] + dx, places[key][1] + dy) for key in keys})

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        pressed, dragging, taken = self._pressed, self._dragging, self._taken
        self._let_go()
        if pressed is None or self.drawing is None:
            return
        if dragging:
            if taken and self.session.can_edit:
                self.moved.emit({key: self.drawing.places[key] for key in taken}, False)
        elif event.button() == Qt.MouseButton.LeftButton:
            self._click(event)

    def _click(self, event: QMouseEvent) -> None:
        key = self.key_at(event.position())
        if key is None:
            self.choice.choose(())
        elif event.modifiers() & _MANY:
            self.choice.toggle(key)
        else:
            self.choice.choose((key,))

    def _let_go(self) -> None:
        self._pressed, self._taken, self._dragging = None, (), False
        self.unsetCursor()

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        """A supernode opens or closes; beside all boxes everything is shown again."""
        key = self.key_at(event.position())
        if key is None:
            self.fit()
        elif isinstance(key, str):
            self._toggle(key)

    def _toggle(self, key: PlaceKey) -> None:
        for one in self.session.circuit.supernodes:
            if one.place == key:
                self.toggled.emit(one.id)

    def wheelEvent(self, event: QWheelEvent) -> None:
        self.zoom_by(WHEEL_STEP ** event.angleDelta().y(), event.position())
        event.accept()

    def leaveEvent(self, event: QEvent) -> None:
        self._point_at(None, None)

    def _hover(self, at: QPointF) -> None:
        key = self.key_at(at)
        edge = None
        if key is None and self.drawing is not None:
            edge = self.drawing.edge_at(*self.point_at(at), REACH / self.unit)
        self._point_at(key, edge)

    def _point_at(self, key: PlaceKey | None, edge: int | None) -> None:
        if (key, edge) != (self.hovered, self.hovered_edge):
            self.hovered, self.hovered_edge = key, edge
            self.told.emit(self.words_of(key, edge))
            self.update()

    def words_of(self, key: PlaceKey | None, edge: int | None) -> str:
        """Figures of a box or of an edge; nothing where there is neither."""
        graph = self.session.graph
        if self.drawing is None or graph is None or (key is None and edge is None):
            return ""
        if key is not None:
            return place_words(graph, self.drawing, key)
        assert edge is not None
        return edge_words(self.drawing, edge)

    def event(self, event: QEvent) -> bool:
        """Figures as a tool tip, too."""
        if event.type() == QEvent.Type.ToolTip and isinstance(event, QHelpEvent):
            words = self.words_of(self.hovered, self.hovered_edge)
            if words:
                QToolTip.showText(event.globalPos(), tip(words), self)
            else:
                QToolTip.hideText()
            return True
        return super().event(event)

    # -- the keyboard -------------------------------------------------------------------------------------------------

    def keyPressEvent(self, event: QKeyEvent) -> None:
        key = Qt.Key(event.key())
        modifiers = event.modifiers() & ~Qt.KeyboardModifier.KeypadModifier
        if key in _ARROWS and modifiers == Qt.KeyboardModifier.NoModifier:
            self._walk(*_ARROWS[key])
        elif key in _ARROWS and modifiers == Qt.KeyboardModifier.AltModifier:
            self.nudge(*_ARROWS[key])
        elif key in (Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_Space) and self._leading() is not None:
            self._toggle(self._leading() or "")
        elif key == Qt.Key.Key_Escape and self.choice.places:
            self.choice.choose(())
        else:
            super().keyPressEvent(event)

    def _leading(self) -> PlaceKey | None:
        """The chosen box that keys act on."""
        return self.choice.places[-1] if self.choice.places else None

    def _stops(self) -> dict[PlaceKey, tuple[float, float]]:
        """Where the arrow keys can go: boxes, and titles of open supernodes."""
        if self.drawing is None:
            return {}
        stops = {box.key: self.drawing.places[box.key] for box in self.drawing.shown}
        for frame in self.drawing.frames:
            stops[frame.supernode.place] = ((frame.title.left + frame.title.right) / 2, frame.title.top)
        return stops

    def _walk(self, dx: float, dy: float) -> None:
        """Choose the nearest box in a direction; the first press chooses the lowest."""
        stops, leading = self._stops(), self._leading()
        here = None if leading is None else stops.get(leading)
        if not stops:
            return
        if here is None:
            self._go(min(stops, key=lambda key: (stops[key][1], stops[key][0])))
            return
        best: tuple[float, PlaceKey] | None = None
        for key, (x, y) in stops.items():
            ahead = (x - here[0]) * dx + (y - here[1]) * dy
            aside = abs((x - here[0]) * dy) + abs((y - here[1]) * dx)
            if ahead > 1 and (best is None or ahead + 2 * aside < best[0]):
                best = (ahead + 2 * aside, key)
        if best is not None:
            self._go(best[1])

    def _go(self, key: PlaceKey) -> None:
        self.choice.choose((key,))
        self._show(key)
        self.update()

    def can_nudge(self) -> bool:
        """A box or an open group of the diagram is chosen, and may be moved."""
        return self.session.can_edit and not self._stops().keys().isdisjoint(self.choice.places)

    def nudge(self, dx: float, dy: float) -> None:
        """Move the chosen boxes one step of the keyboard; `dy` grows upwards."""
        if self.drawing is None or not self.session.can_edit:
            return
        stops = self._stops()
        keys = tuple(dict.fromkeys(k for key in self.choice.places if key in stops for k in self.drawing.keys_of(key)))
        if keys:
            self.fitted = False
            self._shift(keys, dx * NUDGE, dy * NUDGE)
            self.moved.emit({key: self.drawing.places[key] for key in keys}, True)

    # -- the rest -----------------------------------------------------------------------------------------------------

    @Slot()
    def _chosen(self) -> None:
        self._describe()
        self.update()

    def _describe(self) -> None:
        """The same in words, for screen readers."""
        if self.drawing is None:
            self.setAccessibleDescription("Nothing is pinned yet.")
            return
        stops, leading = self._stops(), self._leading()
        words = self.words_of(leading, None) if leading in stops else "nothing"
        count = len(self.drawing.shown)
        self.setAccessibleDescription(
            f"{count} box{'' if count == 1 else 'es'}, {len(self.drawing.drawn_edges)} edges. Chosen: {words}."
        )

    def focusInEvent(self, event: QFocusEvent) -> None:
        super().focusInEvent(event)
        self.update()

    def focusOutEvent(self, event: QFocusEvent) -> None:
        super().focusOutEvent(event)
        self.update()

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        if self.fitted:
            self.fit()

    def changeEvent(self, event: QEvent) -> None:
        """Larger text makes larger boxes."""
        super().changeEvent(event)
        if event.type() == QEvent.Type.FontChange and hasattr(self, "choice"):
            self.refresh()
