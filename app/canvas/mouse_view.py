"""The view's mouse: what was done with it, told in pixels. It decides nothing."""

from __future__ import annotations

import pyqtgraph as pg
from PySide6.QtCore import QEvent, QPointF, Qt, Signal
from PySide6.QtGui import QMouseEvent, QWheelEvent
from PySide6.QtWidgets import QWidget

DRAG = 4.0  # pixels before a press becomes a drag
WHEEL_STEP = 1.0015  # zoom for an eighth of a degree


class MouseView(pg.GraphicsView):  # type: ignore[misc] # pyqtgraph ships no types
    """A raster view without pyqtgraph's own gestures."""

    moved = Signal(QPointF)
    left = Signal()
    clicked = Signal(QPointF, bool)  # pixel, with Ctrl
    doubleClicked = Signal(QPointF)
    dragged = Signal(float, float)
    wheeled = Signal(QPointF, float)  # pixel, zoom factor
    scrolled = Signal(float, float)

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent, useOpenGL=False)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setMouseTracking(True)
        self.viewport().setMouseTracking(True)
        self._pressed: QPointF | None = None
        self._last = QPointF()
        self._dragging = False

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if event.button() in (Qt.MouseButton.LeftButton, Qt.MouseButton.MiddleButton):
            self._pressed = self._last = event.position()
            self._dragging = event.button() == Qt.MouseButton.MiddleButton
            event.accept()

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        at = event.position()
        if self._pressed is None:
            self.moved.emit(at)
            return
        if not self._dragging and (at - self._pressed).manhattanLength() > DRAG:
            self._dragging = True
            self.viewport().setCursor(Qt.CursorShape.ClosedHandCursor)
        if self._dragging:
            self.dragged.emit(at.x() - self._last.x(), at.y() - self._last.y())
            self._last = at

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        pressed, dragging = self._pressed, self._dragging
        self._pressed, self._dragging = None, False
        self.viewport().unsetCursor()
        if pressed is not None and not dragging and event.button() == Qt.MouseButton.LeftButton:
            self.clicked.emit(event.position(), bool(event.modifiers() & Qt.KeyboardModifier.ControlModifier))
        event.accept()

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        if event.button() == Qt.MouseButton.LeftButton:
            self.doubleClicked.emit(event.position())
        event.accept()

    def wheelEvent(self, event: QWheelEvent) -> None:
        turn = event.angleDelta()
        if event.modifiers() & Qt.KeyboardModifier.ShiftModifier or abs(turn.x()) > abs(turn.y()):
            sideways = turn.x() if turn.x() else turn.y()
            self.scrolled.emit(sideways / 2, 0.0)
        elif turn.y():
            self.wheeled.emit(event.position(), WHEEL_STEP ** turn.y())
        event.accept()

    def leaveEvent(self, event: QEvent) -> None:
        self.left.emit()
        super().leaveEvent(event)
