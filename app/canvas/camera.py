"""The canvas's camera: a ViewBox whose one unit is one pixel at 100 %, with margins for the headers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyqtgraph as pg
from numpy.typing import NDArray
from PySide6.QtCore import QPointF, QRectF

Array = NDArray[np.float64]

LARGEST_SCALE = 8.0
LARGEST_FIT = (4.0, 2.4)  # a small graph is not pulled further apart than this, sideways and upwards
SMALLEST_OF_FIT = 0.4  # how far out one may zoom, as a share of the fitted scale


@dataclass(frozen=True)
class Margins:
    """Pixels taken by the headers, and air at the right."""

    left: float = 46.0
    top: float = 44.0
    right: float = 12.0
    bottom: float = 30.0


class Camera(pg.ViewBox):  # type: ignore[misc] # pyqtgraph ships no types
    """Maps scene units to the pixels of the view; x and y scale apart, so that a fitted graph fills the window."""

    def __init__(self) -> None:
        super().__init__(enableMenu=False, enableMouse=False, defaultPadding=0.0)
        self.disableAutoRange()
        self.margins = Margins()
        self.content = QRectF(0, 0, 1, 1)
        self._fitted = (1.0, 1.0)

    def inner(self) -> QRectF:
        """The pixels between the headers."""
        m, rect = self.margins, self.rect()
        width = max(rect.width() - m.left - m.right, 16.0)
        height = max(rect.height() - m.top - m.bottom, 16.0)
        return QRectF(m.left, m.top, width, height)

    def scales(self) -> tuple[float, float]:
        """Pixels for one unit, horizontally and vertically."""
        (x0, x1), (y0, y1) = self.viewRange()
        return max(self.rect().width(), 1.0) / max(x1 - x0, 1e-9), max(self.rect().height(), 1.0) / max(y1 - y0, 1e-9)

    def zoom(self) -> float:
        """1 at 100 %, where neighbouring glyphs of full size just do not touch."""
        return min(self.scales())

    def to_pixels(self, x: Array, y: Array) -> tuple[Array, Array]:
        """Scene units to pixels; y of the scene grows upwards, y of pixels downwards."""
        (x0, _), (_, y1) = self.viewRange()
        scale_x, scale_y = self.scales()
        return (x - x0) * scale_x, (y1 - y) * scale_y

    def fit(self) -> None:
        """Show the whole content between the headers, centred."""
        inner, content = self.inner(), self.content
        scale_x = min(inner.width() / max(content.width(), 1e-9), LARGEST_FIT[0])
        scale_y = min(inner.height() / max(content.height(), 1e-9), LARGEST_FIT[1])
        self._fitted = (scale_x, scale_y)
        self._place(content.center(), inner.center(), scale_x, scale_y)

    def zoom_at(self, factor: float, pixel: QPointF) -> None:
        """Zoom by `factor` and keep what is under `pixel` there."""
        scale_x, scale_y = self.scales()
        least = SMALLEST_OF_FIT * min(1.0, *self._fitted)
        factor = min(max(factor, least / min(scale_x, scale_y)), LARGEST_SCALE / max(scale_x, scale_y))
        self._place(self.point_at(pixel), pixel, scale_x * factor, scale_y * factor)

    def pan_by(self, dx: float, dy: float) -> None:
        """Move the drawing by pixels; some of it always stays in sight."""
        scale_x, scale_y = self.scales()
        middle = self.inner().center()
        at = self.point_at(QPointF(middle.x() - dx, middle.y() - dy))
        content = self.content
        x = min(max(at.x(), content.left()), content.right())
        y = min(max(at.y(), content.top()), content.bottom())
        self._place(QPointF(x, y), middle, scale_x, scale_y)

    def centre_on(self, x: float, y: float, scale: float | None = None) -> None:
        """Bring a scene point to the middle; `scale` only ever zooms in."""
        scale_x, scale_y = self.scales()
        more = max(1.0, (scale or 0.0) / min(scale_x, scale_y))
        self._place(QPointF(x, y), self.inner().center(), scale_x * more, scale_y * more)

    def hold(self, x: float, y: float, pixel: QPointF, scales: tuple[float, float]) -> None:
        """Put a scene point on a pixel at given scales: keeps a node still while the layout around it changes."""
        self._place(QPointF(x, y), pixel, *scales)

    def point_at(self, pixel: QPointF) -> QPointF:
        """The scene point under a pixel."""
        (x0, _), (_, y1) = self.viewRange()
        scale_x, scale_y = self.scales()
        return QPointF(x0 + pixel.x() / scale_x, y1 - pixel.y() / scale_y)

    def _place(self, point: QPointF, pixel: QPointF, scale_x: float, scale_y: float) -> None:
        left = point.x() - pixel.x() / scale_x
        top = point.y() + pixel.y() / scale_y
        x_range = (left, left + self.rect().width() / scale_x)
        y_range = (top - self.rect().height() / scale_y, top)
        self.setRange(xRange=x_range, yRange=y_range, padding=0, disableAutoRange=False)
