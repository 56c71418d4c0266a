"""What is shown while the project itself is busy: how far it is, and Cancel. Nothing else can be done meanwhile."""

from __future__ import annotations

from PySide6.QtCore import Qt, Slot
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QDialog, QDialogButtonBox, QProgressBar, QVBoxLayout, QWidget

from app.jobs import JobHost
from app.panels.plain import PlainLabel


class WaitSheet(QDialog):
    """Follows the running job of a host, and goes when it ends. The project's edits wait for its lock, so no input."""

    def __init__(self, title: str, host: JobHost, parent: QWidget) -> None:
        super().__init__(parent)
        self.setObjectName("wait-sheet")
        self.setWindowTitle(title)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setWindowModality(Qt.WindowModality.WindowModal)
        self.setMinimumWidth(360)
        self._host = host
        self.stage = PlainLabel(title, wrap=True)
        self.bar = QProgressBar()
        self.bar.setRange(0, 1000)
        self.bar.setTextVisible(False)
        self.bar.setAccessibleName(f"Progress: {title}")
        self.buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Cancel)
        self.buttons.rejected.connect(self._cancel)
        column = QVBoxLayout(self)
        for widget in (self.stage, self.bar, self.buttons):
            column.addWidget(widget)
        host.progressed.connect(self._progressed)
        host.idle.connect(self.close)

    @Slot(str, float, float)
    def _progressed(self, stage: str, share: float, left: float) -> None:
        self.stage.setText(stage)
        self.bar.setValue(round(1000 * share))

    @Slot()
    def _cancel(self) -> None:
        self.stage.setText("Stopping…")
        self._host.cancel()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Escape cancels; the sheet goes when the job has stopped."""
        if event.key() == Qt.Key.Key_Escape:
            self._cancel()
        else:
            super().keyPressEvent(event)
