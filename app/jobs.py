"""The engine's thread: it owns the model and runs one job at a time; the window never waits for it.

A job is a plain function of `progress` and `cancel`. Cancel is an event, because a queued slot would not be delivered
while the worker runs; progress is polled, because what costs is what the window repaints.
"""

from __future__ import annotations

import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from PySide6.QtCore import QObject, QThread, QTimer, Signal, Slot

from app.fault_log import logger, sentence_for
from app.time_left import TimeLeft
from engine.errors import Cancelled as CancelledError
from engine.errors import LoupeError
from engine.progress import Progress

POLL_MS = 80  # twelve times a second: what it costs is what the window repaints
BUSY_SWITCH_INTERVAL = 0.001
JobFunction = Callable[[Progress, threading.Event], Any]
# What a job shows before it is done may take this share of the window's time.
SHOWING_SHARE = 0.1


class Mailbox:
    """Hands what a job has found so far to the window: only the latest counts."""

    def __init__(self) -> None:
        self._latest: deque[Any] = deque(maxlen=1)

    def put(self, value: Any) -> None:
        """Called by the engine thread."""
        self._latest.append(value)

    def take(self) -> Any:
        """Called by the window; None where there is nothing new."""
        return self._latest.pop() if self._latest else None


@dataclass(frozen=True)
class Value:
    """A job that came to its end, and what it found."""

    value: Any


@dataclass(frozen=True)
class Cancelled:
    """A job the user stopped, or that a newer one replaced before it began."""


@dataclass(frozen=True)
class Failure:
    """A job that failed: one sentence for the user, and whether the fault was ours."""

    sentence: str
    ours: bool = False


Outcome = Value | Cancelled | Failure


@dataclass(eq=False)
class Job:
    """One piece of work. `key` names its kind: a newer job of the same kind makes this one stale."""

    number: int
    key: str
    title: str
    run: JobFunction
    done: Callable[[Outcome], None]
    quiet: bool
    generation: int
    mailbox: Mailbox | None = None
    found: Callable[[Any], None] | None = None
    cancel: threading.Event = field(default_factory=threading.Event)
    # Written by the engine thread, read by the window's timer: one attribute, so that a pair is never half new.
    state: tuple[str, float] = ("", 0.0)

    def progress(self, stage: str, fraction: float) -> None:
        """What the engine calls: the stage, and the share of the job done in [0, 1]."""
        self.state = (stage, fraction)


def execute(job: Job) -> Outcome:
    """Run a job to its outcome; no exception leaves."""
    if job.cancel.is_set():
        return Cancelled()
    try:
        return Value(job.run(job.progress, job.cancel))
    except CancelledError:
        return Cancelled()
    except LoupeError as error:
        return Failure(error.sentence)
    except MemoryError:
        return Failure("There was too little memory for this; choose a smaller model or trace fewer nodes.")
    except BaseException as error:
        logger.error("job %r failed\n%s", job.title, traceback.format_exc())
        if "out of memory" in str(error).lower():
            return Failure("The device ran out of memory; trace fewer nodes or a shorter prompt.")
        return Failure(sentence_for(error), ours=True)


class _Worker(QObject):
    """Lives in the engine thread."""

    finished = Signal(object, object)

    @Slot(object)
    def work(self, job: Job) -> None:
        outcome = execute(job)
        self.finished.emit(job, outcome)


