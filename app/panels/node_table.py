"""The node table: the graph's accessible twin, sortable, narrowed by the find bar, bound to the same selection."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QEvent, QModelIndex, Qt, QTimer, Slot
from PySide6.QtWidgets import QAbstractItemView, QCheckBox, QHBoxLayout, QVBoxLayout, QWidget

from app.panels.plain import MutedLabel, tip
from app.panels.rows_table import RIGHT, Index, Rows, RowsModel, RowsTable
from app.reading import KIND_WORDS, kind_of, layer_word, number, token_word
from app.session import Session
from engine.graphs import AttributionGraph, NodeKind

NODE_ROLE = Qt.ItemDataRole.UserRole
COLUMNS = ("Pin", "Kind", "Layer", "Token", "Position", "Feature", "Activation", "Influence", "Label")
_EXPLAINED = (
    "Pinned nodes are part of your circuit",
    "feature, error, embedding, bias or logit",
    "The row of the graph",
    "The token at the node's position; for a logit the token it stands for",
    "The token's number in the prompt, the start token being 0",
    "The feature's number in its dictionary",
    "How active the feature is on this prompt",
    "How much of the explained tokens passes through the node (with neurons: its absolute relevance)",
    "The name a person gave it",
)
# The widest usual text of each column, its title included.
_WIDEST = (
    "pinned",
    "embedding",
    "Layer",
    "<|im_start|>  ",
    "Position",
    "Feature",
    "Activation",
    "Relevance ▾",
    "Label",
)

REST_MS = 60


class NodeTableModel(RowsModel):
    """The nodes of the open graph; only those in view unless `all_nodes`."""

    numeric = frozenset({4, 5, 6, 7})

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__((7, Qt.SortOrder.DescendingOrder), parent)
        self._session = session
        self._all_nodes = False

    # ---- what is shown -----------------------------------------------------------------------------------------

    def set_all_nodes(self, on: bool) -> None:
        """Show the nodes the sliders hide, too."""
        self._all_nodes = on
        self.refill()

    def found(self) -> Rows:
        """Nodes in view, or all; while something is looked for, those found."""
        graph, view = self._session.graph, self._session.view
        if graph is None or view is None:
            return np.zeros(0, dtype=np.int64)
        listed = np.ones(graph.n_nodes, dtype=np.bool_) if self._all_nodes else view.nodes
        found = self._session.finding.found
        return np.flatnonzero(listed if found is None else listed & found)

    def keys(self, nodes: Rows, column: int) -> NDArray[np.generic]:
        """What nodes (n,) are ordered by in a column."""
        session = self._session
        graph = session.graph
        assert graph is not None
        if column == 0:
            return np.isin(nodes, session.annotations.pins)
        if column == 8:
            return np.array([session.annotations.labels.get(int(node), "").lower() for node in nodes])
        if column == 3:
            return np.array([token_word(graph, int(node)) for node in nodes])
        arrays: dict[int, NDArray[Any]] = {
            1: graph.kind, 2: graph.layer, 4: graph.position, 5: graph.feature, 6: graph.activation
        }  # fmt: skip
        found: NDArray[Any] = arrays.get(column, graph.influence)[nodes]
        return found

    # ---- Qt ----------------------------------------------------------------------------------------------------

    def columnCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008 - Qt's own default
        """See COLUMNS."""
        return 0 if parent.isValid() else len(COLUMNS)

    def title(self, section: int) -> str:
        """See COLUMNS."""
        graph = self._session.graph
        neurons = graph is not None and graph.measure == "relevance"
        return "Relevance" if section == 7 and neurons else COLUMNS[section]

    def explained(self, section: int) -> str:
        """What a column means."""
        return _EXPLAINED[section]

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> object:
        """One cell."""
        graph = self._session.graph
        if graph is None or not index.isValid() or index.row() >= len(self._rows):
            return None
        node = int(self._rows[index.row()])
        if role == NODE_ROLE:
            return node
        if role == Qt.ItemDataRole.DisplayRole:
            return self._cell(node, index.column())
        if role == Qt.ItemDataRole.ToolTipRole:
            return tip(f"{self._session.node_name(node)}\n{graph.describe(node)}")
        return RIGHT if role == Qt.ItemDataRole.TextAlignmentRole and index.column() in self.numeric else None

    def _cell(self, node: int, column: int) -> str:
        graph = self._session.graph
        assert graph is not None
        # Asked for hundreds of cells whenever a slider moves: only the one that is wanted is made.
        if column == 0:
            return "pinned" if node in self._session.annotations.pins else ""
        if column == 2:
            return layer_word(graph, node)
        if column == 3:
            return token_word(graph, node)
        if column == 4:
            position = int(graph.position[node])
            return str(position) if position >= 0 else "–"
        if column == 8:
            return self._session.annotations.labels.get(node, "")
        return _of_kind(graph, node, column)


def _of_kind(graph: AttributionGraph, node: int, column: int) -> str:
    """The cells that not every kind of node has."""
    kind = kind_of(graph, node)
    if column == 1:
        return KIND_WORDS[kind]
    if column == 7:
        return number(float(graph.influence[node])) if kind is not NodeKind.LOGIT else ""
    if kind is not NodeKind.FEATURE:
        return ""
    return str(int(graph.feature[node])) if column == 5 else number(float(graph.activation[node]))


class NodeTable(QWidget):
    """The table; while something is looked for, of what was found."""

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.session = session
        self.nodes = NodeTableModel(session, self)
        self.table = RowsTable(self.nodes, "node-table", "Nodes of the graph")
        self.table.sortByColumn(7, Qt.SortOrder.DescendingOrder)
        self.table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self._letters = 0
        self._fit_text()
        self.everything = QCheckBox("Also hidden nodes")
        self.everything.setToolTip("List the nodes the sliders hide, too; choosing one brings it into view")
        self.count = MutedLabel()
        row = QHBoxLayout()
        row.addWidget(self.count)
        row.addStretch(1)
        row.addWidget(self.everything)
        column_box = QVBoxLayout(self)
        column_box.setContentsMargins(8, 4, 8, 4)
        column_box.setSpacing(4)
        column_box.addLayout(row)
        column_box.addWidget(self.table, 1)
        self._following = False
        self.everything.toggled.connect(self.nodes.set_all_nodes)
        self.nodes.modelReset.connect(self._counted)
        selection = self.table.selectionModel()
        assert selection is not None
        selection.currentRowChanged.connect(self._current)
        session.traceChanged.connect(self.nodes.refill)
        session.annotationsChanged.connect(self.nodes.refill)
        session.finding.changed.connect(self.nodes.refill)
        # While a slider moves the graph goes first; the table follows when it comes to rest.
        self._rest = QTimer(self)
        self._rest.setSingleShot(True)
        self._rest.setInterval(REST_MS)
        self._rest.timeout.connect(self.nodes.refill)
        session.viewChanged.connect(self._rest.start)
        session.selectionChanged.connect(self._follow)
        self._counted()

    def _fit_text(self) -> None:
        """Columns as wide as their texts, again when the size of text changes; between that a person may drag them."""
        if self.fontMetrics().height() != self._letters:
            self._letters = self.fontMetrics().height()
            self.table.fit_text(_WIDEST)

    def changeEvent(self, event: QEvent) -> None:
        """Larger text needs wider columns."""
        super().changeEvent(event)
        if event.type() in (QEvent.Type.FontChange, QEvent.Type.StyleChange) and hasattr(self, "_letters"):
            self._fit_text()

    @Slot()
    def _counted(self) -> None:
        graph, found = self.session.graph, self.session.finding.found
        total = 0 if graph is None else graph.n_nodes
        of = f"{total:,} nodes" if found is None else f"{int(found.sum()):,} found"
        self.count.setText(f"{self.nodes.rowCount():,} of {of}")
        self._follow(self.session.selected)

    @Slot(QModelIndex, QModelIndex)
    def _current(self, index: QModelIndex, _before: QModelIndex) -> None:
        if not self._following and index.isValid():
            self.session.select(self.nodes.row_at(index.row()))

    @Slot(int)
    def _follow(self, node: int) -> None:
        if self._rest.isActive():  # a node that was hidden is in view now: its row is wanted
            self._rest.stop()
            self.nodes.refill()
        self._following = True
        self.table.choose_place(self.nodes.place_of(node))
        self._following = False
