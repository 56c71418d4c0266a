"""A layout that breaks into lines: controls side by side while there is room, below each other where there is not."""

from __future__ import annotations

from PySide6.QtCore import QMargins, QPoint, QRect, QSize, Qt
from PySide6.QtWidgets import QLayout, QLayoutItem, QWidget


class FlowLayout(QLayout):
    """Items in reading order, each as wide as it likes to be, in as many lines as that takes."""

    def __init__(self, parent: QWidget | None = None, *, gap: int = 10, line_gap: int = 4) -> None:
        super().__init__(parent)
        self._items: list[QLayoutItem] = []
        self._gap, self._line_gap = gap, line_gap

    def addItem(self, item: QLayoutItem) -> None:
        self._items.append(item)

    def count(self) -> int:
        return len(self._items)

    def itemAt(self, index: int) -> QLayoutItem | None:
        return self._items[index] if 0 <= index < len(self._items) else None

    def takeAt(self, index: int) -> QLayoutItem | None:
        return self._items.pop(index) if 0 <= index < len(self._items) else None

    def expandingDirections(self) -> Qt.Orientation:
        return Qt.Orientation(0)

    def hasHeightForWidth(self) -> bool:
        return True

    def heightForWidth(self, width: int) -> int:
        return self._place(QRect(0, 0, width, 0), move=False)

    def setGeometry(self, rect: QRect) -> None:
        super().setGeometry(rect)
        self._place(rect, move=True)

    def sizeHint(self) -> QSize:
        """On one line."""
        sizes = [item.sizeHint() for item in self._items if not item.isEmpty()]
        width = sum(size.width() for size in sizes) + self._gap * max(len(sizes) - 1, 0)
        return self._padded(QSize(width, max((size.height() for size in sizes), default=0)))

    def minimumSize(self) -> QSize:
        """As narrow as the widest item."""
        sizes = [item.minimumSize() for item in self._items if not item.isEmpty()]
        width, height = max((s.width() for s in sizes), default=0), max((s.height() for s in sizes), default=0)
        return self._padded(QSize(width, height))

    def _padded(self, size: QSize) -> QSize:
        margins: QMargins = self.contentsMargins()
        return size + QSize(margins.left() + margins.right(), margins.top() + margins.bottom())

    def _place(self, rect: QRect, *, move: bool) -> int:
        """Break into lines; returns the height that takes."""
        room = rect.marginsRemoved(self.contentsMargins())
        x, y, line = room.x(), room.y(), 0
        row: list[tuple[QLayoutItem, int, QSize]] = []
        for item in self._items:
            if item.isEmpty():
                continue
            size = item.sizeHint().boundedTo(QSize(max(room.width(), item.minimumSize().width()), 10_000))
            if x > room.x() and x + size.width() > room.x() + room.width():
                self._set(row, y, line, move)
                x, y, line, row = room.x(), y + line + self._line_gap, 0, []
            row.append((item, x, size))
            x += size.width() + self._gap
            line = max(line, size.height())
        self._set(row, y, line, move)
        return y + line - rect.y() + self.contentsMargins().bottom()

    @staticmethod
    def _set(row: list[tuple[QLayoutItem, int, QSize]], y: int, line: int, move: bool) -> None:
        if move:
            for item, x, size in row:
                item.setGeometry(QRect(QPoint(x, y + (line - size.height()) // 2), size))
