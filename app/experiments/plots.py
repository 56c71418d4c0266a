"""Plots in the theme's colours: points that can be chosen, lines, bars, a matrix. Every one has a table as its twin."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyqtgraph as pg
from numpy.typing import ArrayLike
from PySide6.QtCore import QEvent, QRectF, QSize, Qt, Signal, Slot
from PySide6.QtGui import QColor, QIcon, QPainter, QPen, QPixmap, QWheelEvent
from PySide6.QtWidgets import QWidget

from app.theme import Theme, current_theme, theme_watcher

LEAST = 110
# Of all names below a matrix together.
COLUMN_LETTERS = 18
LINES = (Qt.PenStyle.SolidLine, Qt.PenStyle.DashLine, Qt.PenStyle.DotLine, Qt.PenStyle.DashDotLine)


def pen(colour: str, width: float = 1.0, style: Qt.PenStyle = Qt.PenStyle.SolidLine) -> QPen:
    """A pen that keeps its width at every zoom."""
    made = QPen(QColor(colour), width, style)
    made.setCosmetic(True)
    return made


class Plot(pg.PlotWidget):  # type: ignore[misc] # pyqtgraph ships no types
    """A quiet plot: no menu, no zoom; it wears the theme and the window's letters."""

    def __init__(self, name: str, across: str, up: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAccessibleName(name)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)  # the table beside it takes the keyboard
        self._titles = {"bottom": across, "left": up}
        item = self.getPlotItem()
        item.setMenuEnabled(False)
        item.hideButtons()
        self.setMouseEnabled(False, False)
        self.setMinimumSize(140, LEAST)
        theme_watcher().changed.connect(self.restyle)
        self.wear()

    def sizeHint(self) -> QSize:
        """Twice as wide as high, and small: it takes what room there is."""
        return QSize(2 * LEAST, LEAST)

    def wear(self) -> None:
        """Colours and letters of now."""
        theme = current_theme()
        self.setBackground(theme.base)
        for side, title in self._titles.items():
            axis = self.getAxis(side)
            axis.setPen(pen(theme.border))
            axis.setTextPen(theme.muted)
            axis.setStyle(tickFont=self.font())
            axis.enableAutoSIPrefix(False)  # “size (x0.001)” is no number to read
            axis.setLabel(title, color=theme.muted, **{"font-size": f"{self.font().pointSizeF():g}pt"})

    @Slot()
    def restyle(self) -> None:
        """The theme changed."""
        self.wear()
        self.draw(current_theme())

    def draw(self, theme: Theme) -> None:
        """Draw what is shown again; each plot knows how."""

    def changeEvent(self, event: QEvent) -> None:
        """Letters follow the window's."""
        super().changeEvent(event)
        if event.type() == QEvent.Type.FontChange and hasattr(self, "_titles"):
            self.wear()

    def wheelEvent(self, event: QWheelEvent) -> None:
        """The wheel scrolls what is around the plot."""
        event.ignore()

    def line_at(self, value: float, upright: bool, colour: str, style: Qt.PenStyle = Qt.PenStyle.DashLine) -> None:
        """A straight line through the whole plot."""
        self.addItem(pg.InfiniteLine(value, angle=90 if upright else 0, pen=pen(colour, 1, style)))


