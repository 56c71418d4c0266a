"""Every edge in view as one picture, drawn by a thread of its own in pieces; the window shows it when it is done.

A million lines take about a second; the window's thread only copies references. Nothing here holds Python's lock for
longer than one piece takes.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

import numpy as np
import pyqtgraph as pg
from numpy.typing import NDArray
from PySide6.QtCore import QLineF, QObject, QRectF, QTimer, Signal, Slot
from PySide6.QtGui import QColor, QImage, QPainter, QPen

from app.canvas.layer import Layer
from app.canvas.stage import LARGEST_DOMAIN, SMALLEST_DOMAIN, Stage
from engine.graphs.colours import rgb
from engine.graphs.graph import AttributionGraph

Array = NDArray[np.float64]

LEVELS = 6  # of strength, for each sign
WEIGHTS = (1.0, 2.0, 4.0, 7.0, 12.0, 20.0)  # how much a line of each level counts
PIECE = 1500  # lines drawn without a pause: about two milliseconds
SHEET = 40_000  # lines on one sheet: so many that few pixels of it fill up
OPACITY = 5  # of 255, of one line on a sheet
CONTRAST = 30.0
DARKEST = 0.65
REST_MS = 120  # after the camera's last move


@dataclass(frozen=True)
class Request:
    """What one picture shows: pixels of the nodes, which edges, and where on the scene the picture lies."""

    graph: AttributionGraph
    shown: NDArray[np.bool_]  # (E,)
    x: Array  # (N,)
    y: Array
    width: float
    height: float
    ratio: float  # device pixels in a pixel
    negative: str
    positive: str
    ground: QRectF  # what the view shows, in scene units


@dataclass(frozen=True)
class Picture:
    """A request's answer."""

    request: Request
    image: QImage
    edges: int  # lines drawn


