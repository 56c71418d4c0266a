"""Tracing the selected feature: what made it active, in the graph's own prompt and with its own dictionary."""

from __future__ import annotations

from functools import partial
from typing import Any

from app.engine_calls import NEURONS
from app.runs import Runs
from app.session import DRAFT_KEY
from app.shelf import is_here
from engine.graphs import AttributionGraph, NodeKind
from engine.graphs.titles import trace_title
from engine.tracing.spec import Prompt, Target, TraceSpec


class FeatureTrace:
    """Makes a new trace whose target is a feature node of the open one."""

    def __init__(self, runs: Runs) -> None:
        self.runs, self.session = runs, runs.session

    def can_run(self) -> bool:
        """A feature is selected in a graph whose model and dictionary are on this machine, and nothing loud runs."""
        graph, node = self.session.graph, self.session.selected
        if graph is None or not 0 <= node < graph.n_nodes or graph.kind[node] != NodeKind.FEATURE:
            return False
        if not graph.token_ids or self.runs.loud_job:
            return False
        return self._model_is_here() and is_here(self._features())

    def _made_by(self) -> dict[str, Any]:
        made_by = self.session.report.get("model")
        return made_by if isinstance(made_by, dict) else {}

    def _model_is_here(self) -> bool:
        loaded, made_by = self.runs.model, self._made_by()
        if loaded is not None and loaded.fingerprint == made_by.get("fingerprint"):
            return True
        return str(made_by.get("source", "")) in self.runs.known_models

    def _features(self) -> str:
        """Where the graph's dictionary is loaded from; "" where nobody knows."""
        features = self.session.report.get("features")
        kind = features.get("kind") if isinstance(features, dict) else None
        return self.session.features_source or (NEURONS if kind == NEURONS else "")

    def run(self) -> None:
        """Trace the selected feature; the graph's model is loaded first where it is not."""
        session, runs = self.session, self.runs
        graph, node, project = session.graph, session.selected, session.project
        if graph is None or project is None or not self.can_run():
            return
        fingerprint = str(self._made_by().get("fingerprint", ""))
        if runs.model is None or runs.model.fingerprint != fingerprint:
            runs.follow_trace()
        prompt = project.setting(f"{DRAFT_KEY}/{session.trace_id}")
        then = partial(self._trace, graph, node, self._features(), fingerprint, prompt)
        runs.with_model(then)

    def _trace(self, graph: AttributionGraph, node: int, features: str, fingerprint: str, prompt: Any) -> None:
        model = self.runs.model
        assert model is not None
        if model.fingerprint != fingerprint:
            sentence = (
                f"{model.name} is no longer the model that made this graph; trace the prompt again, then the feature."
            )
            self.session.report_problem("graph", sentence)
            return
        layer, position, feature = (int(column[node]) for column in (graph.layer, graph.position, graph.feature))
        pairs = zip(graph.token_ids, graph.tokens, strict=True)
        text = "".join(token for number, token in pairs if not model.tokenizer.is_special(number))
        spec = TraceSpec(
            Prompt(text, token_ids=graph.token_ids),
            Target(feature=(layer, position, feature)),
            max_nodes=self.runs.max_nodes,
        )
        title = trace_title(text, [f"layer {layer} · {feature}"])
        kept = {**prompt, "traced": None} if isinstance(prompt, dict) else None
        self.runs.submit_trace(spec, title, None, features=features, prompt=kept)
