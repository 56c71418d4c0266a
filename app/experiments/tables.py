"""Tables of figures beside the plots: names at the left, numbers at the right, shares as bars."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QModelIndex, QPersistentModelIndex, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QIcon, QPainter
from PySide6.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QTreeWidget,
    QTreeWidgetItem,
    QWidget,
)

from app.panels.plain import tip
from app.theme import current_theme

Index = QModelIndex | QPersistentModelIndex
SHARE_ROLE = Qt.ItemDataRole.UserRole
LEAST_LETTERS = 7
RIGHT = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
Row = Sequence[str]


class _ShareDelegate(QStyledItemDelegate):
    """A bar as long as the share, behind the figure."""

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        share = index.data(SHARE_ROLE)
        if share is not None:
            theme = current_theme()
            box = QRectF(option.rect).adjusted(1, 2, -1, -2)
            painter.fillRect(
                QRectF(box.left(), box.top(), box.width() * float(share), box.height()), QColor(theme.selection)
            )
        super().paint(painter, option, index)


class Figures(QTreeWidget):
    """Rows of words; the first column is a name, the others figures."""

    def __init__(
        self,
        name: str,
        titles: Sequence[str],
        tips: Sequence[str] = (),
        parent: QWidget | None = None,
        *,
        whole_names: bool = False,
    ) -> None:
        super().__init__(parent)
        self.setAccessibleName(name)
        self.setHeaderLabels(list(titles))
        self.setRootIsDecorated(False)
        self.setUniformRowHeights(True)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setItemDelegate(_ShareDelegate(self))
        header = self.header()
        header.setStretchLastSection(False)
        header.setMinimumSectionSize(LEAST_LETTERS * self.fontMetrics().averageCharWidth())
        # Names that a person gave give way to the figures; the few that are ours are shown whole.
        mode = QHeaderView.ResizeMode
        header.setSectionResizeMode(0, mode.ResizeToContents if whole_names else mode.Stretch)
        for column in range(1, len(titles)):
            header.setSectionResizeMode(column, mode.ResizeToContents)
            self.headerItem().setTextAlignment(column, RIGHT)
        for column, words in enumerate(tips):
            self.headerItem().setToolTip(column, tip(words))

    def fill(self, rows: Sequence[Row], tips: Sequence[str] = (), shares: Sequence[dict[int, float]] = ()) -> None:
        """Show rows; `shares` draws bars of so much of a cell, by column."""
        self.clear()
        for number, words in enumerate(rows):
            item = QTreeWidgetItem(list(words))
            for column in range(1, len(words)):
                item.setTextAlignment(column, RIGHT)
            if number < len(tips):
                for column in range(len(words)):
                    item.setToolTip(column, tip(tips[number]))
            for column, share in (shares[number] if number < len(shares) else {}).items():
                item.setData(column, SHARE_ROLE, min(max(share, 0.0), 1.0))
            self.addTopLevelItem(item)

    def show_icons(self, icons: Sequence[QIcon]) -> None:
        """A picture before each row's name."""
        self.setIconSize(QSize(22, 12))
        for number, one in enumerate(icons):
            item = self.topLevelItem(number)
            if item is not None:
                item.setIcon(0, one)

    def row(self) -> int:
        """The row in hand, or -1."""
        return self.indexOfTopLevelItem(self.currentItem()) if self.currentItem() is not None else -1

    def choose(self, row: int) -> None:
        """Put a row in hand."""
        item = self.topLevelItem(row)
        if item is not None:
            self.setCurrentItem(item)
            self.scrollToItem(item)

    def sizeHint(self) -> QSize:
        """A few rows: it takes what room there is."""
        return QSize(super().sizeHint().width(), 5 * (self.fontMetrics().height() + 4))

    def minimumSizeHint(self) -> QSize:
        """Three rows and the head."""
        return QSize(120, 4 * (self.fontMetrics().height() + 4))
