"""The label of a node: a line to write it in, who gave it, and the labels it had before."""

from __future__ import annotations

from datetime import datetime

from PySide6.QtCore import QPoint, Qt, Signal, Slot
from PySide6.QtGui import QAction, QKeyEvent
from PySide6.QtWidgets import (
    QComboBox,
    QHBoxLayout,
    QLineEdit,
    QMenu,
    QSizePolicy,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from app.commands import Edits, Registry
from app.panels.plain import MutedLabel
from app.session import Session
from app.typing_pause import TypingPause
from engine.errors import LoupeError
from engine.graphs.visible_text import visible_text
from engine.projects.label_rows import LabelVersion

GIVERS = {"person": "a person", "imported": "the file it was imported from", "automatic": "an automatic labeller"}
LONGEST = 60
SCOPES = ("in this trace", "everywhere")


class LabelEdit(QLineEdit):
    """A one-line label; Enter and Escape leave it, and Escape puts the old text back."""

    left = Signal()  # by the keyboard, which belongs elsewhere now
    unwanted = Signal()  # what was typed

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.before = ""

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Escape leaves without a change."""
        if event.key() == Qt.Key.Key_Escape:
            self.unwanted.emit()
            self.left.emit()
            return
        super().keyPressEvent(event)
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self.left.emit()


class LabelLine(QWidget):
    """Writes the label of the selected node while it is typed, as one step; half typed, it belongs to its own node."""

    def __init__(self, session: Session, edits: Edits, registry: Registry, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.session, self.edits = session, edits
        self.edit = LabelEdit()
        self.edit.setObjectName("label-edit")
        self.edit.setPlaceholderText("What does it stand for? (L)")
        self.edit.setAccessibleName("Label of the selected node")
        self.edit.setMaxLength(200)
        self.scope = QComboBox()
        self.scope.setObjectName("label-scope")
        self.scope.addItems(list(SCOPES))
        self.scope.setAccessibleName("Where the label holds")
        self.scope.setSizePolicy(QSizePolicy.Policy.Maximum, QSizePolicy.Policy.Fixed)
        self.given = MutedLabel("", wrap=True)
        self.history = QToolButton()
        self.history.setDefaultAction(registry.action("edit.label_history"))
        self.history.setAccessibleName("Labels it had before")
        self.menu = QMenu(self)
        self._node = -1
        self._everywhere = False  # where the next label is meant to hold: as the person chose last
        self._run = 0  # what is typed from the first letter to Enter, Escape or another place is one run
        self._first: str | None = None  # the label before the run, once something of it is written
        self._pause = TypingPause(self)
        self._pause.timeout.connect(self._keep)
        above, below = QHBoxLayout(), QHBoxLayout()
        above.addWidget(self.edit, 1)
        above.addWidget(self.scope)
        below.addWidget(self.given, 1)
        below.addWidget(self.history)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2)
        column.addLayout(above)
        column.addLayout(below)
        self.edit.textEdited.connect(self._pause.begin)
        self.edit.unwanted.connect(self._take_back)
        self.edit.editingFinished.connect(self.finish)
        self.scope.activated.connect(self._scope_chosen)
        self.menu.triggered.connect(self._chosen)

    def show_node(self, node: int) -> None:
        """Show the label of a node, where it holds, and who gave it."""
        if self._node != node:
            self.finish()
        annotations = self.session.annotations
        text = annotations.labels.get(node, "")
        if self._node != node or not self.edit.hasFocus() or self.edit.before != text:
            self.edit.before = text
            self.edit.setText(text)
        self._node = node
        self.edit.setEnabled(self.session.can_edit)
        self.scope.setVisible(self.can_hold_everywhere())
        self.scope.setEnabled(self.session.can_edit)
        self.scope.setCurrentIndex(int(node in annotations.everywhere if text else self._everywhere))
        said = [f"given by {GIVERS[annotations.sources.get(node, 'person')]}"] if text else []
        if node in annotations.hidden:
            said.append(f"everywhere else “{visible_text(annotations.hidden[node], LONGEST)}”")
        self.given.setText("; ".join(said))
        self.given.setVisible(bool(said))
        # A label that is the first one has no history worth a button.
        self.history.setVisible(len(self.versions()) > 1)

    def can_hold_everywhere(self) -> bool:
        """Whether the node is a feature of a dictionary that can be told from others."""
        session = self.session
        if session.project is None or session.trace_id is None or self._node < 0:
            return False
        try:
            return session.project.feature_labels.key_of(session.trace_id, self._node) is not None
        except LoupeError:
            return False  # the next edit says what happened to the file

    def versions(self) -> list[LabelVersion]:
        """Every label the node was given, oldest first; those that were undone left out."""
        session = self.session
        if session.project is None or session.trace_id is None or self._node < 0:
            return []
        try:
            return session.project.label_versions(session.trace_id, self._node)
        except LoupeError as error:
            session.report_error("inspector", error)
            return []

    def show_history(self) -> None:
        """List the labels the node had, the newest first; choosing one gives it again."""
        self.menu.clear()
        shown = self.edit.before
        for version in reversed(self.versions()):
            words = f"“{visible_text(version.text, LONGEST)}”" if version.text else "taken away"
            where = ", ".join([*(["everywhere"] if version.everywhere else []), _when(version.given)])
            action = self.menu.addAction(f"{words}\t{GIVERS[version.source]}, {where}".replace("&", "&&"))
            action.setData((version.text, version.everywhere))
            is_present = version.text == shown and version.everywhere == (
                self._node in self.session.annotations.everywhere
            )
            action.setEnabled(bool(version.text) and not is_present and self.session.can_edit)
        corner = self.edit.mapToGlobal(QPoint(0, self.edit.height()))
        self.menu.popup(corner)
        self.menu.setFocus(Qt.FocusReason.PopupFocusReason)

    @Slot()
    def _keep(self) -> None:
        """Write what is typed so far."""
        self._pause.stop()
        text = " ".join(self.edit.text().split())
        if self._node >= 0 and text != self.edit.before:
            self._first = self.edit.before if self._first is None else self._first
            self.edit.before = text
            self._give(text)

    @Slot()
    def _take_back(self) -> None:
        """What was typed in this run is not wanted: no step is left of it, unless something else was done since."""
        self._pause.stop()
        first, self._first = self._first, None
        if first is not None and not self.edits.take_back(self._key):
            self.edits.label(self._node, first, everywhere=self._node in self.session.annotations.everywhere)
        self.edit.before = self.session.annotations.labels.get(self._node, "")
        self.edit.setText(self.edit.before)

    @property
    def _key(self) -> str:
        return f"label {self._run}"

    @Slot()
    def finish(self) -> None:
        """Write what was typed; what is typed from now on is another step."""
        self._keep()
        self._run, self._first = self._run + 1, None

    def leave(self) -> None:
        """Another trace comes: a label still being typed is for the node of this one, and no number holds any more."""
        self.finish()
        self._node = -1

    def _give(self, text: str) -> None:
        everywhere = self.scope.currentIndex() == 1 and self.can_hold_everywhere()
        self.edits.label(self._node, text, everywhere=everywhere, merge=self._key)

    @Slot(int)
    def _scope_chosen(self, index: int) -> None:
        """A label that is there holds where it is chosen to from now on; without one, the next label will."""
        self._everywhere = index == 1
        text = " ".join(self.edit.text().split())
        if text:
            self._pause.stop()
            self.edit.before = text
            self._give(text)
            self.finish()

    @Slot(QAction)
    def _chosen(self, action: QAction) -> None:
        text, everywhere = action.data()
        self.edits.label(self._node, str(text), everywhere=bool(everywhere))


def _when(given: str) -> str:
    """A time of the file (ISO 8601, UTC) as a person here reads it."""
    try:
        return datetime.fromisoformat(given).astimezone().strftime("%d %b %H:%M")
    except ValueError:
        return given
