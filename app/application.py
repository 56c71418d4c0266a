"""One run of the windowed program: the application object, its log, its garbage, its window."""

from __future__ import annotations

import os
import signal
import sys
from importlib.resources import files
from pathlib import Path
from types import FrameType

from PySide6.QtCore import QEvent, QObject, QTimer
from PySide6.QtGui import QFileOpenEvent, QIcon
from PySide6.QtWidgets import QApplication

from app.fault_log import FaultCatcher, logger, start_log
from app.garbage import GarbageKeeper
from app.last_run import RunFile, dump_stacks, find_crash
from app.window import MainWindow

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
            QTimer.singleShot(0, self.window, self.window.end)


class OpenedFiles(QObject):
    """macOS hands a file that was double-clicked to the running program as an event, not as an argument."""

    def __init__(self, window: MainWindow) -> None:
        super().__init__(window)
        self.window = window

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Open the file; every other event goes its way."""
        if isinstance(event, QFileOpenEvent) and event.file():
            self.window.files.open_path(Path(event.file()))
            return True
        return False


class LastSession:
    """What a start finds of the run before it, and what it leaves for the next."""

    def __init__(self, window: MainWindow) -> None:
        self.window = window
        self._before = find_crash()
        self._file = RunFile()
        self._file.begin()
        window.session.projectChanged.connect(self._note)

    def restore(self, project: Path | None) -> None:
        """Open the project that was asked for, or what was open; after a run that ended badly, offer it."""
        if project is not None:
            self.window.files.open_path(project)
        elif self._before is None:
            self.window.settings.reopen()
        self.window.draft.restore()
        if self._before is not None:
            left = self._before.project
            self.window.settings.offer(self._before.sentence, None if left == project else left)

    def _note(self) -> None:
        project = self.window.session.project
        if self.window.isVisible():  # A window that closes lets go of its project: that is no news.
            self._file.note_project(None if project is None else project.path)

    def end(self) -> None:
        """The run ends as it should."""
        self._file.end()


def run(project: Path | None) -> int:
    """Open the window, with a project if one is given; returns the exit status."""
    start_log()
    QApplication.setApplicationName("circuit-loupe")
    QApplication.setApplicationDisplayName("Circuit Loupe")
    QApplication.setDesktopFileName("circuit-loupe")
    app = QApplication(sys.argv[:1])
    app.setWindowIcon(QIcon(str(files("resources") / "program.svg")))
    faults = FaultCatcher()
    faults.install()
    interrupts = Interrupts()
    interrupts.install()
    garbage = GarbageKeeper()
    garbage.start()
    window = MainWindow(app)
    faults.caught.connect(window.show_fault)
    faults.refused.connect(window.session.report_refusal)
    window.show()
    app.installEventFilter(OpenedFiles(window))
    session = LastSession(window)
    session.restore(project)
    # The window is painted first: importing torch holds Python's lock for most of a second.
    QTimer.singleShot(PRELOAD_MS, window.runs, window.runs.preload)
    interrupts.attach(window)
    status = app.exec() or interrupts.status
    garbage.stop()
    faults.remove()
    session.end()
    if not window.stopped:
        # A job that does not stop would keep the process alive; nothing it does can still be wanted.
        logger.error("the engine thread did not stop; leaving without it")
        dump_stacks()
        os._exit(status)
    return status
