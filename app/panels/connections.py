"""What goes into the selected node and what comes out of it: two lists, searchable and grouped, and a bar of shares."""

from __future__ import annotations

from typing import cast

from PySide6.QtCore import QEvent, QModelIndex, Qt, Signal, Slot
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import (
    QAbstractItemView,
    QComboBox,
    QHeaderView,
    QSplitter,
    QTreeView,
    QVBoxLayout,
    QWidget,
)

from app.panels.connections_model import ConnectionsModel
from app.panels.find_line import FindLine
from app.panels.first_click import FirstClick
from app.panels.flow import FlowRow
from app.panels.plain import Heading, Hint, MutedLabel, ProblemLabel, tip
from app.panels.rows_table import ROW_ROOM
from app.panels.share_bar import ShareBar, ShareDelegate
from app.reading import input_shares, kind_of, percent
from app.session import Session
from engine.errors import RequestError
from engine.graphs import NodeKind
from engine.graphs.connections import GroupedBy

GROUPINGS: tuple[tuple[str, GroupedBy | None], ...] = (
    ("no groups", None),
    ("by token", "token"),
    ("by layer", "layer"),
    ("by supernode", "supernode"),
    ("by label", "label"),
)
NO_INPUTS = {
    NodeKind.EMBEDDING: "An embedding is where the prompt comes in: nothing goes into it.",
    NodeKind.ERROR: "An error is a given of this prompt: what goes into it is not traced.",
    NodeKind.BIAS: "A bias is the same for every prompt: nothing goes into it.",
}
NO_OUTPUTS = {NodeKind.LOGIT: "A logit is where the graph ends: it acts on nothing."}
MOST_HEIGHT = 16_777_215  # Qt's own
SIGNS = (("both signs", 0), ("positive", 1), ("negative", -1))


