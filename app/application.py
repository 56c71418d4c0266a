"""One run of the windowed program: the application object, its log, its garbage, its window."""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import IO

from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QApplication

from app.fault_log import FaultCatcher, logger, start_log
from app.garbage import GarbageKeeper
from app.window import MainWindow
from engine.places import log_file

PRELOAD_MS = 250


class Interrupts:
    """Ctrl+C in the terminal, and the system asking to end, close the window as a click on its button would.

    Python sees signals only when it gets to run; the timer of the garbage keeper lets it, once a second.
    """

    def __init__(self) -> None:
        self.window: MainWindow | None = None
        self.status = 0

    def install(self) -> None:
        """Listen from now on."""
        signal.signal(signal.SIGINT, self._caught)
        signal.signal(signal.SIGTERM, self._caught)

    def attach(self, window: MainWindow) -> None:
        """The window there is now; a signal that came before it closes it at once."""
        self.window = window
        if self.status:
            self._close()

    def _caught(self, number: int, frame: FrameType | None) -> None:
        self.status = 128 + number
        self._close()

    def _close(self) -> None:
        if self.window is not None:
            QTimer.singleShot(0, self.window, self.window.close)


def _watch_crashes() -> IO[str] | None:
    """Where the interpreter writes its stacks should native code crash: beside the log."""
    try:
        file = log_file().with_name("crash.txt").open("a", encoding="utf-8")
    except OSError:
        return None
    faulthandler.enable(file=file)
    return file


def run(project: Path | None) -> int:
    """Open the window, with a project if one is given; returns the exit status."""
    start_log()
    QApplication.setApplicationName("circuit-loupe")
    QApplication.setApplicationDisplayName("Circuit Loupe")
    QApplication.setDesktopFileName("circuit-loupe")
    app = QApplication(sys.argv[:1])
    faults = FaultCatcher()
    faults.install()
    interrupts = Interrupts()
    interrupts.install()
    crash_file = _watch_crashes()
    garbage = GarbageKeeper()
    garbage.start()
    window = MainWindow(app)
    faults.caught.connect(window.show_fault)
    window.show()
    if project is not None:
        window.files.open_path(project)
    # The window is painted first: importing torch holds Python's lock for most of a second.
    QTimer.singleShot(PRELOAD_MS, window.runs, window.runs.preload)
    interrupts.attach(window)
    status = app.exec() or interrupts.status
    garbage.stop()
    faults.remove()
    if crash_file is not None:
        faulthandler.disable()
        crash_file.close()
    if not window.stopped:
        # A job that does not stop would keep the process alive; nothing it does can still be wanted.
        logger.error("the engine thread did not stop; leaving without it")
        faulthandler.dump_traceback(file=sys.__stderr__ or sys.stderr)
        os._exit(status)
    return status
