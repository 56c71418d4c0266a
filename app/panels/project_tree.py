"""The project's tree: folders, prompts, traces, circuits, experiments and notes, to be chosen, dragged and filtered."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator, Sequence

from PySide6.QtCore import QMimeData, QPoint, Qt, Signal, Slot
from PySide6.QtGui import QContextMenuEvent, QDragEnterEvent, QDragMoveEvent, QDropEvent, QKeyEvent
from PySide6.QtWidgets import QAbstractItemView, QMenu, QTreeWidget, QTreeWidgetItem, QWidget

from app.commands import Registry
from app.panels.plain import tip
from app.panels.tree_delegate import BELOW_ROLE, ENTRY_ROLE, ICON_ROLE, OPEN_ROLE, TreeDelegate
from app.theme import current_theme, theme_watcher
from engine.graphs.titles import ARROW
from engine.graphs.visible_text import visible_text
from engine.projects import TOP, TraceRow, TreeEntry, TreeRef

DRAGGED = "application/x-circuit-loupe-entries"
INDENT = 14
MENU = (
    ("project.open", "trace.rerun"),
    ("trace.compare", "trace.shared"),
    ("project.new_folder", "project.rename", "project.duplicate", "project.move", "project.delete"),
    ("project.tag", "project.untag"),
)


class ProjectTree(QTreeWidget):
    """Shows what it is told to; what a person does with it goes out as commands and signals."""

    dropped = Signal(object, int, object)  # refs, the folder they are put into, the ref they stand before or None
    handChanged = Signal()  # another entry is the current one

    def __init__(self, registry: Registry, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._registry = registry
        self._folded: set[int] = set()  # folders that a person closed
        self._filling = False
        self.setObjectName("traces")
        self.setAccessibleName("Everything in this project")
        self.setHeaderHidden(True)
        self.setIndentation(INDENT)
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.setItemDelegate(TreeDelegate(self))
        self.setMouseTracking(True)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setDragEnabled(True)
        self.setDragDropMode(QAbstractItemView.DragDropMode.DragDrop)
        self.setDefaultDropAction(Qt.DropAction.MoveAction)
        self.setExpandsOnDoubleClick(False)
        self.itemCollapsed.connect(self._fold)
        self.itemExpanded.connect(self._unfold)
        self.currentItemChanged.connect(self._current_changed)
        theme_watcher().changed.connect(self._restyle)
        self._restyle()

    @Slot()
    def _restyle(self) -> None:
        """Rows are painted by hand; what is left of a row in a folder is chosen in the same quiet colour."""
        theme = current_theme()
        # A palette of its own would be kept through a change of theme: style sheets hold on to it.
        self.setStyleSheet(f"selection-background-color: {theme.selection}; selection-color: {theme.text};")

    # ---- showing -----------------------------------------------------------------------------------------------

    def show_entries(
        self, entries: Sequence[TreeEntry], rows: Sequence[TraceRow], current: int | None, tag: str = ""
    ) -> None:
        """Show the tree, or with `tag` what has it and what is in folders that have it; `current` is the open trace."""
        chosen, in_hand = set(self.refs()), self.current_ref()
        opened = TreeRef("trace", current) if current is not None else None
        if opened is not None and opened != self._opened():
            chosen, in_hand = set(), opened  # Another trace was opened: what was chosen went with the one before.
        shown = tagged(entries, tag) if tag else list(entries)
        if in_hand not in [entry.ref for entry in shown]:
            in_hand = opened  # what was in hand is gone: by an undo, or a filter
        by_number = {row.id: row for row in rows}
        self._filling = True
        self.setAutoScroll(False)  # it would open the folder around the current entry
        self.clear()
        self.setRootIsDecorated(any(entry.kind == "folder" for entry in shown))
        items: dict[int, QTreeWidgetItem] = {}
        for entry in shown:
            item = _item(entry, by_number.get(entry.ref.number) if entry.kind == "trace" else None)
            item.setData(0, OPEN_ROLE, entry.ref == opened)
            parent = items.get(entry.folder)
            if parent is None:
                self.addTopLevelItem(item)
            else:
                parent.addChild(item)
            if entry.kind == "folder":
                items[entry.ref.number] = item
                item.setExpanded(bool(tag) or entry.ref.number not in self._folded)
            if entry.ref == in_hand:
                self.setCurrentItem(item)
            if entry.ref in chosen:
                item.setSelected(True)
        self.setAutoScroll(True)
        self._filling = False
        self.handChanged.emit()

    @Slot()
    def _current_changed(self) -> None:
        if not self._filling:
            self.handChanged.emit()

    def _opened(self) -> TreeRef | None:
        return next((_entry(item).ref for item in self.items() if item.data(0, OPEN_ROLE)), None)

    def items(self) -> Iterator[QTreeWidgetItem]:
        """Every row, from the top."""
        # Qt's own iterator is never let go by its wrapper: every step would leave one behind.
        waiting = [self.topLevelItem(row) for row in reversed(range(self.topLevelItemCount()))]
        while waiting:
            item = waiting.pop()
            if item is not None:
                yield item
                waiting += [item.child(row) for row in reversed(range(item.childCount()))]

    @Slot(QTreeWidgetItem)
    def _fold(self, item: QTreeWidgetItem) -> None:
        if not self._filling:
            self._folded.add(_entry(item).ref.number)

    @Slot(QTreeWidgetItem)
    def _unfold(self, item: QTreeWidgetItem) -> None:
        if not self._filling:
            self._folded.discard(_entry(item).ref.number)

    def go_to(self, ref: TreeRef) -> bool:
        """Put the keyboard on an entry, with the folders around it open; False where it is not shown."""
        for item in self.items():
            if _entry(item).ref == ref:
                parent = item.parent()
                while parent is not None:
                    parent.setExpanded(True)
                    parent = parent.parent()
                self.setCurrentItem(item)
                self.scrollToItem(item)
                return True
        return False

    # ---- what is in hand ---------------------------------------------------------------------------------------

    def current_entry(self) -> TreeEntry | None:
        """The entry the keyboard or the pointer is on."""
        item = self.currentItem()
        return None if item is None else _entry(item)

    def current_ref(self) -> TreeRef | None:
        """The same, by what tells it from the others."""
        entry = self.current_entry()
        return None if entry is None else entry.ref

    def refs(self) -> list[TreeRef]:
        """The entries that are chosen, from the top; what is in a chosen folder goes with it."""
        selected = {id(item) for item in self.selectedItems()}
        found: list[TreeRef] = []
        for item in self.items():
            around = item.parent()
            while around is not None and id(around) not in selected:
                around = around.parent()
            if item.isSelected() and around is None:
                found.append(_entry(item).ref)
        return found

    def chosen(self) -> list[int]:
        """The traces that are chosen, from the top; a folder stands for those directly in it."""
        found: list[TreeEntry] = []
        for item in self.selectedItems():
            under = [item.child(i) for i in range(item.childCount())]
            found += [_entry(one) for one in (item, *under)]
        return list(dict.fromkeys(entry.ref.number for entry in found if entry.kind == "trace"))

    # ---- hands -------------------------------------------------------------------------------------------------

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:
        """What can be done with an entry."""
        if self.itemAt(event.pos()) is None:
            return
        menu = QMenu(self)
        for number, section in enumerate(MENU):
            if number:
                menu.addSeparator()
            for command in section:
                menu.addAction(self._registry.action(command))
        menu.popup(event.globalPos())
        menu.aboutToHide.connect(menu.deleteLater)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Delete takes what is chosen out, F2 renames it."""
        if event.key() == Qt.Key.Key_Delete:
            self._registry.run("project.delete")
        elif event.key() == Qt.Key.Key_F2:
            self._registry.run("project.rename")
        else:
            super().keyPressEvent(event)

    # ---- dragging ----------------------------------------------------------------------------------------------

    def mimeTypes(self) -> list[str]:
        """Entries, by their numbers; nothing that another program would take."""
        return [DRAGGED]

    def mimeData(self, items: Sequence[QTreeWidgetItem]) -> QMimeData:
        """What is dragged."""
        data = QMimeData()
        data.setData(DRAGGED, json.dumps([[ref.table, ref.number] for ref in self.refs()]).encode())
        return data

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        """Only what was taken here; files are for the window."""
        super().dragEnterEvent(event) if event.mimeData().hasFormat(DRAGGED) else event.ignore()

    def dragMoveEvent(self, event: QDragMoveEvent) -> None:
        """Show where it would be put."""
        super().dragMoveEvent(event) if event.mimeData().hasFormat(DRAGGED) else event.ignore()

    def dropEvent(self, event: QDropEvent) -> None:
        """Say what was put where; the project moves it, and the tree is shown anew."""
        if not event.mimeData().hasFormat(DRAGGED):
            event.ignore()
            return
        refs = [TreeRef(*one) for one in json.loads(bytes(event.mimeData().data(DRAGGED).data()))]
        folder, before = self.place_of(event.position().toPoint())
        # Qt would move the rows itself, and take away those that were dragged.
        event.setDropAction(Qt.DropAction.IgnoreAction)
        event.accept()
        self.setState(QAbstractItemView.State.NoState)
        self.dropped.emit(refs, folder, before)

    def place_of(self, point: QPoint) -> tuple[int, TreeRef | None]:
        """Where in the tree a point is: the folder, and the entry it is before (None: at the end)."""
        item = self.itemAt(point)
        if item is None:
            return TOP, None
        rect, entry = self.visualItemRect(item), _entry(item)
        share = (point.y() - rect.top()) / max(rect.height(), 1)
        inside = entry.kind == "folder"
        if inside and 0.25 <= share <= 0.75:
            return entry.ref.number, None
        if share < 0.5:
            return entry.folder, entry.ref
        if inside and item.isExpanded() and item.childCount():
            return entry.ref.number, _entry(item.child(0)).ref
        index = self.indexFromItem(item)
        following = self.itemFromIndex(index.siblingAtRow(index.row() + 1)) if index.isValid() else None
        return entry.folder, None if following is None else _entry(following).ref

    def supportedDropActions(self) -> Qt.DropAction:
        """Moving, nothing else."""
        return Qt.DropAction.MoveAction

    def folders(self) -> list[tuple[int, str]]:
        """Every folder with the path to it, from the top; the project itself first."""
        found = [(TOP, "The project itself")]
        for item in self.items():
            if _entry(item).kind == "folder":
                path, around = [item.text(0)], item.parent()
                while around is not None:
                    path.insert(0, around.text(0))
                    around = around.parent()
                found.append((_entry(item).ref.number, " / ".join(path)))
        return found