class ConnectionsTable(QTreeView):
    """One direction; Enter or a click goes to the node, or opens and closes a group."""

    chosen = Signal(int)

    def __init__(self, model: ConnectionsModel, name: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAccessibleName(name)
        self.setModel(model)
        self.connections = model
        self._first_click = FirstClick()
        self._open: set[str] = set()  # names of groups that were opened: the same ones open for the next node
        self.setItemDelegateForColumn(2, ShareDelegate(self))
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setUniformRowHeights(True)
        self.setExpandsOnDoubleClick(False)
        self.setRootIsDecorated(False)
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        header = self.header()
        header.setStretchLastSection(False)
        header.setSectionsMovable(False)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        header.setSectionResizeMode(1, QHeaderView.ResizeMode.Fixed)
        header.setSectionResizeMode(2, QHeaderView.ResizeMode.Fixed)
        self._fit_text()
        self.clicked.connect(self._clicked)
        self.expanded.connect(self._opened)
        self.collapsed.connect(self._closed)
        model.modelReset.connect(self._open_again)

    def _fit_text(self) -> None:
        metrics = self.fontMetrics()
        self.setIndentation(metrics.height())
        # Three rows can always be read: a panel that is too low for them scrolls.
        self.setMinimumHeight(self.header().sizeHint().height() + 3 * (metrics.height() + ROW_ROOM) + 4)
        self.header().resizeSection(1, metrics.horizontalAdvance("−0,000") + 14)
        self.header().resizeSection(2, metrics.horizontalAdvance("Share") + 18)

    def changeEvent(self, event: QEvent) -> None:
        """Larger text needs wider columns."""
        super().changeEvent(event)
        if event.type() in (QEvent.Type.FontChange, QEvent.Type.StyleChange) and self.model() is not None:
            self._fit_text()

    def open_all(self) -> None:
        """Open every group: what was searched for is in them."""
        for row in range(self.connections.rowCount()):
            self.expand(self.connections.index(row, 0))

    @Slot()
    def _open_again(self) -> None:
        model = self.connections
        self.setRootIsDecorated(model.group_at(model.index(0, 0)) is not None)
        for row in range(model.rowCount()):
            group = model.group_at(model.index(row, 0))
            if group is None:
                return
            if group.name in self._open:
                self.expand(model.index(row, 0))

    @Slot(QModelIndex)
    def _opened(self, index: QModelIndex) -> None:
        group = self.connections.group_at(index)
        if group is not None:
            self._open.add(group.name)

    @Slot(QModelIndex)
    def _closed(self, index: QModelIndex) -> None:
        group = self.connections.group_at(index)
        if group is not None:
            self._open.discard(group.name)

    @Slot(QModelIndex)
    def _clicked(self, index: QModelIndex) -> None:
        """The second click of a double one meets another node's list: it means nothing."""
        if self._first_click.counts():
            self._go(index)

    @Slot(QModelIndex)
    def _go(self, index: QModelIndex) -> None:
        node = self.connections.node_at(index)
        if node >= 0:
            self.chosen.emit(node)
        elif index.isValid():
            top = index.siblingAtColumn(0)
            self.setExpanded(top, not self.isExpanded(top))

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
        self.search = FindLine(session)
        self.search.setObjectName("connections-search")
        self.search.setPlaceholderText("Search: label, token, layer:3..8, kind:error…")
        self.search.setAccessibleName("Search connections")
        self.search.setToolTip(
            tip(
                "The same words as in the find bar. sign: is about the effect on the target along "
                "all paths that are in this graph, not about the edge."
            )
        )
        self.problem = ProblemLabel()
        self.grouping, self.sign = QComboBox(), QComboBox()
        self.grouping.setAccessibleName("Group connections")
        self.sign.setAccessibleName("Sign of the connections")
        self.sign.setToolTip(tip("Edges that raise their target's value, or edges that lower it"))
        for text, by in GROUPINGS:
            self.grouping.addItem(text, by)
        for text, sign in SIGNS:
            self.sign.addItem(text, sign)
        self.hint = Hint("Select a node to see what goes into it and what it acts on.")
        self.no_inputs, self.no_outputs = Hint(""), Hint("")
        self.lists = self._lists()
        column = QVBoxLayout(self)
        column.setContentsMargins(8, 4, 8, 6)
        column.setSpacing(4)
        column.addWidget(self.hint)
        column.addWidget(self.lists, 1)
        self.search.textChanged.connect(self._narrow)
        self.search.stepped.connect(self._to_list)
        self.sign.currentIndexChanged.connect(self._narrow)
        self.grouping.currentIndexChanged.connect(self._group)
        self.input_table.chosen.connect(self._go)
        self.output_table.chosen.connect(self._go)
        session.selectionChanged.connect(self._show)
        session.annotationsChanged.connect(self._show_again)
        self._show(session.selected)

    def _lists(self) -> QWidget:
        self.above, self.below = above, below = QWidget(), QWidget()
        lists, choices = QWidget(), FlowRow(gap=6)
        top = QVBoxLayout(above)
        top.setContentsMargins(0, 0, 0, 0)
        top.setSpacing(3)
        top.addWidget(self.input_title)
        top.addWidget(self.shares)
        top.addWidget(self.share_words)
        top.addWidget(self.input_table, 1)
        top.addWidget(self.no_inputs)
        bottom = QVBoxLayout(below)
        bottom.setContentsMargins(0, 4, 0, 0)
        bottom.setSpacing(3)
        bottom.addWidget(self.output_title)
        bottom.addWidget(self.output_table, 1)
        bottom.addWidget(self.no_outputs)
        splitter = QSplitter(Qt.Orientation.Vertical)
        splitter.addWidget(above)
        splitter.addWidget(below)
        splitter.setChildrenCollapsible(False)
        splitter.setSizes([240, 140])
        choices.flow.addWidget(self.grouping)
        choices.flow.addWidget(self.sign)
        column = QVBoxLayout(lists)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        column.addWidget(self.search)
        column.addWidget(self.problem)
        column.addWidget(choices)
        column.addWidget(splitter, 1)
        return lists

    @Slot()
    def _show_again(self) -> None:
        self._narrow()
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
        if graph is not None and node >= 0:
            self._tell_empty(kind_of(graph, node))

    def _tell_empty(self, kind: NodeKind) -> None:
        """A side without any edge says why, and leaves its room to the other one."""
        for side, table, hint, words in (
            (self.above, self.input_table, self.no_inputs, NO_INPUTS.get(kind, "No input of this node was traced.")),
            (
                self.below,
                self.output_table,
                self.no_outputs,
                NO_OUTPUTS.get(kind, "Nothing that was traced reads this node."),
            ),
        ):
            there = table.connections.counts()[1] > 0
            table.setVisible(there)
            hint.setVisible(not there)
            hint.setText(words)
            side.setMaximumHeight(MOST_HEIGHT if there else 6 * self.fontMetrics().height())

    def _titles(self) -> None:
        for title, name, model in (
            (self.input_title, "Inputs", self.inputs),
            (self.output_title, "Outputs", self.outputs),
        ):
            listed, there = model.counts()
            title.setText(f"{name} ({listed:,})" if listed == there else f"{name} ({listed:,} of {there:,})")

    @Slot()
    def _narrow(self) -> None:
        """Search and sign; a query that is not understood says so, and what was found before it stays."""
        search, query = self.session.finding.search, self.search.text().strip()
        problem, found = "", None
        if search is not None and query:
            try:
                found = search.find(query)
            except RequestError as error:
                problem = error.sentence
        self.problem.show_problem(problem)
        if problem:
            return
        sign = int(self.sign.currentData())
        for model, table in ((self.inputs, self.input_table), (self.outputs, self.output_table)):
            model.narrow(found, sign)
            if found is not None:
                table.open_all()
        self._titles()

    @Slot()
    def _group(self) -> None:
        by = cast("GroupedBy | None", self.grouping.currentData())
        self.inputs.group_by(by)
        self.outputs.group_by(by)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Escape ends the search."""
        if event.key() == Qt.Key.Key_Escape and self.search.text():
            self.search.clear()
            return
        super().keyPressEvent(event)

    @Slot()
    def _to_list(self) -> None:
        table = self.input_table if self.inputs.rowCount() else self.output_table
        table.setFocus(Qt.FocusReason.OtherFocusReason)
        table.setCurrentIndex(table.connections.index(0, 0))

    @Slot(int)
    def _go(self, node: int) -> None:
        self.session.select(node)
