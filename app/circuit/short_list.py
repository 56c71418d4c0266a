"""A list of rows in sections, as small as a few rows: what more there is, is scrolled."""

from __future__ import annotations

from PySide6.QtCore import QSize, Qt
from PySide6.QtWidgets import QHeaderView, QTreeWidget, QTreeWidgetItem, QWidget

from app.panels.rows_table import RoomyRows

ROWS = 5


class ShortList(QTreeWidget):
    """Two columns: words, and a figure on the right. Sections are in bold and cannot be chosen."""

    def __init__(self, name: str, titles: tuple[str, str], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAccessibleName(name)
        self.setHeaderLabels(list(titles))
        self.setIndentation(10)
        self.setRootIsDecorated(False)
        self.setUniformRowHeights(True)
        self.setItemDelegate(RoomyRows(self))
        header = self.header()
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        header.setSectionResizeMode(1, QHeaderView.ResizeMode.ResizeToContents)
        header.setStretchLastSection(False)

    def sizeHint(self) -> QSize:
        """A few rows: it takes whatever room there is beyond."""
        return QSize(super().sizeHint().width(), (ROWS + 1) * self.fontMetrics().height())

    def minimumSizeHint(self) -> QSize:
        """Never less than a few rows."""
        return QSize(super().minimumSizeHint().width(), self.sizeHint().height())

    def add_section(self, title: str) -> QTreeWidgetItem:
        """A heading to put rows under."""
        item = QTreeWidgetItem([title, ""])
        font = item.font(0)
        font.setBold(True)
        item.setFont(0, font)
        item.setFlags(Qt.ItemFlag.ItemIsEnabled)
        self.addTopLevelItem(item)
        return item

    def rows(self) -> list[QTreeWidgetItem]:
        """Every row, without the headings."""
        tops = [self.topLevelItem(i) for i in range(self.topLevelItemCount())]
        return [top.child(j) for top in tops if top is not None for j in range(top.childCount())]


def row_of(section: QTreeWidgetItem, words: str, figure: str) -> QTreeWidgetItem:
    """A new row at the end of a section."""
    item = QTreeWidgetItem([words, figure])
    item.setTextAlignment(1, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
    section.addChild(item)
    return item
