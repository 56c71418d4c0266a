"""One run of the windowed program: the application object, its log, its garbage, its window."""

from __future__ import annotations

import faulthandler
import os
import sys
from pathlib import Path
from typing import IO

from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QApplication

from app.fault_log import FaultCatcher, logger, start_log
from app.garbage import GarbageKeeper
from app.places import log_file
from app.window import MainWindow


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
    crash_file = _watch_crashes()
    garbage = GarbageKeeper()
    garbage.start()
    window = MainWindow(app)
    faults.caught.connect(window.show_fault)
    window.show()
    if project is not None:
        window.files.open_path(project)
    # Python sees Ctrl+C in a terminal only when it gets to run now and then.
    pulse = QTimer()
    pulse.start(500)
    status = app.exec()
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
