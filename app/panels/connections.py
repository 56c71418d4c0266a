"""What goes into the selected node and what comes out of it: two searchable lists and a bar of shares."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import (
    QAbstractTableModel,
    QEvent,
    QModelIndex,
    QPersistentModelIndex,
    Qt,
    Signal,
    Slot,
)
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import (
    QAbstractItemView,
    QHBoxLayout,
    QHeaderView,
    QLineEdit,
    QSplitter,
    QTableView,
    QVBoxLayout,
    QWidget,
)

from app.panels.plain import Heading, Hint, MutedLabel, tip
from app.panels.share_bar import SHARE_ROLE, ShareBar, ShareDelegate
from app.panels.token_bars import percent
from app.reading import GLYPHS, input_shares, kind_of, number, search_text, short_name
from app.session import Session

Index = QModelIndex | QPersistentModelIndex
NODE_ROLE = Qt.ItemDataRole.UserRole
MIDDLE = Qt.AlignmentFlag.AlignVCenter


class ConnectionsModel(QAbstractTableModel):
    """The edges of one node in one direction, strongest first: name, signed weight, share of the target's input."""

    TITLES = ("Node", "Weight", "Share")

    def __init__(self, session: Session, *, inputs: bool, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session, self._inputs = session, inputs
        self._all: NDArray[np.int64] = np.zeros(0, dtype=np.int64)
        self._rows = self._all
        self._words = ""
        self._largest = 1.0

    def show_node(self, node: int) -> None:
        """Show the edges of another node (-1: none)."""
        graph = self._session.graph
        if graph is None or node < 0:
            edges = np.zeros(0, dtype=np.int64)
        elif self._inputs:
            edges = graph.inputs(node)
        else:
            edges = graph.outputs(node)
        self._all = edges
        self._largest = 1.0
        if graph is not None and len(edges):
            self._largest = max(float(np.abs(graph.share[edges]).max()), 1e-12)
        self._refilter()

    def set_words(self, words: str) -> None:
        """Show only nodes that hold every word typed."""
        self._words = words.lower().strip()
        self._refilter()

    def _refilter(self) -> None:
        self.beginResetModel()
        wanted = self._words.split()
        self._rows = self._all
        if wanted:
            kept = [edge for edge in self._all if all(word in self._search_text(int(edge)) for word in wanted)]
            self._rows = np.array(kept, dtype=np.int64)
        self.endResetModel()

    def _search_text(self, edge: int) -> str:
        graph = self._session.graph
        assert graph is not None
        node = self._other(edge)
        return search_text(graph, node, self._session.annotations.labels.get(node, ""))

    def _other(self, edge: int) -> int:
        graph = self._session.graph
        assert graph is not None
        return int(graph.source[edge] if self._inputs else graph.target[edge])

    def counts(self) -> tuple[int, int]:
        """How many edges are listed, and how many there are."""
        return len(self._rows), len(self._all)

    def node_at(self, row: int) -> int:
        """The node at the other end of a row's edge."""
        return self._other(int(self._rows[row]))

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008 - Qt's own default
        """The number of edges listed."""
        return 0 if parent.isValid() else len(self._rows)

    def columnCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008 - Qt's own default
        """Node, weight, share."""
        return 0 if parent.isValid() else len(self.TITLES)

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> object:
        """Titles and what they mean."""
        if orientation is not Qt.Orientation.Horizontal:
            return None
        if role == Qt.ItemDataRole.DisplayRole:
            return self.TITLES[section]
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return int((Qt.AlignmentFlag.AlignLeft if section == 0 else Qt.AlignmentFlag.AlignRight) | MIDDLE)
        if role == Qt.ItemDataRole.ToolTipRole:
            return tip(
                (
                    "The node at the other end; Enter or double-click goes there",
                    "Direct effect of the source on the target's value, attention and norms held fixed",
                    "The weight as a share of all input of the target, drawn beside the largest share in this list",
                )[section]
            )
        return None

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> object:
        """Texts, and the values the delegate draws."""
        graph = self._session.graph
        if graph is None or not index.isValid() or index.row() >= len(self._rows):
            return None
        edge = int(self._rows[index.row()])
        node = self._other(edge)
        if role == NODE_ROLE:
            return node
        if role == SHARE_ROLE:
            return float(graph.share[edge]) / self._largest
        if role == Qt.ItemDataRole.DisplayRole:
            label = self._session.annotations.labels.get(node)
            name = label or short_name(graph, node)
            return (
                f"{GLYPHS[kind_of(graph, node)]} {name}",
                number(float(graph.weight[edge])),
                f"{100 * float(graph.share[edge]):+.1f} %".replace("-", "−"),
            )[index.column()]
        if role == Qt.ItemDataRole.ToolTipRole:
            weight = number(float(graph.weight[edge]))
            share = 100 * float(graph.share[edge])
            name, place = self._session.node_name(node), graph.describe(node)
            return tip(f"{name}\n{place}\nweight {weight}, share {share:+.2f} %")
        if role == Qt.ItemDataRole.TextAlignmentRole and index.column() > 0:
            return int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        return None


class ConnectionsTable(QTableView):
    """One direction; Enter or a double-click goes to the node."""

    chosen = Signal(int)

    def __init__(self, model: ConnectionsModel, name: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAccessibleName(name)
        self.setModel(model)
        self.connections = model
        self.setItemDelegateForColumn(2, ShareDelegate(self))
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setShowGrid(False)
        self.setWordWrap(False)
        self.setTabKeyNavigation(False)
        vertical, horizontal = self.verticalHeader(), self.horizontalHeader()
        vertical.hide()
        horizontal.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        horizontal.setSectionResizeMode(1, QHeaderView.ResizeMode.Fixed)
        horizontal.setSectionResizeMode(2, QHeaderView.ResizeMode.Fixed)
        self._fit_text()
        horizontal.setHighlightSections(False)
        self.doubleClicked.connect(self._go)

    def _fit_text(self) -> None:
        metrics = self.fontMetrics()
        self.verticalHeader().setDefaultSectionSize(metrics.height() + 6)
        self.horizontalHeader().resizeSection(1, metrics.horizontalAdvance("−0,000") + 14)
        self.horizontalHeader().resizeSection(2, metrics.horizontalAdvance("Share") + 18)

    def changeEvent(self, event: QEvent) -> None:
        """Larger text needs wider columns."""
        super().changeEvent(event)
        if event.type() in (QEvent.Type.FontChange, QEvent.Type.StyleChange) and self.model() is not None:
            self._fit_text()

    @Slot(QModelIndex)
    def _go(self, index: QModelIndex) -> None:
        if index.isValid():
            self.chosen.emit(self.connections.node_at(index.row()))

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Enter goes to the node."""
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self._go(self.currentIndex())
            return
        super().keyPressEvent(event)


class ConnectionsPanel(QWidget):
    """Inputs above outputs."""

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.session = session
        self.inputs = ConnectionsModel(session, inputs=True, parent=self)
        self.outputs = ConnectionsModel(session, inputs=False, parent=self)
        self.input_table = ConnectionsTable(self.inputs, "Inputs of the selected node")
        self.output_table = ConnectionsTable(self.outputs, "Outputs of the selected node")
        self.input_title, self.output_title = Heading("Inputs"), Heading("Outputs")
        self.shares = ShareBar()
        self.share_words = MutedLabel("", wrap=True)
        self.search = QLineEdit()
        self.search.setPlaceholderText("Search connections: label, token, L12, error…")
        self.search.setAccessibleName("Search connections")
        self.search.setClearButtonEnabled(True)
        self.hint = Hint("Select a node to see what goes into it and what it acts on.")
        self.lists = self._lists()
        column = QVBoxLayout(self)
        column.setContentsMargins(8, 4, 8, 6)
        column.setSpacing(4)
        column.addWidget(self.hint)
        column.addWidget(self.lists, 1)
        self.search.textChanged.connect(self._search)
        self.input_table.chosen.connect(self._go)
        self.output_table.chosen.connect(self._go)
        session.selectionChanged.connect(self._show)
        session.annotationsChanged.connect(self._show_again)
        self._show(session.selected)

    def _lists(self) -> QWidget:
        above, below, lists = QWidget(), QWidget(), QWidget()
        top = QVBoxLayout(above)
        top.setContentsMargins(0, 0, 0, 0)
        top.setSpacing(3)
        top.addWidget(self.input_title)
        top.addWidget(self.shares)
        top.addWidget(self.share_words)
        top.addWidget(self.input_table, 1)
        bottom = QVBoxLayout(below)
        bottom.setContentsMargins(0, 4, 0, 0)
        bottom.setSpacing(3)
        bottom.addWidget(self.output_title)
        bottom.addWidget(self.output_table, 1)
        splitter = QSplitter(Qt.Orientation.Vertical)
        splitter.addWidget(above)
        splitter.addWidget(below)
        splitter.setChildrenCollapsible(False)
        splitter.setSizes([240, 140])
        column = QVBoxLayout(lists)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        row = QHBoxLayout()
        row.addWidget(self.search)
        column.addLayout(row)
        column.addWidget(splitter, 1)
        return lists

    @Slot()
    def _show_again(self) -> None:
        self._show(self.session.selected)

    @Slot(int)
    def _show(self, node: int) -> None:
        graph = self.session.graph
        shown = graph is not None and node >= 0
        self.hint.setVisible(not shown)
        self.lists.setVisible(shown)
        self.inputs.show_node(node)
        self.outputs.show_node(node)
        shares = input_shares(graph, node) if graph is not None and node >= 0 else []
        self.shares.show_shares(shares)
        self.shares.setVisible(bool(shares))
        words = " · ".join(f"{entry.name} {percent(entry.share)}".replace(" ", "\u00a0") for entry in shares)
        self.share_words.setText(words)
        self.share_words.setVisible(bool(shares))
        self.share_words.setToolTip(self.shares.toolTip())
        self._titles()

    def _titles(self) -> None:
        for title, name, model in (
            (self.input_title, "Inputs", self.inputs),
            (self.output_title, "Outputs", self.outputs),
        ):
            listed, there = model.counts()
            title.setText(f"{name} ({listed:,})" if listed == there else f"{name} ({listed:,} of {there:,})")

    @Slot(str)
    def _search(self, words: str) -> None:
        self.inputs.set_words(words)
        self.outputs.set_words(words)
        self._titles()

    @Slot(int)
    def _go(self, node: int) -> None:
        self.session.select(node)
