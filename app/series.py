"""A graph for each token of an answer: traced in one go, kept in a folder, stepped through in time."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from PySide6.QtCore import QObject, Signal, Slot

from app.engine_calls import NextToken, SeriesSoFar, bind, read_trace, run_series
from app.jobs import Failure, Mailbox, Outcome, Value
from app.runs import Runs
from app.session import DRAFT_KEY
from engine.errors import LoupeError
from engine.graphs import AttributionGraph
from engine.graphs.titles import trace_title
from engine.graphs.visible_text import visible_text
from engine.projects import Project, TreeRef
from engine.tracing.spec import Target, TraceSpec

SERIES = "series"  # in the content of a folder: its traces are a series, in their order
KEPT_GRAPHS = 12  # in memory, so that a step is seen at once
AHEAD = 2  # tokens on either side that are read before they are asked for


@dataclass(frozen=True)
class Step:
    """One token of a series: its trace, and the token it explains."""

    trace: int
    token: str


@dataclass(frozen=True)
class Key:
    """What tells a node in every graph of a series: prompts grow at the end, so that positions stay."""

    kind: int
    layer: int
    feature: int
    position: int

    @classmethod
    def of(cls, graph: AttributionGraph, node: int) -> Key:
        """The key of a node."""
        columns = (graph.kind, graph.layer, graph.feature, graph.position)
        return cls(*(int(column[node]) for column in columns))

    def find(self, graph: AttributionGraph) -> int:
        """The node of this key, or -1."""
        here = (graph.kind == self.kind) & (graph.layer == self.layer)
        here &= (graph.feature == self.feature) & (graph.position == self.position)
        found = np.flatnonzero(here)
        return int(found[0]) if len(found) else -1


class SeriesDesk(QObject):
    """Runs a series, knows which one the open trace belongs to, and steps through it."""

    changed = Signal()  # the steps, or which of them is open

    def __init__(self, runs: Runs, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.runs, self.session, self.host = runs, runs.session, runs.host
        self.steps: tuple[Step, ...] = ()
        self._graphs: OrderedDict[int, AttributionGraph] = OrderedDict()
        self._running: tuple[int, ...] = ()  # finished traces of the series that runs now: in no folder yet
        self._held: Key | None = None  # the node a person selected, also where a graph does not have it
        self._stepping = False
        self.session.traceChanged.connect(self._look)
        self.session.tracesChanged.connect(self._look)
        self.session.selectionChanged.connect(self._selected)
        self.session.projectChanged.connect(self._project_changed)

    # ---- running -----------------------------------------------------------------------------------------------

    def run(self, count: int) -> None:
        """Trace each token of the answer; where nothing was generated yet, `count` tokens are first."""
        self.runs.with_model(partial(self._start, count))

    def _start(self, count: int) -> None:
        if not self.runs.has_prompt() or self.session.read_only:
            return
        prompt = self.session.prompt
        try:
            project = self.session.ensure_project()
        except LoupeError as error:
            self.session.report_problem("prompt", error.sentence)
            return
        answer = tuple(
            NextToken(chip.token_id, chip.text, chip.probability or 0.0) for chip in prompt.chips if chip.generated
        )
        spec = TraceSpec(prompt.draft.prompt(), Target(), max_nodes=self.runs.max_nodes)
        features, trust = self.runs.wanted_features, self.runs.trust_features
        mailbox, run = Mailbox(), _Run(self, project, features, prompt.snapshot(), prompt.draft.text)
        job = bind(run_series, self.runs.state, project, spec, features, trust, answer or count, run.tell(mailbox))
        title = f"Tracing each token after {trace_title(prompt.draft.text)}"
        self.host.submit(SERIES, title, job, run.done, mailbox=mailbox, found=run.found)

    def take(self, number: int, graph: AttributionGraph, open_it: bool) -> None:
        """A trace of the running series is done."""
        self._running = (*self._running, number)
        self._keep(number, graph)
        if open_it:
            self.session.leaving.emit()
            self.session.open_trace(number, graph=graph)
        self.session.tracesChanged.emit()

    def finish(self, project: Project, title: str) -> None:
        """Put what was finished into a folder of its own."""
        traces, self._running = self._running, ()
        if project is not self.session.project or not traces:
            return
        there = self.session.trace_numbers()
        refs = [TreeRef("trace", number) for number in traces if number in there]
        try:
            if refs:
                project.tree.gather(refs, f"{title}: token by token", content={SERIES: True})
        except LoupeError as error:
            self.session.report_problem("investigation", error.sentence)
        self.session.tracesChanged.emit()
        self.session.historyChanged.emit()

    # ---- which series ------------------------------------------------------------------------------------------

    @property
    def place(self) -> int:
        """Which step is open, from 0; -1 where the open trace is in no series."""
        numbers = [step.trace for step in self.steps]
        open_now = self.session.trace_id
        return numbers.index(open_now) if open_now in numbers else -1

    @Slot()
    def _look(self) -> None:
        """Find the series of the open trace."""
        if not self._stepping:
            try:
                self.steps = self._find()
            except LoupeError as error:
                self.session.report_error("project", error)
                return
            self.changed.emit()
            self._read_ahead()

    def _find(self) -> tuple[Step, ...]:
        project, open_now = self.session.project, self.session.trace_id
        if project is None or open_now is None:
            return ()
        numbers = self._running if open_now in self._running else _in_series(project, open_now)
        tokens = {row.id: visible_text(row.target) for row in project.traces()}
        return tuple(Step(number, tokens[number]) for number in numbers if number in tokens)

    @Slot()
    def _project_changed(self) -> None:
        self.host.drop(SERIES)
        self.host.drop("series step")
        self.host.drop("series ahead")
        self._graphs.clear()
        self._running, self._held, self.steps = (), None, ()
        self.changed.emit()

    # ---- stepping ----------------------------------------------------------------------------------------------

    def can_go(self, by: int) -> bool:
        """Whether there is a token `by` steps on."""
        return self.place >= 0 and 0 <= self.place + by < len(self.steps)

    def go(self, by: int) -> None:
        """Go on or back."""
        if self.can_go(by):
            self.open(self.place + by)

    def open(self, place: int) -> None:
        """Show another token of the series; its graph is read in the engine's thread where it is not at hand."""
        if not 0 <= place < len(self.steps) or place == self.place:
            return
        number, project = self.steps[place].trace, self.session.project
        self.host.drop("series step")
        if project is None:
            return
        if number in self._graphs or self.runs.loud_job:
            self._show(number, self._graphs.get(number))
            return
        job = bind(read_trace, project, (number,))
        self.host.submit("series step", "Opening the next graph", job, partial(self._opened, project, number))

    def _opened(self, project: Project, number: int, outcome: Outcome) -> None:
        if project is not self.session.project:
            return
        if isinstance(outcome, Failure):
            self.session.report_problem("graph", outcome.sentence, "help.show_log" if outcome.ours else "")
        if isinstance(outcome, Value):
            self._show(number, outcome.value[number])

    def _show(self, number: int, graph: AttributionGraph | None) -> None:
        """Open a step; what was selected is selected again where the graph has it."""
        session = self.session
        session.leaving.emit()
        self._stepping = True
        session.open_trace(number, continued=True, graph=graph)
        if session.graph is not None and session.trace_id == number:
            self._keep(number, session.graph)
            if self._held is not None:
                session.select(self._held.find(session.graph), remember=False)
        self._stepping = False
        self.changed.emit()
        self._read_ahead()

    @Slot(int)
    def _selected(self, node: int) -> None:
        graph = self.session.graph
        if not self._stepping:
            self._held = Key.of(graph, node) if graph is not None and 0 <= node < graph.n_nodes else None

    def _keep(self, number: int, graph: AttributionGraph) -> None:
        self._graphs[number] = graph
        self._graphs.move_to_end(number)
        while len(self._graphs) > KEPT_GRAPHS:
            self._graphs.popitem(last=False)

    def _read_ahead(self) -> None:
        """Read the neighbours of the open step while nothing else runs."""
        project, place = self.session.project, self.place
        if project is None or place < 0 or self.host.busy:
            return
        near = [self.steps[i].trace for i in range(place - AHEAD, place + AHEAD + 1) if 0 <= i < len(self.steps)]
        wanted = tuple(number for number in near if number not in self._graphs and number != self.session.trace_id)
        if wanted:
            job = bind(read_trace, project, wanted)
            self.host.submit("series ahead", "Reading ahead", job, partial(self._read, project), quiet=True)

    def _read(self, project: Project, outcome: Outcome) -> None:
        if isinstance(outcome, Value) and project is self.session.project:
            for number, graph in outcome.value.items():
                self._keep(number, graph)


