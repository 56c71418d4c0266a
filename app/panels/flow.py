"""A layout that breaks into lines: controls side by side while there is room, below each other where there is not."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QMargins, QPoint, QRect, QSize, Qt
from PySide6.QtWidgets import QHBoxLayout, QLayout, QLayoutItem, QSizePolicy, QWidget


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
                if move:
                    self._set(row, y, line, room.x() + room.width())
                x, y, line, row = room.x(), y + line + self._line_gap, 0, []
            row.append((item, x, size))
            x += size.width() + self._gap
            line = max(line, size.height())
        if move:
            self._set(row, y, line, room.x() + room.width())
        return y + line - rect.y() + self.contentsMargins().bottom()

    @staticmethod
    def _set(row: list[tuple[QLayoutItem, int, QSize]], y: int, line: int, right: int) -> None:
        """Place one line; what is left of it goes to the items that expand, in equal parts."""
        growing = [item for item, _, _ in row if _grows(item)]
        left = right - (row[-1][1] + row[-1][2].width()) if row else 0
        extra, moved = (max(left, 0) // len(growing) if growing else 0), 0
        for item, x, size in row:
            grown = extra if item in growing else 0
            place = QPoint(x + moved, y + (line - size.height()) // 2)
            item.setGeometry(QRect(place, QSize(size.width() + grown, size.height())))
            moved += grown


def _grows(item: QLayoutItem) -> bool:
    """Whether a widget itself asks for more: what is inside it does not count."""
    widget = item.widget()
    return widget is not None and widget.sizePolicy().horizontalPolicy() == QSizePolicy.Policy.Expanding


class FlowRow(QWidget):
    """A widget around a flow: as high as its lines take, wherever it is, docks included."""

    def __init__(self, parent: QWidget | None = None, *, gap: int = 10) -> None:
        super().__init__(parent)
        self.flow = FlowLayout(self, gap=gap)
        self.flow.setContentsMargins(0, 0, 0, 0)
        policy = QSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
        policy.setHeightForWidth(True)
        self.setSizePolicy(policy)

    def event(self, event: QEvent) -> bool:
        """Not every layout above asks for the height that a width takes: it is set."""
        done = super().event(event)
        if event.type() in (QEvent.Type.Resize, QEvent.Type.LayoutRequest, QEvent.Type.Show):
            height = self.flow.heightForWidth(self.width())
            if height != self.minimumHeight():
                self.setMinimumHeight(height)
        return done


def together(*parts: QWidget) -> QWidget:
    """Widgets that stay side by side in a flow."""
    holder = QWidget()
    row = QHBoxLayout(holder)
    row.setContentsMargins(0, 0, 0, 0)
    row.setSpacing(5)
    for part in parts:
        row.addWidget(part)
    return holder
