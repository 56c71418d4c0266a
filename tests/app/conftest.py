"""What tests of the window share: a home of their own, a tidy end, and a window that closes."""

from __future__ import annotations

import gc
import sys
import threading
import traceback
import weakref
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import shiboken6
from PySide6.QtCore import QEvent, QThread, QTimer
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from app.commands import CommandAction
from app.dialogs import Ask
from app.garbage import GarbageKeeper
from app.session import Session
from app.window import MainWindow
from engine.graphs import AttributionGraph
from engine.places import HOME_VARIABLE
from engine.tracing.spec import Prompt, TraceSpec
from tests.graph_builder import build_graph

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The platform without a screen says so of every window with a smallest size, and of popups."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.qt_log_ignore("This plugin does not support", extend=True))


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Settings, unsaved projects and logs of this test only."""
    folder = tmp_path / "home"
    monkeypatch.setenv(HOME_VARIABLE, str(folder))
    return folder


# Everything a person can be asked in a dialog, by its name in `Ask`.
DIALOGS = (
    "open_project",
    "sample",
    "save_file",
    "open_folder",
    "open_file",
    "text",
    "long_text",
    "choice",
    "number",
    "confirm",
    "leave",
    "tell",
)


@pytest.fixture(autouse=True)
def no_questions(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dialog that nobody answers would stop the test: asking is an error unless the test says the answer."""

    def asked(*arguments: Any, **named: Any) -> None:
        raise AssertionError(f"a dialog was opened: {arguments[1:]} {named}")

    for name in DIALOGS:
        monkeypatch.setattr(Ask, name, asked)


@pytest.fixture(autouse=True)
def tidy(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fail on threads, timers and windows that outlive a test of this folder, naming where they were started."""
    if request.path.parent != HERE:
        yield
        return
    # By object, where it was started last: what is started thousands of times is not a leak of the window's.
    started: dict[int, tuple[weakref.ref[Any], str]] = {}
    thread_start, timer_start = QThread.start, QTimer.start

    def where() -> str:
        return "".join(traceback.format_stack(sys._getframe(2), limit=3))

    def start_thread(self: QThread, *arguments: Any) -> None:
        started[id(self)] = (weakref.ref(self), where())
        thread_start(self, *arguments)

    def start_timer(self: QTimer, *arguments: Any) -> None:
        started[id(self)] = (weakref.ref(self), where())
        timer_start(self, *arguments)

    monkeypatch.setattr(QThread, "start", start_thread)
    monkeypatch.setattr(QTimer, "start", start_timer)
    faults: list[BaseException | None] = []
    monkeypatch.setattr(sys, "excepthook", lambda kind, error, trace: faults.append(error))
    monkeypatch.setattr(threading, "excepthook", lambda args: faults.append(args.exc_value))
    yield
    left = [
        place
        for reference, place in started.values()
        if (thing := reference()) is not None
        and shiboken6.isValid(thing)
        and (thing.isRunning() if isinstance(thing, QThread) else thing.isActive())
    ]
    assert not left, "still running, started at\n" + "\n".join(left)
    assert not faults, f"errors that nobody handled: {faults}"
    app = QApplication.instance()
    shown = [] if not isinstance(app, QApplication) else [w for w in app.topLevelWidgets() if w.isVisible()]
    assert not shown, f"windows still open: {shown}"


@pytest.fixture(autouse=True)
def garbage_goes_here(tidy: None) -> Iterator[None]:
    """As in the program: windows of earlier tests are never taken apart by another thread's collection."""
    keeper = GarbageKeeper()
    gc.disable()
    yield
    keeper.collect_due()
    gc.enable()


@pytest.fixture(autouse=True)
def runs_its_commands(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A test marked with commands fails if one of them never ran."""
    marked = {name for mark in request.node.iter_markers("command") for name in mark.args}
    ran: set[str] = set()
    fire = CommandAction.fire

    def recorded(self: CommandAction) -> None:
        self.refresh()
        if self.isEnabled():
            ran.add(self.command.id)
        fire(self)

    if marked:
        monkeypatch.setattr(CommandAction, "fire", recorded)
    yield
    assert marked <= ran, f"marked as a test of commands it does not run: {sorted(marked - ran)}"


@pytest.fixture
def graph() -> AttributionGraph:
    """A small valid graph with every kind of node."""
    return build_graph(n_layers=4, n_positions=5, n_features=40, n_logits=3)


def as_trace(graph: AttributionGraph, **report: Any) -> Any:
    """What the engine returns for a trace, with as much of a report as the window reads."""
    known = {
        "features": {"name": "test transcoders", "kind": "transcoders", "fingerprint": "f" * 8},
        "model": {"name": "test model", "fingerprint": "m" * 8, "source": "test"},
        "replacement": 0.62,
        "completeness": 0.87,
        "conservation_error": 2e-6,
        "unexplored": 0.12,
        "settings": {"prompt": {"text": "The capital of Texas is"}},
    }
    spec = TraceSpec(Prompt("The capital of Texas is"))
    return SimpleNamespace(graph=graph, report={**known, **report}, spec=spec)


@pytest.fixture
def session(qapp: QApplication) -> Iterator[Session]:
    """An empty session."""
    found = Session()
    yield found
    found.close()


@pytest.fixture
def open_session(session: Session, graph: AttributionGraph) -> Session:
    """A session with one trace in an unsaved project."""
    session.add_trace(as_trace(graph), "The capital of Texas is → Austin", "neurons")
    return session


@pytest.fixture
def window(qapp: QApplication, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> Iterator[MainWindow]:
    """A window without a project; closed at the end, with its thread."""
    before = qapp.font()
    found = MainWindow(qapp)
    found.show()
    yield found
    monkeypatch.setattr(Ask, "leave", lambda parent, text: False)  # what a test left unkept is not wanted
    found.close()
    qtbot.waitUntil(lambda: not found.isVisible(), timeout=10_000)
    assert found.stopped
    qapp.setFont(before)
    # Themes and fonts repolish every widget there is: windows of earlier tests must really go.
    found.deleteLater()
    QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete.value)
    assert not shiboken6.isValid(found)


@pytest.fixture
def open_window(window: MainWindow, graph: AttributionGraph) -> MainWindow:
    """A window with one trace open."""
    window.session.add_trace(as_trace(graph), "The capital of Texas is → Austin", "neurons")
    return window
