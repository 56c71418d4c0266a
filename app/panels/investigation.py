"""The investigation: everything in the open project as a tree, a search over it, and what a person wrote."""

from __future__ import annotations

from PySide6.QtCore import QPoint, Qt, Signal, Slot
from PySide6.QtGui import QAction, QGuiApplication, QPalette
from PySide6.QtWidgets import QHBoxLayout, QMenu, QSplitter, QToolButton, QTreeWidgetItem, QVBoxLayout, QWidget

from app.commands import Edits, Registry, TreeEdits
from app.panels.banner import Banner
from app.panels.note_pane import NotePane
from app.panels.plain import ElidedLabel, Heading, Hint, tip
from app.panels.project_search import SearchField, SearchResults
from app.panels.project_tree import ProjectTree
from app.panels.tree_delegate import ENTRY_ROLE
from app.session import Session
from app.theme import icon, theme_watcher
from engine.errors import LoupeError
from engine.graphs.visible_text import visible_text
from engine.projects import TreeRef


class InvestigationPanel(QWidget):
    """Project name, search, tree, notes."""

    hitChosen = Signal(object)  # SearchHit

    def __init__(
        self,
        session: Session,
        edits: Edits,
        tree_edits: TreeEdits,
        registry: Registry,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.session, self.tree_edits, self._registry = session, tree_edits, registry
        self.banner = Banner("investigation")
        self.banner.helpRequested.connect(registry.run)
        self.project_name = Heading("")
        self.state = ElidedLabel()
        self.state.setForegroundRole(QPalette.ColorRole.PlaceholderText)  # the theme's muted text
        self.search = SearchField()
        self.results = SearchResults(session)
        self.tags = QToolButton()
        self.tags.setObjectName("tags")
        self.tags.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self.tags.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.tag_menu = QMenu(self.tags)
        self.tags.setMenu(self.tag_menu)
        self.only = ""  # the tag of what alone is shown
        self.tree = ProjectTree(registry)
        self.hint = Hint("Each trace you run is kept here, with its notes. Type a prompt above and press Trace.")
        self.pane = NotePane(session, edits, tree_edits)
        self.note = self.pane.box
        self._lay_out()
        session.projectChanged.connect(self._another_project)
        session.tracesChanged.connect(self._show)
        session.traceChanged.connect(self._show)
        self.tree.itemClicked.connect(self._clicked)
        self.tree.itemActivated.connect(self._activated)
        self.tree.handChanged.connect(self._hand_changed)
        self.tree.dropped.connect(self._dropped)
        self.search.textChanged.connect(self._look)
        self.search.left.connect(self.results.go_in)
        self.results.chosen.connect(self.hitChosen)
        self.tag_menu.aboutToShow.connect(self._fill_tags)
        self.tag_menu.triggered.connect(self._tag_chosen)
        theme_watcher().changed.connect(self._restyle)
        self._restyle()
        self._show()

    def _lay_out(self) -> None:
        top = QWidget()
        column = QVBoxLayout(top)
        column.setContentsMargins(8, 4, 8, 4)
        column.setSpacing(2)
        finding = QHBoxLayout()
        finding.setSpacing(4)
        finding.addWidget(self.search, 1)
        finding.addWidget(self.tags)
        column.addWidget(self.project_name)
        column.addWidget(self.state)
        column.addWidget(self.banner)
        column.addLayout(finding)
        column.addWidget(self.tree, 1)
        column.addWidget(self.results, 1)
        column.addWidget(self.hint, 1)
        splitter = QSplitter(Qt.Orientation.Vertical)
        splitter.addWidget(top)
        splitter.addWidget(self.pane)
        splitter.setSizes([200, 120])
        splitter.setChildrenCollapsible(False)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(splitter)

    @Slot()
    def _restyle(self) -> None:
        self.tags.setIcon(icon("tag"))

    # ---- showing -----------------------------------------------------------------------------------------------

    @Slot()
    def _another_project(self) -> None:
        self.only = ""
        self.search.clear()
        self._show()

    @Slot()
    def _show(self) -> None:
        project = self.session.project
        name = "No project yet" if project is None else "Untitled" if self.session.unsaved else project.path.stem
        self.project_name.setText(visible_text(name))
        self.project_name.setToolTip(
            "" if project is None else tip(f"Everything is kept as you work, in {project.path}")
        )
        self.state.setText(self._state())
        self.state.setToolTip(tip(self._state()))
        self.state.setVisible(bool(self._state()))
        try:
            rows = [] if project is None else project.traces()
            entries = [] if project is None else project.tree.entries()
            tags = {} if project is None else project.tree.tags()
        except LoupeError as error:
            self.session.report_error("investigation", error)
            return
        if self.only not in tags:
            self.only = ""
        self.tags.setVisible(bool(tags))
        self.tags.setText(visible_text(self.only, 12))
        said = f"Shown is what is tagged {self.only}" if self.only else "Show only what has a tag"
        self.tags.setToolTip(said)
        self.tags.setAccessibleName(said)
        self.tree.show_entries(entries, rows, self.session.trace_id, self.only)
        self._look(self.search.text())

    @Slot(str)
    def _look(self, words: str) -> None:
        """What is looked for takes the tree's place until the field is empty."""
        there = self.tree.topLevelItemCount() > 0
        searching = bool(words.strip()) and there
        self.search.setVisible(there)
        self.results.setVisible(searching)
        self.tree.setVisible(there and not searching)
        self.hint.setVisible(not there)
        if searching:
            self.results.look_for(words)

    def _state(self) -> str:
        if self.session.read_only:
            return "For reading only; Save as… makes a copy."
        if self.session.unsaved:
            return "Kept safe; Save as… gives it a name."
        return ""

    # ---- from the person ---------------------------------------------------------------------------------------

    @Slot(QTreeWidgetItem)
    def _clicked(self, item: QTreeWidgetItem) -> None:
        """A click opens a trace; what would change something waits for a double click or Enter."""
        choosing = Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.ShiftModifier
        entry = item.data(0, ENTRY_ROLE)
        if entry.kind == "trace" and not QGuiApplication.keyboardModifiers() & choosing:
            self._registry.run("project.open")

    @Slot(QTreeWidgetItem)
    def _activated(self, item: QTreeWidgetItem) -> None:
        if item.data(0, ENTRY_ROLE).kind == "folder":
            item.setExpanded(not item.isExpanded())
        else:
            self._registry.run("project.open")

    @Slot()
    def _hand_changed(self) -> None:
        self.pane.show_entry(self.tree.current_entry())
        self._registry.refresh()

    @Slot(object, int, object)
    def _dropped(self, refs: object, folder: int, before: object) -> None:
        self.tree_edits.move(refs, folder, before)  # type: ignore[arg-type]

    def show_tags(self) -> None:
        """List the tags below their button."""
        self.tag_menu.popup(self.tags.mapToGlobal(QPoint(0, self.tags.height())))
        self.tag_menu.setFocus(Qt.FocusReason.PopupFocusReason)

    @Slot()
    def _fill_tags(self) -> None:
        self.tag_menu.clear()
        project = self.session.project
        for tag, count in [("", 0), *(project.tree.tags() if project is not None else {}).items()]:
            words = f"{visible_text(tag, 40)}\t{count:,}" if tag else "Everything"
            action = self.tag_menu.addAction(words.replace("&", "&&"))
            action.setData(tag)
            action.setCheckable(True)
            action.setChecked(tag == self.only)

    @Slot(QAction)
    def _tag_chosen(self, action: QAction) -> None:
        self.show_only(str(action.data()))

    def show_only(self, tag: str) -> None:
        """Show what has a tag; "" shows everything."""
        self.only = tag
        self._show()

    def go_to(self, ref: TreeRef) -> None:
        """Put the tree's current row on an entry, whatever was looked for or filtered."""
        self.search.clear()
        if not self.tree.go_to(ref):
            self.show_only("")
            self.tree.go_to(ref)

    @Slot()
    def commit_note(self) -> None:
        """Write what is being typed into the project."""
        self.pane.commit()
