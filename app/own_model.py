"""The model and the dictionary that made the open graph: whether they are here, and having them in memory."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from app.engine_calls import NEURONS, LoadedModel
from app.runs import Runs
from app.shelf import is_here

if TYPE_CHECKING:
    from engine.graphs import AttributionGraph

Then = Callable[[LoadedModel], None]


class OwnModel:
    """What asks the open graph's own model, and no other one, goes through here."""

    def __init__(self, runs: Runs) -> None:
        self.runs, self.session = runs, runs.session

    def _made_by(self) -> dict[str, Any]:
        made_by = self.session.report.get("model")
        return made_by if isinstance(made_by, dict) else {}

    def is_loaded(self) -> bool:
        """Whether the model in memory is the one that made the open graph."""
        loaded = self.runs.model
        return loaded is not None and loaded.fingerprint == self._made_by().get("fingerprint")

    def is_here(self) -> bool:
        """Whether model and dictionary of the open graph are on this machine."""
        if self.session.graph is None or not self.session.graph.token_ids or not is_here(self.features()):
            return False
        return self.is_loaded() or str(self._made_by().get("source", "")) in self.runs.known_models

    def features(self) -> str:
        """Where the graph's dictionary is loaded from; "" where nobody knows."""
        features = self.session.report.get("features")
        kind = features.get("kind") if isinstance(features, dict) else None
        return self.session.features_source or (NEURONS if kind == NEURONS else "")

    def with_it(self, then: Then, after: str) -> None:
        """Call `then` with the graph's model in memory; says so where it is no longer that model, and then `after`."""
        fingerprint = str(self._made_by().get("fingerprint", ""))
        if not self.is_loaded():
            self.runs.follow_trace()
        self.runs.with_model(partial(self._loaded, self.session.graph, fingerprint, then, after))

    def _loaded(self, graph: AttributionGraph | None, fingerprint: str, then: Then, after: str) -> None:
        model = self.runs.model
        assert model is not None
        if self.session.graph is not graph:
            return  # another graph was opened while the model loaded: what was asked for was not about it
        if model.fingerprint != fingerprint:
            sentence = (
                f"{model.name} is no longer the model that made this graph; trace the prompt again, then {after}."
            )
            self.session.report_problem("graph", sentence)
            return
        then(model)
