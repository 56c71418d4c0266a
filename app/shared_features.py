"""Features that several traces share: read and counted in the engine's thread, shown and opened by the window."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from PySide6.QtCore import QObject, Signal, Slot

from app.engine_calls import bind
from app.jobs import Failure, JobHost, Outcome, Value
from app.session import Session
from engine.errors import RequestError
from engine.graphs import AttributionGraph
from engine.graphs.comparison import SharedFeature, shared_features
from engine.graphs.visible_text import visible_text
from engine.progress import Progress, checkpoint
from engine.projects import Project, dictionary_identity

LEAST = 2  # traces that must be chosen, and that a feature must be in


@dataclass(frozen=True)
class SharedRow:
    """One feature: what is shown of it. `places` has one text a trace, "" where the trace does not have it."""

    found: SharedFeature
    places: tuple[str, ...]
    label: str


@dataclass(frozen=True)
class SharedTable:
    """What several traces share."""

    traces: tuple[int, ...]
    titles: tuple[str, ...]
    rows: tuple[SharedRow, ...]
    measure: str


def find_shared(project: Project, traces: Sequence[int], progress: Progress, cancel: threading.Event) -> SharedTable:
    """Read traces and find the features that two or more of them have; RequestError for several dictionaries."""
    titles = {row.id: row.title for row in project.traces()}
    graphs, labels, names = [], [], []
    for done, trace in enumerate(traces):
        progress("Reading the graphs", done / (len(traces) + 1))
        checkpoint(cancel)
        graphs.append(project.load_graph(trace))
        everywhere = {node: label.text for node, label in project.feature_labels.of_trace(trace).items()}
        labels.append({**everywhere, **project.annotations(trace).labels})
        names.append(dictionary_identity(project.report(trace)))
    if len(set(names) - {None}) > 1:
        raise RequestError(
            "These traces come from different dictionaries, whose feature numbers mean different things; choose traces "
            "of one."
        )
    progress("Comparing the graphs", len(traces) / (len(traces) + 1))
    rows = []
    for found in shared_features(graphs, LEAST):
        pairs = [labels[i].get(node, "") for i, nodes in enumerate(found.nodes) for node in nodes]
        label = " | ".join(dict.fromkeys(text for text in pairs if text))
        places = tuple(_places(graph, found, i) for i, graph in enumerate(graphs))
        rows.append(SharedRow(found, places, label))
    return SharedTable(tuple(traces), tuple(titles.get(t, "") for t in traces), tuple(rows), graphs[0].measure)


def _places(graph: AttributionGraph, found: SharedFeature, number: int) -> str:
    """Where a graph has a feature: "␣petit −3, ␣est −1"."""
    ends = found.positions[number]
    return ", ".join(f"{visible_text(graph.tokens[graph.n_positions + end])} {end}".replace("-", "−") for end in ends)


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
