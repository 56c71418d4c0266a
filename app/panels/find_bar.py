"""The find bar above the graph: a query, what it finds, and a way through it. Closing it gives everything back."""

from __future__ import annotations

import shiboken6
from PySide6.QtCore import Qt, Slot
from PySide6.QtGui import QAction, QKeyEvent
from PySide6.QtWidgets import QApplication, QHBoxLayout, QMenu, QToolButton, QVBoxLayout, QWidget

from app.commands import Registry
from app.find_query import LANGUAGE, SIGN_SCOPE
from app.panels.find_filters import FindFilters
from app.panels.find_line import FindLine
from app.panels.plain import MutedLabel, ProblemLabel, tip
from app.session import Session
from app.theme import icon, theme_watcher

BUTTONS = ("go.find_previous", "go.find_next", "go.find_filters")


class FindBar(QWidget):
    """Hidden until `open`. Results light up in the graph and filter the node table."""

    def __init__(self, session: Session, registry: Registry, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("find-bar")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self.session, self.finding = session, session.finding
        self._before: QWidget | None = None
        self.line = FindLine(session)
        self.count = MutedLabel()
        self.count.setObjectName("find-count")
        self.help = QToolButton()
        self.help.setAccessibleName("What can be looked for")
        self.help.setToolTip("What can be looked for")
        self.help.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self.language = self._language()
        self.help.setMenu(self.language)
        self.problem = ProblemLabel()
        self.problem.setObjectName("find-problem")
        self.problem.setContentsMargins(8, 0, 8, 4)
        self.filters = FindFilters(session)
        self.filters.hide()
        row = QHBoxLayout()
        row.setContentsMargins(8, 4, 8, 4)
        row.setSpacing(6)
        row.addWidget(self.line, 1)
        row.addWidget(self.count)
        for command in BUTTONS:
            row.addWidget(_button(registry, command))
        row.addWidget(self.help)
        row.addWidget(_button(registry, "go.find_close"))
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addLayout(row)
        column.addWidget(self.problem)
        column.addWidget(self.filters)
        self.hide()
        self.line.textChanged.connect(self._typed)
        self.line.stepped.connect(self.finding.step)
        self.filters.edited.connect(self.line.setText)
        self.language.triggered.connect(self._chosen)
        self.session.densityChanged.connect(self._offer_density)
        self._offer_density()
        self.finding.changed.connect(self._show)
        session.viewChanged.connect(self._show)
        session.selectionChanged.connect(self._show)
        session.traceChanged.connect(self._close_without_graph)
        theme_watcher().changed.connect(self._restyle)
        self._restyle()

    def _language(self) -> QMenu:
        menu = QMenu(self)
        menu.setToolTipsVisible(True)
        for example, words in LANGUAGE:
            action = menu.addAction(f"{words}\t{example}".replace("&", "&&"))
            action.setData(example)
            if example.startswith("sign:"):
                action.setToolTip(tip(SIGN_SCOPE))
        return menu

    # ---- opening and closing -----------------------------------------------------------------------------------

    @property
    def is_open(self) -> bool:
        """Whether the bar is shown."""
        return not self.isHidden()

    def open(self) -> None:
        """Show the bar with the cursor in it; what was looked for last is looked for again, and may be typed over."""
        if not self.is_open:
            self._before = QApplication.focusWidget()
            self.show()
            self.finding.look_for(self.line.text())
        self.line.setFocus(Qt.FocusReason.ShortcutFocusReason)
        self.line.selectAll()

    def close_bar(self) -> None:
        """Hide the bar: every node is as before, and so is the keyboard focus. What is selected stays selected."""
        if not self.is_open:
            return
        before, self._before = self._before, None
        focused = QApplication.focusWidget()
        had_focus = focused is not None and self.isAncestorOf(focused)
        self.hide()
        self.finding.look_for("")
        if had_focus and before is not None and shiboken6.isValid(before) and before.isVisible():
            before.setFocus(Qt.FocusReason.OtherFocusReason)

    def toggle_filters(self) -> None:
        """Show or hide the small controls; showing them opens the bar."""
        shown = not (self.is_open and not self.filters.isHidden())
        self.filters.setVisible(shown)
        self.filters.show_query(self.finding.query)
        if shown and not self.is_open:
            self.open()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Escape closes."""
        if event.key() == Qt.Key.Key_Escape:
            self.close_bar()
            return
        super().keyPressEvent(event)

    @Slot()
    def _offer_density(self) -> None:
        """Without an index nothing is known of it."""
        for action in self.language.actions():
            if str(action.data()).startswith("density"):
                action.setVisible(self.session.density is not None)

    # ---- showing -----------------------------------------------------------------------------------------------

    @Slot()
    def _typed(self) -> None:
        if self.is_open:
            self.finding.look_for(self.line.text())

    @Slot(QAction)
    def _chosen(self, action: QAction) -> None:
        text = self.line.text().rstrip()
        self.line.setText(f"{text} {action.data()}".lstrip())
        self.line.setFocus(Qt.FocusReason.OtherFocusReason)

    @Slot()
    def _close_without_graph(self) -> None:
        if self.session.graph is None:
            self.close_bar()

    @Slot()
    def _show(self) -> None:
        finding = self.finding
        self.problem.show_problem(finding.problem)
        self.count.setText(self._count())
        if self.is_open:
            self.filters.show_query(finding.query)

    def _count(self) -> str:
        finding = self.finding
        if finding.found is None or finding.problem:
            return ""
        total, place, hidden = int(finding.found.sum()), finding.place(), finding.hidden()
        if not total:
            return "nothing found"
        text = f"{total:,} found" if place < 0 else f"{place + 1:,} of {total:,}"
        return f"{text}, {hidden:,} hidden" if hidden else text

    @Slot()
    def _restyle(self) -> None:
        self.help.setIcon(icon("info"))


def _button(registry: Registry, command: str) -> QToolButton:
    button = QToolButton()
    button.setDefaultAction(registry.action(command))
    button.setAccessibleName(registry.action(command).command.words)
    return button
