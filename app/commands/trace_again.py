"""Running a kept trace again: whether its graph is still the same, and what has changed since it was made."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from app.engine_calls import bind, rerun_trace
from app.jobs import Failure, Outcome, Value
from app.panels.list_sheet import ListSheet
from engine.errors import LoupeError
from engine.graphs.visible_text import visible_text

if TYPE_CHECKING:
    from app.window import MainWindow
    from engine.projects import Project, Rerun


class TraceAgain:
    """Acts on the trace in hand in the tree, or on the open one; what comes of it is a list beside the window."""

    def __init__(self, window: MainWindow) -> None:
        self.window, self.session, self.runs = window, window.session, window.runs

    def _in_hand(self) -> int | None:
        entry = self.window.tree_hands.entry()
        return entry.ref.number if entry is not None and entry.kind == "trace" else self.session.trace_id

    def can_run(self) -> bool:
        """A kept trace is in hand, and nothing loud runs."""
        return self.session.project is not None and self._in_hand() is not None and not self.runs.loud_job

    def run(self) -> None:
        """Open the trace, load its model where it is not, trace again."""
        number, project = self._in_hand(), self.session.project
        if number is None or project is None:
            return
        self.window.tree_hands.show_trace(number)
        if self.session.trace_id != number:
            return
        try:
            features = project.asked(number).features
        except LoupeError as error:
            self.session.report_error("graph", error)
            return
        self.runs.follow_trace()
        self.runs.with_model(partial(self._loaded, project, number, features))

    def _loaded(self, project: Project, number: int, features: str) -> None:
        if self.session.project is not project:
            return  # closed while the model loaded, and the wish with it
        model, made_by = self.runs.model, project.report(number).get("model") or {}
        assert model is not None
        source = str(made_by.get("source") or made_by.get("name") or "another model")
        # The same place may hold another model by now: that is one of the things to be said.
        if model.source != source and model.fingerprint != made_by.get("fingerprint"):
            sentence = f"This trace was made with {visible_text(source)}; choose or open that model, then run it again."
            self.session.report_problem("graph", sentence, "trace.models")
            return
        title = self.window.files.trace_title()
        job = bind(rerun_trace, self.runs.state, project, number, features)
        self.window.host.submit("rerun", f"Tracing again {title}", job, partial(self._done, title))

    def _done(self, title: str, outcome: Outcome) -> None:
        if isinstance(outcome, Value):
            ListSheet("Run again", visible_text(title), rerun_sentences(outcome.value), self.window).open_beside()
        elif isinstance(outcome, Failure):
            self.session.report_problem("graph", outcome.sentence, "help.show_log" if outcome.ours else "")


def rerun_sentences(done: Rerun) -> list[str]:
    """Whether the graph is the same, then what is no longer as it was."""

    def shown(value: str) -> str:
        return visible_text(value) or "not known"

    changed = [f"Changed: {one.what}, from {shown(one.before)} to {shown(one.now)}." for one in done.differences]
    unchanged = "Nothing that it depends on has changed: versions, model, dictionary, device."
    return [done.sentence, *(changed or [unchanged])]