class _Run:
    """One series while it runs: what it has stored comes to the window piece by piece."""

    def __init__(self, desk: SeriesDesk, project: Project, features: str, snapshot: dict[str, Any], text: str) -> None:
        self.desk, self.session = desk, desk.session
        self.project, self.features, self.snapshot, self.text = project, features, snapshot, text
        self._latest = SeriesSoFar(())
        self._taken = -1  # traces taken; -1 before the answer is known
        self._trace = desk.session.trace_id  # what was open: it gives way to the first token's graph

    def tell(self, mailbox: Mailbox) -> Any:
        """What the engine's thread calls; the last is kept here too, for the end of the job."""

        def put(so_far: SeriesSoFar) -> None:
            self._latest = so_far
            mailbox.put(so_far)

        return put

    def found(self, so_far: SeriesSoFar) -> None:
        """Show the answer, and each trace that is new."""
        if self.project is not self.session.project:
            return
        prompt = self.session.prompt
        if self._taken < 0:
            self._taken = 0
            own = prompt.is_own and prompt.ids == tuple(
                chip["token_id"] for chip in self.snapshot["chips"] if not chip["generated"]
            )
            if own and len(prompt.all_ids) == len(prompt.ids):
                prompt.set_generated(so_far.answer)
                self.snapshot = prompt.snapshot()
        start = sum(not chip["generated"] for chip in self.snapshot["chips"])
        for number, graph in so_far.stored[self._taken :]:
            kept = {**self.snapshot, "traced": start + self._taken, "features": self.features}
            self.project.set_setting(f"{DRAFT_KEY}/{number}", kept)
            first = self._taken == 0 and self.session.trace_id == self._trace
            self._taken += 1
            self.desk.take(number, graph, first)

    def done(self, outcome: Outcome) -> None:
        """The end, or it was cancelled or failed: what is finished stays."""
        try:
            self.found(self._latest)
        except LoupeError as error:
            self.session.report_error("graph", error)
        self.desk.finish(self.project, trace_title(self.text))
        if isinstance(outcome, Failure):
            self.session.report_problem("prompt", outcome.sentence, "help.show_log" if outcome.ours else "")


def _in_series(project: Project, trace: int) -> tuple[int, ...]:
    """The traces of the series a trace is in, in their order; none where its folder is no series."""
    entries = project.tree.entries()
    own = TreeRef("trace", trace)
    folder = next((entry.folder for entry in entries if entry.ref == own), 0)
    if not folder or project.tree.content(TreeRef("item", folder)).get(SERIES) is not True:
        return ()
    return tuple(entry.trace for entry in entries if entry.folder == folder and entry.kind == "trace")