def draw_all(request: Request, cancel: threading.Event) -> Picture | None:
    """Draw every shown edge that crosses the view; None when cancelled.

    A pixel's darkness says how much runs through it, its colour how much of that is positive. Lines simply drawn over
    each other would be one wall in the colour of the last; so they are drawn on sheets, and the sheets added up.
    """
    wide, high = max(round(request.width * request.ratio), 1), max(round(request.height * request.ratio), 1)
    points, bucket = _lines(request)
    ink = np.zeros((2, high, wide), dtype=np.float32)  # negative, positive
    for level, weight in enumerate(WEIGHTS):
        both = [points[bucket == level], points[bucket == level + LEVELS]]
        sheets = max(-(-max(map(len, both)) // SHEET), 1)
        for number in range(sheets):
            sheet = _drawn([part[number::sheets] for part in both], wide, high, cancel)
            if sheet is None:
                return None
            ink += weight * _LAYERS[sheet]
    return Picture(request, _toned(request, ink), len(points))


# How many lines lie on a pixel of a sheet, from what shows of them (0 to 255).
_LAYERS = (np.log1p(-np.minimum(np.arange(256), 254) / 255) / np.log1p(-OPACITY / 255)).astype(np.float32)


def _drawn(both: list[NDArray[np.float32]], wide: int, high: int, cancel: threading.Event) -> NDArray[np.uint8] | None:
    """(2, high, wide): negative lines in one channel of a picture, positive ones in another."""
    image = QImage(wide, high, QImage.Format.Format_ARGB32_Premultiplied)
    image.fill(0)
    lines = pg.Qt.internals.PrimitiveArray(QLineF, 4)
    painter = QPainter(image)
    painter.setClipRect(image.rect())
    pens = [QPen(QColor(*colour, OPACITY), 1.0) for colour in ((255, 0, 0), (0, 255, 0))]
    try:
        for start in range(0, max(map(len, both)), PIECE):
            for pen, part in zip(pens, both, strict=True):
                piece = part[start : start + PIECE]
                if cancel.is_set():
                    return None
                if len(piece):
                    lines.resize(len(piece))
                    lines.ndarray()[:] = piece
                    painter.setPen(pen)
                    painter.drawLines(*lines.drawargs())
                time.sleep(0)  # hands Python's lock over: the window's thread may be waiting for it
    finally:
        painter.end()
    pixels = np.array(image.constBits(), dtype=np.uint8).reshape(high, wide, 4)  # blue, green, red, alpha
    return np.stack([pixels[..., 2], pixels[..., 1]])


def _toned(request: Request, ink: NDArray[np.float32]) -> QImage:
    """The sum as a picture that can be laid over the background."""
    total = ink.sum(axis=0)
    used = total[total > 0]
    full = float(np.quantile(used, 0.995)) if len(used) else 1.0
    alpha = DARKEST * np.minimum(np.log1p(CONTRAST * total / full) / np.log1p(CONTRAST), 1.0)
    positive = np.divide(ink[1], total, out=np.zeros_like(total), where=total > 0)
    one, other = (np.array(rgb(colour), dtype=np.float32) for colour in (request.negative, request.positive))
    pixels = np.empty((*total.shape, 4), dtype=np.uint8)
    for channel in range(3):  # blue first
        mixed = one[2 - channel] + (other[2 - channel] - one[2 - channel]) * positive
        pixels[..., channel] = np.round(mixed * alpha)
    pixels[..., 3] = np.round(255 * alpha)
    high, wide = total.shape
    image = QImage(pixels.data, wide, high, 4 * wide, QImage.Format.Format_ARGB32_Premultiplied).copy()
    image.setDevicePixelRatio(request.ratio)
    return image


def _lines(request: Request) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    """(n, 4) ends in device pixels of the edges that may cross the view, and the pen of each (n,)."""
    graph = request.graph
    edges = np.flatnonzero(request.shown)
    x, y = (request.x * request.ratio).astype(np.float32), (request.y * request.ratio).astype(np.float32)
    source, target = graph.source[edges], graph.target[edges]
    x1, y1, x2, y2 = x[source], y[source], x[target], y[target]
    wide, high = request.width * request.ratio, request.height * request.ratio
    seen = (np.maximum(x1, x2) >= 0) & (np.minimum(x1, x2) <= wide)
    seen &= (np.maximum(y1, y2) >= 0) & (np.minimum(y1, y2) <= high)
    share = graph.share[edges[seen]]
    strength = np.abs(share)
    domain = float(np.quantile(strength, 0.99)) if len(strength) else 0.0
    domain = min(max(domain, SMALLEST_DOMAIN), LARGEST_DOMAIN)
    level = np.minimum((np.sqrt(np.minimum(strength / domain, 1.0)) * LEVELS).astype(np.intp), LEVELS - 1)
    points = np.stack([x1[seen], y1[seen], x2[seen], y2[seen]], axis=1)
    return points, level + LEVELS * (share > 0)


class AllEdgesLayer(Layer):
    """The last picture that was drawn, moved and stretched with the view until the next one is there."""

    depth = 0.5

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        self.picture: Picture | None = None

    def paint_layer(self, painter: QPainter) -> None:
        picture = self.picture
        if picture is None:
            return
        ground, camera = picture.request.ground, self.stage.camera
        x, y = camera.to_pixels(np.array([ground.left(), ground.right()]), np.array([ground.top(), ground.bottom()]))
        painter.setClipRect(self.stage.inner.adjusted(0, -camera.margins.top, camera.margins.right, 0))
        top, bottom = float(y[1]), float(y[0])  # y of the scene grows upwards
        painter.drawImage(QRectF(float(x[0]), top, float(x[1] - x[0]), bottom - top), picture.image)


class AllEdges(QObject):
    """Keeps the layer's picture true while it is switched on: one thread at a time, the newest request wins."""

    changed = Signal()
    _drawn = Signal(object)

    def __init__(self, stage: Stage, parent: QObject) -> None:
        super().__init__(parent)
        self.stage = stage
        self.layer = AllEdgesLayer(stage)
        self.on = False
        self._wanted: tuple[object, ...] = ()
        self._cancel = threading.Event()
        self._thread: threading.Thread | None = None
        self._rest = QTimer(self)
        self._rest.setSingleShot(True)
        self._rest.setInterval(REST_MS)
        self._rest.timeout.connect(self._start)
        self._drawn.connect(self._take)

    def switch(self, on: bool) -> None:
        """Draw all edges from now on, or none."""
        self.on = on
        self.forget()
        self.refresh()

    def refresh(self) -> None:
        """The view may have changed: draw again once it rests."""
        if self.on and self.stage.scene is not None and self.stage.still() != self._wanted:
            self._cancel.set()
            self._rest.start()

    def forget(self) -> None:
        """Other nodes or another graph: the old picture shows nothing that is true. Waits for the thread to end."""
        self._rest.stop()
        self._cancel.set()
        if self._thread is not None:
            self._thread.join()
        self._thread, self._wanted, self.layer.picture = None, (), None
        self.layer.update()

    @property
    def busy(self) -> bool:
        """Whether a picture is on its way."""
        return self.on and self._wanted != () and (self.layer.picture is None or self._thread is not None)

    @Slot()
    def _start(self) -> None:
        scene, stage = self.stage.scene, self.stage
        if scene is None or not self.on:
            return
        self._cancel.set()
        if self._thread is not None:
            self._thread.join()  # it ends within one piece
        rect, (left_right, low_high) = stage.rect, stage.camera.viewRange()
        ground = QRectF(left_right[0], low_high[0], left_right[1] - left_right[0], low_high[1] - low_high[0])
        request = Request(
            scene.graph, scene.edge_shown, stage.x, stage.y, rect.width(), rect.height(), stage.ratio,
            stage.theme.negative, stage.theme.positive, ground,
        )  # fmt: skip
        self._wanted, self._cancel = stage.still(), threading.Event()
        self._thread = threading.Thread(target=self._work, args=(request, self._cancel), name="all-edges", daemon=True)
        self._thread.start()
        self.changed.emit()

    def _work(self, request: Request, cancel: threading.Event) -> None:
        picture = draw_all(request, cancel)
        if picture is not None:
            self._drawn.emit(picture)

    @Slot(object)
    def _take(self, picture: Picture) -> None:
        scene = self.stage.scene
        # One that was cancelled, or was drawn for nodes that are shown no longer, may still be in the queue.
        if not self.on or scene is None or picture.request.shown is not scene.edge_shown or self._cancel.is_set():
            return
        self._thread = None
        self.layer.picture = picture
        self.layer.update()
        self.changed.emit()
