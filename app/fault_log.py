"""Faults of ours go to a rotating log; what a person sees is one sentence with the log's path."""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
import traceback
from logging.handlers import RotatingFileHandler
from types import TracebackType

from PySide6.QtCore import QMessageLogContext, QObject, QtMsgType, Signal, qInstallMessageHandler

from engine.errors import LoupeError
from engine.places import log_file

logger = logging.getLogger("circuit_loupe")
_QT_LEVELS = {
    QtMsgType.QtDebugMsg: logging.DEBUG,
    QtMsgType.QtInfoMsg: logging.INFO,
    QtMsgType.QtWarningMsg: logging.WARNING,
    QtMsgType.QtCriticalMsg: logging.ERROR,
    QtMsgType.QtFatalMsg: logging.CRITICAL,
}


def start_log() -> logging.Logger:
    """Open the rotating log (3 files of 1 MB); where nothing can be written the program runs without one."""
    path = log_file()
    for old in list(logger.handlers):
        logger.removeHandler(old)
        old.close()
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        handler = RotatingFileHandler(path, maxBytes=1_000_000, backupCount=2, encoding="utf-8", delay=True)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(threadName)s %(message)s"))
        logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logging.captureWarnings(True)
    return logger


def sentence_for(error: BaseException) -> str:
    """One sentence for a fault of ours: what it was, and where the details are."""
    what = str(error).strip().splitlines()
    said = f" ({what[0][:160]})" if what else ""
    return f"Something went wrong inside Circuit Loupe: {type(error).__name__}{said}. The details are in {log_file()}."


class FaultCatcher(QObject):
    """Catches what nobody handled, in any thread, logs it and tells the window."""

    caught = Signal(str)
    refused = Signal(object)  # LoupeError: no fault of ours, but the file's or the drive's, and a sentence as it is

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._before = (sys.excepthook, threading.excepthook)

    def install(self) -> None:
        """Hook the interpreter, its threads and Qt's messages."""
        sys.excepthook = self._unhandled
        threading.excepthook = self._unhandled_in_thread
        qInstallMessageHandler(_qt_message)

    def remove(self) -> None:
        """Put back what was there before."""
        sys.excepthook, threading.excepthook = self._before
        qInstallMessageHandler(None)

    def _unhandled(self, kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            sys.__excepthook__(kind, error, trace)
            return
        logger.error("unhandled\n%s", "".join(traceback.format_exception(kind, error, trace)))
        if isinstance(error, LoupeError):
            self.refused.emit(error)
        else:
            self.caught.emit(sentence_for(error))

    def _unhandled_in_thread(self, args: threading.ExceptHookArgs) -> None:
        if args.exc_value is not None:
            self._unhandled(args.exc_type, args.exc_value, args.exc_traceback)


def _qt_message(kind: QtMsgType, context: QMessageLogContext, message: str) -> None:
    logger.log(_QT_LEVELS.get(kind, logging.WARNING), "Qt: %s", message)
