"""Texts with the tokens a feature is active at shaded, each on one line around its peak, and a feature's histogram."""

from __future__ import annotations

import math

from PySide6.QtCore import QRect, QSize, Qt
from PySide6.QtGui import QColor, QFontMetrics, QPainter, QPaintEvent, QPalette
from PySide6.QtWidgets import QSizePolicy, QWidget

from app.panels.plain import tip
from app.reading import number
from app.theme import current_theme
from app.theme.tokens import text_on
from engine.evidence.pages import Example, Side
from engine.graphs.visible_text import visible_text

PEAK_AT = 0.62  # of the width: what comes before a peak explains it
STRONGEST_SHADE = 0.85
HISTOGRAM_HEIGHT = 44


def shade(base: QColor, full: QColor, share: float) -> QColor:
    """A colour between two, 0 the first."""
    share = min(max(share, 0.0), 1.0) * STRONGEST_SHADE
    red, green, blue = (
        round(a + (b - a) * share)
        for a, b in ((base.red(), full.red()), (base.green(), full.green()), (base.blue(), full.blue()))
    )
    return QColor(red, green, blue)


class ExampleRow(QWidget):
    """One text, its peak at the same place in every row."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.example: Example | None = None
        self._maximum = 1.0
        self._positive = True
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def show_example(self, example: Example, maximum: float, *, positive: bool = True) -> None:
        """Show a text; shades are shares of `maximum`, in the colour of the sign."""
        self.example, self._maximum, self._positive = example, max(maximum, 1e-30), positive
        before = "".join(example.tokens[: example.peak])
        after = "".join(example.tokens[example.peak + 1 :])
        peak = visible_text(example.tokens[example.peak])
        said = f"{number(example.value if positive else -example.value)} at {peak}"
        self.setToolTip(tip(f"{said}\n{visible_text(before)}»{peak}«{visible_text(after)}"))
        self.setAccessibleName(f"{said}: {before}{example.tokens[example.peak]}{after}")
        self.update()

    def sizeHint(self) -> QSize:
        """One line."""
        return QSize(200, QFontMetrics(self.font()).height() + 4)

    minimumSizeHint = sizeHint

    def paintEvent(self, event: QPaintEvent) -> None:
        """The peak first, then what is before and after it as far as there is room."""
        if self.example is None:
            return
        painter, metrics = QPainter(self), QFontMetrics(self.font())
        words = [visible_text(token) if not token.strip() else _plain(token) for token in self.example.tokens]
        peak = self.example.peak
        width = metrics.horizontalAdvance(words[peak])
        middle = round(self.width() * PEAK_AT) - width // 2
        if sum(metrics.horizontalAdvance(word) for word in words[:peak]) < middle:
            middle = sum(metrics.horizontalAdvance(word) for word in words[:peak])
        at = middle
        for place in range(peak, len(words)):
            at = self._paint_token(painter, metrics, words[place], place, at)
            if at > self.width():
                break
        at = middle
        for place in range(peak - 1, -1, -1):
            at -= metrics.horizontalAdvance(words[place])
            self._paint_token(painter, metrics, words[place], place, at)
            if at < 0:
                break
        painter.end()

    def _paint_token(self, painter: QPainter, metrics: QFontMetrics, word: str, place: int, at: int) -> int:
        """Paint one token from the left edge `at`; gives its right edge."""
        assert self.example is not None
        box = QRect(at, 0, metrics.horizontalAdvance(word), self.height())
        value, theme = self.example.activations[place], current_theme()
        text = self.palette().color(QPalette.ColorRole.WindowText)
        if not math.isnan(value) and value != 0:
            positive = self._positive if value > 0 else not self._positive
            full = QColor(theme.positive if positive else theme.negative)
            fill = shade(self.palette().color(QPalette.ColorRole.Window), full, abs(value) / self._maximum)
            painter.fillRect(box, fill)
            text = QColor(text_on(fill.name()))
        painter.setPen(text)
        painter.drawText(box, int(Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft), word)
        if place == self.example.peak and not math.isnan(value):
            painter.drawRect(box.adjusted(0, 0, -1, -1))
        return box.right() + 1


def _plain(token: str) -> str:
    """A token inside a line: blanks between words stay blanks."""
    lead, tail = token[: len(token) - len(token.lstrip(" "))], token[len(token.rstrip(" ")) :]
    return f"{lead}{visible_text(token.strip(' '))}{tail}"


class Histogram(QWidget):
    """How many tokens have an activation of each size, by half octaves; heights are logarithms of counts."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.side: Side | None = None
        self.here = 0.0
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setFixedHeight(HISTOGRAM_HEIGHT)

    def show_side(self, side: Side, here: float) -> None:
        """Show one side's counts with the size of this activation marked."""
        self.side, self.here = side, abs(here)
        self.setVisible(bool(side.edges))
        if side.edges:
            counted = sum(side.counts)
            words = (
                f"How many tokens have an activation of each size, from {number(side.edges[0])} to "
                f"{number(side.edges[-1])}; each bar is half an octave, and its height the logarithm of its count "
                f"({counted:,.0f} in all). The line is the activation here, {number(self.here)}; the largest in the "
                f"text is {number(side.maximum)}."
            )
            self.setToolTip(tip(words))
            self.setAccessibleName(words)
        self.update()

    def position(self, value: float) -> float:
        """Where a size lies across the bars, from 0 to 1; what is outside lies at the ends."""
        assert self.side is not None
        edges, bars = self.side.edges, len(self.side.counts)
        for bar in range(bars):
            if value < edges[bar + 1]:
                inside = (value - edges[bar]) / (edges[bar + 1] - edges[bar])
                return (bar + max(inside, 0.0)) / bars
        return 1.0

    def paintEvent(self, event: QPaintEvent) -> None:
        """The bars and the line."""
        if self.side is None or not self.side.edges:
            return
        painter, theme = QPainter(self), current_theme()
        counts = [math.log1p(count) for count in self.side.counts]
        tallest, width, height = max(*counts, 1e-9), self.width() / len(counts), self.height() - 2
        for bar, count in enumerate(counts):
            top = round(height * (1 - count / tallest))
            painter.fillRect(
                QRect(round(bar * width), top, max(round(width) - 1, 1), height - top), QColor(theme.muted)
            )
        painter.setPen(QColor(theme.accent))
        x = min(round(self.position(self.here) * self.width()), self.width() - 2)
        painter.fillRect(QRect(x, 0, 2, self.height()), QColor(theme.accent))
        painter.end()
