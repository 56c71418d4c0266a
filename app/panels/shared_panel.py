"""The panel of features that several traces share: sortable, filterable; a click opens one in a trace."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QEvent, QModelIndex, Qt, Slot
from PySide6.QtWidgets import QHBoxLayout, QLineEdit, QStackedWidget, QVBoxLayout, QWidget

from app.panels.plain import Hint, MutedLabel, tip
from app.panels.rows_table import RIGHT, Index, Rows, RowsModel, RowsTable
from app.reading import number
from app.shared_features import SharedDesk
from engine.projects.shared import SharedRow

FIXED = ("Feature", "In", "Influence", "Spread")
LABEL = "Label"
INFLUENCE = 2
_EXPLAINED = (
    "Layer and number of the feature",
    "How many of the chosen traces have it, at any token. In a row’s tool tip: the range of that share over all such "
    "prompts, with a confidence of 95 % (Wilson 1927)",
    "Its mean influence over all chosen traces, 0 where it is missing. In a row’s tool tip: the range that holds the "
    "mean over all such prompts with a confidence of 95 % (bootstrap over the traces)",
    "The standard deviation of its influence over all chosen traces",
)
EMPTY = (
    "Choose two or more traces in the investigation (Ctrl+click), then “Features these traces share” in the Trace "
    "menu: what they have in common is listed here."
)


class SharedModel(RowsModel):
    """One row a feature; one column a trace between the numbers and the label."""

    numeric = frozenset({1, 2, 3})

    def __init__(self, desk: SharedDesk, parent: QWidget | None = None) -> None:
        # As found: in most traces first, then by influence.
        super().__init__((-1, Qt.SortOrder.AscendingOrder), parent)
        self._desk = desk
        self._words = ""

    def titles(self) -> tuple[str, ...]:
        """The columns that are traces."""
        return () if self._desk.table is None else self._desk.table.titles

    def set_words(self, words: str) -> None:
        """List only rows that hold every word typed."""
        self._words = words.lower().strip()
        self.refill()

    def found(self) -> Rows:
        """Rows of the desk's table that hold what was typed."""
        rows = () if self._desk.table is None else self._desk.table.rows
        words = self._words.split()
        return np.array([i for i, row in enumerate(rows) if all(word in _text(row) for word in words)], dtype=np.int64)

    def keys(self, rows: Rows, column: int) -> NDArray[np.generic]:
        """What rows (n,) are ordered by in a column."""
        assert self._desk.table is not None
        if column >= len(FIXED):
            return np.array([self._cell(row, column).lower() for row in rows.tolist()])
        found = [self._desk.table.rows[row].found for row in rows.tolist()]
        numbers = [(f.layer * 2.0**32 + f.feature, len(f.graphs), f.influence, f.spread) for f in found]
        return np.array(numbers)[:, column]

    def trace_of(self, column: int) -> int | None:
        """Which trace of the desk's table a column is, or None."""
        at = column - len(FIXED)
        return at if 0 <= at < len(self.titles()) else None

    # ---- Qt ----------------------------------------------------------------------------------------------------

    def columnCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008 - Qt's own default
        """Numbers, traces, label."""
        return 0 if parent.isValid() else len(FIXED) + len(self.titles()) + 1

    def title(self, section: int) -> str:
        """Numbers, titles of the traces, and the label."""
        trace = self.trace_of(section)
        if trace is not None:
            return self.titles()[trace]
        relevance = self._desk.table is not None and self._desk.table.measure == "relevance"
        if section == INFLUENCE and relevance:
            return "Relevance"
        return FIXED[section] if section < len(FIXED) else LABEL

    def explained(self, section: int) -> str:
        """What a column means."""
        trace = self.trace_of(section)
        if trace is not None:
            return f"{self.titles()[trace]}\nThe tokens at which this trace has it, counted from the end"
        return _EXPLAINED[section] if section < len(FIXED) else "The name a person gave it"

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> object:
        """One cell."""
        table = self._desk.table
        if table is None or not index.isValid() or index.row() >= len(self._rows):
            return None
        row = self.row_at(index.row())
        if role == Qt.ItemDataRole.DisplayRole:
            return self._cell(row, index.column())
        if role == Qt.ItemDataRole.ToolTipRole:
            trace = self.trace_of(index.column())
            found = table.rows[row].found
            if trace is None or trace not in found.graphs:
                return tip(f"Layer {found.layer} · {found.feature}\n{_ranges(table.rows[row], table.measure)}")
            return tip(f"{table.rows[row].places[trace]}\nlargest activation {number(found.activation[trace])}")
        return RIGHT if role == Qt.ItemDataRole.TextAlignmentRole and index.column() in self.numeric else None

    def _cell(self, row: int, column: int) -> str:
        assert self._desk.table is not None
        shown, total = self._desk.table.rows[row], len(self.titles())
        trace = self.trace_of(column)
        if trace is not None:
            return shown.places[trace] or "–"
        found = shown.found
        cells = (f"L{found.layer} · {found.feature}", f"{len(found.graphs)} of {total}", number(found.influence))
        return (*cells, number(found.spread))[column] if column < len(FIXED) else shown.label


