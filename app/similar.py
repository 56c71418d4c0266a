"""Features like the selected one: by their role in the graph at once, by their decoders where the model is there."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QObject, Signal, Slot

from app.effects import EffectsDesk
from app.engine_calls import bind, decoder_likeness
from app.evidence import EvidenceDesk
from app.jobs import Failure, JobHost, Outcome, Value
from app.reading import Similar, similar_features
from engine.evidence.pages import Near
from engine.graphs import AttributionGraph, NodeKind
from engine.graphs.similarity import role_similarity
from engine.progress import Progress


class SimilarDesk(QObject):
    """Has roles compared in the thread beside the engine's, which a running trace does not hold up, and decoders in
    the engine's, which has the model.
    """

    changed = Signal(int)  # node: its role or its decoder was compared
    stopped = Signal(int)  # node: something else went first, or it failed

    def __init__(
        self,
        effects: EffectsDesk,
        beside: JobHost,
        parent: QObject | None = None,
        evidence: EvidenceDesk | None = None,
    ) -> None:
        super().__init__(parent)
        self._evidence = evidence
        self._effects, self._runs, self._session = effects, effects.runs, effects.runs.session
        self._beside = beside
        self._known: tuple[AttributionGraph, int, NDArray[np.float32]] | None = None
        self._roles: tuple[AttributionGraph, int, NDArray[np.float64]] | None = None
        self._session.traceChanged.connect(self._another)

    @Slot()
    def _another(self) -> None:
        """What was compared in another graph is let go, and the graph with it."""
        self._beside.drop("similar-roles")
        self._known = self._roles = None

    def known(self, node: int) -> bool:
        """Whether this node's decoder was compared with the others of the open graph."""
        return self._known is not None and self._known[0] is self._session.graph and self._known[1] == node

    def of(self, node: int, count: int) -> list[Similar] | None:
        """The features most like a node, the likest first; None where that is being worked out."""
        graph = self._session.graph
        assert graph is not None
        if self._roles is None or self._roles[0] is not graph or self._roles[1] != node:
            job, done = partial(_roles, graph, node), partial(self._compared, graph, node)
            self._beside.submit("similar-roles", "Comparing roles", job, done)
            return None
        cosines = self._known[2] if self._known is not None and self.known(node) else None
        return similar_features(graph, node, self._roles[2], cosines, count, self._near(node))

    def _near(self, node: int) -> Sequence[Near]:
        page = None if self._evidence is None else self._evidence.page(node)
        return () if page is None else page.near

    def _compared(self, graph: AttributionGraph, node: int, outcome: Outcome) -> None:
        if isinstance(outcome, Value):
            self._roles = (graph, node, outcome.value)
            self.changed.emit(node)
        elif isinstance(outcome, Failure):
            self._session.report_problem("inspector", outcome.sentence, "help.show_log" if outcome.ours else "")

    def can_compare(self) -> bool:
        """True when the model in memory is the one that made the open graph."""
        return self._effects.can_compute()

    def compare(self, node: int) -> None:
        """Compare a feature's decoder with those of all features of the graph."""
        graph = self._session.graph
        if graph is None or not self.can_compare():
            return
        row = int(np.searchsorted(graph.of_kind(NodeKind.FEATURE), node))
        source = self._session.features_source or self._runs.wanted_features
        job = bind(decoder_likeness, self._runs.state, source, graph, row)
        self._runs.host.submit("similar", "Comparing decoders", job, partial(self._found, graph, node), quiet=True)

    def _found(self, graph: AttributionGraph, node: int, outcome: Outcome) -> None:
        if isinstance(outcome, Value):
            self._known = (graph, node, outcome.value)
            self.changed.emit(node)
            return
        self.stopped.emit(node)
        if isinstance(outcome, Failure):
            self._session.report_problem("inspector", outcome.sentence, "help.show_log" if outcome.ours else "")


def _roles(graph: AttributionGraph, node: int, progress: Progress, cancel: threading.Event) -> NDArray[np.float64]:
    """A job: how alike every node's edges are to those of one."""
    return role_similarity(graph, node)
