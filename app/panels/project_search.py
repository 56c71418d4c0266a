"""Full-text search over everything a person wrote in the project: a field, and what it finds in place of the tree."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal, Slot
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QLineEdit, QTreeWidget, QTreeWidgetItem, QWidget

from app.panels.plain import tip
from app.panels.tree_delegate import BELOW_ROLE, ICON_ROLE, TreeDelegate
from app.session import Session
from engine.errors import LoupeError
from engine.graphs.visible_text import visible_text
from engine.projects import SearchHit

HIT_ROLE = Qt.ItemDataRole.UserRole
LONGEST = 120
ICONS = {
    "label": "label",
    "feature_label": "label",
    "supernode": "group",
    "note": "note",
    "trace": "trace",
    "experiment": "experiment",
}


class SearchField(QLineEdit):
    """Words to look for; Down goes to what was found, Escape empties it."""

    left = Signal()  # the person wants to go to the results

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("project-search")
        self.setPlaceholderText("Search labels and notes")
        self.setAccessibleName("Search labels, notes and titles of this project")
        self.setClearButtonEnabled(True)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Keys that are no text."""
        if event.key() == Qt.Key.Key_Escape and self.text():
            self.clear()
        elif event.key() in (Qt.Key.Key_Down, Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self.left.emit()
        else:
            super().keyPressEvent(event)


class SearchResults(QTreeWidget):
    """What was found, best first; a click or Enter goes there."""

    chosen = Signal(object)  # SearchHit

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.session = session
        self.setObjectName("project-results")
        self.setAccessibleName("What was found")
        self.setHeaderHidden(True)
        self.setRootIsDecorated(False)
        self.setIndentation(0)
        self.setItemDelegate(TreeDelegate(self))
        self.setMouseTracking(True)
        self.itemClicked.connect(self._take)
        self.itemActivated.connect(self._take)

    def look_for(self, words: str) -> None:
        """Find and list."""
        project = self.session.project
        self.clear()
        if project is None or not words.strip():
            return
        try:
            hits = project.search(words)
            titles = {row.id: row.title for row in project.traces()}
            kinds = {entry.ref.number: entry.kind for entry in project.tree.entries() if entry.ref.table == "item"}
        except LoupeError as error:
            self.session.report_error("investigation", error)
            return
        for hit in hits:
            self.addTopLevelItem(_item(hit, titles.get(hit.trace, ""), kinds.get(hit.item, "note")))
        if not hits:
            nothing = QTreeWidgetItem(["Nothing found"])
            nothing.setData(0, ICON_ROLE, "search")
            nothing.setFlags(Qt.ItemFlag.NoItemFlags)
            self.addTopLevelItem(nothing)

    def go_in(self) -> None:
        """Put the keyboard on the first result."""
        first = self.topLevelItem(0)
        if first is not None and first.data(0, HIT_ROLE) is not None:
            self.setCurrentItem(first)
            self.setFocus(Qt.FocusReason.ShortcutFocusReason)

    @Slot(QTreeWidgetItem)
    def _take(self, item: QTreeWidgetItem) -> None:
        hit = item.data(0, HIT_ROLE)
        if isinstance(hit, SearchHit):
            self.chosen.emit(hit)


def _item(hit: SearchHit, trace: str, kind: str) -> QTreeWidgetItem:
    first = next((line for line in hit.text.splitlines() if line.strip()), hit.text)
    item = QTreeWidgetItem([visible_text(first.strip(), LONGEST)])
    where = {
        "trace": "trace",
        "label": f"label in {visible_text(trace)}",
        "supernode": f"group in {visible_text(trace)}",
        "note": f"notes on {visible_text(trace)}",
        "feature_label": "label that holds everywhere",
        "experiment": "experiment",
    }.get(hit.kind, kind)
    item.setData(0, HIT_ROLE, hit)
    item.setData(0, ICON_ROLE, ICONS.get(hit.kind, kind))
    item.setData(0, BELOW_ROLE, where)
    item.setData(0, Qt.ItemDataRole.AccessibleTextRole, f"{item.text(0)}, {where}")
    item.setToolTip(0, tip(f"{visible_text(hit.text, 600)}\n{where}"))
    return item
