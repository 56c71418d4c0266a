"""Cyclic garbage is collected in the GUI thread only: elsewhere, Qt objects would be destroyed off their thread."""

from __future__ import annotations

import gc

from PySide6.QtCore import QObject, QTimer

INTERVAL_MS = 1000


class GarbageKeeper(QObject):
    """Turns automatic collection off and collects on a timer of the thread it lives in."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._thresholds = gc.get_threshold()
        self._timer = QTimer(self)
        self._timer.setInterval(INTERVAL_MS)
        self._timer.timeout.connect(self.collect_due)

    def start(self) -> None:
        """Take collection over from the interpreter."""
        gc.disable()
        self._timer.start()

    def stop(self) -> None:
        """Give collection back to the interpreter."""
        self._timer.stop()
        gc.enable()

    def collect_due(self) -> int:
        """Collect the generations whose thresholds are passed; returns the oldest one collected, or -1."""
        due = -1
        for generation, (count, threshold) in enumerate(zip(gc.get_count(), self._thresholds, strict=True)):
            if threshold == 0 or count <= threshold:
                break
            due = generation
        if due >= 0:
            gc.collect(due)
        return due


def set_aside() -> None:
    """Collect once, and leave what is alive now out of every later collection. Call in the GUI thread.

    A model's libraries are hundreds of thousands of objects that stay as long as it does; a full collection goes
    through all of them and holds the window up, now and then, for longer than a frame may take.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()


def take_back() -> None:
    """Look at everything again: what was set aside may be let go now."""
    gc.unfreeze()
