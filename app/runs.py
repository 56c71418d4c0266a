"""What is asked of the engine's thread: loading, a look at the next token, generating, tracing, logit effects."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial
from typing import Any

from PySide6.QtCore import QObject, QTimer, Signal, Slot

from app.engine_calls import (
    NEURONS,
    Effects,
    EngineState,
    LoadedModel,
    NextToken,
    bind,
    feature_effects,
    generate,
    next_tokens,
    open_features,
    open_model,
    run_trace,
)
from app.jobs import Failure, JobHost, Outcome, Value
from app.session import Session
from app.token_choice import meant_token
from engine.errors import LoupeError, RequestError
from engine.graphs.visible_text import visible_text
from engine.tracing.spec import Prompt, Target, TraceSpec

NEXT_COUNT = 8
NEXT_DELAY_MS = 350
ARROW = " → "
Done = Callable[[], None]


class Runs(QObject):
    """Turns what a person asks for into jobs, and their outcomes into changes of the session."""

    modelChanged = Signal()
    featuresChanged = Signal()
    effectsChanged = Signal(int)  # node

    def __init__(self, session: Session, host: JobHost, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.session = session
        self.host = host
        self.state = EngineState()
        self.model: LoadedModel | None = None
        self.wanted_model = ""
        self.wanted_features = NEURONS
        self.trust_features = False
        self.max_nodes = 1000
        self._after_load: list[Done] = []
        self._look = QTimer(self)
        self._look.setSingleShot(True)
        self._look.setInterval(NEXT_DELAY_MS)
        self._look.timeout.connect(self.look_ahead)
        session.prompt.chipsChanged.connect(self._chips_changed)

    # ---- the model ---------------------------------------------------------------------------------------------

    def choose_model(self, source: str) -> None:
        """Use another model from now on; it is loaded when it is first needed."""
        if source == self.wanted_model:
            return
        self.wanted_model = source
        self.wanted_features = NEURONS
        self.model = None
        self.session.prompt.set_model(None)
        self.modelChanged.emit()
        self.featuresChanged.emit()

    def choose_features(self, source: str) -> None:
        """Use another dictionary from now on."""
        self.wanted_features = source
        self.featuresChanged.emit()
        if source != NEURONS:
            self.with_model(self._check_features)

    def _check_features(self) -> None:
        job = bind(open_features, self.state, self.wanted_features, self.trust_features)
        self.host.submit("features", "Opening the dictionary", job, self._features_opened)

    def _features_opened(self, outcome: Outcome) -> None:
        if not isinstance(outcome, Value):
            self.wanted_features = NEURONS
            self._tell("prompt", outcome)
        self.featuresChanged.emit()

    def with_model(self, then: Done) -> None:
        """Call `then` with the chosen model in memory; loads it first where it is not."""
        if self.model is not None:
            then()
            return
        self._after_load.append(then)
        if len(self._after_load) > 1 and self.host.current is not None and self.host.current.key == "model":
            return
        job = bind(open_model, self.state, self.wanted_model)
        self.host.submit("model", "Loading the model", job, self._model_opened)

    def load_model(self) -> None:
        """Load the chosen model now."""
        self.with_model(self._nothing)

    def _nothing(self) -> None:
        """Loading was all that was wanted."""

    def _model_opened(self, outcome: Outcome) -> None:
        waiting, self._after_load = self._after_load, []
        if not isinstance(outcome, Value):
            self._tell("prompt", outcome)
            self.modelChanged.emit()
            return
        self.model = outcome.value
        self.session.prompt.set_model(self.model)
        self.modelChanged.emit()
        for then in waiting:
            then()

    # ---- a look at the next token ------------------------------------------------------------------------------

    @Slot()
    def _chips_changed(self) -> None:
        if self.model is not None and self.session.prompt.ids and not self.session.prompt.next:
            self._look.start()

    @Slot()
    def look_ahead(self) -> None:
        """Ask what the model says next; gives way to everything else."""
        if self.model is None or not self.session.prompt.ids or self.loud_job:
            return
        ids = self.session.prompt.ids
        job = bind(next_tokens, self.state, ids, NEXT_COUNT)
        self.host.submit("next", "Reading the prompt", job, partial(self._next_found, ids), quiet=True)

    @property
    def loud_job(self) -> bool:
        """True while a job runs that a look at the next token must not disturb."""
        return self.host.current is not None and not self.host.current.quiet

    def _next_found(self, ids: tuple[int, ...], outcome: Outcome) -> None:
        if ids != self.session.prompt.ids:
            return  # The prompt went on while the model read it.
        if isinstance(outcome, Value):
            self.session.prompt.set_next(outcome.value)
        elif isinstance(outcome, Failure):
            self._tell("prompt", outcome)

    # ---- generating --------------------------------------------------------------------------------------------

    def generate(self, count: int) -> None:
        """Continue the prompt by `count` tokens."""
        self.with_model(partial(self._generate, count))

    def _generate(self, count: int) -> None:
        if not self._has_prompt():
            return
        job = bind(generate, self.state, self.session.prompt.ids, count)
        self.host.submit("generate", "Generating", job, self._generated)

    def _generated(self, outcome: Outcome) -> None:
        if isinstance(outcome, Value):
            self.session.prompt.set_generated(outcome.value)
        else:
            self._tell("prompt", outcome)
        self._look_again()

    # ---- tracing -----------------------------------------------------------------------------------------------

    def trace(self, target: str = "", against: str = "") -> None:
        """Trace what comes after the prompt: the likeliest tokens, or a token, or the difference of two."""
        self.with_model(partial(self._trace_prompt, target, against))

    def _trace_prompt(self, target_text: str, against_text: str) -> None:
        if not self._has_prompt():
            return
        prompt = self.session.prompt
        tokens = [token.text for token in prompt.next]
        try:
            target_id = self._single_token(target_text, tokens)
            against_id = self._single_token(against_text, tokens)
        except LoupeError as error:
            self.session.report_problem("prompt", error.sentence)
            return
        if against_id is not None and target_id is None:
            self.session.report_problem("prompt", "Name the token to explain before the one it is set against.")
            return
        target = Target(token_id=target_id, against_id=against_id)
        self._submit_trace(
            TraceSpec(prompt.draft.prompt(), target, max_nodes=self.max_nodes),
            self._title(prompt.draft.text, target_id, against_id),
            self._explained(target_id),
        )

    def _single_token(self, text: str, candidates: list[str]) -> int | None:
        if not text:
            return None
        assert self.model is not None
        tokenizer, meant = self.model.tokenizer, meant_token(text, candidates)
        try:
            return int(tokenizer.single_token(meant))
        except RequestError:
            if meant.startswith(" "):
                raise
        with contextlib.suppress(RequestError):
            return int(tokenizer.single_token(f" {meant}"))  # "Dallas" is two tokens, " Dallas" is one.
        return int(tokenizer.single_token(meant))

    def trace_token(self, token_id: int) -> None:
        """Trace one candidate for the next token."""
        prompt = self.session.prompt
        if self.model is None:
            self.session.report_problem("prompt", "Load the model first.", "trace.load_model")
            return
        spec = TraceSpec(prompt.draft.prompt(), Target(token_id=token_id), max_nodes=self.max_nodes)
        self._submit_trace(spec, self._title(prompt.draft.text, token_id, None), self._explained(token_id))

    def _explained(self, target: int | None) -> int | None:
        """The place after the prompt, unless another token than the one explained was generated there."""
        ids, place = self.session.prompt.all_ids, len(self.session.prompt.ids)
        return place if target is None or ids[place : place + 1] in ((), (target,)) else None

    def trace_chip(self, index: int) -> None:
        """Trace the token at `index` of prompt and continuation, given what stands before it."""
        self.with_model(partial(self._trace_chip, index))

    def _trace_chip(self, index: int) -> None:
        prompt = self.session.prompt
        if not 0 < index < len(prompt.chips):
            self.session.report_problem("prompt", "The first token has nothing before it; choose a later one.")
            return
        ids = prompt.all_ids
        before = "".join(chip.text for chip in prompt.chips[:index] if not chip.special)
        spec = TraceSpec(Prompt(before, token_ids=ids[:index]), Target(token_id=ids[index]), max_nodes=self.max_nodes)
        self._submit_trace(spec, self._title(before, ids[index], None), index)

    def _submit_trace(self, spec: TraceSpec, title: str, chip: int | None) -> None:
        job = bind(run_trace, self.state, spec, self.wanted_features, self.trust_features)
        self.host.submit("trace", f"Tracing {title}", job, partial(self._traced, title, chip, self.wanted_features))

    def _traced(self, title: str, chip: int | None, features: str, outcome: Outcome) -> None:
        if not isinstance(outcome, Value):
            self._tell("prompt", outcome)
            return
        self.session.prompt.set_traced(chip)
        if outcome.value.report.get("settings", {}).get("prompt", {}).get("token_ids") is None:
            self.session.prompt.set_next(said_next(outcome.value.report))
        if ARROW not in title:
            title += said_first(outcome.value.report)
        try:
            self.session.add_trace(outcome.value, title, features)
        except LoupeError as error:
            self.session.report_problem("graph", error.sentence, "file.save_as")

    def _title(self, text: str, target: int | None, against: int | None) -> str:
        assert self.model is not None
        end = " ".join(text.split())
        short = end if len(end) <= 48 else "…" + end[-47:]
        if target is None:
            return short
        name = visible_text(self.model.tokenizer.token_text(target)).strip("␣") or "␣"
        if against is not None:
            name += " − " + (visible_text(self.model.tokenizer.token_text(against)).strip("␣") or "␣")
        return f"{short}{ARROW}{name}"

    # ---- what a feature writes ---------------------------------------------------------------------------------

    def effects_key(self, node: int) -> str:
        """The key under which the project keeps a feature's logit effects."""
        session = self.session
        assert session.graph is not None
        model = session.report.get("model", {}).get("fingerprint", "")
        features = session.report.get("features", {})
        source = features.get("fingerprint") or features.get("name", "")
        return f"{model}/{source}/{int(session.graph.layer[node])}/{int(session.graph.feature[node])}"

    def known_effects(self, node: int) -> Effects | None:
        """The logit effects the project already holds."""
        project = self.session.project
        return None if project is None else Effects.from_json(project.effects(self.effects_key(node)))

    def can_compute_effects(self) -> bool:
        """True when the model in memory is the one that made the open graph."""
        made_by = self.session.report.get("model", {}).get("fingerprint")
        return self.model is not None and self.model.fingerprint == made_by

    def find_effects(self, node: int) -> None:
        """Compute a feature's logit effects and keep them in the project."""
        graph = self.session.graph
        if graph is None or not self.can_compute_effects():
            return
        found = partial(self._effects_found, node, self.effects_key(node))
        layer, feature = int(graph.layer[node]), int(graph.feature[node])
        source = self.session.features_source or self.wanted_features
        job = bind(feature_effects, self.state, source, layer, feature)
        self.host.submit("effects", "Reading what the feature writes", job, found, quiet=True)

    def _effects_found(self, node: int, key: str, outcome: Outcome) -> None:
        if isinstance(outcome, Value):
            project = self.session.project
            if project is not None and not project.read_only:
                project.save_effects(key, outcome.value.as_json())
            self.effectsChanged.emit(node)
        elif isinstance(outcome, Failure):
            self._tell("inspector", outcome)

    # ---- shared ------------------------------------------------------------------------------------------------

    def _has_prompt(self) -> bool:
        if self.session.prompt.ids:
            return True
        self.session.report_problem("prompt", "Type a prompt first; the model needs at least one word to read.")
        return False

    def _look_again(self) -> None:
        if not self.session.prompt.next:
            self._look.start()

    def _tell(self, place: str, outcome: Outcome) -> None:
        if isinstance(outcome, Failure):
            self.session.report_problem(place, outcome.sentence, "help.show_log" if outcome.ours else "")


def said_first(report: dict[str, Any]) -> str:
    """The end of a trace's title when the likeliest tokens are explained together: " → Austin, El…"."""
    target = report.get("target")
    tokens = target.get("tokens") if isinstance(target, dict) else None
    if not isinstance(tokens, list) or not tokens:
        return ""
    names = [visible_text(str(token)).strip("␣") or "␣" for token in tokens[:2]]
    return ARROW + ", ".join(names) + ("…" if len(tokens) > 2 else "")


def said_next(report: dict[str, Any]) -> tuple[NextToken, ...]:
    """The likeliest next tokens, as a trace of the whole prompt found them."""
    tokens = report.get("top_tokens", [])
    return tuple(NextToken(int(t["id"]), str(t["token"]), float(t["probability"])) for t in tokens[:NEXT_COUNT])
