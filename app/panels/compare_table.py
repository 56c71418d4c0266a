"""The differences of two graphs as a table: the accessible twin of both canvases, bound to the same selection."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QEvent, QModelIndex, Qt, Signal, Slot
from PySide6.QtWidgets import QAbstractItemView, QWidget

from app.canvas import Mark
from app.comparison import MARK_WORDS, Pairing
from app.comparison_desk import ComparisonDesk
from app.panels.plain import tip
from app.panels.rows_table import RIGHT, Index, Rows, RowsModel, RowsTable
from app.reading import kind_of, number
from app.session import Session
from engine.graphs import NodeKind

COLUMNS = (
    "Difference", "Node", "Token", "Change", "What changed", "Influence", "Influence", "Activation", "Activation",
    "Label",
)  # fmt: skip
SIDES = {5: " left", 6: " right", 7: " left", 8: " right"}
CHANGE = 3
_EXPLAINED = (
    "Whether both graphs have the node, and whether it is different in them",
    "Layer and feature number, or the kind of node",
    "The token of the left and of the right graph, and its position from the end: −1 is the last token",
    "Influence at the right minus influence at the left; sorted by size",
    "Activation 1.5 times or influence 2 times larger or smaller, or the share of an input by more than 5 %",
    "How much of the left graph's target passes through the node",
    "How much of the right graph's target passes through the node",
    "How active the feature is in the left graph",
    "How active the feature is in the right graph",
    "The name a person gave it in the left or the right graph",
)
_WIDEST = (
    "only right", "error L28 · 1500", "␣Texas | ␣France  −2", "−0.00888 ▾", "activation, influence, inputs",
    "Relevance right ", "Relevance right ", "Activation right ", "Activation right ", "Label",
)  # fmt: skip


class CompareModel(RowsModel):
    """One row for each node of either graph that is in view, of the chosen class, and holds what was typed."""

    numeric = frozenset({3, 5, 6, 7, 8})

    def __init__(self, session: Session, desk: ComparisonDesk, parent: QWidget | None = None) -> None:
        super().__init__((CHANGE, Qt.SortOrder.DescendingOrder), parent)
        self._session, self._desk = session, desk
        self._seen: NDArray[np.bool_] | None = None
        self._all_nodes = False
        self._words = ""

    @property
    def pairing(self) -> Pairing | None:
        """What is compared."""
        return self._desk.pairing

    # ---- which rows --------------------------------------------------------------------------------------------

    def show_seen(self, left: NDArray[np.bool_], right: NDArray[np.bool_]) -> None:
        """List what the two canvases show: (N left,) and (N right,)."""
        found = self.pairing
        if found is not None:
            ours = (found.left_node >= 0) & left[np.maximum(found.left_node, 0)]
            theirs = (found.right_node >= 0) & right[np.maximum(found.right_node, 0)]
            self._seen = ours | theirs
        self.refill()

    def set_words(self, words: str) -> None:
        """List only rows that hold every word typed."""
        self._words = words.lower().strip()
        self.refill()

    def set_all_nodes(self, on: bool) -> None:
        """List the nodes the sliders hide, too."""
        self._all_nodes = on
        self.refill()

    def found(self) -> Rows:
        """Rows of the pairing that are in view, of the chosen class, and hold what was typed."""
        found, only = self.pairing, self._desk.only
        if found is None:
            return np.zeros(0, dtype=np.int64)
        listed = np.ones(len(found.mark), dtype=np.bool_)
        if not self._all_nodes and self._seen is not None and len(self._seen) == len(listed):
            listed &= self._seen
        if only is not None:
            listed &= found.mark == only
        rows = np.flatnonzero(listed)
        words = self._words.split()
        if not words:
            return rows
        kept = [
            row for row in rows.tolist() if all(w in found.texts[row] or w in self._label(row).lower() for w in words)
        ]
        return np.array(kept, dtype=np.int64)

    def keys(self, rows: Rows, column: int) -> NDArray[np.generic]:
        """What rows (n,) are ordered by in a column; changes by their size."""
        found = self.pairing
        if found is None:
            return rows
        if column in (0, 2, 4, 9):
            return np.array([self._cell(found, row, column).lower() for row in rows.tolist()])
        if column == 1:
            ends = [found.node_of(row) for row in rows.tolist()]
            places = [(int(graph.layer[node]), int(graph.feature[node])) for graph, node in ends]
            return np.array([layer * 2.0**32 + feature for layer, feature in places])
        left, right = found.amounts("activation" if column in (7, 8) else "influence")
        if column == CHANGE:
            return np.abs(right - left)[rows]
        return (left if column in (5, 7) else right)[rows]

    # ---- Qt ----------------------------------------------------------------------------------------------------

    def columnCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008 - Qt's own default
        """See COLUMNS."""
        return 0 if parent.isValid() else len(COLUMNS)

    def title(self, section: int) -> str:
        """See COLUMNS."""
        return self._named(COLUMNS[section]) + SIDES.get(section, "")

    def explained(self, section: int) -> str:
        """What a column means."""
        return self._named(_EXPLAINED[section])

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> object:
        """One cell."""
        found = self.pairing
        if found is None or not index.isValid() or index.row() >= len(self._rows):
            return None
        row = int(self._rows[index.row()])
        if row >= len(found.mark):
            return None
        if role == Qt.ItemDataRole.DisplayRole:
            return self._cell(found, row, index.column())
        if role == Qt.ItemDataRole.ToolTipRole:
            graph, node = found.node_of(row)
            return tip(f"{MARK_WORDS[Mark(int(found.mark[row]))]}: {graph.describe(node)}\n{self._label(row)}".strip())
        return RIGHT if role == Qt.ItemDataRole.TextAlignmentRole and index.column() in self.numeric else None

    def _cell(self, found: Pairing, row: int, column: int) -> str:
        if column in self.numeric:
            return self._amount(found, row, column)
        if column == 0:
            return MARK_WORDS[Mark(int(found.mark[row]))]
        if column == 1:
            return found.name(row)
        if column == 2:
            return found.place(row)
        return found.differences(row) if column == 4 else self._label(row)

    def _named(self, words: str) -> str:
        """Words with the graphs' own name for influence in them."""
        measure = self.pairing.measure if self.pairing is not None else "influence"
        return words.replace("influence", measure).replace("Influence", measure.capitalize())

    @staticmethod
    def _amount(found: Pairing, row: int, column: int) -> str:
        name = "activation" if column in (7, 8) else "influence"
        graph, node = found.node_of(row)
        if name == "activation" and kind_of(graph, node) is not NodeKind.FEATURE:
            return ""
        left, right = (
            float(getattr(side.graph, name)[node]) if node >= 0 else None
            for side, node in ((found.left, int(found.left_node[row])), (found.right, int(found.right_node[row])))
        )
        if column == CHANGE:
            change = (right or 0.0) - (left or 0.0)
            return f"{'+' if change > 0 else ''}{number(change)}"
        value = left if column in (5, 7) else right
        return "–" if value is None else number(value)

    def _label(self, row: int) -> str:
        found = self.pairing
        if found is None:
            return ""
        names = (
            self._session.annotations.labels.get(int(found.left_node[row]), ""),
            found.right.annotations.labels.get(int(found.right_node[row]), ""),
        )
        return " | ".join(dict.fromkeys(name for name in names if name))


