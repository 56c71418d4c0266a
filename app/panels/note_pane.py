"""What a person writes: the notes on the open trace, or the text of the note, prompt or circuit chosen in the tree."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import Slot
from PySide6.QtWidgets import QVBoxLayout, QWidget

from app.commands import Edits, TreeEdits
from app.dropped_files import TextBox
from app.panels.plain import ElidedLabel, Heading
from app.session import Session
from app.typing_pause import TypingPause
from engine.errors import LoupeError
from engine.graphs.visible_text import visible_text
from engine.projects import Project, TreeEntry, TreeRef

WRITTEN = {"note": "Note", "prompt": "Prompt", "circuit": "Note on the circuit"}
EMPTY = {
    "": "Notes on this trace: what you see, what you doubt, what to try next.",
    "note": "Write here what belongs to no single trace.",
    "prompt": "The text of this prompt. Open it to trace it.",
    "circuit": "What this circuit shows. Open it to put it back on its trace.",
}


class NotePane(QWidget):
    """A heading that says whose text it is, and the text; written into the project while it is typed."""

    def __init__(self, session: Session, edits: Edits, tree_edits: TreeEdits, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.session, self.edits, self.tree_edits = session, edits, tree_edits
        self.heading = Heading("Notes")
        self.title = ElidedLabel()
        self.box = TextBox()
        self.box.setTabChangesFocus(True)
        self.box.setObjectName("notes")
        self._entry: TreeEntry | None = None  # None: the open trace
        self._key: TreeRef | None = None  # whose text is shown
        self._pause = TypingPause(self)
        self._pause.timeout.connect(self.commit)
        column = QVBoxLayout(self)
        column.setContentsMargins(8, 4, 8, 6)
        column.setSpacing(3)
        column.addWidget(self.heading)
        column.addWidget(self.title)
        column.addWidget(self.box)
        self.box.textChanged.connect(self._pause.begin)
        session.annotationsChanged.connect(self.refresh)
        self.refresh()

    def show_entry(self, entry: TreeEntry | None) -> None:
        """Show the text of an entry of the tree; folders and traces have none of their own: the open trace's notes."""
        chosen = entry if entry is not None and (entry.kind in WRITTEN or entry.kind == "experiment") else None
        if (None if chosen is None else chosen.ref) != (None if self._entry is None else self._entry.ref):
            self.commit()
        self._entry = chosen
        self.refresh()

    @Slot()
    def refresh(self) -> None:
        """Read the text again, unless the person is typing: theirs is newer than the project's."""
        entry, session = self._entry, self.session
        key = self._subject()
        same, self._key = self._key == key, key
        kind = "" if entry is None else entry.kind
        self.heading.setText("Notes" if entry is None else WRITTEN.get(kind, "Experiment"))
        self.title.setText("" if entry is None else visible_text(entry.title))
        self.title.setVisible(entry is not None)
        name = "Notes on this trace" if entry is None else f"{self.heading.text()}: {entry.title}"
        self.box.setAccessibleName(name)
        self.box.setPlaceholderText(EMPTY.get(kind, ""))
        editable = session.can_edit if entry is None else session.project is not None and not session.read_only
        self.box.setEnabled(editable or kind == "experiment")
        self.box.setReadOnly(kind == "experiment")
        if same and self._pause.isActive():
            return
        text, shown = self._stored(), self.box.toPlainText()
        if same and self.box.hasFocus() and not text and not shown.strip():
            return  # blanks before the first word
        if shown != text:
            self.box.blockSignals(True)
            self.box.setPlainText(text)
            self.box.blockSignals(False)

    def _subject(self) -> TreeRef | None:
        if self._entry is not None:
            return self._entry.ref
        return None if self.session.trace_id is None else TreeRef("trace", self.session.trace_id)

    def _stored(self) -> str:
        entry, project = self._entry, self.session.project
        if entry is None or project is None:
            return self.session.annotations.note
        try:
            return experiment_text(project, entry) if entry.kind == "experiment" else project.tree.text(entry.ref)
        except LoupeError as error:
            self.session.report_error("investigation", error)
            return ""

    @Slot()
    def commit(self) -> None:
        """Write the text into the project: soon after it was typed, and before anything else is shown."""
        if not self._pause.isActive() and self.sender() is not self._pause:
            return
        self._pause.stop()
        key, text = self._key, self.box.toPlainText()
        if key is None or key != self._subject():
            return
        if self._entry is None:
            self.edits.note(text)
        elif self._entry.kind in WRITTEN:
            self.tree_edits.write(key, text)

    def focus(self) -> None:
        """Put the cursor into the text."""
        self.box.setFocus()


def experiment_text(project: Project, entry: TreeEntry) -> str:
    """What was done and what came out, as plain lines."""
    number = entry.ref.number
    row = next(row for row in project.experiments.all() if row.id == number)
    lines = [f"{row.kind}, {row.created}", f"Evidence: {row.evidence}", "", "Settings"]
    lines += _lines(project.experiments.settings(number))
    return "\n".join([*lines, "", "Result", *_lines(project.experiments.result(number))])


def _lines(values: dict[str, Any]) -> list[str]:
    return [f"  {name}: {visible_text(str(value), 300)}" for name, value in values.items()] or ["  none"]