def _ranges(row: SharedRow, measure: str) -> str:
    """How sure the two numbers are."""
    often, strong = row.often, row.strong
    return (
        f"in {often.mean:.0%} of the traces (95 %: {often.low:.0%} to {often.high:.0%})\n"
        f"mean {measure} {number(strong.mean)} (95 %: {number(strong.low)} to {number(strong.high)})"
    )


def _text(row: SharedRow) -> str:
    return f"l{row.found.layer} · {row.found.feature} {' '.join(row.places)} {row.label}".lower()


class SharedPanel(QWidget):
    """The table with its filter, or what would fill it."""

    def __init__(self, desk: SharedDesk, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.desk = desk
        self.features = SharedModel(desk, self)
        self.table = RowsTable(self.features, "shared-table", "Features that the chosen traces share")
        header = self.table.horizontalHeader()
        header.setSortIndicatorClearable(True)
        self.table.sortByColumn(-1, Qt.SortOrder.AscendingOrder)
        header.setDefaultAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        header.setTextElideMode(Qt.TextElideMode.ElideLeft)
        self.filter = QLineEdit()
        self.filter.setObjectName("shared-filter")
        self.filter.setPlaceholderText("Find: label, token, L12, 503…")
        self.filter.setAccessibleName("Find in the shared features")
        self.filter.setClearButtonEnabled(True)
        self.count = MutedLabel()
        row = QHBoxLayout()
        row.addWidget(self.filter, 1)
        row.addWidget(self.count)
        full = QWidget()
        column = QVBoxLayout(full)
        column.setContentsMargins(8, 4, 8, 4)
        column.setSpacing(4)
        column.addLayout(row)
        column.addWidget(self.table, 1)
        self.stack = QStackedWidget()
        self.stack.addWidget(Hint(EMPTY))
        self.stack.addWidget(full)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(self.stack)
        self.filter.textChanged.connect(self.features.set_words)
        self.features.modelReset.connect(self._counted)
        self.table.clicked.connect(self._chosen)
        self.table.activated.connect(self._chosen)
        desk.changed.connect(self._show)

    @Slot()
    def _show(self) -> None:
        self.features.refill()
        self.stack.setCurrentIndex(0 if self.desk.table is None else 1)
        self._fit_text()

    @Slot()
    def _counted(self) -> None:
        table = self.desk.table
        total = 0 if table is None else len(table.rows)
        self.count.setText(f"{self.features.rowCount():,} of {total:,} shared features")

    @Slot(QModelIndex)
    def _chosen(self, index: QModelIndex) -> None:
        self.desk.open(self.features.row_at(index.row()), self.features.trace_of(index.column()))

    def _fit_text(self) -> None:
        """Columns as wide as their texts; the places of long prompts are cut."""
        places = ["␣petit −9, ␣contraire −9"] * len(self.features.titles())
        self.table.fit_text(["L25 · 16384", "3 of 3 ▾", "Relevance ▾", "Spread ▾", *places])

    def changeEvent(self, event: QEvent) -> None:
        """Larger text needs wider columns."""
        super().changeEvent(event)
        if event.type() in (QEvent.Type.FontChange, QEvent.Type.StyleChange) and hasattr(self, "stack"):
            self._fit_text()