class Scatter(Plot):
    """Predicted against measured: one point a target, the diagonal, and the axes through nothing."""

    pointChosen = Signal(int)

    def __init__(
        self, name: str, across: str, up: str, parent: QWidget | None = None, *, diagonal: bool = True
    ) -> None:
        super().__init__(name, across, up, parent)
        self._diagonal = diagonal
        self._points: tuple[Sequence[float], Sequence[float], Sequence[bool]] = ((), (), ())
        self.marked = -1
        self.spots: Any = None

    def show_points(self, across: Sequence[float], up: Sequence[float], square: Sequence[bool]) -> None:
        """Show points; the square ones are targets."""
        self._points, self.marked = (across, up, square), -1
        self.draw(current_theme())

    def mark(self, point: int) -> None:
        """Draw a ring around one point."""
        if point != self.marked:
            self.marked = point
            self.draw(current_theme())

    def draw(self, theme: Theme) -> None:
        """Points last, so that they are on top."""
        across, up, square = self._points
        self.clear()
        if not len(across):
            return
        for upright in (False, True):
            self.line_at(0, upright, theme.border, Qt.PenStyle.SolidLine)
        if self._diagonal:
            self.addItem(pg.InfiniteLine((0, 0), angle=45, pen=pen(theme.muted, 1, Qt.PenStyle.DashLine)))
        ring = pen(theme.accent, 2.5)
        self.spots = pg.ScatterPlotItem(
            x=np.asarray(across, dtype=float),
            y=np.asarray(up, dtype=float),
            data=np.arange(len(across)),
            symbol=["s" if one else "o" for one in square],
            size=9,
            pen=[ring if at == self.marked else pen(theme.base) for at in range(len(across))],
            brush=[pg.mkBrush(theme.accent if one else theme.text) for one in square],
            hoverable=True,
            hoverSize=12,
        )
        self.spots.sigClicked.connect(self._clicked)
        self.addItem(self.spots)
        sides = (across, up)
        if self._diagonal:  # both axes alike, so that it is one
            sides = ((*across, *up), (*across, *up))
        spans = [(float(np.nanmin([*side, 0.0])), float(np.nanmax([*side, 0.0]))) for side in sides]
        if all(high > low for low, high in spans):
            self.setRange(xRange=spans[0], yRange=spans[1], padding=0.08)

    @Slot(object, object)
    def _clicked(self, item: object, spots: Any) -> None:
        if len(spots):
            self.pointChosen.emit(int(spots[0].data()))


class Lines(Plot):
    """Curves over one number, with a band that marks a range."""

    def __init__(self, name: str, across: str, up: str, parent: QWidget | None = None) -> None:
        super().__init__(name, across, up, parent)
        self._curves: list[tuple[str, Sequence[float], Sequence[float], str]] = []
        self._band: tuple[float, float] | None = None
        self._level: float | None = None
        self._logarithmic = False

    def show_curves(
        self,
        curves: Sequence[tuple[str, Sequence[float], Sequence[float], str]],
        *,
        band: tuple[float, float] | None = None,
        level: float | None = None,
        logarithmic: bool = False,
    ) -> None:
        """Show curves (name, x, y, role): "first", "second", or "quiet"; a band of x, a level of y."""
        self._curves, self._band, self._level, self._logarithmic = list(curves), band, level, logarithmic
        self.draw(current_theme())

    def draw(self, theme: Theme) -> None:
        """The band below, then the level, then the curves."""
        self.clear()
        self.setLogMode(x=self._logarithmic, y=False)
        if self._band is not None:
            fill = QColor(theme.accent)
            fill.setAlpha(36)
            self.addItem(pg.LinearRegionItem(self._band, movable=False, brush=fill, pen=pen(theme.border)))
        if self._level is not None:
            self.line_at(self._level, False, theme.muted)
        for (_, across, up, role), line in zip(self._curves, self.lines(theme), strict=True):
            size = 0 if role == "quiet" else 6
            self.plot(
                np.asarray(across, dtype=float),
                np.asarray(up, dtype=float),
                pen=line,
                symbol="o" if size else None,
                symbolSize=size,
                symbolBrush=line.color(),
                symbolPen=None,
            )

    def lines(self, theme: Theme) -> list[QPen]:
        """How each curve is drawn."""
        found, quiet = list[QPen](), 0
        for _, _, _, role in self._curves:
            colour = {"first": theme.accent, "second": theme.text}.get(role, theme.muted)
            style = LINES[quiet % len(LINES)] if role == "quiet" else Qt.PenStyle.SolidLine
            quiet += role == "quiet"
            found.append(pen(colour, 1.2 if role == "quiet" else 2, style))
        return found

    def swatches(self) -> list[QIcon]:
        """A short piece of each curve, for the table that names them."""
        found = []
        for line in self.lines(current_theme()):
            picture = QPixmap(QSize(44, 24))
            picture.setDevicePixelRatio(2)
            picture.fill(Qt.GlobalColor.transparent)
            painter = QPainter(picture)
            painter.setPen(line)
            painter.drawLine(0, 6, 22, 6)
            painter.end()
            found.append(QIcon(picture))
        return found


