"""Progress on stderr: one line that is overwritten on a terminal, one line a stage elsewhere."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

# Redraw no more often than this, in seconds.
REFRESH = 0.1
BAR_WIDTH = 24


class TerminalProgress:
    """A `Progress` that draws on stderr."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._stage = ""
        self._drawn = 0.0

    def __call__(self, stage: str, fraction: float) -> None:
        """Show a stage and the share of the job done."""
        if not self._terminal:
            # Layer by layer would be a page: a stage is its first word's worth of news.
            name = stage.split(" layer ")[0].split(", layer")[0]
            if name != self._stage:
                sys.stderr.write(f"{name}\n")
                self._stage = name
            return
        now = time.monotonic()
        if fraction < 1 and now - self._drawn < REFRESH:
            return
        self._drawn = now
        full = round(BAR_WIDTH * min(max(fraction, 0.0), 1.0))
        sys.stderr.write(f"\r\x1b[K[{'#' * full}{'.' * (BAR_WIDTH - full)}] {stage}")
        if fraction >= 1:
            sys.stderr.write("\r\x1b[K")
        sys.stderr.flush()


@contextmanager
def interruptible() -> Iterator[threading.Event]:
    """An event that Ctrl+C sets, so that work stops at its next checkpoint; a second Ctrl+C stops at once."""
    event = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:
        if event.is_set():
            raise KeyboardInterrupt
        event.set()

    in_main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGINT, stop) if in_main else None
    try:
        yield event
    finally:
        if in_main:
            signal.signal(signal.SIGINT, before)