class JobHost(QObject):
    """Queues jobs for the engine thread and brings their outcomes back to the GUI thread."""

    started = Signal(object)  # Job
    progressed = Signal(str, float, float)  # stage, share done, seconds left (-1: not known)
    ended = Signal(object, object)  # Job, Outcome
    idle = Signal()
    _begin = Signal(object)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._thread = QThread()
        self._thread.setObjectName("engine")
        self._thread.setStackSize(16 * 1024 * 1024)
        self._worker = _Worker()
        self._worker.moveToThread(self._thread)
        self._begin.connect(self._worker.work)
        self._worker.finished.connect(self._finished)
        self._poll = QTimer(self)
        self._poll.setInterval(POLL_MS)
        self._poll.timeout.connect(self._report)
        self._queue: deque[Job] = deque()
        self._current: Job | None = None
        self._time_left = TimeLeft(0.0)
        self._next_look = 0.0
        self._generations: dict[str, int] = {}
        self._count = 0
        self._closed = False
        self._switch_interval = sys.getswitchinterval()
        self._thread.start()

    @property
    def current(self) -> Job | None:
        """The job that runs now."""
        return self._current

    @property
    def busy(self) -> bool:
        """True while a job runs or waits."""
        return self._current is not None or bool(self._queue)

    def submit(
        self,
        key: str,
        title: str,
        run: JobFunction,
        done: Callable[[Outcome], None],
        *,
        quiet: bool = False,
        mailbox: Mailbox | None = None,
        found: Callable[[Any], None] | None = None,
    ) -> Job:
        """Queue a job. An older one of the same key is cancelled and its outcome dropped.

        A quiet job (a look at the next token) gives way: it is dropped or stopped when a loud one arrives. What the
        job puts into `mailbox` is given to `found` in the GUI thread, unless it is stopped or out of date.
        """
        self.drop(key)
        self._count += 1
        job = Job(self._count, key, title, run, done, quiet, self._generations[key], mailbox, found)
        if self._closed:
            return job
        if not quiet:
            self._make_way()
        self._queue.append(job)
        self._next()
        return job

    def drop(self, key: str) -> None:
        """Cancel every job of a key; what it may still bring is stale."""
        self._generations[key] = self._generations.get(key, 0) + 1
        self._queue = deque(job for job in self._queue if job.key != key)
        if self._current is not None and self._current.key == key:
            self._current.cancel.set()

    def cancel(self) -> None:
        """Stop the running job at its next checkpoint and forget those that wait."""
        waiting, self._queue = list(self._queue), deque()
        if self._current is not None:
            self._current.cancel.set()
        for job in waiting:
            self._deliver(job, Cancelled())

    def shutdown(self, seconds: float = 5.0) -> bool:
        """Cancel, stop the thread and wait at most `seconds`; False when it did not stop."""
        self._closed = True
        self._queue.clear()
        if self._current is not None:
            self._current.cancel.set()
        self._poll.stop()
        self._thread.quit()
        stopped = self._thread.wait(int(seconds * 1000))
        self._current = None
        sys.setswitchinterval(self._switch_interval)
        return stopped

    def _make_way(self) -> None:
        kept: deque[Job] = deque()
        dropped: list[Job] = []
        for job in self._queue:
            (dropped if job.quiet else kept).append(job)
        self._queue = kept
        if self._current is not None and self._current.quiet:
            self._current.cancel.set()
        for job in dropped:
            self._deliver(job, Cancelled())

    def _next(self) -> None:
        if self._current is not None or not self._queue or self._closed:
            return
        job = self._current = self._queue.popleft()
        self._time_left = TimeLeft(time.monotonic())
        self._next_look = 0.0
        sys.setswitchinterval(BUSY_SWITCH_INTERVAL)
        self._poll.start()
        self.started.emit(job)
        self._begin.emit(job)

    @Slot(object, object)
    def _finished(self, job: Job, outcome: Outcome) -> None:
        if self._closed:
            return
        self._poll.stop()
        sys.setswitchinterval(self._switch_interval)
        self._current = None
        self._deliver(job, outcome)
        self._next()
        if not self.busy:
            self.idle.emit()

    def _deliver(self, job: Job, outcome: Outcome) -> None:
        if job.generation == self._generations.get(job.key):
            job.done(outcome)
        self.ended.emit(job, outcome)

    @Slot()
    def _report(self) -> None:
        if self._current is None:
            return
        stage, fraction = self._current.state
        left = self._time_left.update(time.monotonic(), fraction)
        self.progressed.emit(stage or self._current.title, fraction, -1.0 if left is None else left)
        self._look(self._current)

    def _look(self, job: Job) -> None:
        """Show what the running job has found so far, seldom enough that the window stays quick."""
        start = time.monotonic()
        if job.mailbox is None or job.found is None or start < self._next_look:
            return
        if job.cancel.is_set() or job.generation != self._generations.get(job.key):
            return
        found = job.mailbox.take()
        if found is not None:
            job.found(found)
            now = time.monotonic()
            self._next_look = now + (now - start) / SHOWING_SHARE
