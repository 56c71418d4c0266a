"""The investigation: the traces of the open project, and the notes on the one that is open."""

from __future__ import annotations

import datetime

from PySide6.QtCore import QModelIndex, QPersistentModelIndex, QRect, QSize, Qt, QTimer, Slot
from PySide6.QtGui import QColor, QContextMenuEvent, QFont, QFontMetrics, QGuiApplication, QPainter
from PySide6.QtWidgets import (
    QAbstractItemView,
    QMenu,
    QSplitter,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
    QWidget,
)

from app.commands import Edits, Registry
from app.dropped_files import TextBox
from app.panels.banner import Banner
from app.panels.plain import Heading, Hint, MutedLabel, tip
from app.session import Session
from app.theme import current_theme, theme_watcher
from engine.graphs.titles import ARROW
from engine.graphs.visible_text import visible_text
from engine.projects import TraceRow, TreeEntry

Index = QModelIndex | QPersistentModelIndex
TRACE_ROLE = Qt.ItemDataRole.UserRole
BELOW_ROLE = Qt.ItemDataRole.UserRole + 1
OPEN_ROLE = Qt.ItemDataRole.UserRole + 2
NOTE_PAUSE_MS = 800


def local_time(created: str) -> str:
    """When a trace was made, in this machine's time: the hour today, the date before."""
    try:
        moment = datetime.datetime.fromisoformat(created).astimezone()
    except ValueError:
        return created
    today = datetime.datetime.now().astimezone().date()
    return moment.strftime("%H:%M" if moment.date() == today else "%d %b %Y")


class _TraceDelegate(QStyledItemDelegate):
    """Two lines a trace: its title, and its size in the quiet colour."""

    def sizeHint(self, option: QStyleOptionViewItem, index: Index) -> QSize:
        height = QFontMetrics(option.font).lineSpacing()
        return QSize(120, (2 * height + 8) if index.data(BELOW_ROLE) else height + 8)

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        theme = current_theme()
        is_open = bool(index.data(OPEN_ROLE))
        painter.save()
        if is_open or option.state & QStyle.StateFlag.State_Selected:
            painter.fillRect(option.rect, QColor(theme.selection))
        elif option.state & QStyle.StateFlag.State_MouseOver:
            painter.fillRect(option.rect, QColor(theme.hover))
        if is_open:
            edge = QRect(option.rect.left(), option.rect.top(), 3, option.rect.height())
            painter.fillRect(edge, QColor(theme.accent))
        box = option.rect.adjusted(8, 3, -6, -3)
        font = QFont(option.font)
        if is_open:
            font.setWeight(QFont.Weight.DemiBold)
        painter.setFont(font)
        painter.setPen(QColor(theme.text))
        title = QFontMetrics(font).elidedText(str(index.data()), Qt.TextElideMode.ElideLeft, box.width())
        top = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignTop
        painter.drawText(box, top, title)
        painter.setFont(option.font)
        painter.setPen(QColor(theme.muted))
        bottom = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignBottom
        size = str(index.data(BELOW_ROLE) or "")
        below = option.fontMetrics.elidedText(size, Qt.TextElideMode.ElideRight, box.width())
        painter.drawText(box, bottom, below)
        painter.restore()


