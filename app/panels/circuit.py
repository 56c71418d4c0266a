"""The circuit as a list: groups with what is in them, then single pins; the diagram shows the same."""

from __future__ import annotations

from PySide6.QtCore import QItemSelectionModel, QSize, Qt, Slot
from PySide6.QtGui import QColor, QContextMenuEvent, QIcon, QPainter, QPixmap
from PySide6.QtWidgets import (
    QAbstractItemView,
    QHBoxLayout,
    QMenu,
    QToolButton,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
    QWidget,
)

from app.circuit import CircuitChoice
from app.commands import Edits, Registry
from app.panels.plain import Hint, tip
from app.panels.rows_table import RoomyRows
from app.reading import GLYPHS, kind_of, short_name
from app.session import Session
from engine.graphs import Supernode

NODE_ROLE = Qt.ItemDataRole.UserRole
GROUP_ROLE = Qt.ItemDataRole.UserRole + 1
PLACE_ROLE = Qt.ItemDataRole.UserRole + 2  # the key under which the diagram knows it
BUTTONS = ("edit.pin", "edit.group_pins", "edit.ungroup")
CONTEXT = (
    "edit.pin",
    "edit.label",
    "edit.rename_group",
    "circuit.note",
    "circuit.fold",
    "circuit.put_into",
    "circuit.take_out",
    "edit.ungroup",
    "circuit.remove",
    "circuit.paths",
    "experiment.change",
)


def swatch(colour: str, size: int = 12) -> QIcon:
    """A small square of a group's colour."""
    pixmap = QPixmap(QSize(2 * size, 2 * size))
    pixmap.fill(Qt.GlobalColor.transparent)
    pixmap.setDevicePixelRatio(2)
    painter = QPainter(pixmap)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setBrush(QColor(colour))
    painter.setPen(Qt.PenStyle.NoPen)
    painter.drawRoundedRect(1, 1, size - 2, size - 2, 3, 3)
    painter.end()
    return QIcon(pixmap)


