"""Features that several traces share: read and counted in the engine's thread, shown and opened by the window."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from PySide6.QtCore import QObject, Signal, Slot

from app.engine_calls import bind
from app.jobs import Failure, JobHost, Outcome, Value
from app.session import Session
from engine.projects import Project
from engine.projects.shared import LEAST, SharedTable, find_shared


class SharedDesk(QObject):
    """Finds what the chosen traces share, and opens a feature in one of them."""

    changed = Signal()

    def __init__(self, session: Session, host: JobHost, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.session, self.host = session, host
        self.table: SharedTable | None = None
        session.projectChanged.connect(self._forget)
        session.tracesChanged.connect(self._traces_changed)

    def find(self, traces: Sequence[int]) -> None:
        """Find what these traces share."""
        project = self.session.project
        if project is None:
            return
        if len(traces) < LEAST:
            sentence = "Choose two or more traces in the list (Ctrl+click), to see the features that they share."
            self.session.report_problem("investigation", sentence)
            return
        job = bind(find_shared, project, tuple(traces))
        title = f"Finding what {len(traces)} graphs share"
        self.host.submit("shared", title, job, partial(self._found, project))

    def _found(self, project: Project, outcome: Outcome) -> None:
        if project is not self.session.project:
            return
        if isinstance(outcome, Failure):
            self.session.report_problem("investigation", outcome.sentence, "help.show_log" if outcome.ours else "")
        if isinstance(outcome, Value):
            self.table = outcome.value
            self.changed.emit()

    @Slot()
    def _forget(self) -> None:
        if self.table is not None:
            self.table = None
            self.changed.emit()

    @Slot()
    def _traces_changed(self) -> None:
        """A trace that is deleted cannot be opened from the table any more."""
        project, table = self.session.project, self.table
        if project is not None and table is not None:
            there = {row.id for row in project.traces()}
            if not set(table.traces) <= there:
                self._forget()

    def open(self, row: int, number: int | None = None) -> None:
        """Select a feature where it has most influence: in trace `number` of the table, or the open one or first."""
        table, session = self.table, self.session
        if table is None or not 0 <= row < len(table.rows):
            return
        found = table.rows[row].found
        if number is None or number not in found.graphs:
            open_now = [i for i in found.graphs if table.traces[i] == session.trace_id]
            number = (open_now or list(found.graphs))[0]
        trace, nodes = table.traces[number], found.nodes[number]
        if session.trace_id != trace:
            session.leaving.emit()
            session.open_trace(trace)
        if session.trace_id == trace and session.graph is not None:
            influence = session.graph.influence[list(nodes)]
            session.select(int(nodes[int(influence.argmax())]))
