"""One direction of a node's edges as a tree: groups with their sums above, their edges below; or edges alone."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QAbstractItemModel, QModelIndex, QPersistentModelIndex, Qt
from PySide6.QtWidgets import QWidget

from app.finding import names_of
from app.panels.plain import tip
from app.panels.share_bar import SHARE_ROLE
from app.reading import GLYPHS, kind_of, number, short_name, signed_percent
from app.session import Session
from engine.graphs import AttributionGraph
from engine.graphs.connections import ConnectionGroup, Direction, GroupedBy, group_connections
from engine.graphs.search import Mask

Index = QModelIndex | QPersistentModelIndex
NODE_ROLE = Qt.ItemDataRole.UserRole
MIDDLE = Qt.AlignmentFlag.AlignVCenter
NO_EDGES: NDArray[np.int64] = np.zeros(0, dtype=np.int64)
_TIPS = (
    "The node at the other end, or what the nodes of a group have in common and how many they are; Enter or "
    "double-click goes there",
    "Direct effect of the source on the target's value, attention and norms held fixed; of a group, their sum",
    "The weight as a share of all input of the target, drawn beside the largest in this list; of a group, the sums "
    "of what raises and of what lowers",
)


class ConnectionsModel(QAbstractItemModel):
    """Name, signed weight, and share of the target's input; strongest first. Rows of groups have no node."""

    TITLES = ("Node", "Weight", "Share")

    def __init__(self, session: Session, *, inputs: bool, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session, self._inputs = session, inputs
        self._graph: AttributionGraph | None = None
        self._node = -1
        self._by: GroupedBy | None = None
        self._sign = 0
        self._found: Mask | None = None
        self._there = 0
        self._groups: list[ConnectionGroup] = []  # empty where edges are not grouped
        self._edges = NO_EDGES  # the rows where they are not
        self._largest = 1.0

    # ---- what is shown -----------------------------------------------------------------------------------------

    def show_node(self, node: int) -> None:
        """Show the edges of another node (-1: none)."""
        self._node = node
        self.refill()

    def narrow(self, found: Mask | None, sign: int) -> None:
        """Show only edges from or to the nodes found, and only those that raise (1) or lower (-1); 0 is both."""
        self._found, self._sign = found, sign
        self.refill()

    def group_by(self, by: GroupedBy | None) -> None:
        """Group by token, layer, supernode or label; None lists edges one by one."""
        self._by = by
        self.refill()

    def refill(self) -> None:
        """Find the rows again."""
        self.beginResetModel()
        self._graph = graph = self._session.graph
        self._groups, self._edges, self._there = [], NO_EDGES, 0
        if graph is not None and 0 <= self._node < graph.n_nodes:
            self._fill(graph)
        self.endResetModel()

    def _fill(self, graph: AttributionGraph) -> None:
        every = graph.inputs(self._node) if self._inputs else graph.outputs(self._node)
        self._there = len(every)
        found = self._found if self._found is not None and len(self._found) == graph.n_nodes else None
        if self._by is None:
            other = (graph.source if self._inputs else graph.target)[every]
            edges = every if found is None else every[found[other]]
            self._edges = self._signed(graph, edges)
            tops = np.abs(graph.share[self._edges])
        else:
            names = names_of(self._session.annotations)
            direction: Direction = "inputs" if self._inputs else "outputs"
            groups = group_connections(graph, self._node, direction, self._by, names, found=found)
            signed = [self._signed_group(graph, group) for group in groups]
            self._groups = [group for group in signed if len(group.edges)]
            tops = np.array([max(group.positive, -group.negative) for group in self._groups])
        self._largest = max(float(tops.max()), 1e-12) if len(tops) else 1.0

    def _signed(self, graph: AttributionGraph, edges: NDArray[np.int64]) -> NDArray[np.int64]:
        return edges if self._sign == 0 else edges[np.sign(graph.weight[edges]) == self._sign]

    def _signed_group(self, graph: AttributionGraph, group: ConnectionGroup) -> ConnectionGroup:
        if self._sign == 0:
            return group
        edges = self._signed(graph, group.edges)
        return replace(
            group,
            edges=edges,
            positive=group.positive if self._sign > 0 else 0.0,
            negative=group.negative if self._sign < 0 else 0.0,
            weight=float(graph.weight[edges].sum(dtype=np.float64)),
        )

    def counts(self) -> tuple[int, int]:
        """How many edges are listed, and how many there are."""
        return sum(len(group.edges) for group in self._groups) or len(self._edges), self._there

    # ---- rows --------------------------------------------------------------------------------------------------

    def group_at(self, index: Index) -> ConnectionGroup | None:
        """The group a row stands for; None for a row of one edge."""
        return self._groups[index.row()] if index.isValid() and self._groups and not index.internalId() else None

    def edge_at(self, index: Index) -> int:
        """The edge of a row, or -1 for a group."""
        if not index.isValid() or self.group_at(index) is not None:
            return -1
        edges = self._groups[index.internalId() - 1].edges if index.internalId() else self._edges
        return int(edges[index.row()])

    def node_at(self, index: Index) -> int:
        """The node at the other end of a row's edge, or -1 for a group."""
        edge, graph = self.edge_at(index), self._graph
        if edge < 0 or graph is None:
            return -1
        return int(graph.source[edge] if self._inputs else graph.target[edge])

    def index(self, row: int, column: int, parent: Index = QModelIndex()) -> QModelIndex:  # noqa: B008 - Qt's default
        """Groups and single edges have number 0; edges of a group the group's row and 1."""
        if not self.hasIndex(row, column, parent):
            return QModelIndex()
        return self.createIndex(row, column, parent.row() + 1 if parent.isValid() else 0)

    # Qt has two functions of this name; the other one gives a QObject's parent.
    def parent(self, index: Index = QModelIndex()) -> QModelIndex:  # type: ignore[override]  # noqa: B008
        """The group of an edge."""
        number = index.internalId() if index.isValid() else 0
        return self.createIndex(number - 1, 0, 0) if number else QModelIndex()

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008 - Qt's own default
        """Groups or edges; below a group, its edges."""
        if not parent.isValid():
            return len(self._groups) or len(self._edges)
        group = self.group_at(parent)
        return 0 if group is None or parent.column() else len(group.edges)

    def columnCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008 - Qt's own default
        """Node, weight, share."""
        return len(self.TITLES)

    # ---- texts -------------------------------------------------------------------------------------------------

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> object:
        """Titles and what they mean."""
        if orientation is not Qt.Orientation.Horizontal:
            return None
        if role == Qt.ItemDataRole.DisplayRole:
            return self.TITLES[section]
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return int((Qt.AlignmentFlag.AlignLeft if section == 0 else Qt.AlignmentFlag.AlignRight) | MIDDLE)
        return tip(_TIPS[section]) if role == Qt.ItemDataRole.ToolTipRole else None

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> object:
        """Texts, and the pair of shares the delegate draws."""
        if self._graph is None or not index.isValid():
            return None
        if role == Qt.ItemDataRole.TextAlignmentRole and index.column() > 0:
            return int(Qt.AlignmentFlag.AlignRight | MIDDLE)
        group = self.group_at(index)
        return self._edge_data(index, role) if group is None else self._group_data(group, index.column(), role)

    def _group_data(self, group: ConnectionGroup, column: int, role: int) -> object:
        if role == NODE_ROLE:
            return -1
        if role == SHARE_ROLE:
            return group.negative / self._largest, group.positive / self._largest
        if role == Qt.ItemDataRole.DisplayRole:
            return (f"{group.name} ({len(group.edges):,})", number(group.weight), signed_percent(group.share))[column]
        if role == Qt.ItemDataRole.ToolTipRole:
            raises, lowers = signed_percent(group.positive), signed_percent(group.negative)
            edges = f"{len(group.edges):,} edge{'s' if len(group.edges) > 1 else ''}"
            return tip(f"{group.name}: {edges}\nweights add up to {number(group.weight)}\nshares {raises}, {lowers}")
        return None

    def _edge_data(self, index: Index, role: int) -> object:
        graph = cast(AttributionGraph, self._graph)
        edge, node = self.edge_at(index), self.node_at(index)
        share, weight = float(graph.share[edge]), number(float(graph.weight[edge]))
        if role == NODE_ROLE:
            return node
        if role == SHARE_ROLE:
            return min(share, 0.0) / self._largest, max(share, 0.0) / self._largest
        if role == Qt.ItemDataRole.DisplayRole:
            name = self._session.annotations.labels.get(node) or short_name(graph, node)
            return (f"{GLYPHS[kind_of(graph, node)]} {name}", weight, signed_percent(share))[index.column()]
        if role == Qt.ItemDataRole.ToolTipRole:
            name, place = self._session.node_name(node), graph.describe(node)
            return tip(f"{name}\n{place}\nweight {weight}, share {signed_percent(share)}")
        return None