class Histogram(Plot):
    """How many values fall where, and one value's place among them."""

    def __init__(self, name: str, across: str, parent: QWidget | None = None) -> None:
        super().__init__(name, across, "random sets", parent)
        self._values: ArrayLike = ()
        self._mark = 0.0

    def show_values(self, values: ArrayLike, mark: float) -> None:
        """Show values, and mark one."""
        self._values, self._mark = values, mark
        self.draw(current_theme())

    def draw(self, theme: Theme) -> None:
        """Bars, then the mark."""
        self.clear()
        values = np.asarray(self._values, dtype=float)
        values = values[np.isfinite(values)]
        if not len(values):
            return
        low, high = min(values.min(), self._mark), max(values.max(), self._mark)
        span = (high - low) or 1.0
        counts, edges = np.histogram(values, bins=30, range=(low - 0.02 * span, high + 0.02 * span))
        bars = pg.BarGraphItem(
            x0=edges[:-1], x1=edges[1:], height=counts, pen=pen(theme.base), brush=pg.mkBrush(theme.muted)
        )
        self.addItem(bars)
        self.addItem(pg.InfiniteLine(self._mark, angle=90, pen=pen(theme.accent, 3)))
        self.setXRange(low - 0.05 * span, high + 0.05 * span, padding=0)


def _shortened(name: str, most: int) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}…"


class Matrix(Plot):
    """Signed values as coloured cells: rows act, columns answer."""

    def __init__(self, name: str, across: str, up: str, parent: QWidget | None = None) -> None:
        super().__init__(name, across, up, parent)
        self._values = np.zeros((0, 0))
        self._names: tuple[Sequence[str], Sequence[str]] = ((), ())

    def show_matrix(self, values: ArrayLike, rows: Sequence[str], columns: Sequence[str]) -> None:
        """Show (rows, columns) values; NaN is left empty."""
        self._values, self._names = np.asarray(values, dtype=float), (rows, columns)
        self.draw(current_theme())

    def draw(self, theme: Theme) -> None:
        """One rectangle a cell, the first row on top."""
        self.clear()
        n_rows, n_columns = self._values.shape
        if not self._values.size:
            return
        largest = float(np.nanmax(np.abs(self._values))) if np.isfinite(self._values).any() else 0.0
        colours = theme.signed_colours(33)
        for row in range(n_rows):
            for column in range(n_columns):
                value = float(self._values[row, column])
                if not np.isfinite(value):
                    continue
                step = round(16 + 16 * (value / largest if largest else 0.0))
                cell = pg.QtWidgets.QGraphicsRectItem(QRectF(column - 0.5, n_rows - row - 1.5, 1, 1))
                cell.setBrush(QColor(colours[step]))
                cell.setPen(pen(theme.base))
                self.addItem(cell)
        # Names side by side share what width there is; the table beside it has them whole.
        room = max(3, COLUMN_LETTERS // n_columns)
        for side, names, most in (("left", list(reversed(self._names[0])), 14), ("bottom", self._names[1], room)):
            self.getAxis(side).setTicks([[(at, _shortened(name, most)) for at, name in enumerate(names)]])
        self.setRange(xRange=(-0.5, n_columns - 0.5), yRange=(-0.5, n_rows - 0.5), padding=0.02)
