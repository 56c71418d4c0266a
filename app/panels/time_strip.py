"""The slider through time: which token of a series the graph explains."""

from __future__ import annotations

from PySide6.QtCore import Qt, QTimer, Slot
from PySide6.QtWidgets import QHBoxLayout, QSizePolicy, QSlider, QToolButton, QWidget

from app.commands import Registry
from app.panels.plain import MutedLabel, PlainLabel, tip
from app.series import SeriesDesk

PAUSE_MS = 40  # a slider that is dragged opens where it comes to rest, and on the way where there is time


class TimeStrip(QWidget):
    """Hidden unless the open trace belongs to a series."""

    def __init__(self, desk: SeriesDesk, registry: Registry, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("time-strip")
        self.desk = desk
        self.slider = QSlider(Qt.Orientation.Horizontal)
        self.slider.setAccessibleName("Token of the answer")
        self.slider.setPageStep(1)
        self.slider.setTickPosition(QSlider.TickPosition.TicksBelow)
        self.slider.setTickInterval(1)
        self.slider.setMinimumWidth(80)
        self.token = PlainLabel()
        font = self.token.font()
        font.setBold(True)
        self.token.setFont(font)
        self.token.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Preferred)
        self.count = MutedLabel()
        row = QHBoxLayout(self)
        row.setContentsMargins(8, 2, 8, 2)
        row.setSpacing(6)
        row.addWidget(MutedLabel("Answer"))
        for command in ("go.earlier", "go.later"):
            button = QToolButton()
            button.setDefaultAction(registry.action(command))
            button.setAccessibleName(registry.action(command).command.words)
            button.setObjectName(f"button-{command}")
            row.addWidget(button)
        row.addWidget(self.slider, 1)
        row.addWidget(self.token)
        row.addWidget(self.count)
        self._pause = QTimer(self)
        self._pause.setSingleShot(True)
        self._pause.setInterval(PAUSE_MS)
        self._pause.timeout.connect(self._open)
        self.slider.valueChanged.connect(self._moved)
        desk.changed.connect(self._show)
        self._show()

    @Slot()
    def _show(self) -> None:
        steps, place = self.desk.steps, self.desk.place
        self.setVisible(place >= 0)
        if place < 0:
            return
        if not self._pause.isActive():
            self.slider.blockSignals(True)
            self.slider.setRange(0, len(steps) - 1)
            self.slider.setValue(place)
            self.slider.blockSignals(False)
        self._name(self.slider.value())

    def _name(self, place: int) -> None:
        steps = self.desk.steps
        if not 0 <= place < len(steps):
            return
        self.token.setText(steps[place].token)
        self.count.setText(f"{place + 1} of {len(steps)}")
        answer = "".join(f"[{step.token}]" if i == place else step.token for i, step in enumerate(steps))
        self.slider.setToolTip(tip(f"The graph of each token of the answer, in time\n{answer}"))
        self.slider.setAccessibleDescription(f"{steps[place].token}, {place + 1} of {len(steps)}")

    @Slot()
    def _moved(self) -> None:
        self._name(self.slider.value())
        if not self._pause.isActive():
            self._pause.start()

    @Slot()
    def _open(self) -> None:
        self.desk.open(self.slider.value())
