from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from PySide6.QtCore import QObject, QThread
from pytestqt.qtbot import QtBot

from app.jobs import Cancelled, Failure, JobHost, Outcome, Value
from engine.errors import RequestError
from engine.progress import Progress, checkpoint


class Watcher(QObject):
    """Collects outcomes, and the thread they arrived in."""

    def __init__(self) -> None:
        super().__init__()
        self.outcomes: list[Outcome] = []
        self.threads: set[QThread] = set()

    def take(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)
        self.threads.add(QThread.currentThread())


@pytest.fixture
def host(qapp: Any) -> Iterator[JobHost]:
    found = JobHost()
    yield found
    assert found.shutdown(5.0)


@pytest.fixture
def watcher(qapp: Any) -> Watcher:
    return Watcher()


class Gate:
    """A job that runs until it is let through or cancelled."""

    def __init__(self) -> None:
        self.entered, self.open = threading.Event(), threading.Event()

    def __call__(self, progress: Progress, cancel: threading.Event) -> str:
        self.entered.set()
        while not self.open.wait(0.005):
            checkpoint(cancel)
        return "through"


def answer(progress: Progress, cancel: threading.Event) -> int:
    return 42


def test_a_value_comes_back_in_the_thread_of_the_window(host: JobHost, watcher: Watcher, qtbot: QtBot) -> None:
    engine_thread: list[int] = []

    def run(progress: Progress, cancel: threading.Event) -> int:
        engine_thread.append(threading.get_ident())
        return 42

    with qtbot.waitSignal(host.idle):
        host.submit("a", "A job", run, watcher.take)
    assert watcher.outcomes == [Value(42)]
    assert watcher.threads == {host.thread()}
    assert engine_thread != [threading.get_ident()]


def test_known_errors_become_their_sentence_and_others_name_the_log(
    host: JobHost, watcher: Watcher, qtbot: QtBot
) -> None:
    def wrong(progress: Progress, cancel: threading.Event) -> None:
        raise RequestError("Choose another token.")

    def broken(progress: Progress, cancel: threading.Event) -> None:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with qtbot.waitSignal(host.idle):
        host.submit("a", "A", wrong, watcher.take)
    with qtbot.waitSignal(host.idle):
        host.submit("b", "B", broken, watcher.take)
    known, ours = watcher.outcomes
    assert known == Failure("Choose another token.")
    assert isinstance(ours, Failure)
    assert ours.ours
    assert "circuit-loupe.log" in ours.sentence
    assert "Traceback" not in ours.sentence


def test_cancel_stops_the_running_job_and_drops_what_waits(host: JobHost, watcher: Watcher, qtbot: QtBot) -> None:
    gate = Gate()
    host.submit("a", "A", gate, watcher.take)
    host.submit("b", "B", answer, watcher.take)
    qtbot.waitUntil(gate.entered.is_set)
    with qtbot.waitSignal(host.idle):
        host.cancel()
    assert watcher.outcomes == [Cancelled(), Cancelled()]


def test_a_newer_job_of_the_same_kind_makes_the_older_one_stale(host: JobHost, watcher: Watcher, qtbot: QtBot) -> None:
    stubborn = threading.Event()

    def deaf(progress: Progress, cancel: threading.Event) -> str:
        stubborn.wait(5.0)  # hears no cancel, and still brings a value
        return "old"

    host.submit("next", "Old", deaf, watcher.take)
    qtbot.waitUntil(lambda: host.current is not None)
    host.submit("next", "New", answer, watcher.take)
    with qtbot.waitSignal(host.idle):
        stubborn.set()
    assert watcher.outcomes == [Value(42)]


def test_a_quiet_job_gives_way_to_a_loud_one(host: JobHost, watcher: Watcher, qtbot: QtBot) -> None:
    gate, loud = Gate(), Watcher()
    host.submit("next", "Look", gate, watcher.take, quiet=True)
    qtbot.waitUntil(gate.entered.is_set)
    with qtbot.waitSignal(host.idle):
        host.submit("trace", "Trace", answer, loud.take)
    assert watcher.outcomes == [Cancelled()]
    assert loud.outcomes == [Value(42)]


def test_one_job_runs_at_a_time_in_the_order_asked(host: JobHost, watcher: Watcher, qtbot: QtBot) -> None:
    running, most = [0], [0]
    order: list[int] = []

    def job(number: int) -> Any:
        def run(progress: Progress, cancel: threading.Event) -> int:
            running[0] += 1
            most[0] = max(most[0], running[0])
            order.append(number)
            running[0] -= 1
            return number

        return run

    with qtbot.waitSignal(host.idle):
        for number in range(8):
            host.submit(f"key {number}", "Job", job(number), watcher.take)
    assert order == list(range(8))
    assert most == [1]


def test_progress_is_polled_while_the_job_runs(host: JobHost, watcher: Watcher, qtbot: QtBot) -> None:
    gate = Gate()

    def run(progress: Progress, cancel: threading.Event) -> str:
        progress("Tracing layer 12", 0.4)
        return gate(progress, cancel)

    with qtbot.waitSignal(host.progressed, check_params_cb=lambda stage, share, left: share == 0.4) as blocker:
        host.submit("a", "A", run, watcher.take)
    assert blocker.args[0] == "Tracing layer 12"
    assert sys.getswitchinterval() == pytest.approx(0.001)
    with qtbot.waitSignal(host.idle):
        gate.open.set()
    assert sys.getswitchinterval() > 0.001


def test_a_handler_may_ask_for_the_next_job(host: JobHost, qtbot: QtBot) -> None:
    chain = Watcher()

    class Again(QObject):
        def take(self, outcome: Outcome) -> None:
            host.submit("second", "Second", answer, chain.take)

    again = Again()
    host.submit("first", "First", answer, again.take)
    qtbot.waitUntil(lambda: chain.outcomes == [Value(42)])


@pytest.mark.parametrize("attempt", range(5))
def test_shutdown_while_a_job_runs_is_bounded(qapp: Any, qtbot: QtBot, attempt: int) -> None:
    host, gate, watcher = JobHost(), Gate(), Watcher()
    host.submit("a", "A", gate, watcher.take)
    qtbot.waitUntil(gate.entered.is_set)
    assert host.shutdown(5.0)
    assert watcher.outcomes == []
    host.submit("b", "B", answer, watcher.take)
    assert not host.busy
