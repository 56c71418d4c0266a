"""Random commands, clicks and keys on a window: no traceback, no line in Qt's log of level WARNING. Also run by hand:

    make soak      or      python -m tests.app.soak [--commands 10000] [--seed 0]

Everything in the registry is chosen but what ends the program, opens another one or needs a model; dialogs are
answered at random, sometimes with nothing. The same seed gives the same run.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import os
import random
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import psutil
from PySide6.QtCore import QEvent, QMessageLogContext, QPoint, QPointF, Qt, QtMsgType, qInstallMessageHandler
from PySide6.QtGui import QKeyEvent, QMouseEvent
from PySide6.QtWidgets import QApplication, QDialog, QMenu

from app.dialogs import Ask
from app.window import MainWindow
from tests.graph_builder import build_graph

# These end the program, open something outside of it, or load or download a model.
LEFT_OUT = {
    "file.quit", "help.show_log", "trace.run", "trace.generate", "trace.load_model", "trace.feature", "trace.models",
}  # fmt: skip
KEYS = (
    Qt.Key.Key_Left, Qt.Key.Key_Right, Qt.Key.Key_Up, Qt.Key.Key_Down, Qt.Key.Key_P, Qt.Key.Key_Space, Qt.Key.Key_G,
    Qt.Key.Key_F, Qt.Key.Key_Plus, Qt.Key.Key_Minus, Qt.Key.Key_Escape, Qt.Key.Key_Return,
)  # fmt: skip
HARMLESS = "This plugin does not support"  # the platform without a screen says so of every window and popup
MOST_TRACES = 6
CLOSED_WITHIN = 60.0  # seconds


class Soak:
    """A window, a die, and everything that went wrong."""

    def __init__(self, window: MainWindow, folder: Path, seed: int) -> None:
        self.window, self.folder, self.die = window, folder, random.Random(seed)
        self.faults: list[str] = []
        self.done: Counter[str] = Counter()
        self.last = ""

    # -- what is done -------------------------------------------------------------------------------------------------

    def run(self, count: int) -> None:
        """So many steps; whatever they raise is collected."""
        for number in range(count):
            step = self._choose()
            try:
                step()
            except Exception:
                self.faults.append(f"{self.last}\n{traceback.format_exc()}")
            self._settle(number)

    def _choose(self) -> Callable[[], None]:
        if self.window.session.graph is None and self.die.random() < 0.5:
            return self._add_trace
        throw = self.die.random()
        if throw < 0.55:
            return self._command
        return self.die.choice((self._select, self._hover, self._click, self._key, self._slider, self._drag, self._pin))

    def _command(self) -> None:
        names = [action.command.id for action in self.window.registry.actions() if action.command.id not in LEFT_OUT]
        self.last = self.die.choice(names)
        self.done[self.last] += 1
        self.window.registry.run(self.last)

    def _add_trace(self) -> None:
        from tests.app.conftest import as_trace

        self.last = "a trace"
        project = self.window.session.project
        if project is not None and (project.read_only or len(project.traces()) >= MOST_TRACES):
            return
        die = self.die
        graph = build_graph(
            n_layers=die.randint(1, 8), n_positions=die.randint(1, 9), n_features=die.randint(0, 150),
            n_logits=die.randint(1, 5), errors=die.random() < 0.5, biases=die.random() < 0.5, seed=die.randint(0, 99),
        )  # fmt: skip
        self.window.session.add_trace(as_trace(graph), f"trace {die.randint(0, 999)}", "neurons")

    def _node(self) -> int:
        graph = self.window.session.graph
        return -1 if graph is None else self.die.randint(-1, graph.n_nodes - 1)

    def _select(self) -> None:
        self.last = "select"
        self.window.session.select(self._node())

    def _pin(self) -> None:
        self.last = "pin"
        node = self._node()
        if node >= 0 and self.window.session.can_edit:
            self.window.edits.toggle_pin(node)

    def _slider(self) -> None:
        self.last = "slider"
        strip = self.window.area.strip
        self.die.choice((strip.influence, strip.edges)).setValue(self.die.randint(10, 1000))

    def _place(self) -> QPoint:
        port = self.window.area.canvas._surface.viewport()
        return QPoint(self.die.randint(0, max(port.width() - 1, 0)), self.die.randint(0, max(port.height() - 1, 0)))

    def _mouse(self, kind: QEvent.Type, at: QPoint, button: Qt.MouseButton) -> None:
        port = self.window.area.canvas._surface.viewport()
        held = button if kind is not QEvent.Type.MouseButtonRelease else Qt.MouseButton.NoButton
        with_control = (
            Qt.KeyboardModifier.ControlModifier if self.die.random() < 0.2 else Qt.KeyboardModifier.NoModifier
        )
        event = QMouseEvent(kind, QPointF(at), QPointF(port.mapToGlobal(at)), button, held, with_control)
        QApplication.sendEvent(port, event)

    def _hover(self) -> None:
        self.last = "hover"
        self._mouse(QEvent.Type.MouseMove, self._place(), Qt.MouseButton.NoButton)

    def _click(self) -> None:
        self.last, at = "click", self._place()
        self._mouse(QEvent.Type.MouseButtonPress, at, Qt.MouseButton.LeftButton)
        self._mouse(QEvent.Type.MouseButtonRelease, at, Qt.MouseButton.LeftButton)

    def _drag(self) -> None:
        self.last = "drag"
        self._mouse(QEvent.Type.MouseButtonPress, self._place(), Qt.MouseButton.LeftButton)
        self._mouse(QEvent.Type.MouseMove, self._place(), Qt.MouseButton.LeftButton)
        self._mouse(QEvent.Type.MouseButtonRelease, self._place(), Qt.MouseButton.LeftButton)

    def _key(self) -> None:
        key = self.die.choice(KEYS)
        self.last = f"key {key.name}"
        for kind in (QEvent.Type.KeyPress, QEvent.Type.KeyRelease):
            event = QKeyEvent(kind, key, Qt.KeyboardModifier.NoModifier)
            QApplication.sendEvent(self.window.area.canvas, event)

    # -- between steps ------------------------------------------------------------------------------------------------

    def _settle(self, number: int) -> None:
        """Let what was caused happen; close what was opened, as a person would."""
        app = QApplication.instance()
        assert isinstance(app, QApplication)
        for _ in range(3):
            app.processEvents()
        popup = app.activePopupWidget()
        if isinstance(popup, QMenu) or (popup is not None and self.die.random() < 0.5):
            popup.close()
        for widget in app.topLevelWidgets():
            if isinstance(widget, QDialog) and widget.isVisible() and self.die.random() < 0.7:
                widget.close()
        if number % 50 == 49:
            QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete.value)
            gc.collect()

    def answers(self) -> dict[str, Callable[..., Any]]:
        """What each question of the window gets for an answer."""
        die = self.die

        def sometimes(value: Callable[[], Any]) -> Callable[..., Any]:
            return lambda *arguments, **named: value() if die.random() < 0.7 else None

        def some_file() -> Path:
            names = ("a.svg", "b.pdf", "c.png", "d.html", "e.ipynb", "f.json", "g.graphml", "h.zip", "i.csv", "j.npz",
                     "k.loupe", "no such folder/l.svg", "m")  # fmt: skip
            return self.folder / die.choice(names)

        def some_text() -> str:
            return die.choice(("a name", "", "  ", "<b>&amp;</b>", "ü‮x\n", "n" * 300))

        return {
            "open_project": sometimes(lambda: self.folder / "k.loupe"),
            "sample": lambda parent, samples: die.choice((None, *samples)),
            "save_file": sometimes(some_file),
            "open_folder": sometimes(lambda: self.folder),
            "open_file": sometimes(some_file),
            "text": sometimes(some_text),
            "long_text": sometimes(some_text),
            "number": lambda parent, title, question, before, low, high: die.choice((None, before, low, high)),
            "choice": lambda parent, title, question, options: die.choice((None, *range(len(options)))),
            "confirm": lambda *arguments: die.random() < 0.5,
            "leave": lambda *arguments: die.choice((None, True, False)),
            "tell": lambda *arguments: None,
        }


@contextlib.contextmanager
def watched(soak: Soak) -> Iterator[None]:
    """Dialogs answered, and every unhandled error and every Qt warning collected."""
    before = {name: Ask.__dict__[name] for name in soak.answers()}
    hooks = sys.excepthook, threading.excepthook

    def message(kind: QtMsgType, context: QMessageLogContext, text: str) -> None:
        if kind not in (QtMsgType.QtDebugMsg, QtMsgType.QtInfoMsg) and HARMLESS not in text:
            soak.faults.append(f"{soak.last}\nQt: {text}")

    def fault(kind: type[BaseException], error: BaseException, trace: Any) -> None:
        soak.faults.append(f"{soak.last}\n{''.join(traceback.format_exception(kind, error, trace))}")

    handler = qInstallMessageHandler(message)
    sys.excepthook = fault
    threading.excepthook = lambda args: fault(args.exc_type, args.exc_value or Exception(), args.exc_traceback)
    for name, answer in soak.answers().items():
        setattr(Ask, name, staticmethod(answer))
    try:
        yield
    finally:
        for name, method in before.items():
            setattr(Ask, name, method)
        sys.excepthook, threading.excepthook = hooks
        qInstallMessageHandler(handler)


def main() -> int:
    """The long form; the number of faults is the exit status."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--commands", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        os.environ["CIRCUIT_LOUPE_HOME"] = home
        app = QApplication(sys.argv[:1])
        window = MainWindow(app)
        window.show()
        folder = Path(home) / "files"
        folder.mkdir()
        soak = Soak(window, folder, arguments.seed)
        start, process = time.monotonic(), psutil.Process()
        with watched(soak):
            for part in range(0, arguments.commands, 1000):
                soak.run(min(1000, arguments.commands - part))
                size = process.memory_info().rss / 2**20
                sys.stderr.write(f"{part + 1000:,}: {len(soak.faults)} faults, {size:.0f} MB\n")
            window.close()
            end = time.monotonic() + CLOSED_WITHIN
            while window.isVisible() and time.monotonic() < end:  # what runs is cancelled first
                app.processEvents()
                time.sleep(0.01)
            window.deleteLater()
            for _ in range(3):
                app.processEvents()
                app.sendPostedEvents(None, QEvent.Type.DeferredDelete.value)
        seconds = time.monotonic() - start
        for text, count in Counter(soak.faults).most_common(20):
            sys.stdout.write(f"--- {count} times, after {text}\n")
        sys.stdout.write(
            f"{arguments.commands:,} steps, seed {arguments.seed}: {len(soak.done)} commands chosen "
            f"{sum(soak.done.values()):,} times, {len(soak.faults)} faults, {seconds:.0f} s\n"
        )
        return min(len(soak.faults), 100)


if __name__ == "__main__":
    sys.exit(main())
