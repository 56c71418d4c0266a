"""The circuit: what a person pinned and grouped in this graph."""

from __future__ import annotations

from PySide6.QtCore import QSize, Qt, Slot
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

from app.commands import Edits, Registry
from app.commands.edits import group_of
from app.panels.plain import Hint, tip
from app.reading import GLYPHS, kind_of, short_name
from app.session import Session
from engine.projects import Group

NODE_ROLE = Qt.ItemDataRole.UserRole
GROUP_ROLE = Qt.ItemDataRole.UserRole + 1


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
    """Groups with their nodes, then single pins. Names are edited in place (F2)."""

    def __init__(self, session: Session, edits: Edits, registry: Registry, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.session, self.edits, self.registry = session, edits, registry
        self.tree = QTreeWidget()
        self.tree.setObjectName("circuit")
        self.tree.setAccessibleName("Pinned nodes and groups")
        self.tree.setHeaderHidden(True)
        self.tree.setIndentation(14)
        self.tree.setUniformRowHeights(True)
        self.tree.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.tree.setEditTriggers(QAbstractItemView.EditTrigger.EditKeyPressed)
        self.tree.setContextMenuPolicy(Qt.ContextMenuPolicy.NoContextMenu)
        self.hint = Hint(
            "Pin what matters: select a node and press P, or Ctrl+click it. Hold G and click nodes to group them."
        )
        buttons = QHBoxLayout()
        buttons.setSpacing(2)
        for command in ("edit.pin", "edit.group_pins", "edit.ungroup"):
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
        session.selectionChanged.connect(self._follow)
        self.tree.currentItemChanged.connect(self._current_changed)
        self.tree.itemChanged.connect(self._renamed)
        self._show()

    # ---- showing -----------------------------------------------------------------------------------------------

    @Slot()
    def _show(self) -> None:
        self._filling = True
        self.tree.clear()
        annotations = self.session.annotations
        grouped: set[int] = set()
        if self.session.graph is not None:
            for group in annotations.groups:
                self._add_group(group)
                grouped.update(group.nodes)
            for node in annotations.pins:
                if node not in grouped:
                    self.tree.addTopLevelItem(self._node_item(node))
        self.tree.expandAll()
        empty = self.tree.topLevelItemCount() == 0
        self.tree.setVisible(not empty)
        self.hint.setVisible(empty)
        self._filling = False
        self._follow(self.session.selected)

    def _add_group(self, group: Group) -> None:
        item = QTreeWidgetItem([group.name])
        item.setData(0, GROUP_ROLE, group.id)
        item.setIcon(0, swatch(group.colour))
        item.setToolTip(0, tip(f"Group {group.name!r} of {len(group.nodes)} nodes; F2 renames it"))
        item.setFlags(item.flags() | Qt.ItemFlag.ItemIsEditable)
        self.tree.addTopLevelItem(item)
        for node in group.nodes:
            item.addChild(self._node_item(node))

    def _node_item(self, node: int) -> QTreeWidgetItem:
        assert self.session.graph is not None
        graph = self.session.graph
        label = self.session.annotations.labels.get(node)
        item = QTreeWidgetItem([f"{GLYPHS[kind_of(graph, node)]} {label or short_name(graph, node)}"])
        item.setData(0, NODE_ROLE, node)
        item.setToolTip(0, tip(f"{self.session.node_name(node)}\n{self.session.graph.describe(node)}"))
        return item

    @Slot(int)
    def _follow(self, node: int) -> None:
        if self._filling:
            return
        current = self.tree.currentItem()
        if current is not None and current.data(0, NODE_ROLE) == node:
            return
        self._filling = True
        for item in self._items():
            if node >= 0 and item.data(0, NODE_ROLE) == node:
                self.tree.setCurrentItem(item)
                break
        else:
            self.tree.clearSelection()
        self._filling = False

    def _items(self) -> list[QTreeWidgetItem]:
        tops = [item for i in range(self.tree.topLevelItemCount()) if (item := self.tree.topLevelItem(i)) is not None]
        return [item for top in tops for item in (top, *[top.child(j) for j in range(top.childCount())])]

    # ---- from the person ---------------------------------------------------------------------------------------

    @Slot(QTreeWidgetItem, QTreeWidgetItem)
    def _current_changed(self, item: QTreeWidgetItem | None, _before: QTreeWidgetItem | None) -> None:
        if self._filling or item is None:
            return
        node = item.data(0, NODE_ROLE)
        if node is not None:
            self.session.select(int(node))

    @Slot(QTreeWidgetItem, int)
    def _renamed(self, item: QTreeWidgetItem, _column: int) -> None:
        group = item.data(0, GROUP_ROLE)
        if not self._filling and group is not None and not self.edits.rename_group(int(group), item.text(0)):
            self._show()

    def current_group(self) -> int | None:
        """The group under the cursor here, or the one the selected node belongs to."""
        item = self.tree.currentItem()
        if item is not None and item.isSelected():
            group = item.data(0, GROUP_ROLE)
            if group is not None:
                return int(group)
        found = group_of(self.session.annotations, self.session.selected)
        return None if found is None else found.id

    def edit_group_name(self, group: int | None = None) -> None:
        """Begin to rename a group (the current one if none is given) in place."""
        wanted = self.current_group() if group is None else group
        for item in self._items():
            if item.data(0, GROUP_ROLE) == wanted and wanted is not None:
                self.tree.setCurrentItem(item)
                self.tree.editItem(item, 0)

    def recolour(self, colour: str) -> None:
        """Give the current group a colour."""
        group = self.current_group()
        if group is not None:
            self.edits.recolour_group(group, colour)

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:
        """What can be done with pins and groups."""
        menu = QMenu(self)
        commands = ["edit.pin", "edit.label"]
        if self.current_group() is not None:
            commands += ["edit.rename_group", "edit.ungroup"]
        for command in commands:
            menu.addAction(self.registry.action(command))
        if self.current_group() is not None:
            colours = menu.addMenu("Colour")
            for action in self.registry.actions():
                if action.command.id.startswith("edit.colour."):
                    colours.addAction(action)
        menu.aboutToHide.connect(menu.deleteLater)
        menu.popup(event.globalPos())
