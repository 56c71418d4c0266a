"""What is computed about the circuit in the engine's thread: scores at once, paths and suggestions when asked for."""

from __future__ import annotations

from functools import partial

from PySide6.QtCore import QObject, Signal, Slot

from app.circuit.work import Decoders, Likeness, Paths, PathWork, Suggested, find_scores, suggest
from app.effects import EffectsDesk
from app.engine_calls import bind, written_by
from app.evidence import EvidenceDesk
from app.evidence_calls import active_together
from app.jobs import Cancelled, Failure, Outcome, Value
from engine.errors import LoupeError
from engine.graphs import AttributionGraph, Circuit
from engine.graphs.circuit import CircuitScores, node_name
from engine.projects import Suggestion

LISTED = "suggested"  # the setting that says which open suggestions are the latest ones of a trace
SOURCE = (
    "edge profiles, decoders where the model is in memory, what is active together where a text was indexed, labels, "
    "and what leaves the circuit"
)


class CircuitDesk(QObject):
    """Asks for figures whenever the circuit changes, and keeps suggestions in the project."""

    scoresChanged = Signal()
    pathsChanged = Signal()
    suggestionsChanged = Signal()

    def __init__(self, effects: EffectsDesk, evidence: EvidenceDesk, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._evidence = evidence
        self._effects, self.runs, self.session = effects, effects.runs, effects.session
        self.scores: CircuitScores | None = None
        self.pending = False  # whether the scores that are shown are those of an earlier circuit
        self.paths: Paths | None = None
        self._without_bos = False  # whether suggestions at the start token are left out now
        self.searched = False  # whether suggestions were looked for in the open trace, in this run
        self._path_work = PathWork()
        self._scored: tuple[AttributionGraph, Circuit] | None = None
        self.session.traceChanged.connect(self._another)
        self.session.annotationsChanged.connect(self._circuit_changed)
        self.session.viewChanged.connect(self._view_changed)
        self.runs.host.idle.connect(self._again)

    # ---- scores ------------------------------------------------------------------------------------------------

    @Slot()
    def _another(self) -> None:
        self.runs.host.drop("circuit-paths")
        self.runs.host.drop("circuit-suggestions")
        self.paths, self.searched = None, False
        self.pathsChanged.emit()

    @Slot()
    def _circuit_changed(self) -> None:
        self.suggestionsChanged.emit()
        session = self.session
        if session.graph is None or session.growing or not session.circuit.nodes:
            self.runs.host.drop("circuit-scores")
            self.scores, self._scored, self.pending = None, None, False
            self.scoresChanged.emit()
            return
        circuit = session.circuit
        if self._scored is not None and self._scored[0] is session.graph and self._scored[1].nodes == circuit.nodes:
            return
        if self._scored is None or self._scored[0] is not session.graph:
            self.scores = None
        self._scored, self.pending = (session.graph, circuit), True
        self.scoresChanged.emit()
        self._score()

    def _score(self) -> None:
        if self._scored is not None:
            job = bind(find_scores, *self._scored)
            self.runs.host.submit("circuit-scores", "Measuring the circuit", job, self._found_scores, quiet=True)

    def _found_scores(self, outcome: Outcome) -> None:
        if isinstance(outcome, Value):
            self.scores, self.pending = outcome.value, False
            self.scoresChanged.emit()
        elif isinstance(outcome, Failure):
            self.pending = False
            self._tell(outcome)

    @Slot()
    def _again(self) -> None:
        """Something louder went first: measure now."""
        if self.pending:
            self._score()

    # ---- paths -------------------------------------------------------------------------------------------------

    def find_paths(self, one: int, other: int) -> None:
        """Look for the strongest paths between two nodes, whichever of them lies lower."""
        graph = self.session.graph
        if graph is None:
            return
        source, target = sorted((one, other), key=lambda node: (int(graph.layer[node]), node))
        job = bind(self._path_work.find, graph, self.session.circuit, source, target)
        self.runs.host.submit("circuit-paths", "Following paths", job, self._found_paths)

    def _found_paths(self, outcome: Outcome) -> None:
        if isinstance(outcome, Value):
            self.paths = outcome.value
            self.session.light(())
            self.pathsChanged.emit()
        self._tell(outcome)

    # ---- suggestions -------------------------------------------------------------------------------------------

    @property
    def compares_decoders(self) -> bool:
        """Whether what features write would count for groups now: the model that made the graph is in memory."""
        return self._effects.can_compute()

    @Slot()
    def _view_changed(self) -> None:
        if self.session.settings.hide_bos != self._without_bos:
            self._without_bos = self.session.settings.hide_bos
            self.suggestionsChanged.emit()

    def look_for_suggestions(self) -> None:
        """Work out which nodes may be pinned and grouped next."""
        session = self.session
        if session.graph is None or session.trace_id is None or session.project is None:
            return
        decided = session.project.suggestions.of_trace(session.trace_id, "refused")
        refused = frozenset(one.key for one in decided)
        job = bind(
            suggest,
            session.graph,
            session.circuit,
            refused,
            session.settings.hide_bos,
            self._decoders(),
            self._examples(),
        )
        done = partial(self._found_suggestions, session.trace_id)
        self.runs.host.submit("circuit-suggestions", "Looking for pins and groups", job, done)

    def _decoders(self) -> Decoders | None:
        """What asks for the vectors that nodes write, where the model that made the open graph is in memory."""
        if not self.compares_decoders:
            return None
        source = self.session.features_source or self.runs.wanted_features
        found: Decoders = bind(written_by, self.runs.state, source, self.session.graph)
        return found

    def _examples(self) -> Likeness | None:
        """What says which nodes are active together, where the open graph's dictionary has an index."""
        index, graph = self._evidence.index, self.session.graph
        if index is None or graph is None:
            return None
        found: Likeness = bind(active_together, str(index.file.path), graph)
        return found

    def _found_suggestions(self, trace: int, outcome: Outcome) -> None:
        session = self.session
        if isinstance(outcome, Value) and session.trace_id == trace and session.graph is not None:
            self.searched = True
            try:
                self._keep(trace, session.graph, outcome.value)
            except LoupeError as error:
                session.report_error("graph", error)
            self.suggestionsChanged.emit()
        self._tell(outcome)

    def _keep(self, trace: int, graph: AttributionGraph, found: Suggested) -> None:
        """Write the suggestions into the project: they are there when it is opened again."""
        project = self.session.project
        if project is None or project.read_only:
            return
        labels = self.session.annotations.labels
        store = project.suggestions
        for pin in found.pins:
            name = labels.get(pin.node) or node_name(graph, pin.node)
            store.add_pin(trace, pin.node, name, source=SOURCE, reason=pin.reason, stability=pin.stability)
        for group in found.groups:
            name = f"Group of {len(group.nodes)}" if group.name == "group" else group.name
            reason = " · ".join(group.reasons)
            store.add_group(trace, name, group.nodes, source=SOURCE, reason=reason, stability=group.stability)
        rows = store.of_trace(trace, None)
        numbers = {row.key: row.id for row in rows}
        keys = [*(one.key for one in found.pins), *(one.key for one in found.groups)]
        # What was decided before is listed, too: undo opens it again.
        decided = [row.id for row in rows if row.state != "open"]
        project.set_setting(f"{LISTED}/{trace}", [*(numbers[key] for key in keys), *decided])

    def suggestions(self) -> list[Suggestion]:
        """The open suggestions of the latest search that still say something new about the circuit."""
        session = self.session
        if session.project is None or session.trace_id is None or session.growing or session.graph is None:
            return []
        hidden = session.graph.position == 0 if session.settings.hide_bos else None
        listed = session.project.setting(f"{LISTED}/{session.trace_id}", [])
        rank = {number: i for i, number in enumerate(listed)} if isinstance(listed, list) else {}
        pinned, grouped = set(session.circuit.pins), {n for one in session.circuit.supernodes for n in one.nodes}
        found = [one for one in session.project.suggestions.of_trace(session.trace_id) if one.id in rank]
        found.sort(key=lambda one: (one.kind != "pin", rank[one.id]))
        return [
            one
            for one in found
            if hidden is None or not hidden[list(one.nodes)].any()
            if (one.kind == "pin" and one.nodes[0] not in pinned | grouped)
            or (one.kind == "group" and grouped.isdisjoint(one.nodes))
        ]

    def _tell(self, outcome: Outcome) -> None:
        if isinstance(outcome, Failure):
            self.session.report_problem("graph", outcome.sentence, "help.show_log" if outcome.ours else "")
        elif isinstance(outcome, Cancelled):
            self.suggestionsChanged.emit()
