"""What features write: computed once with the model, kept in the project, read without the model."""

from __future__ import annotations

from functools import partial

from PySide6.QtCore import QObject, Signal

from app.engine_calls import Effects, bind, feature_effects
from app.jobs import Failure, Outcome, Value
from app.own_model import OwnModel
from app.runs import Runs
from engine.errors import LoupeError
from engine.projects import effects_key


class EffectsDesk(QObject):
    """Looks logit effects up in the project, and has them computed where they are not known."""

    changed = Signal(int)  # node
    stopped = Signal(int)  # node: something else went first, or it failed

    def __init__(self, runs: Runs, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.runs, self.session, self.own = runs, runs.session, OwnModel(runs)
        # What was found in this run: a project open for reading keeps nothing.
        self._found_now: dict[str, Effects] = {}

    def key(self, node: int) -> str:
        """The key under which the project keeps a feature's logit effects."""
        session = self.session
        assert session.graph is not None
        return effects_key(session.report, session.graph, node)

    def known(self, node: int) -> Effects | None:
        """The logit effects that the project holds, or that were found in this run."""
        project, key = self.session.project, self.key(node)
        stored = None if project is None else Effects.from_json(project.effects(key))
        return stored or self._found_now.get(key)

    def can_compute(self) -> bool:
        """True when the model in memory is the one that made the open graph."""
        return self.own.is_loaded()

    def find(self, node: int) -> None:
        """Compute a feature's logit effects and keep them in the project."""
        graph = self.session.graph
        if graph is None or not self.can_compute():
            return
        found = partial(self._found, node, self.key(node))
        layer, feature = int(graph.layer[node]), int(graph.feature[node])
        source = self.session.features_source or self.runs.wanted_features
        job = bind(feature_effects, self.runs.state, source, layer, feature)
        self.runs.host.submit("effects", "Reading what the feature writes", job, found, quiet=True)

    def _found(self, node: int, key: str, outcome: Outcome) -> None:
        if isinstance(outcome, Value):
            self._found_now[key] = outcome.value
            self._keep(key, outcome.value)
            self.changed.emit(node)
        else:
            self.stopped.emit(node)
        if isinstance(outcome, Failure):
            self.session.report_problem("inspector", outcome.sentence, "help.show_log" if outcome.ours else "")

    def _keep(self, key: str, effects: Effects) -> None:
        project = self.session.project
        if project is None or project.read_only:
            return
        try:
            project.save_effects(key, effects.as_json())
        except LoupeError as error:
            self.session.report_error("inspector", error)
