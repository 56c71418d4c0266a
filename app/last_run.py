"""Whether the run before ended as it should, what was open then, and the report of one that did not.

Each run keeps one file beside the log while it lives: what it is, and which project is open. Native code that crashes
writes its stacks into the same file. A run that ends well removes it; one that is found at the next start belongs to a
run that did not, and becomes the report a person can read.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import platform
import sys
import time
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import IO

import psutil

from engine.places import log_file

_PROJECT, _PROCESS = "Project: ", "Process: "
_LOG_LINES = 60
_MOST_REPORTS = 10


@dataclass(frozen=True)
class Crash:
    """A run that did not end by itself: its report, and the project that was open, if any."""

    report: Path
    project: Path | None

    @property
    def sentence(self) -> str:
        """What to tell the person."""
        lost = f" {self.project.stem} was open; every edit of it is in its file." if self.project else ""
        return f"Circuit Loupe ended unexpectedly last time.{lost} A report is in {self.report}."


class RunFile:
    """The file of this run."""

    def __init__(self) -> None:
        self.path = log_file().with_name(f"run-{os.getpid()}.txt")
        self._file: IO[str] | None = None

    def begin(self) -> None:
        """Write who this is, and let a crash write its stacks here; where nothing can be written, go on without."""
        with contextlib.suppress(OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("w", encoding="utf-8", errors="replace")
            self._say(
                f"Circuit Loupe {metadata.version('circuit-loupe')}, Python {platform.python_version()}, "
                f"{platform.platform()}, {time.strftime('%Y-%m-%d %H:%M:%S')}"
            )
            self._say(f"{_PROCESS}{os.getpid()} {psutil.Process().create_time():.0f}")
            faulthandler.enable(file=self._file)

    def note_project(self, path: Path | None) -> None:
        """Another project is open, or none."""
        self._say(f"{_PROJECT}{'' if path is None else path}")

    def _say(self, line: str) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.write(line + "\n")
                self._file.flush()

    def end(self) -> None:
        """The run ended as it should."""
        if self._file is None:
            return
        faulthandler.disable()
        with contextlib.suppress(OSError):
            self._file.close()
            self.path.unlink(missing_ok=True)
        self._file = None


def find_crash() -> Crash | None:
    """The latest run that did not end well, made into a report; None where all did or still live."""
    folder = log_file().parent
    try:
        files = sorted(folder.glob("run-*.txt"), key=lambda path: path.stat().st_mtime)
    except OSError:
        return None
    found = None
    for path in files:
        with contextlib.suppress(OSError):
            text = path.read_text(encoding="utf-8", errors="replace")
            if not _lives(text):
                found = _report(path, text)
    _forget_old(folder)
    return found


def _line(text: str, start: str) -> str:
    """The last line that begins so, without its beginning."""
    return next((line[len(start) :] for line in reversed(text.splitlines()) if line.startswith(start)), "")


def _lives(text: str) -> bool:
    """Whether the process that wrote this still runs; a number that another program has now is not it."""
    number, _, began = _line(text, _PROCESS).partition(" ")
    if not (number.isdecimal() and began.isdecimal()):
        return False
    with contextlib.suppress(psutil.Error):
        return abs(psutil.Process(int(number)).create_time() - int(began)) < 2
    return False


def _report(path: Path, text: str) -> Crash:
    """Turn a left run file into a report, with the end of the log."""
    stamp = time.strftime("%Y%m%d-%H%M%S", time.localtime(path.stat().st_mtime))
    report = path.with_name(f"crash-{stamp}-{path.stem.removeprefix('run-')}.txt")
    if "Thread 0x" not in text and "Fatal" not in text:
        text += "\nNo stack was written: the process was killed, ran out of memory, or the machine stopped.\n"
    try:
        log = log_file().read_text(encoding="utf-8", errors="replace").splitlines()[-_LOG_LINES:]
    except OSError:
        log = []
    report.write_text(text + "\nThe end of the log:\n" + "\n".join(log) + "\n", encoding="utf-8", errors="replace")
    path.unlink(missing_ok=True)
    project = _line(text, _PROJECT)
    return Crash(report, Path(project) if project and Path(project).is_file() else None)


def _forget_old(folder: Path) -> None:
    with contextlib.suppress(OSError):
        for old in sorted(folder.glob("crash-*.txt"))[:-_MOST_REPORTS]:
            old.unlink(missing_ok=True)


def dump_stacks() -> None:
    """What every thread does now, to where the terminal sees it."""
    faulthandler.dump_traceback(file=sys.__stderr__ or sys.stderr)
