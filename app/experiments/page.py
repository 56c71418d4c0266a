"""The experiments below the graph: what is changed next at the left, what came out of one at the right."""

from __future__ import annotations

from typing import Any, Protocol

from PySide6.QtCore import QEvent, Qt, QTimer, Slot
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import (
    QComboBox,
    QHBoxLayout,
    QScrollArea,
    QSplitter,
    QStackedWidget,
    QStyle,
    QTabWidget,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from app.commands import Registry
from app.experiments.change_view import ChangeView
from app.experiments.changes_list import ChangesList
from app.experiments.circuit_form import CircuitForm
from app.experiments.circuit_view import CircuitView
from app.experiments.desk import ExperimentDesk, Shown
from app.experiments.matrix_view import MatrixView
from app.experiments.paraphrases_box import ParaphrasesBox
from app.experiments.paraphrases_view import ParaphrasesView
from app.experiments.search_view import SearchView
from app.experiments.settings_form import SettingsForm
from app.experiments.sweep_view import SweepView
from app.experiments.text_view import TextView
from app.experiments.verify_view import VerifyView
from app.experiments.words import EVIDENCE, KINDS
from app.panels.flow import FlowRow
from app.panels.plain import ElidedLabel, Hint, MutedLabel, PlainLabel, tip
from engine.graphs.visible_text import visible_text

CHANGE_BAR = (
    "experiment.change",
    "experiment.head",
    "experiment.remove",
    "experiment.clear",
    "experiment.run",
    "experiment.text",
    "experiment.paraphrases",
    "experiment.doses",
    "experiment.layers",
)
CIRCUIT_BAR = (
    "experiment.verify",
    "experiment.circuit",
    "experiment.search",
    "experiment.take_over",
    "experiment.matrix",
)
WORDED = ("experiment.run", "experiment.verify", "experiment.circuit", "experiment.search")
NOTHING_RUN = (
    "Nothing was run on this trace yet. Say at the left what to change and press Run; or test the pinned circuit, or "
    "verify the graph, from the Experiment menu."
)
LEAST_LETTERS = 32  # of a line of results beside the form
OTHER_VERSION = "This experiment was kept by another version of the program; its figures cannot be shown here."


class ResultView(Protocol):
    """Shows what a project kept of one kind of experiment."""

    def show_result(self, settings: dict[str, Any], result: dict[str, Any]) -> None:
        """KeyError, TypeError and ValueError where it is not of the form that is known."""


class ExperimentPage(QSplitter):
    """Form and results, side by side; where that leaves the results no room to be read, they are one more tab."""

    def __init__(self, desk: ExperimentDesk, registry: Registry, parent: QWidget | None = None) -> None:
        super().__init__(Qt.Orientation.Horizontal, parent)
        self.setObjectName("experiment-page")
        self.setChildrenCollapsible(False)
        self.desk, self.registry = desk, registry
        self.changes, self.form = ChangesList(desk), SettingsForm(desk)
        self.paraphrases = ParaphrasesBox(desk)
        self.circuit = CircuitForm(desk)
        self._inner: list[QWidget] = []
        self.obstacle = MutedLabel("", wrap=True)
        self.kept = QComboBox()
        self.evidence, self.sentence, self.held = PlainLabel(), PlainLabel("", wrap=True), MutedLabel("", wrap=True)
        self.stack = QStackedWidget()
        self.hint = Hint(NOTHING_RUN)
        self.stack.addWidget(self.hint)
        self.views: dict[str, QWidget] = {
            "intervention": ChangeView(desk),
            "text": TextView(),
            "paraphrases": ParaphrasesView(),
            "circuit": CircuitView(),
            "search": SearchView(),
            "doses": SweepView("doses"),
            "layers": SweepView("layers"),
            "matrix": MatrixView(),
            "verify": VerifyView(desk),
        }
        for view in self.views.values():
            self.stack.addWidget(view)
        self.side = self._left()
        self.results = _scrolled(self._right(), sideways=True)
        # Not while a size is being given: moving the results gives sizes itself.
        self._resized = QTimer(self)
        self._resized.setSingleShot(True)
        self._resized.setInterval(0)
        self._resized.timeout.connect(self._arrange)
        self.addWidget(self.side)
        self.addWidget(self.results)
        self.setStretchFactor(1, 1)
        self.setSizes([290, 560])
        self._fit_side()
        self.changes.tree.removeAsked.connect(registry.action("experiment.remove").fire)
        self.kept.activated.connect(self._other)
        desk.listChanged.connect(self._show_list)
        desk.shownChanged.connect(self._show)
        desk.shownChanged.connect(self._turn_to_results)
        desk.draftChanged.connect(self._show_obstacle)
        desk.runs.modelChanged.connect(self._show_obstacle)
        self._show_list()
        self._show()
        self._show_obstacle()

    def _left(self) -> QTabWidget:
        left = QTabWidget()
        left.setDocumentMode(True)
        left.addTab(self._part(CHANGE_BAR, self.obstacle, self.changes, self.form, self.paraphrases), "Change")
        left.addTab(self._part(CIRCUIT_BAR, self.circuit), "Circuit")
        left.setTabToolTip(0, "Change nodes of this graph and run the model again")
        left.setTabToolTip(1, "Test the pinned circuit, or find one")
        return left

    def _part(self, commands: tuple[str, ...], *widgets: QWidget) -> QWidget:
        part, inner = QWidget(), QWidget()
        column = QVBoxLayout(inner)
        column.setContentsMargins(8, 4, 8, 6)
        column.setSpacing(6)
        for widget in widgets:
            column.addWidget(widget)
        column.addStretch(1)
        area = _scrolled(inner)
        self._inner.append(inner)
        outer = QVBoxLayout(part)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.setSpacing(0)
        outer.addWidget(self._bar(commands))
        outer.addWidget(area, 1)
        return part

    def _bar(self, commands: tuple[str, ...]) -> FlowRow:
        bar = FlowRow(gap=2)
        bar.flow.setContentsMargins(6, 3, 6, 3)
        for command in commands:
            button = QToolButton()
            button.setDefaultAction(self.registry.action(command))
            button.setAccessibleName(self.registry.action(command).command.name)
            if command in WORDED:
                button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
            bar.flow.addWidget(button)
        return bar

    def _right(self) -> QWidget:
        right = QWidget()
        self.kept.setAccessibleName("Experiments of this trace")
        self.kept.setToolTip("Experiments of this trace; each can be read without the model")
        self.kept.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.kept.setMinimumContentsLength(12)
        head = QHBoxLayout()
        head.setContentsMargins(8, 3, 8, 0)
        head.addWidget(self.kept, 1)
        head.addWidget(self.evidence)
        again = QToolButton()
        again.setDefaultAction(self.registry.action("experiment.again"))
        again.setAccessibleName("Run again")
        again.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        head.addWidget(again)
        words = QVBoxLayout()
        words.setContentsMargins(8, 0, 8, 0)
        words.setSpacing(1)
        words.addWidget(self.sentence)
        words.addWidget(self.held)
        self.settings_said = ElidedLabel("")
        self.settings_said.setForegroundRole(self.held.foregroundRole())
        words.addWidget(self.settings_said)
        column = QVBoxLayout(right)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(3)
        column.addLayout(head)
        column.addLayout(words)
        column.addWidget(self.stack, 1)
        return right

    # ---- showing -----------------------------------------------------------------------------------------------

    @Slot()
    def _show_obstacle(self) -> None:
        words = self.desk.obstacle()
        self.obstacle.setText(words)
        self.obstacle.setVisible(bool(words))

    @Slot()
    def _show_list(self) -> None:
        rows, shown = self.desk.rows(), self.desk.shown
        self.kept.clear()
        for row in reversed(rows):
            self.kept.addItem(f"{visible_text(row.title, 80)} ({KINDS.get(row.kind, row.kind)})", row.id)
        self.kept.setVisible(bool(rows))
        self.kept.setCurrentIndex(-1 if shown is None else self.kept.findData(shown.number))

    @Slot()
    def _show(self) -> None:
        shown = self.desk.shown
        self.kept.setCurrentIndex(-1 if shown is None else self.kept.findData(shown.number))
        for label in (self.evidence, self.sentence, self.settings_said, self.held):
            label.setVisible(shown is not None)
        if shown is None:
            self.hint.setText(NOTHING_RUN)
            self.stack.setCurrentWidget(self.hint)
            return
        word, meaning = EVIDENCE[self.desk.status()]
        self.evidence.setText(word)
        self.evidence.setToolTip(tip(meaning))
        self._show_view(shown)

    def _show_view(self, shown: Shown) -> None:
        view: Any = self.views.get(shown.kind)
        self.sentence.setText(visible_text(str(shown.result.get("sentence", ""))))
        said = " · ".join(str(shown.result[key]) for key in ("settings", "ablation") if shown.result.get(key))
        self.settings_said.setText(visible_text(said))
        self.settings_said.setToolTip(tip(said))
        self.settings_said.setVisible(bool(said))
        self.held.setText(visible_text(shown.held))
        self.held.setVisible(bool(shown.held))
        try:
            if view is None:
                raise KeyError(shown.kind)
            view.show_result(shown.settings, shown.result)
        except (KeyError, TypeError, ValueError, AttributeError):
            self.hint.setText(OTHER_VERSION)
            self.stack.setCurrentWidget(self.hint)
            return
        self.stack.setCurrentWidget(view)

    @Slot(int)
    def _other(self, index: int) -> None:
        number = self.kept.itemData(index)
        if number is not None:
            self.desk.show(int(number))

    # ---- size --------------------------------------------------------------------------------------------------

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._resized.start()

    @Slot()
    def _arrange(self) -> None:
        """Put the results beside the form, or into its tabs where the form leaves them too few letters a line."""
        room = self.width() - self.side.minimumWidth() - self.handleWidth()
        narrow = room < LEAST_LETTERS * self.fontMetrics().averageCharWidth()
        if narrow == (self.side.indexOf(self.results) >= 0):
            return
        if narrow:
            self.side.setTabToolTip(self.side.addTab(self.results, "Result"), "What came out of an experiment")
            self._turn_to_results()
        else:
            self.side.removeTab(self.side.indexOf(self.results))
            self.insertWidget(1, self.results)
            self.setStretchFactor(1, 1)
            self.results.show()

    @Slot()
    def _turn_to_results(self) -> None:
        if self.desk.shown is not None and self.side.indexOf(self.results) >= 0:
            self.side.setCurrentWidget(self.results)

    def changeEvent(self, event: QEvent) -> None:
        """Larger text: the form keeps room for its words."""
        super().changeEvent(event)
        if event.type() in (QEvent.Type.FontChange, QEvent.Type.StyleChange) and hasattr(self, "side"):
            self._fit_side()

    def _fit_side(self) -> None:
        bar = self.style().pixelMetric(QStyle.PixelMetric.PM_ScrollBarExtent)
        self.side.setMinimumWidth(max(240, *(inner.minimumSizeHint().width() + bar for inner in self._inner)))
        self._resized.start()


def _scrolled(inner: QWidget, *, sideways: bool = False) -> QScrollArea:
    """Large text and small screens: what does not fit is reached by scrolling."""
    area = QScrollArea()
    area.setFrameShape(QScrollArea.Shape.NoFrame)
    area.setWidgetResizable(True)
    if not sideways:
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    area.setWidget(inner)
    return area