class CircuitPanel(QWidget):
    """Groups with their nodes and groups, then single pins. Names are edited in place (F2)."""

    def __init__(
        self,
        session: Session,
        choice: CircuitChoice,
        edits: Edits,
        registry: Registry,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.session, self.choice, self.edits, self.registry = session, choice, edits, registry
        self.tree = QTreeWidget()
        self.tree.setObjectName("circuit")
        self.tree.setAccessibleName("Pinned nodes and groups")
        self.tree.setHeaderHidden(True)
        self.tree.setIndentation(14)
        self.tree.setUniformRowHeights(True)
        self.tree.setItemDelegate(RoomyRows(self.tree))
        self.tree.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.tree.setEditTriggers(QAbstractItemView.EditTrigger.EditKeyPressed)
        self.tree.setContextMenuPolicy(Qt.ContextMenuPolicy.NoContextMenu)
        self.hint = Hint(
            "Pin what matters: select a node and press P, or Ctrl+click it. Hold G and click nodes to group them."
        )
        buttons = QHBoxLayout()
        buttons.setSpacing(2)
        for command in BUTTONS:
            button = QToolButton()
            button.setDefaultAction(registry.action(command))
            button.setAccessibleName(registry.action(command).command.words)
            buttons.addWidget(button)
        buttons.addStretch(1)
        column = QVBoxLayout(self)
        column.setContentsMargins(8, 2, 8, 6)
        column.setSpacing(2)
        column.addLayout(buttons)
        column.addWidget(self.tree, 1)
        column.addWidget(self.hint, 1)
        self._filling = False
        session.annotationsChanged.connect(self._show)
        choice.changed.connect(self._follow)
        self.tree.itemSelectionChanged.connect(self._chosen)
        self.tree.itemChanged.connect(self._renamed)
        self._show()

    # ---- showing -----------------------------------------------------------------------------------------------

    @Slot()
    def _show(self) -> None:
        self._filling = True
        self.tree.clear()
        circuit = self.session.circuit
        grouped = {node for one in circuit.supernodes for node in one.nodes}
        if self.session.graph is not None:
            for one in circuit.children(None):
                self.tree.addTopLevelItem(self._group_item(one))
            for node in circuit.pins:
                if node not in grouped:
                    self.tree.addTopLevelItem(self._node_item(node))
        self.tree.expandAll()
        empty = self.tree.topLevelItemCount() == 0
        self.tree.setVisible(not empty)
        self.hint.setVisible(empty)
        self._filling = False
        self._follow()

    def _group_item(self, group: Supernode) -> QTreeWidgetItem:
        item = QTreeWidgetItem([group.name])
        item.setData(0, GROUP_ROLE, group.id)
        item.setData(0, PLACE_ROLE, group.place)
        item.setIcon(0, swatch(group.colour))
        words = f"Group {group.name!r} of {len(group.nodes)} nodes; F2 renames it"
        item.setToolTip(0, tip(f"{words}\n{group.note}" if group.note else words))
        item.setFlags(item.flags() | Qt.ItemFlag.ItemIsEditable)
        for inner in self.session.circuit.children(group.id):
            item.addChild(self._group_item(inner))
        for node in group.nodes:
            item.addChild(self._node_item(node))
        return item

    def _node_item(self, node: int) -> QTreeWidgetItem:
        assert self.session.graph is not None
        graph = self.session.graph
        label = self.session.annotations.labels.get(node)
        item = QTreeWidgetItem([f"{GLYPHS[kind_of(graph, node)]} {label or short_name(graph, node)}"])
        item.setData(0, NODE_ROLE, node)
        item.setData(0, PLACE_ROLE, node)
        item.setToolTip(0, tip(f"{self.session.node_name(node)}\n{self.session.graph.describe(node)}"))
        return item

    @Slot()
    def _follow(self) -> None:
        """Select here what is chosen; the last one chosen is the current one."""
        if self._filling:
            return
        self._filling = True
        items = {item.data(0, PLACE_ROLE): item for item in self._items()}
        self.tree.clearSelection()
        for place in self.choice.places:
            item = items.get(place)
            if item is not None:
                self.tree.setCurrentItem(item, 0, QItemSelectionModel.SelectionFlag.Select)
        self._filling = False

    def _items(self) -> list[QTreeWidgetItem]:
        found = [item for i in range(self.tree.topLevelItemCount()) if (item := self.tree.topLevelItem(i)) is not None]
        for item in found:  # grows while it is read: children come after their parents
            found += [item.child(i) for i in range(item.childCount())]
        return found

    # ---- from the person ---------------------------------------------------------------------------------------

    @Slot()
    def _chosen(self) -> None:
        if self._filling:
            return
        selected = [item.data(0, PLACE_ROLE) for item in self._items() if item.isSelected()]
        before = [place for place in self.choice.places if place in selected]
        new = [place for place in selected if place not in before]
        self._filling = True
        self.choice.choose([*before, *new])
        self._filling = False

    @Slot(QTreeWidgetItem, int)
    def _renamed(self, item: QTreeWidgetItem, _column: int) -> None:
        group = item.data(0, GROUP_ROLE)
        if not self._filling and group is not None and not self.edits.rename_group(int(group), item.text(0)):
            self._show()

    def edit_group_name(self, group: int | None = None) -> None:
        """Begin to rename a group (the one in hand if none is given) in place."""
        in_hand = self.choice.supernode
        wanted = in_hand.id if group is None and in_hand is not None else group
        for item in self._items():
            if wanted is not None and item.data(0, GROUP_ROLE) == wanted:
                self.tree.setCurrentItem(item)
                if self.tree.state() is not QAbstractItemView.State.EditingState:  # Qt warns of a second editor
                    self.tree.editItem(item, 0)

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:
        """What can be done with pins and groups."""
        menu = QMenu(self)
        for command in CONTEXT:
            menu.addAction(self.registry.action(command))
        if self.choice.supernode is not None:
            colours = menu.addMenu("Colour of the group")
            for action in self.registry.actions():
                if action.command.id.startswith("edit.colour."):
                    colours.addAction(action)
        menu.aboutToHide.connect(menu.deleteLater)
        menu.popup(event.globalPos())
