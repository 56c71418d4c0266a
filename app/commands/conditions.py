"""When a command is possible, and what it is called now."""

from __future__ import annotations

from app.commands.edits import group_of
from app.runs import Runs
from app.session import Session
from engine.errors import LoupeError


class Conditions:
    """Questions the registry asks before it shows or runs a command."""

    def __init__(self, session: Session, runs: Runs) -> None:
        self.session, self.runs = session, runs

    def has_project(self) -> bool:
        """A project is open."""
        return self.session.project is not None

    def has_graph(self) -> bool:
        """A graph is open."""
        return self.session.graph is not None

    def has_circuit(self) -> bool:
        """Something is pinned or grouped."""
        annotations = self.session.annotations
        return self.session.graph is not None and bool(annotations.pins or annotations.groups)

    def has_found(self) -> bool:
        """A search found nodes."""
        found = self.session.finding.found
        return found is not None and bool(found.any())

    def has_selection(self) -> bool:
        """A node is selected."""
        return self.session.graph is not None and self.session.selected >= 0

    def can_edit(self) -> bool:
        """A graph is open and its project takes edits."""
        return self.session.can_edit

    def can_annotate(self) -> bool:
        """A node is selected that may be pinned and labelled."""
        return self.session.can_edit and self.session.selected >= 0

    def has_label_history(self) -> bool:
        """The selected node was given a label."""
        session = self.session
        if session.project is None or session.trace_id is None or session.selected < 0:
            return False
        try:
            return bool(session.project.label_versions(session.trace_id, session.selected))
        except LoupeError:
            return False  # The next edit says what happened to the file.

    def loose_pins(self) -> list[int]:
        """Pinned nodes that are in no group."""
        annotations = self.session.annotations
        return [node for node in annotations.pins if group_of(annotations, node) is None]

    def _title(self, word: str, name: str) -> str | None:
        project = self.session.project
        try:
            title = None if project is None or project.read_only else getattr(project, name)
        except LoupeError:
            return None  # The heartbeat says what happened to the file.
        return f"{word} {title}" if title else None

    def can_undo(self) -> bool:
        """There is an edit to take back."""
        return self._title("", "undo_title") is not None

    def can_redo(self) -> bool:
        """There is an edit to make again."""
        return self._title("", "redo_title") is not None

    def undo_title(self) -> str:
        """Says what would be taken back; ampersands of labels are no mnemonics."""
        return (self._title("Undo", "undo_title") or "Undo").replace("&", "&&")

    def redo_title(self) -> str:
        """Says what would be made again."""
        return (self._title("Redo", "redo_title") or "Redo").replace("&", "&&")

    def pin_title(self) -> str:
        """Pin or unpin, by what is selected."""
        return "Un&pin" if self.session.selected in self.session.annotations.pins else "&Pin"

    def can_run(self) -> bool:
        """Nothing loud runs; while the model is loaded, what needs it is taken and waits."""
        return not self.runs.loud_job or self.runs.loading

    def is_busy(self) -> bool:
        """A job runs."""
        return self.runs.host.busy

    def can_load(self) -> bool:
        """The chosen model is not in memory yet."""
        return self.runs.model is None and bool(self.runs.wanted_model) and not self.runs.host.busy

    def has_ready(self) -> bool:
        """A finished trace waits to be opened."""
        return self.runs.has_ready

    def has_refused(self) -> bool:
        """A dictionary was refused that a person may insist on."""
        return self.runs.has_refused

    def can_go_back(self) -> bool:
        """A node was visited before this one."""
        return self.session.visited.can_go_back

    def can_go_forward(self) -> bool:
        """A node was left by going back."""
        return self.session.visited.can_go_forward
