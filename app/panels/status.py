"""The status bar: model and memory, the running job, and the scores of the open graph."""

from __future__ import annotations

from typing import Any

import psutil
from PySide6.QtCore import Qt, QTimer, Slot
from PySide6.QtGui import QColor, QPalette
from PySide6.QtWidgets import QHBoxLayout, QProgressBar, QStatusBar, QToolButton, QWidget

from app.commands import CommandAction, Registry
from app.jobs import Job, JobHost, Outcome
from app.panels.plain import ElidedLabel, MutedLabel, PlainLabel, tip
from app.reading import percent
from app.runs import Runs
from app.session import Session
from app.theme import current_theme, icon, theme_watcher
from app.time_left import say
from engine.graphs.visible_text import visible_text
from engine.sizes import byte_words

APPEAR_MS = 500
MEMORY_MS = 3000
DEFAULT_BOUND = 1e-4


class JobStrip(QWidget):
    """Stage, bar, time left and Cancel of the running job; appears only for what takes over half a second."""

    def __init__(self, host: JobHost, stop: CommandAction, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("job-strip")
        self.stage = PlainLabel()
        self.bar = QProgressBar()
        self.bar.setRange(0, 1000)
        self.bar.setTextVisible(False)
        self.bar.setFixedWidth(160)
        self.bar.setMaximumHeight(8)
        self.bar.setAccessibleName("Progress of the running job")
        self.left = MutedLabel()
        self.cancel = QToolButton()
        self.cancel.setDefaultAction(stop)
        self.cancel.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.cancel.setAccessibleName(stop.command.tip)
        row = QHBoxLayout(self)
        row.setContentsMargins(8, 0, 8, 0)
        row.setSpacing(8)
        for widget in (self.bar, self.stage, self.left, self.cancel):
            row.addWidget(widget)
        row.addStretch(1)
        self._appear = QTimer(self)
        self._appear.setSingleShot(True)
        self._appear.setInterval(APPEAR_MS)
        self._appear.timeout.connect(self.show)
        host.started.connect(self._started)
        host.progressed.connect(self._progressed)
        host.ended.connect(self._ended)
        self.host = host
        self.hide()

    @Slot(object)
    def _started(self, job: Job) -> None:
        self.stage.setText(job.title)
        self.bar.setValue(0)
        self.left.setText("")
        if not self.isVisible():
            self._appear.start()

    @Slot(str, float, float)
    def _progressed(self, stage: str, fraction: float, left: float) -> None:
        self.stage.setText(self.fontMetrics().elidedText(stage, Qt.TextElideMode.ElideRight, 320))
        self.bar.setValue(round(1000 * fraction))
        self.left.setText(say(left) if left >= 0 else "")

    @Slot(object, object)
    def _ended(self, job: Job, outcome: Outcome) -> None:
        if self.host.current is None:
            self._appear.stop()
            self.hide()


class StatusBar(QStatusBar):
    """One line at the bottom of the window."""

    def __init__(
        self, session: Session, runs: Runs, beside: JobHost, registry: Registry, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.session, self.runs, self._registry = session, runs, registry
        self.setSizeGripEnabled(False)
        self.model = MutedLabel()
        self.memory = MutedLabel()
        self.job = JobStrip(runs.host, registry.action("trace.cancel"))
        self.writing = JobStrip(beside, registry.action("file.stop_writing"))
        self.scores = [ElidedLabel() for _ in range(4)]
        for label in self.scores:
            label.setContentsMargins(10, 0, 0, 0)
        self.setContentsMargins(8, 0, 8, 0)
        self.addWidget(self.model)
        self.addWidget(self.memory)
        self.addWidget(self.job)
        self.addWidget(self.writing)
        self.ready = QToolButton()
        self.ready.setObjectName("trace-ready")
        self.ready.setAccessibleName("Open the finished trace")
        self.ready.setToolTip("Open the trace that was finished while another one was read")
        self.ready.clicked.connect(self._open_ready)
        self.ready.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.ready.hide()
        self.addWidget(self.ready)
        runs.readyChanged.connect(self._show_ready)
        for label in self.scores:
            self.addPermanentWidget(label)
        self._process = psutil.Process()
        self._timer = QTimer(self)
        self._timer.setInterval(MEMORY_MS)
        self._timer.timeout.connect(self._show_memory)
        self._timer.start()
        runs.modelChanged.connect(self._show_model)
        session.traceChanged.connect(self._show_scores)
        theme_watcher().changed.connect(self._show_scores)
        theme_watcher().changed.connect(self._show_ready)
        self._show_model()
        self._show_memory()
        self._show_scores()

    @Slot()
    def _show_ready(self) -> None:
        """A trace was finished while another one was read: it waits here."""
        waiting = self.runs.ready
        self.ready.setVisible(waiting is not None)
        if waiting is not None:
            self.ready.setIcon(icon("open"))
            words = f"Trace ready: {visible_text(waiting[1])}"
            # Titles tell themselves apart at their end.
            self.ready.setText(self.fontMetrics().elidedText(words, Qt.TextElideMode.ElideMiddle, 320))
            self.ready.setAccessibleName(f"{words}, open it")
            self.ready.setToolTip(tip(f"{words}. A click opens it."))

    @Slot()
    def _open_ready(self) -> None:
        self._registry.run("trace.open_ready")

    def stop(self) -> None:
        """Stop looking at the memory: the window closes."""
        self._timer.stop()

    @Slot()
    def _show_model(self) -> None:
        model = self.runs.model
        if model is None:
            self.model.setText("No model loaded")
            self.model.setToolTip("The model is loaded when a prompt needs it")
            return
        self.model.setText(f"{model.name} · {model.device} · {model.dtype}")
        self.model.setToolTip(tip(f"{model.n_layers} layers, from {model.source}"))
        self._show_memory()

    @Slot()
    def _show_memory(self) -> None:
        used = self._process.memory_info().rss
        free = psutil.virtual_memory().available
        self.memory.setText(byte_words(used))
        self.memory.setToolTip(tip(f"Memory used by this program; {byte_words(free)} are free on this machine"))

    @Slot()
    def _show_scores(self) -> None:
        graph = self.session.graph
        entries = score_entries(self.session.report) if graph is not None else []
        if graph is not None and self.session.growing:
            # The scores of an unfinished graph say little, and Cancel needs the room.
            entries = [so_far(self.session.report), *(entry for entry in entries if entry[0].startswith("unexplored"))]
        for i, label in enumerate(self.scores):
            label.setVisible(i < len(entries))
            if i < len(entries):
                text, words, bad = entries[i]
                label.setText(text)
                label.setToolTip(tip(words))
                palette = label.palette()
                colour = current_theme().error if bad else current_theme().muted
                palette.setColor(QPalette.ColorRole.WindowText, QColor(colour))
                label.setPalette(palette)


def so_far(report: dict[str, Any]) -> tuple[str, str, bool]:
    """What a trace that still runs has found."""
    words = "This trace still runs: layers come in from the top. It is kept in the project when it is done or stopped."
    return f"so far {int(report.get('feature_nodes', 0)):,} features", words, False


def score_entries(report: dict[str, Any]) -> list[tuple[str, str, bool]]:
    """The scores of a graph: text, definition, and whether it is a warning."""
    neurons = report.get("features", {}).get("kind") == "neurons"
    explained = {
        "replacement": "Replacement: the share of paths from the tokens to the output that run through features, "
        "none through error nodes.",
        "completeness": "Completeness: the share of what goes into the nodes that comes from something other than "
        "error nodes, weighted by influence.",
    }
    entries: list[tuple[str, str, bool]] = []
    for key in ("replacement", "completeness"):
        value = report.get(key)
        if isinstance(value, int | float):
            entries.append((f"{key} {value:.2f}", explained[key], False))
    if not entries and neurons:
        words = (
            "Replacement and completeness do not apply to neurons: neurons are the model itself, so there is no "
            "error node to count against."
        )
        entries.append(("replacement, completeness do not apply to neurons", words, False))
    error = report.get("conservation_error")
    if isinstance(error, int | float):
        bound = float(report.get("conservation_bound", DEFAULT_BOUND))
        bad = not error <= bound
        words = (
            "Conservation error: for every traced node the edges into it must add up to its value; this is the "
            f"largest miss, as a share of the value. Above {bound:.0e} the graph is not to be trusted."
        )
        entries.append((f"conservation {error:.0e}", words, bad))
    unexplored = report.get("unexplored")
    if isinstance(unexplored, int | float):
        words = (
            "Unexplored: the share of the influence that lies on features without a node of their own. "
            "Trace with more nodes to lower it."
        )
        entries.append((f"unexplored {percent(float(unexplored))}", words, False))
    return entries
