"""What is changed next, what was run, and which experiment is shown: kept in the project, read without the model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

from PySide6.QtCore import QObject, Signal, Slot

from app.engine_calls import LoadedModel, bind
from app.experiments.draft import Draft, change_node, change_of, head_change, node_of, read_draft
from app.experiments.words import title_of
from app.experiments.work import (
    Again,
    FeatureAt,
    continue_text,
    measure_groups,
    run_again,
    run_change,
    run_on_paraphrases,
    search_circuit,
    sweep_change,
    test_circuit,
    verify,
    verify_again,
)
from app.jobs import Failure, Outcome, Value
from app.own_model import OwnModel
from app.runs import Runs
from engine.errors import LoupeError
from engine.graphs import AttributionGraph, NodeKind
from engine.graphs.visible_text import visible_text
from engine.interventions.changes import Change
from engine.interventions.status import CLAIMS, JUDGED, Kept, Status, status_of
from engine.projects import ExperimentRow, Project

DRAFT_KEY = "experiment"
JOB = "experiment"
AGAIN = "again"  # what a result that was run again says of the one before
VERIFY_TITLE = "Can this graph be believed?"
Done = Callable[[Outcome], None]


@dataclass(frozen=True)
class Shown:
    """An experiment as it is shown; `number` 0: a project open for reading only did not keep it."""

    number: int
    trace: int
    kind: str
    title: str
    created: str
    evidence: str
    settings: dict[str, Any]
    result: dict[str, Any]

    @property
    def held(self) -> str:
        """What came of running an earlier one again, in words; "" where this one is the first."""
        again = self.result.get(AGAIN)
        return str(again.get("sentence", "")) if isinstance(again, dict) else ""


class ExperimentDesk(QObject):
    """The experiments of the open trace."""

    draftChanged = Signal()
    listChanged = Signal()
    shownChanged = Signal()

    def __init__(self, runs: Runs, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.runs, self.session, self.own = runs, runs.session, OwnModel(runs)
        self.draft = Draft()
        self.shown: Shown | None = None
        self._trace: int | None = None
        self._others: dict[int, AttributionGraph] = {}
        self.session.traceChanged.connect(self._another_trace)
        self.session.tracesChanged.connect(self._look_again)

    # ---- what is open ------------------------------------------------------------------------------------------

    @property
    def graph(self) -> AttributionGraph | None:
        """The open graph, once it is whole."""
        return None if self.session.trace_id is None else self.session.graph

    @Slot()
    def _another_trace(self) -> None:
        session = self.session
        if session.trace_id == self._trace:
            return
        self.runs.host.drop(JOB)
        self._trace = session.trace_id
        stored = None
        if session.project is not None and self._trace is not None:
            stored = session.project.setting(f"{DRAFT_KEY}/{self._trace}")
        self.draft = read_draft(stored)
        rows = self.rows()
        self.shown = None
        self.draftChanged.emit()
        self.listChanged.emit()
        if rows and (self.shown is None or self.shown.trace != self._trace):
            self.show(rows[-1].id)
        else:
            self.shownChanged.emit()

    @Slot()
    def _look_again(self) -> None:
        """Experiments may be renamed, gone, or back; traces, too."""
        self._others = {}
        self.listChanged.emit()
        if self.shown is None or not self.shown.number:
            return
        row = next((one for one in self.rows() if one.id == self.shown.number), None)
        now = None if row is None else replace(self.shown, title=row.title, evidence=row.evidence)
        if now != self.shown:
            self.shown = now
            self.shownChanged.emit()

    def rows(self) -> list[ExperimentRow]:
        """The kept experiments of the open trace, oldest first."""
        project, trace = self.session.project, self.session.trace_id
        if project is None or trace is None:
            return []
        try:
            return project.experiments.all(trace)
        except LoupeError as error:
            self.session.report_error("graph", error)
            return []

    def show(self, number: int) -> None:
        """Show a kept experiment of the open trace."""
        project = self.session.project
        row = next((one for one in self.rows() if one.id == number), None)
        if project is None or row is None:
            return
        try:
            settings, result = project.experiments.settings(number), project.experiments.result(number)
        except LoupeError as error:
            self.session.report_error("graph", error)
            return
        self.shown = Shown(row.id, row.trace, row.kind, row.title, row.created, row.evidence, settings, result)
        self.shownChanged.emit()

    def status(self) -> Status:
        """The evidence status of what the shown experiment claims, by all that the project keeps."""
        shown, project = self.shown, self.session.project
        if shown is None:
            return "hypothesis"
        others = []
        if project is not None and shown.evidence in JUDGED:
            try:
                others = [
                    Kept(row.kind, row.evidence, *(read(row.id) for read in _readers(project)))
                    for row in project.experiments.all()
                    if CLAIMS.get(row.kind) == CLAIMS.get(shown.kind, shown.kind)
                    and row.evidence in JUDGED
                    and row.id != shown.number
                ]
            except LoupeError as error:
                self.session.report_error("graph", error)
        return status_of(Kept(shown.kind, shown.evidence, shown.settings, shown.result), others)

    # ---- what is changed next ----------------------------------------------------------------------------------

    def changeable(self, nodes: Sequence[int]) -> list[Change]:
        """An ablation of each of these nodes that can be changed at all."""
        graph = self.graph
        found = [] if graph is None else [change_of(graph, node) for node in nodes]
        return [one for one in found if one is not None]

    def add(self, nodes: Sequence[int]) -> None:
        """Change these nodes, too."""
        self.set_draft(self.draft.with_changes(self.changeable(nodes)))

    def add_head(self) -> None:
        """Change an attention head of the selected node's layer and token, too."""
        graph = self.graph
        if graph is not None:
            self.set_draft(self.draft.with_changes([head_change(graph, self.draft.changes, self.session.selected)]))

    def set_draft(self, draft: Draft) -> None:
        """Another draft; the project keeps it with the trace."""
        if draft == self.draft:
            return
        self.draft = draft
        project, trace = self.session.project, self.session.trace_id
        if project is not None and trace is not None and not project.read_only:
            try:
                project.set_setting(f"{DRAFT_KEY}/{trace}", draft.plain())
            except LoupeError as error:
                self.session.report_error("graph", error)
        self.draftChanged.emit()

    def set_settings(self, **changes: Any) -> None:
        """Another mode, attention, or range; what no longer goes with it is put right."""
        settings = replace(self.draft.settings, **changes)
        if settings.mode == "direct":
            settings = replace(settings, attention="frozen")
        if settings.mode != "constrained":
            settings = replace(settings, layers=None)
        self.set_draft(replace(self.draft, settings=settings))

    def others(self) -> list[tuple[int, str]]:
        """Number and title of the other traces of the same model, which values can be taken from."""
        project, made_by = self.session.project, self.session.report.get("model", {})
        if project is None:
            return []
        try:
            return [
                (row.id, row.title)
                for row in project.traces()
                if row.id != self.session.trace_id
                and project.report(row.id).get("model", {}).get("fingerprint") == made_by.get("fingerprint")
            ]
        except LoupeError as error:
            self.session.report_error("graph", error)
            return []

    def other(self, number: int) -> AttributionGraph | None:
        """The graph of another trace of the project."""
        if number not in self._others and self.session.project is not None:
            try:
                self._others[number] = self.session.project.load_graph(number)
            except LoupeError as error:
                self.session.report_error("graph", error)
        return self._others.get(number)

    def watched(self) -> tuple[FeatureAt, ...]:
        """Pinned and grouped features: the prediction is compared with them."""
        return self._features_of(self.session.circuit.nodes)

    def _features_of(self, nodes: Sequence[int]) -> tuple[FeatureAt, ...]:
        graph = self.graph
        if graph is None:
            return ()
        nodes = [node for node in nodes if graph.kind[node] == NodeKind.FEATURE]
        return tuple((int(graph.layer[n]), int(graph.position[n]), int(graph.feature[n])) for n in nodes)

    # ---- running -----------------------------------------------------------------------------------------------

    def obstacle(self) -> str:
        """Why nothing can be run on the open graph, or ""."""
        if self.graph is None or self.own.is_here():
            return ""
        return (
            "The model or the dictionary that made this graph is not on this machine: what was run can be read, but "
            "nothing new measured."
        )

    def can_run(self) -> bool:
        """The open graph's model is here, and nothing loud runs."""
        return self.graph is not None and not self.runs.loud_job and self.own.is_here()

    def run(self) -> None:
        """Run what the draft says."""
        title = self._title()
        if title:
            self.start("Running the experiment", run_change, self.draft, self.watched(), title)

    def _title(self) -> str:
        """What the draft changes; "" where that is nothing."""
        graph, changes = self.graph, self.draft.changes
        if graph is None or not changes:
            return ""
        nodes = [change_node(graph, one) for one in changes]
        return title_of(graph, self.session.annotations.labels, changes, nodes)

    def run_text(self) -> None:
        """Continue the prompt with what the draft says, and without."""
        title = self._title()
        if title:
            self.start("Continuing the prompt", continue_text, self.draft, f"Text: {title}")

    def run_on_paraphrases(self) -> None:
        """Make the same change on the prompt and on its paraphrases."""
        title = self._title()
        if title:
            self.start("Running on paraphrases", run_on_paraphrases, self.draft, f"Paraphrases: {title}")

    def sweep(self, over: Literal["doses", "layers"]) -> None:
        """Run the draft at many doses, or with many ranges of layers held."""
        title = self._title()
        if title:
            self.start(f"Sweeping {over}", sweep_change, self.draft, over, f"{over.capitalize()}: {title}")

    def groups(self) -> list[tuple[str, tuple[FeatureAt, ...]]]:
        """Name and features of each supernode that holds features."""
        circuit = self.session.circuit
        found = [(one.name, self._features_of(circuit.members(one.id))) for one in circuit.supernodes]
        return [(name, features) for name, features in found if features]

    def measure_groups(self) -> None:
        """Ablate each supernode, and read the others."""
        found = self.groups()
        names, features = tuple(name for name, _ in found), tuple(features for _, features in found)
        title = f"What {len(found)} groups do to each other"
        self.start("Measuring groups", measure_groups, self.draft, names, features, title)

    def verify(self) -> None:
        """Verify the open graph."""
        self.start(
            "Verifying the graph", verify, *self._verified(self.draft.seed, self.draft.edge_controls), VERIFY_TITLE
        )

    def _verified(self, seed: int, controls: int) -> tuple[AttributionGraph | None, float, int, int]:
        error = self.session.report.get("conservation_error")
        return self.graph, float(error) if isinstance(error, (int, float)) else float("inf"), seed, controls

    def test_circuit(self) -> None:
        """Ablate the pinned circuit, and everything else."""
        features = self.watched()
        title = f"Circuit of {len(features)}: needed, and enough?"
        self.start("Testing the circuit", test_circuit, self.draft, self._counterfactual(), features, self.graph, title)

    def find_circuit(self) -> None:
        """Look for the smallest circuit that keeps the share."""
        title = f"Smallest circuit that keeps {self.draft.share:.0%}"
        self.start("Finding a circuit", search_circuit, self.draft, self._counterfactual(), self.graph, title)

    def _counterfactual(self) -> tuple[int, ...] | None:
        """The tokens of the counterfactual prompt, where one is asked for and chosen."""
        if self.draft.ablation != "counterfactual":
            return None
        numbers = [number for number, _ in self.others()]
        number = self.draft.other if self.draft.other in numbers else next(iter(numbers), 0)
        graph = self.other(number) if number else None
        return None if graph is None else graph.token_ids

    def found_nodes(self) -> list[int]:
        """The nodes of the circuit that the shown search found."""
        graph, shown = self.graph, self.shown
        if graph is None or shown is None or shown.kind != "search":
            return []
        try:
            found = [node_of(graph, "feature", *map(int, one)) for one in shown.result["features"]]
        except (KeyError, TypeError, ValueError):
            return []
        return [node for node in found if node >= 0]

    def again(self) -> None:
        """Run the shown experiment once more, and say whether its result held."""
        shown = self.shown
        if shown is not None:
            done = partial(self._done_again, shown)
            if shown.kind == "verify":
                asked = self._verified(*(_number_of(shown.settings, name) for name in ("seed", "controls")))
                self.start("Verifying the graph again", verify_again, *asked, shown.title, shown.result, done=done)
                return
            before = (shown.kind, shown.title, shown.settings, shown.result)
            self.start("Running the experiment again", run_again, *before, done=done)

    def _done_again(self, before: Shown, outcome: Outcome) -> None:
        if not isinstance(outcome, Value):
            self._tell(outcome)
            return
        found: Again = outcome.value
        said = {"of": before.number, "held": found.held, "sentence": found.sentence}
        self.keep(before.trace, replace(found.record, result={**found.record.result, AGAIN: said}))

    def start(self, words: str, job: Any, *arguments: Any, done: Done | None = None) -> None:
        """Have the graph's model in memory, then run a job that gives a record; it is kept and shown."""
        project, trace = self.session.project, self.session.trace_id
        if project is None or trace is None or not self.can_run():
            return
        try:
            asked = project.asked(trace)
        except LoupeError as error:
            self.session.report_error("graph", error)
            return
        bound = bind(job, self.runs.state, asked, *arguments)
        self.own.with_it(partial(self._submit, words, bound, done or partial(self._done, trace)), "run the experiment")

    def _submit(self, words: str, job: Any, done: Done, model: LoadedModel) -> None:
        self.runs.host.submit(JOB, words, job, done)

    def _done(self, trace: int, outcome: Outcome) -> None:
        if isinstance(outcome, Value):
            self.keep(trace, outcome.value)
        else:
            self._tell(outcome)

    def _tell(self, outcome: Outcome) -> None:
        if isinstance(outcome, Failure):
            self.session.report_problem("graph", outcome.sentence, "help.show_log" if outcome.ours else "")

    def keep(self, trace: int, record: Any) -> None:
        """Keep an experiment in the project, and show it."""
        session = self.session
        if session.project is None or session.trace_id != trace:
            return
        key, words = f"experiment {id(record)}", f"the experiment {visible_text(record.title)}"

        def put(project: Project) -> int:
            return project.experiments.add(**record.columns, trace=trace)

        if session.project.read_only:
            self._show_unkept(trace, record)
            session.file.held.hold(key, words, put)  # a copy that is saved has it
            return
        try:
            number = put(session.project)
        except LoupeError as error:
            self._show_unkept(trace, record)
            session.file.hold(key, words, put, error)
            return
        self.show(number)
        session.tracesChanged.emit()

    def _show_unkept(self, trace: int, record: Any) -> None:
        self.shown = Shown(0, trace, record.kind, record.title, "", record.evidence, record.settings, record.result)
        self.shownChanged.emit()


def _readers(project: Project) -> tuple[Callable[[int], dict[str, Any]], Callable[[int], dict[str, Any]]]:
    """What reads an experiment's settings, and its result."""
    return project.experiments.settings, project.experiments.result


def _number_of(settings: dict[str, Any], name: str) -> int:
    """A whole number of a kept verification: its seed, or its controls."""
    experiment = settings.get("experiment")
    number = experiment.get(name) if isinstance(experiment, dict) else None
    return number if isinstance(number, int) else 0
