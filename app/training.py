"""Training a dictionary in the window: a job, its measurements as they come, the result opened at its end."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject, Signal

from app.engine_calls import bind
from app.jobs import Cancelled, Failure, Mailbox, Outcome, Value
from engine.models.opened import remember_opened
from engine.progress import Progress

if TYPE_CHECKING:
    from app.engine_calls import EngineState
    from app.runs import Runs

KEY = "train"


@dataclass(frozen=True)
class Asked:
    """What a person asked to be trained: settings by the names of engine.training.TrainSettings."""

    out: Path
    text: Path | None  # None: what ships
    settings: dict[str, Any]


def train_set(state: EngineState, asked: Asked, found: Mailbox, progress: Progress, cancel: threading.Event) -> str:
    """Train for the loaded model; gives the folder. `found` is given all rounds measured so far."""
    from engine.training import Measured, TrainSettings, train

    rounds: list[Measured] = []

    def measured(one: Measured) -> None:
        rounds.append(one)
        found.put(list(rounds))

    settings = TrainSettings(**asked.settings)
    train(state.require(), settings, asked.out, folder=asked.text, on_round=measured, progress=progress, cancel=cancel)
    return str(asked.out)


class TrainingDesk(QObject):
    """Holds what the running training, or the last one, has measured."""

    changed = Signal()  # begun, ended, or said something
    measured = Signal()
    opened = Signal()  # a dictionary came of it, and is chosen now

    def __init__(self, runs: Runs, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.runs = runs
        self.rounds: list[dict[str, Any]] = []
        self.running = False
        self.said = ""

    def start(self, asked: Asked) -> None:
        """Begin, or go on with what the folder holds unfinished."""
        self.rounds, self.running, self.said = [], True, ""
        self.changed.emit()
        self.runs.with_model(partial(self._submit, asked))

    def _submit(self, asked: Asked) -> None:
        found = Mailbox()
        job = bind(train_set, self.runs.state, asked, found)
        self.runs.host.submit(KEY, "Training transcoders", job, self._done, mailbox=found, found=self._found)

    def stop(self) -> None:
        """Stop at once; what was done until the last checkpoint stays in the folder."""
        if self.runs.host.current is not None and self.runs.host.current.key == KEY:
            self.runs.host.current.cancel.set()

    def _found(self, rounds: list[dict[str, Any]]) -> None:
        self.rounds = rounds
        self.measured.emit()

    def _done(self, outcome: Outcome) -> None:
        self.running = False
        if isinstance(outcome, Value):
            self.said = "Trained; it is the dictionary of the next trace."
            remember_opened("dictionaries", Path(outcome.value))
            self.runs.choose_features(outcome.value)
            self.opened.emit()
        elif isinstance(outcome, Failure):
            self.said = outcome.sentence
        elif isinstance(outcome, Cancelled):
            self.said = "Stopped. Starting again with the same folder and settings goes on from the last checkpoint."
        self.changed.emit()
