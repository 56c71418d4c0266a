"""How soon what is typed is written into the project: the same for labels, notes and the prompt."""

from __future__ import annotations

from PySide6.QtCore import QObject, QTimer, Slot

KEPT_MS = 800


class TypingPause(QTimer):
    """Fires so long after the first letter, however long the typing goes on."""

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self.setSingleShot(True)
        self.setInterval(KEPT_MS)

    @Slot()
    def begin(self) -> None:
        """Something was typed."""
        # Not started anew by each letter: whoever types on and on is kept as well.
        if not self.isActive():
            self.start()