def tagged(entries: Sequence[TreeEntry], tag: str) -> list[TreeEntry]:
    """What has a tag, what is in a folder that has it, and the folders around it, in the order of the tree."""
    folders = {entry.ref.number: entry for entry in entries if entry.kind == "folder"}
    wanted: set[TreeRef] = set()
    for entry in entries:
        around = []
        folder = folders.get(entry.folder)
        while folder is not None:
            around.append(folder)
            folder = folders.get(folder.folder)
        if any(tag in one.tags for one in (entry, *around)):
            wanted |= {entry.ref, *(one.ref for one in around)}
    return [entry for entry in entries if entry.ref in wanted]


def local_time(created: str) -> str:
    """When a trace was made, in this machine's time: the hour today, the date before."""
    try:
        moment = datetime.datetime.fromisoformat(created).astimezone()
    except ValueError:
        return created
    today = datetime.datetime.now().astimezone().date()
    return moment.strftime("%H:%M" if moment.date() == today else "%d %b %Y")


def _entry(item: QTreeWidgetItem) -> TreeEntry:
    entry = item.data(0, ENTRY_ROLE)
    assert isinstance(entry, TreeEntry)
    return entry


def _item(entry: TreeEntry, row: TraceRow | None) -> QTreeWidgetItem:
    title, parts, words = entry.title, [], entry.title
    if row is not None:
        prompt, arrow, explained = row.title.rpartition(ARROW)
        title = prompt if arrow else row.title
        parts = [*([f"→ {explained}"] if arrow else []), f"{row.n_nodes:,} nodes", local_time(row.created)]
        size = f"{row.n_nodes:,} nodes and {row.n_edges:,} edges"
        words = f"{row.title}\nPrompt: {visible_text(row.prompt)}\nExplains: {visible_text(row.target)}\n{size}"
    below = " · ".join([*(f"#{tag}" for tag in entry.tags), *parts])
    item = QTreeWidgetItem([visible_text(title)])
    item.setData(0, ENTRY_ROLE, entry)
    item.setData(0, ICON_ROLE, entry.kind)
    item.setData(0, BELOW_ROLE, below)
    item.setToolTip(0, tip("\n".join([words, *([f"Tags: {', '.join(entry.tags)}"] if entry.tags else [])])))
    said = f"{entry.kind.capitalize()} {entry.title}" if row is None else row.title
    item.setData(0, Qt.ItemDataRole.AccessibleTextRole, f"{said}, {below}" if below else said)
    if entry.kind != "folder":
        item.setFlags(item.flags() & ~Qt.ItemFlag.ItemIsDropEnabled)
    return item
