"""Tracing the selected feature: what made it active, in the graph's own prompt and with its own dictionary."""

from __future__ import annotations

from functools import partial
from typing import Any

from app.engine_calls import LoadedModel
from app.own_model import OwnModel
from app.runs import Runs
from app.session import DRAFT_KEY
from engine.graphs import AttributionGraph, NodeKind
from engine.graphs.titles import trace_title
from engine.tracing.spec import Prompt, Target, TraceSpec


class FeatureTrace:
    """Makes a new trace whose target is a feature node of the open one."""

    def __init__(self, runs: Runs) -> None:
        self.runs, self.session, self.own = runs, runs.session, OwnModel(runs)

    def can_run(self) -> bool:
        """A feature is selected in a graph whose model and dictionary are on this machine, and nothing loud runs."""
        graph, node = self.session.graph, self.session.selected
        if graph is None or not 0 <= node < graph.n_nodes or graph.kind[node] != NodeKind.FEATURE:
            return False
        return not self.runs.loud_job and self.own.is_here()

    def run(self) -> None:
        """Trace the selected feature; the graph's model is loaded first where it is not."""
        session = self.session
        graph, node, project = session.graph, session.selected, session.project
        if graph is None or project is None or not self.can_run():
            return
        prompt = project.setting(f"{DRAFT_KEY}/{session.trace_id}")
        self.own.with_it(partial(self._trace, graph, node, self.own.features(), prompt), "the feature")

    def _trace(self, graph: AttributionGraph, node: int, features: str, prompt: Any, model: LoadedModel) -> None:
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