class CompareTable(RowsTable):
    """The differences; choosing a row selects the node in both graphs."""

    rowChosen = Signal(int)

    def __init__(self, session: Session, desk: ComparisonDesk, parent: QWidget | None = None) -> None:
        self.rows = CompareModel(session, desk)
        super().__init__(self.rows, "compare-table", "Differences of the two graphs", parent)
        self.rows.setParent(self)
        self.sortByColumn(CHANGE, Qt.SortOrder.DescendingOrder)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self._letters = 0
        self._following = False
        self._fit_text()
        self.selectionModel().currentRowChanged.connect(self._current)

    def follow(self, row: int) -> None:
        """Mark a row of the pairing, or none with -1."""
        self._following = True
        self.choose_place(self.rows.place_of(row))
        self._following = False

    @Slot(QModelIndex, QModelIndex)
    def _current(self, index: QModelIndex, _before: QModelIndex) -> None:
        if not self._following and index.isValid():
            self.rowChosen.emit(self.rows.row_at(index.row()))

    def _fit_text(self) -> None:
        if self.fontMetrics().height() != self._letters:
            self._letters = self.fontMetrics().height()
            self.fit_text(_WIDEST)

    def changeEvent(self, event: QEvent) -> None:
        """Larger text needs wider columns."""
        super().changeEvent(event)
        if event.type() in (QEvent.Type.FontChange, QEvent.Type.StyleChange) and hasattr(self, "_letters"):
            self._fit_text()