class TraceList(QTreeWidget):
    """The traces, oldest first."""

    def __init__(self, registry: Registry, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._registry = registry
        self.setObjectName("traces")
        self.setAccessibleName("Traces of this project")
        self.setHeaderHidden(True)
        self.setRootIsDecorated(False)
        self.setIndentation(0)
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.setItemDelegate(_TraceDelegate(self))
        self.setMouseTracking(True)
        theme_watcher().changed.connect(self._restyle)
        self._restyle()
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)

    @Slot()
    def _restyle(self) -> None:
        """Rows are painted by hand; what is left of a row in a folder is chosen in the same quiet colour."""
        theme = current_theme()
        # A palette of its own would be kept through a change of theme: style sheets hold on to it.
        self.setStyleSheet(f"selection-background-color: {theme.selection}; selection-color: {theme.text};")

    def show_traces(self, rows: list[TraceRow], current: int | None, entries: list[TreeEntry]) -> None:
        """Show the project's traces in the folders they are in; `current` is the open one."""
        chosen = set(self.chosen())
        if current not in chosen:
            chosen = set()  # Another trace was opened: what was chosen went with the one before.
        self.clear()
        by_number = {row.id: row for row in rows}
        folders = _folders(entries)
        self.setIndentation(14 if folders else 0)
        self.setRootIsDecorated(bool(folders))
        items: dict[int, QTreeWidgetItem] = {}
        for entry in entries:
            item = self._item(entry, by_number, current) if entry.kind == "trace" else None
            if entry.kind == "folder" and entry.ref.number in folders:
                item = items[entry.ref.number] = _folder_item(entry)
            if item is None:
                continue
            parent = items.get(entry.folder)
            if parent is None:
                self.addTopLevelItem(item)
            else:
                parent.addChild(item)
            item.setExpanded(True)
            number = item.data(0, TRACE_ROLE)
            if number is not None and number == current:
                self.setCurrentItem(item)
            if number in chosen:
                item.setSelected(True)

    def _item(self, entry: TreeEntry, rows: dict[int, TraceRow], current: int | None) -> QTreeWidgetItem | None:
        row = rows.get(entry.ref.number)
        if row is not None:
            prompt, arrow, explained = row.title.rpartition(ARROW)
            item = QTreeWidgetItem([prompt if arrow else row.title])
            item.setData(0, TRACE_ROLE, row.id)
            item.setData(0, OPEN_ROLE, row.id == current)
            parts = [f"→ {explained}"] if arrow else []
            below = " · ".join([*parts, f"{row.n_nodes:,} nodes", local_time(row.created)])
            size = f"{row.n_nodes:,} nodes and {row.n_edges:,} edges"
            item.setData(0, BELOW_ROLE, below)
            words = f"{row.title}\nPrompt: {visible_text(row.prompt)}\nExplains: {visible_text(row.target)}\n{size}"
            item.setToolTip(0, tip(words))
            item.setData(0, Qt.ItemDataRole.AccessibleTextRole, f"{row.title}, {below}")
            return item
        return None

    def trace_at(self) -> int | None:
        """The trace the keyboard or the pointer is on."""
        item = self.currentItem()
        number = None if item is None else item.data(0, TRACE_ROLE)
        return None if number is None else int(number)

    def chosen(self) -> list[int]:
        """The traces that are chosen, from the top; a folder stands for those directly in it."""
        found: list[int] = []
        for item in self.selectedItems():
            under = [item.child(i) for i in range(item.childCount())]
            numbers = [one.data(0, TRACE_ROLE) for one in (item, *under)]
            found += [int(number) for number in numbers if number is not None]
        return list(dict.fromkeys(found))

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:
        """What can be done with a trace."""
        if self.itemAt(event.pos()) is None:
            return
        menu = QMenu(self)
        for command in ("trace.compare", "trace.shared", "edit.rename_trace", "edit.delete_trace"):
            menu.addAction(self._registry.action(command))
        menu.popup(event.globalPos())
        menu.aboutToHide.connect(menu.deleteLater)


def _folders(entries: list[TreeEntry]) -> set[int]:
    """The folders that hold traces, or folders that do."""
    parent = {entry.ref.number: entry.folder for entry in entries if entry.kind == "folder"}
    found: set[int] = set()
    for entry in entries:
        folder = entry.folder if entry.kind == "trace" else 0
        while folder and folder not in found:
            found.add(folder)
            folder = parent.get(folder, 0)
    return found


def _folder_item(entry: TreeEntry) -> QTreeWidgetItem:
    item = QTreeWidgetItem([entry.title])
    item.setToolTip(0, tip(entry.title))
    item.setData(0, Qt.ItemDataRole.AccessibleTextRole, f"Folder {entry.title}")
    return item


