"""Rows that go somewhere at a click: the second click of a double one must not go on from where the first one led."""

from __future__ import annotations

from PySide6.QtCore import QElapsedTimer
from PySide6.QtWidgets import QApplication


class FirstClick:
    """Tells a click that counts from one that only completes a double click, by the time between them."""

    def __init__(self) -> None:
        self._since = QElapsedTimer()

    def counts(self) -> bool:
        """Whether this click, now, is no second click; it is remembered."""
        if self._since.isValid() and self._since.elapsed() < QApplication.doubleClickInterval():
            return False
        self._since.start()
        return True
