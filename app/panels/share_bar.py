"""Shares of a node's input: one bar for a node by source, one small bar for an edge by sign."""

from __future__ import annotations

from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QColor, QPainter, QPaintEvent
from PySide6.QtWidgets import QStyle, QStyleOptionViewItem, QWidget

from app.panels.plain import tip
from app.panels.rows_table import Index, RoomyRows
from app.reading import InputShare, percent
from app.theme import current_theme, theme_watcher

SHARE_ROLE = Qt.ItemDataRole.UserRole + 1  # (what lowers, what raises), as parts of the largest in the list


class ShareDelegate(RoomyRows):
    """A bar from the middle: to the right what pushes up, to the left what pushes down."""

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        theme = current_theme()
        lowers, raises = index.data(SHARE_ROLE) or (0.0, 0.0)
        if option.state & QStyle.StateFlag.State_Selected:
            painter.fillRect(option.rect, QColor(theme.selection))
        box = QRectF(option.rect).adjusted(4, 3, -4, -3)
        half = box.width() / 2
        middle = box.left() + half
        for share, colour in ((float(lowers), theme.negative), (float(raises), theme.positive)):
            length = max(min(1.0, abs(share)) * half, 1.0) if share else 0.0
            left = middle if share >= 0 else middle - length
            painter.fillRect(QRectF(left, box.top(), length, box.height()), QColor(colour))
        painter.fillRect(QRectF(middle - 0.5, box.top() - 2, 1, box.height() + 4), QColor(theme.border))


class ShareBar(QWidget):
    """One bar split by where a node's input comes from, with its legend."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._shares: list[InputShare] = []
        self.setMinimumHeight(10)
        self.setMaximumHeight(10)
        theme_watcher().changed.connect(self.update)

    def show_shares(self, shares: list[InputShare]) -> None:
        """Show other shares."""
        self._shares = shares
        words = ", ".join(f"{entry.name} {percent(entry.share)}" for entry in shares)
        self.setAccessibleName(f"Input comes from: {words}" if shares else "No input was traced")
        rest = "The rest is what comes from features without a node of their own and over edges too weak to keep."
        self.setToolTip(tip(f"Of the absolute sum of everything that goes into this node: {words}. {rest}"))
        self.update()

    def sizeHint(self) -> QSize:
        """A thin bar."""
        return QSize(120, 10)

    def paintEvent(self, event: QPaintEvent) -> None:
        """Paint the parts side by side."""
        painter = QPainter(self)
        left = 0.0
        for entry in self._shares:
            width = entry.share * self.width()
            painter.fillRect(QRectF(left, 0, max(width - 1, 0.5), self.height()), QColor(share_colour(entry.name)))
            left += width
        painter.end()


def share_colour(name: str) -> str:
    """The colour of one source of input."""
    theme = current_theme()
    return {
        "features": theme.accent,
        "embeddings": theme.good,
        "errors": theme.error,
        "biases": theme.warning,
    }.get(name, theme.disabled)