class InvestigationPanel(QWidget):
    """Project name, traces, notes."""

    def __init__(self, session: Session, edits: Edits, registry: Registry, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.session, self.edits = session, edits
        self.banner = Banner("investigation")
        self.banner.helpRequested.connect(registry.run)
        self.project_name = Heading("")
        self.state = MutedLabel("", wrap=True)
        self.traces = TraceList(registry)
        self.hint = Hint("Each trace you run is kept here, with its notes. Type a prompt above and press Trace.")
        self.note = TextBox()
        self.note.setTabChangesFocus(True)
        self.note.setObjectName("notes")
        self.note.setAccessibleName("Notes on this trace")
        self.note.setPlaceholderText("Notes on this trace: what you see, what you doubt, what to try next.")
        self._pause = QTimer(self)
        self._pause.setSingleShot(True)
        self._pause.setInterval(NOTE_PAUSE_MS)
        self._pause.timeout.connect(self.commit_note)
        self._note_of: int | None = None
        top = QWidget()
        column = QVBoxLayout(top)
        column.setContentsMargins(8, 4, 8, 4)
        column.setSpacing(2)
        column.addWidget(self.project_name)
        column.addWidget(self.state)
        column.addWidget(self.banner)
        column.addWidget(self.traces, 1)
        column.addWidget(self.hint, 1)
        bottom = QWidget()
        notes = QVBoxLayout(bottom)
        notes.setContentsMargins(8, 4, 8, 6)
        notes.setSpacing(3)
        notes.addWidget(Heading("Notes"))
        notes.addWidget(self.note)
        splitter = QSplitter(Qt.Orientation.Vertical)
        splitter.addWidget(top)
        splitter.addWidget(bottom)
        splitter.setSizes([200, 120])
        splitter.setChildrenCollapsible(False)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(splitter)
        session.projectChanged.connect(self._show)
        session.tracesChanged.connect(self._show)
        session.traceChanged.connect(self._show)
        session.annotationsChanged.connect(self._show_note)
        self.traces.itemClicked.connect(self._chosen)
        self.traces.itemActivated.connect(self._chosen)
        self.note.textChanged.connect(self._pause.start)
        self._show()
        self._show_note()

    @Slot()
    def _show(self) -> None:
        project = self.session.project
        rows = [] if project is None else project.traces()
        name = "No project yet" if project is None else "Untitled" if self.session.unsaved else project.path.stem
        self.project_name.setText(name)
        self.state.setText(self._state())
        self.state.setVisible(bool(self._state()))
        entries = [] if project is None else project.tree.entries()
        self.traces.show_traces(rows, self.session.trace_id, entries)
        self.traces.setVisible(bool(rows))
        self.hint.setVisible(not rows)

    def _state(self) -> str:
        if self.session.read_only:
            return "Open for reading only; Save as… makes a copy you can edit."
        if self.session.unsaved:
            return "Kept safe without a name; Save as… gives it one."
        return ""

    @Slot(QTreeWidgetItem)
    def _chosen(self, item: QTreeWidgetItem) -> None:
        number = item.data(0, TRACE_ROLE)
        choosing = Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.ShiftModifier
        if number is None or QGuiApplication.keyboardModifiers() & choosing:
            return  # A folder, or several traces are being chosen.
        if number != self.session.trace_id:
            self.commit_note()
            self.session.open_trace(int(number))

    @Slot()
    def _show_note(self) -> None:
        same = self._note_of == self.session.trace_id
        self._note_of = self.session.trace_id
        self.note.setEnabled(self.session.can_edit)
        if same and self._pause.isActive():
            return  # The person is typing: their text is newer than the project's.
        text = self.session.annotations.note
        if self.note.toPlainText() != text:
            self.note.blockSignals(True)
            self.note.setPlainText(text)
            self.note.blockSignals(False)

    @Slot()
    def commit_note(self) -> None:
        """Write the notes into the project: after a pause, and before anything else is opened."""
        if not self._pause.isActive() and self.sender() is not self._pause:
            return
        self._pause.stop()
        if self.session.trace_id is not None and self._note_of == self.session.trace_id:
            self.edits.note(self.note.toPlainText())
