"""Targets that are no token: a weighted sum of tokens, or a direction from a file."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from app.dialogs import Ask
from app.token_choice import read_sum
from engine.errors import LoupeError
from engine.graphs.visible_text import visible_text
from engine.tracing.spec import Target
from engine.tracing.target_files import read_target_file

if TYPE_CHECKING:
    from app.window import MainWindow

QUESTION = "Tokens with their weights, such as:  1 Austin, -0.5 Dallas, -0.5 Houston"
FILES = "Directions and weighted sums (*.npy *.json);;All files (*)"


@dataclass(frozen=True)
class SpecialTarget:
    """What is explained instead of a token, and what it is called on screen."""

    words: str
    target: Target
    typed: str = ""  # a sum as it was typed: its tokens are found when a model reads them


class SpecialTargets:
    """Asks for such a target, shows it in the prompt bar, and traces it."""

    def __init__(self, window: MainWindow) -> None:
        self.window = window

    def ask_sum(self) -> None:
        """Ask for tokens and weights."""
        chosen = self.window.prompt_bar.aim.special
        typed = Ask.text(self.window, "Weighted sum of tokens", QUESTION, chosen.typed if chosen is not None else "")
        if typed is None:
            return
        try:
            pairs = read_sum(typed)
        except LoupeError as error:
            self._problem(error)
            return
        self._choose(SpecialTarget(say_sum(pairs), Target(weighted=pairs), typed))

    def ask_direction(self) -> None:
        """Ask for a file with a direction or a weighted sum."""
        path = Ask.open_file(self.window, "Explain a direction", FILES)
        if path is not None:
            self.take_file(path)

    def take_file(self, path: Path) -> None:
        """Explain what a file describes."""
        try:
            target = Target(**read_target_file(path))
        except LoupeError as error:
            self._problem(error)
            return
        words = say_sum(target.weighted) if target.weighted is not None else f"direction {path.name}"
        self._choose(SpecialTarget(words, target))

    def forget(self) -> None:
        """Explain tokens again."""
        self._choose(None)

    def is_chosen(self) -> bool:
        """Whether something else than a token is explained."""
        return self.window.prompt_bar.aim.special is not None

    def trace(self) -> None:
        """Trace what was chosen."""
        chosen = self.window.prompt_bar.aim.special
        if chosen is not None:
            self.window.runs.with_model(partial(self._trace, chosen))

    def _trace(self, chosen: SpecialTarget) -> None:
        target, runs = chosen.target, self.window.runs
        if target.weighted is not None and chosen.typed:
            try:
                target = replace(target, weighted=tuple((runs.token_text(t), w) for t, w in target.weighted))
            except LoupeError as error:
                self._problem(error)
                return
        runs.trace_target(target, chosen.words)

    def _choose(self, special: SpecialTarget | None) -> None:
        self.window.prompt_bar.banner.dismiss()
        self.window.prompt_bar.aim.show_special(special)
        self.window.registry.refresh()

    def _problem(self, error: LoupeError) -> None:
        self.window.session.report_problem("prompt", error.sentence)


def say_sum(pairs: tuple[tuple[str, float], ...]) -> str:
    """A weighted sum in a few letters: "Austin − 0.5 Dallas"."""
    words = ""
    for token, weight in pairs:
        sign = "− " if weight < 0 else "+ "
        size = "" if abs(weight) == 1 else f"{abs(weight):g} "
        words += f"{' ' if words else ''}{sign if words or weight < 0 else ''}{size}{visible_text(token)}"
    return words
