"""Downloads that a person asked for: the size first, then the question, then the files. Nothing else uses a network."""

from __future__ import annotations

from functools import partial

from PySide6.QtCore import QObject, Signal
from PySide6.QtWidgets import QWidget

from app.dialogs import Ask
from app.engine_calls import DownloadFacts, ask_download_size, bind, download_entry
from app.jobs import Failure, JobHost, Outcome, Value
from app.shelf import ShelfRow
from engine.sizes import byte_words


class Downloads(QObject):
    """Runs one download at a time on the engine's thread; its progress and Cancel are those of any job."""

    changed = Signal()  # a download began or ended
    arrived = Signal(object)  # ShelfRow: it is on this machine now
    refused = Signal(str)  # one sentence
    stopped = Signal(str)  # one sentence: a person stopped it

    def __init__(self, host: JobHost, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.host = host
        self.running: ShelfRow | None = None

    def begin(self, row: ShelfRow, asking: QWidget) -> None:
        """Ask how large it is, then the person, then fetch it."""
        if self.running is not None or not row.downloadable:
            return
        self._set_running(row)
        job = bind(ask_download_size, row.source)
        done = partial(self._sized, row, asking)
        self.host.submit("download-size", f"Asking how large {row.title} is", job, done)

    def _set_running(self, row: ShelfRow | None) -> None:
        self.running = row
        self.changed.emit()

    def _sized(self, row: ShelfRow, asking: QWidget, outcome: Outcome) -> None:
        if not isinstance(outcome, Value):
            self._end(outcome)
            return
        if not Ask.confirm(asking, "Download", question(row, outcome.value), "Download"):
            self._set_running(None)
            return
        job = bind(download_entry, row.source)
        self.host.submit("download", f"Downloading {row.title}", job, partial(self._downloaded, row))

    def _downloaded(self, row: ShelfRow, outcome: Outcome) -> None:
        if isinstance(outcome, Value):
            self._set_running(None)
            self.arrived.emit(row)
        else:
            self._end(outcome)

    def _end(self, outcome: Outcome) -> None:
        self._set_running(None)
        if isinstance(outcome, Failure):
            self.refused.emit(outcome.sentence)
        else:
            self.stopped.emit("Stopped; what came is kept, and Download goes on from there.")


def question(row: ShelfRow, size: DownloadFacts) -> str:
    """What a person is asked before anything is fetched."""
    missing = "" if size.missing == size.total else f", {byte_words(size.missing)} of it still missing"
    lines = [
        f"{row.title} is {byte_words(size.total)} in {size.files:,} {'file' if size.files == 1 else 'files'}{missing}; "
        f"{byte_words(size.free)} are free on the disk.",
        f"Licence: {row.licence}.",
    ]
    lines += [line for line in row.about if line.startswith("It ")]
    return "\n\n".join([*lines, "While it downloads nothing can be traced; it can be stopped and continued."])
