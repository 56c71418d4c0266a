"""What is asked of the engine's thread: loading, a look at the next token, generating, tracing, logit effects."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject, QTimer, Signal, Slot

from app.engine_calls import (
    NEURONS,
    EngineState,
    LoadedModel,
    NextToken,
    bind,
    generate,
    next_tokens,
    open_features,
    open_model,
    run_trace,
)
from app.garbage import set_aside, take_back
from app.growing import Growth
from app.jobs import Failure, JobHost, Mailbox, Outcome, Value
from app.session import DRAFT_KEY, Session
from app.shelf import is_here
from app.token_choice import meant_token
from engine.errors import LoupeError, RequestError
from engine.graphs.titles import title_of, trace_title
from engine.graphs.visible_text import visible_text
from engine.projects import Asked, Project
from engine.tracing.spec import Prompt, Target, TraceSpec

if TYPE_CHECKING:
    from engine.tracing import Trace

NEXT_COUNT = 8
NEXT_DELAY_MS = 350
Done = Callable[[], None]


class Runs(QObject):
    """Turns what a person asks for into jobs, and their outcomes into changes of the session."""

    modelChanged = Signal()
    featuresChanged = Signal()
    readyChanged = Signal()  # a finished trace waits to be opened, or no longer does

    def __init__(self, session: Session, host: JobHost, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.session = session
        self.host = host
        self.state = EngineState()
        self.model: LoadedModel | None = None
        self.wanted_model = ""
        self.wanted_features = NEURONS
        self.trust_features = False
        self._refused = ""
        self.max_nodes = 1000
        self.known_models: set[str] = set()
        self.ready_models: set[str] = set()  # load at once: converted before, and they fit
        self._after_load: list[Done] = []
        self._loading = ""
        self.ready: tuple[int, str] | None = None  # number and title of a trace finished while another was read
        self._look = QTimer(self)
        self._look.setSingleShot(True)
        self._look.setInterval(NEXT_DELAY_MS)
        self._look.timeout.connect(self.look_ahead)
        session.prompt.chipsChanged.connect(self._chips_changed)
        session.traceChanged.connect(self.follow_trace)
        session.traceChanged.connect(self._look_at_ready)
        session.tracesChanged.connect(self._look_at_ready)
        session.projectChanged.connect(self._forget_ready)

    # ---- the model ---------------------------------------------------------------------------------------------

    def choose_model(self, source: str) -> None:
        """Use another model from now on; it is loaded when it is first needed."""
        if source == self.wanted_model:
            return
        self._want_model(source)
        self.session.prompt.forget_tokens()

    def load_elsewhere(self) -> None:
        """Another device is meant from now on: the chosen model is loaded there when it is next needed."""
        source, features, trust = self.wanted_model, self.wanted_features, self.trust_features
        self._want_model(source)
        self.wanted_features, self.trust_features = features, trust
        self.featuresChanged.emit()

    def _want_model(self, source: str) -> None:
        self.host.drop("model")
        self._after_load, self._loading = [], ""
        self.wanted_model = source
        self.wanted_features = NEURONS
        self.model = None
        self.session.prompt.set_model(None)
        self.modelChanged.emit()
        self.featuresChanged.emit()

    @Slot()
    def follow_trace(self) -> None:
        """A trace of another model is open: that one is meant from now on, if it is on this machine."""
        if self.session.growing:
            return  # It was asked for with what was meant then.
        made_by = self.session.report.get("model", {})
        source = str(made_by.get("source", ""))
        if source in self.known_models and source != self.wanted_model:
            self._want_model(source)
        self.want_features(self.session.features_source)

    def want_features(self, source: str) -> None:
        """Mean a dictionary that something kept names, if it is on this machine; it is loaded when it is needed."""
        if source and source != self.wanted_features and is_here(source):
            self.wanted_features = source
            self.featuresChanged.emit()

    def choose_features(self, source: str) -> None:
        """Use another dictionary from now on."""
        self.wanted_features, self.trust_features = source, False
        self.featuresChanged.emit()
        if source != NEURONS:
            self.with_model(self._check_features)

    def trust_refused(self) -> None:
        """Open the dictionary that was refused, whatever it explains."""
        self.wanted_features, self.trust_features = self._refused, True
        self.with_model(self._check_features)

    def _check_features(self) -> None:
        job = bind(open_features, self.state, self.wanted_features, self.trust_features)
        self.host.submit("features", "Opening the dictionary", job, self._features_opened)

    def _features_opened(self, outcome: Outcome) -> None:
        if isinstance(outcome, Failure):
            # The engine names its own flag where a person may insist.
            insist = "--trust-features" in outcome.sentence
            self._refused = self.wanted_features if insist else ""
            self.session.report_problem("prompt", outcome.sentence, "trace.trust_features" if insist else "")
        if not isinstance(outcome, Value):
            self.wanted_features, self.trust_features = NEURONS, False
        self.featuresChanged.emit()

    @property
    def has_refused(self) -> bool:
        """Whether a dictionary was refused that a person may insist on."""
        return bool(self._refused)

    def with_model(self, then: Done) -> None:
        """Call `then` with the chosen model in memory; loads it first where it is not."""
        if self.model is not None:
            then()
            return
        self._after_load.append(then)
        if self._loading == self.wanted_model:
            return
        self._loading = self.wanted_model
        take_back()  # the model before may go
        job = bind(open_model, self.state, self.wanted_model)
        self.host.submit("model", "Loading the model", job, self._model_opened)

    @Slot()
    def preload(self) -> None:
        """Have the chosen model in memory before it is asked for, where that takes seconds and not minutes."""
        if self.wanted_model in self.ready_models:
            self.with_model(self._nothing)

    def load_model(self) -> None:
        """Load the chosen model now."""
        self.with_model(self._nothing)

    def _nothing(self) -> None:
        """Loading was all that was wanted."""

    def _model_opened(self, outcome: Outcome) -> None:
        waiting, self._after_load, self._loading = self._after_load, [], ""
        if not isinstance(outcome, Value):
            self._tell("prompt", outcome)
            self.modelChanged.emit()
            return
        self.model = outcome.value
        set_aside()
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
    def loading(self) -> bool:
        """True while the chosen model is brought into memory: `with_model` waits for it."""
        return bool(self._loading)

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
        if not self.has_prompt():
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
        if not self.has_prompt():
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
        self.submit_trace(
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

    def token_text(self, typed: str) -> str:
        """The exact text of the one token a person means; RequestError where it is none. Needs the model."""
        assert self.model is not None
        number = self._single_token(typed, [token.text for token in self.session.prompt.next])
        return "" if number is None else str(self.model.tokenizer.token_text(number))

    def trace_target(self, target: Target, words: str) -> None:
        """Trace what is no token, called `words`, after the prompt. Needs the model."""
        if self.has_prompt():
            draft = self.session.prompt.draft
            spec = TraceSpec(draft.prompt(), target, max_nodes=self.max_nodes)
            self.submit_trace(spec, trace_title(draft.text, [words]), self._explained(None))

    def trace_token(self, token_id: int) -> None:
        """Trace one candidate for the next token."""
        self.with_model(partial(self._trace_token, token_id))

    def _trace_token(self, token_id: int) -> None:
        if not self.has_prompt():
            return
        prompt = self.session.prompt
        spec = TraceSpec(prompt.draft.prompt(), Target(token_id=token_id), max_nodes=self.max_nodes)
        self.submit_trace(spec, self._title(prompt.draft.text, token_id, None), self._explained(token_id))

    def _explained(self, target: int | None) -> int | None:
        """The place after the prompt, unless another token than the one explained was generated there."""
        ids, place = self.session.prompt.all_ids, len(self.session.prompt.ids)
        return place if target is None or ids[place : place + 1] in ((), (target,)) else None

    def trace_chip(self, index: int) -> None:
        """Trace the token at `index` of prompt and continuation, given what stands before it."""
        self.with_model(partial(self._trace_chip, index))

    def _trace_chip(self, index: int) -> None:
        if not self.has_prompt():
            return
        prompt = self.session.prompt
        if not 0 < index < len(prompt.chips):
            self.session.report_problem("prompt", "The first token has nothing before it; choose a later one.")
            return
        ids = prompt.all_ids
        before = "".join(chip.text for chip in prompt.chips[:index] if not chip.special)
        spec = TraceSpec(Prompt(before, token_ids=ids[:index]), Target(token_id=ids[index]), max_nodes=self.max_nodes)
        self.submit_trace(spec, self._title(before, ids[index], None), index)

    def submit_trace(
        self, spec: TraceSpec, title: str, chip: int | None, *, features: str = "", prompt: dict[str, Any] | None = None
    ) -> None:
        """Trace with the chosen dictionary, or another one; `prompt` is kept with it instead of the prompt bar."""
        features = features or self.wanted_features
        trust = self.trust_features and features == self.wanted_features
        mailbox, growth = Mailbox(), Growth(self.session, features)
        job = bind(run_trace, self.state, spec, features, trust, mailbox.put)
        done = partial(self._traced, growth, chip, prompt)
        self.host.submit("trace", f"Tracing {title}", job, done, mailbox=mailbox, found=growth.show)

    def _traced(self, growth: Growth, chip: int | None, prompt: dict[str, Any] | None, outcome: Outcome) -> None:
        if not isinstance(outcome, Value):
            self.session.stop_growing()
            self._tell("prompt", outcome)
            return
        if growth.left:
            self._keep_for_later(outcome.value, growth, {**growth.prompt, "traced": chip} if prompt is None else prompt)
            return
        features = growth.features
        self.session.prompt.set_traced(chip)
        if outcome.value.report.get("settings", {}).get("prompt", {}).get("token_ids") is None:
            self.session.prompt.set_next(said_next(outcome.value.report))
        try:
            self.session.add_trace(outcome.value, title_of(outcome.value.report, outcome.value.graph), features, prompt)
        except LoupeError as error:
            self.session.stop_growing()
            self._hold(outcome.value, features, prompt or growth.prompt, error)
            return
        report = outcome.value.report
        if not report.get("complete", True):
            sentence = (
                f"Stopped early: {report['feature_nodes']:,} features were traced; what is missing is unexplored."
            )
            self.session.report_problem("graph", sentence)

    def _keep_for_later(self, trace: Trace, growth: Growth, prompt: dict[str, Any]) -> None:
        """The person reads another trace: this one is kept, and waits to be opened."""
        title = title_of(trace.report, trace.graph)
        try:
            number = self.session.keep_trace(trace, title, growth.features, prompt)
        except LoupeError as error:
            self._hold(trace, growth.features, prompt, error)
            return
        self._wait(number, title)

    def _hold(self, trace: Trace, features: str, prompt: dict[str, Any], error: LoupeError) -> None:
        """The file does not take a finished trace: it is put there later, or into a copy."""
        title = title_of(trace.report, trace.graph)

        def put(project: Project) -> None:
            number = project.add_trace(trace.report, trace.graph, title=title, asked=Asked(trace.spec, features))
            project.set_setting(f"{DRAFT_KEY}/{number}", {**prompt, "features": features})
            self._wait(number, title)

        self.session.file.hold(f"trace {id(trace)}", f"the trace {visible_text(title)}", put, error)

    def _wait(self, number: int, title: str) -> None:
        """A trace waits to be opened."""
        self.ready = (number, title)
        self.readyChanged.emit()

    @Slot()
    def _look_at_ready(self) -> None:
        """A trace that waited is open now, or is no longer there."""
        session = self.session
        if self.ready is None:
            return
        if self.ready[0] not in session.trace_numbers() or session.trace_id == self.ready[0]:
            self.ready = None
            self.readyChanged.emit()

    @Slot()
    def _forget_ready(self) -> None:
        self.ready = None
        self.readyChanged.emit()

    @property
    def has_ready(self) -> bool:
        """Whether a finished trace waits to be opened."""
        return self.ready is not None

    def open_ready(self) -> None:
        """Open the trace that was finished while another one was read."""
        if self.ready is not None:
            self.session.leaving.emit()
            self.session.open_trace(self.ready[0])

    def _title(self, text: str, target: int | None, against: int | None) -> str:
        assert self.model is not None
        texts = [self.model.tokenizer.token_text(token) for token in (target, against) if token is not None]
        return trace_title(text, [" − ".join(texts)] if texts else ())

    # ---- shared ------------------------------------------------------------------------------------------------

    def has_prompt(self) -> bool:
        """Whether there is a prompt that the model in memory has read; says what is missing where not."""
        prompt = self.session.prompt
        if not prompt.ids:
            self.session.report_problem("prompt", "Type a prompt first; the model needs at least one word to read.")
            return False
        if not prompt.is_own:
            prompt.tokenise()
            sentence = "The tokens were those of another model; the prompt was read again, so choose once more."
            self.session.report_problem("prompt", sentence)
            return False
        return True

    def _look_again(self) -> None:
        if not self.session.prompt.next:
            self._look.start()

    def _tell(self, place: str, outcome: Outcome) -> None:
        if isinstance(outcome, Failure):
            self.session.report_problem(place, outcome.sentence, "help.show_log" if outcome.ours else "")


def said_next(report: dict[str, Any]) -> tuple[NextToken, ...]:
    """The likeliest next tokens, as a trace of the whole prompt found them."""
    tokens = report.get("top_tokens", [])
    return tuple(NextToken(int(t["id"]), str(t["token"]), float(t["probability"])) for t in tokens[:NEXT_COUNT])
