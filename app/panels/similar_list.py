"""In the inspector: features like the selected one, by role in this graph and by decoder."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QSize, Qt, Signal, Slot
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import (
    QAbstractItemView,
    QHBoxLayout,
    QHeaderView,
    QPushButton,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
    QWidget,
)

from app.panels.first_click import FirstClick
from app.panels.plain import Heading, MutedLabel, tip
from app.panels.rows_table import ROW_ROOM, RoomyRows
from app.reading import Similar, kind_of, short_name
from app.session import Session
from app.similar import SimilarDesk
from engine.graphs import NodeKind

NODE_ROLE = Qt.ItemDataRole.UserRole
COUNT = 6
ROLE_TIP = (
    "How alike their edges in this graph are: the cosine of the shares of their inputs, and of what their outputs make "
    "up of nodes that matter; 100 % is the same role"
)
DECODER_TIP = "How alike what they write is: the cosine of their decoder vectors, 0 where they write opposite things"

TEXT_TIP = (
    "How much they are active at the same tokens of the indexed text: the cosine of their activations over all of it, "
    "estimated to within about 12 %; kept for the few most alike from 50 % on"
)


class _Rows(QTreeWidget):
    """As high as its rows; Enter or a click goes to the feature."""

    chosen = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._room = 0  # rows that are expected
        self._first_click = FirstClick()
        self.setAccessibleName("Similar features")
        self.setHeaderLabels(["Feature", "Role", "Decoder", "Text"])
        self.setRootIsDecorated(False)
        self.setUniformRowHeights(True)
        self.setItemDelegate(RoomyRows(self))
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        header, head = self.header(), self.headerItem()
        header.setStretchLastSection(False)
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        head.setToolTip(1, tip(ROLE_TIP))
        head.setToolTip(2, tip(DECODER_TIP))
        head.setToolTip(3, tip(TEXT_TIP))
        for column in (1, 2, 3):
            head.setTextAlignment(column, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        self.itemClicked.connect(self._clicked)

    def wait(self) -> None:
        """Show nothing in the room of what was there: what comes next is there within a moment."""
        self._room = max(self._room, self.topLevelItemCount())
        self.clear()

    def begin(self) -> None:
        """What was waited for is here."""
        self._room = 0
        self.clear()

    def sizeHint(self) -> QSize:
        """Header and rows, without a scroll bar."""
        rows = max(self.topLevelItemCount(), self._room)
        row = self.fontMetrics().height() + ROW_ROOM
        return QSize(super().sizeHint().width(), self.header().sizeHint().height() + rows * row + 2 * self.frameWidth())

    minimumSizeHint = sizeHint

    @Slot(QTreeWidgetItem, int)
    def _clicked(self, item: QTreeWidgetItem, column: int) -> None:
        if self._first_click.counts():
            self._activated(item, column)

    @Slot(QTreeWidgetItem, int)
    def _activated(self, item: QTreeWidgetItem, _column: int) -> None:
        self.chosen.emit(int(item.data(0, NODE_ROLE)))

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Enter goes to the feature on every platform."""
        item = self.currentItem()
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and item is not None:
            self._activated(item, 0)
            return
        super().keyPressEvent(event)

    def changeEvent(self, event: QEvent) -> None:
        """Larger text makes higher rows."""
        super().changeEvent(event)
        if event.type() == QEvent.Type.FontChange:
            self.updateGeometry()


class SimilarList(QWidget):
    """What is known of it at once, and an offer of the rest."""

    def __init__(self, session: Session, desk: SimilarDesk, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.session, self.desk = session, desk
        self.title = Heading("Similar features")
        self.rows = _Rows()
        self.state = MutedLabel("", wrap=True)
        self.compare = QPushButton("Compare")
        self.compare.setAccessibleName("Compare decoders")
        row = QHBoxLayout()
        row.addWidget(self.state, 1)
        row.addWidget(self.compare)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        column.addWidget(self.title)
        column.addWidget(self.rows)
        column.addLayout(row)
        self.rows.chosen.connect(session.select)
        self.compare.clicked.connect(self._compare)
        desk.changed.connect(self._changed)
        desk.stopped.connect(self._changed)

    def show_node(self, node: int) -> None:
        """Show the features like a node; hidden where the node is none."""
        graph = self.session.graph
        feature = graph is not None and node >= 0 and kind_of(graph, node) is NodeKind.FEATURE
        self.setVisible(feature)
        if not feature:
            return
        found = self.desk.of(node, COUNT)
        if found is None:
            self.rows.wait()
            return
        self._fill(found)
        known, possible = self.desk.known(node), self.desk.can_compare()
        self.compare.setVisible(not known and possible)
        self.state.setVisible(not found or not known)
        if not found:
            self.state.setText("No other feature of this graph has edges like these.")
        elif possible:
            self.state.setText("By their role in this graph; what they write can be compared, too.")
        else:
            self.state.setText("By their role in this graph; with the model loaded, what they write is compared, too.")

    def _fill(self, found: list[Similar]) -> None:
        graph = self.session.graph
        assert graph is not None
        self.rows.begin()
        self.rows.setVisible(bool(found))
        for one in found:
            name = self.session.annotations.labels.get(one.node) or short_name(graph, one.node)
            item = QTreeWidgetItem([name, _share(one.role), _share(one.decoder), _share(one.examples)])
            item.setData(0, NODE_ROLE, one.node)
            item.setToolTip(0, tip(graph.describe(one.node)))
            for column in (1, 2, 3):
                item.setTextAlignment(column, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
            self.rows.addTopLevelItem(item)
        self.rows.updateGeometry()

    @Slot(int)
    def _changed(self, node: int) -> None:
        if node == self.session.selected:
            self.show_node(node)

    @Slot()
    def _compare(self) -> None:
        self.desk.compare(self.session.selected)


def _share(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.0f} %"
