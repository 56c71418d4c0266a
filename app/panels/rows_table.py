"""Tables that list, sort and filter: one set-up of view, header and alignment for all of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QAbstractItemModel, QAbstractTableModel, QModelIndex, QPersistentModelIndex, QSize, Qt, Slot
from PySide6.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QTableView,
    QWidget,
)

from app.panels.plain import tip

Index = QModelIndex | QPersistentModelIndex
Rows = NDArray[np.int64]
RIGHT = int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
LEFT = int(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
ARROWS = {Qt.SortOrder.AscendingOrder: "▴", Qt.SortOrder.DescendingOrder: "▾"}
CELL_ROOM, ROW_ROOM = 16, 6  # pixels beside and between the texts of cells


class RoomyRows(QStyledItemDelegate):
    """Rows of lists as high as those of tables: the sign for a blank hangs below the line."""

    def sizeHint(self, option: QStyleOptionViewItem, index: Index) -> QSize:
        """A line and a little room."""
        return QSize(super().sizeHint(option, index).width(), option.fontMetrics.height() + ROW_ROOM)


class RowsModel(QAbstractTableModel):
    """A list of rows with titled columns: numbers stand at the right, titles above what they name.

    The title of the column that the rows are sorted by has an arrow: a style sheet draws Qt's own over the text.
    """

    numeric: frozenset[int] = frozenset()

    def __init__(self, sort: tuple[int, Qt.SortOrder], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._rows: Rows = np.zeros(0, dtype=np.int64)
        self._sort = sort

    # ---- what a table says of its rows ---------------------------------------------------------------------------

    def found(self) -> Rows:
        """The numbers (n,) of the rows to list, rising."""
        raise NotImplementedError

    def keys(self, rows: Rows, column: int) -> NDArray[np.generic]:
        """What rows (n,) are ordered by in a column."""
        raise NotImplementedError

    def title(self, section: int) -> str:
        """What stands above a column."""
        raise NotImplementedError

    def explained(self, section: int) -> str:
        """What a column means."""
        raise NotImplementedError

    # ---- the rows --------------------------------------------------------------------------------------------------

    @Slot()
    def refill(self) -> None:
        """Find the rows again."""
        self.beginResetModel()
        self._rows = self._ordered(self.found())
        self.endResetModel()

    def row_at(self, place: int) -> int:
        """The number of the row that is shown at a place."""
        return int(self._rows[place])

    def place_of(self, row: int) -> int:
        """Where a row is shown, or -1."""
        found = np.flatnonzero(self._rows == row)
        return int(found[0]) if len(found) else -1

    def _ordered(self, rows: Rows) -> Rows:
        """Rising rows in the order that was asked for, either way equal ones as they were; column -1: as found."""
        column, order = self._sort
        if not len(rows) or not 0 <= column < self.columnCount():
            return rows
        keys = self.keys(rows, column)
        if order is Qt.SortOrder.AscendingOrder:
            return rows[np.argsort(keys, kind="stable")]
        return rows[::-1][np.argsort(keys[::-1], kind="stable")[::-1]]

    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        """Order the rows by a column; what is chosen stays chosen."""
        self._sort = (column, order)
        self.layoutAboutToBeChanged.emit()
        before = [(index, self.row_at(index.row())) for index in self.persistentIndexList()]
        self._rows = self._ordered(np.sort(self._rows))
        if before:
            places = {row: place for place, row in enumerate(self._rows.tolist())}
            for index, row in before:
                self.changePersistentIndex(index, self.index(places[row], index.column()))
        self.layoutChanged.emit()
        self.headerDataChanged.emit(Qt.Orientation.Horizontal, 0, max(self.columnCount() - 1, 0))

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008 - Qt's own default
        """The number of rows listed."""
        return 0 if parent.isValid() else len(self._rows)

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> object:
        """Titles and what they mean."""
        if orientation is not Qt.Orientation.Horizontal:
            return None
        if role == Qt.ItemDataRole.DisplayRole:
            sorted_by, order = self._sort
            return f"{self.title(section)} {ARROWS[order]}" if section == sorted_by else self.title(section)
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return self.side(section)
        return tip(self.explained(section)) if role == Qt.ItemDataRole.ToolTipRole else None

    def side(self, section: int) -> int:
        """Where texts of a column stand."""
        return RIGHT if section in self.numeric else LEFT


class RowsTable(QTableView):
    """Rows without a grid, sorted by a click on a title; columns can be dragged, the last one takes what is left."""

    def __init__(self, model: QAbstractItemModel, name: str, words: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName(name)
        self.setAccessibleName(words)
        self.setModel(model)
        self.setSortingEnabled(True)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setShowGrid(False)
        self.setWordWrap(False)
        self.setTabKeyNavigation(False)
        self.verticalHeader().hide()
        header = self.horizontalHeader()
        header.setSortIndicatorShown(False)
        header.setSectionResizeMode(QHeaderView.ResizeMode.Interactive)
        header.setStretchLastSection(True)
        header.setHighlightSections(False)

    def choose_place(self, place: int) -> None:
        """Choose the row at a place, or none with -1."""
        if place < 0:
            self.clearSelection()
            self.selectionModel().clearCurrentIndex()
        elif self.currentIndex().row() != place or not self.selectionModel().isRowSelected(place):
            self.setCurrentIndex(self.model().index(place, 0))
            self.selectRow(place)

    def fit_text(self, samples: Sequence[str]) -> None:
        """Rows as high as a line, and columns as wide as the widest usual text of each."""
        metrics = self.fontMetrics()
        self.verticalHeader().setDefaultSectionSize(metrics.height() + ROW_ROOM)
        for column, sample in enumerate(samples):
            self.setColumnWidth(column, metrics.horizontalAdvance(sample) + CELL_ROOM)
