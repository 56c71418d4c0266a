"""The circuit below the graph: its diagram, and beside it scores, paths and suggestions."""

from __future__ import annotations

from PySide6.QtCore import QEvent, Qt, Slot
from PySide6.QtGui import QContextMenuEvent
from PySide6.QtWidgets import (
    QMenu,
    QSplitter,
    QStackedWidget,
    QStyle,
    QTabWidget,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from app.circuit.choice import CircuitChoice
from app.circuit.desk import CircuitDesk
from app.circuit.diagram import CircuitDiagram
from app.circuit.legend import CircuitLegend
from app.circuit.paths_view import PathsView
from app.circuit.scores_view import ScoresView
from app.circuit.suggestions_view import SuggestionsView
from app.commands import Edits, Registry
from app.panels.flow import FlowRow
from app.panels.plain import Hint
from app.panels.scrolling import scrolled

BAR = (
    "edit.group_pins",
    "edit.ungroup",
    "circuit.fold",
    "circuit.note",
    "circuit.put_into",
    "circuit.take_out",
    "circuit.remove",
    "circuit.paths",
    "circuit.suggest",
    "circuit.fit",
)
CONTEXT = (
    "edit.label",
    "edit.rename_group",
    "circuit.note",
    "circuit.fold",
    "edit.group_pins",
    "circuit.put_into",
    "circuit.take_out",
    "edit.ungroup",
    "circuit.remove",
    "circuit.paths",
    "experiment.change",
)
HINT = (
    "The circuit is what you keep of a graph, as a diagram that you arrange.\nSelect a node and press P, or Ctrl+click "
    "it, to pin it here; hold G and click nodes to group them; or press Suggest."
)


class CircuitPage(QSplitter):
    """Diagram on the left, figures on the right."""

    def __init__(
        self,
        desk: CircuitDesk,
        choice: CircuitChoice,
        edits: Edits,
        registry: Registry,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(Qt.Orientation.Horizontal, parent)
        self.setObjectName("circuit-page")
        self.setChildrenCollapsible(False)
        self.desk, self.choice, self.edits, self.registry = desk, choice, edits, registry
        self.session = desk.session
        self._drags = 0
        self.diagram = CircuitDiagram(self.session, choice)
        self.hint = Hint(HINT)
        self.stack = QStackedWidget()
        self.stack.addWidget(self.hint)
        self.stack.addWidget(self.diagram)
        self.legend = CircuitLegend(self.diagram)
        self.scores = ScoresView(desk)
        self.paths = PathsView(desk, choice)
        self.suggestions = SuggestionsView(desk, registry)
        self.tabs = QTabWidget()
        self.tabs.setDocumentMode(True)
        self.tabs.addTab(scrolled(self.suggestions, grows=False), "Suggestions")
        self.tabs.addTab(scrolled(self.paths, grows=False), "Paths")
        # Both scroll, so that large text takes no room from the graph above.
        self.addWidget(scrolled(self._left(), grows=True))
        self.side = scrolled(self._right(), grows=True)
        self.addWidget(self.side)
        self.setStretchFactor(0, 1)
        self.setSizes([540, 300])
        self._fit_side()
        self.diagram.moved.connect(self._moved)
        self.diagram.toggled.connect(self._toggled)
        self.session.annotationsChanged.connect(self._show)
        choice.changed.connect(registry.refresh)
        self._show()

    def _left(self) -> QWidget:
        left = QWidget()
        bar = FlowRow(gap=2)
        bar.flow.setContentsMargins(6, 3, 6, 3)
        for command in BAR:
            button = QToolButton()
            button.setDefaultAction(self.registry.action(command))
            button.setAccessibleName(self.registry.action(command).command.words)
            bar.flow.addWidget(button)
        column = QVBoxLayout(left)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(bar)
        column.addWidget(self.stack, 1)
        column.addWidget(self.legend)
        return left

    def _right(self) -> QWidget:
        right = QWidget()
        column = QVBoxLayout(right)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(self.scores)
        column.addWidget(self.tabs, 1)
        return right

    @Slot()
    def _show(self) -> None:
        empty = self.diagram.drawing is None
        self.stack.setCurrentIndex(0 if empty else 1)
        self.legend.setVisible(not empty)

    @Slot(object, bool)
    def _moved(self, places: dict[int | str, tuple[float, float]], by_keyboard: bool) -> None:
        """One drag is one step of undo; so are presses of Alt and the arrow keys on the same boxes."""
        if not by_keyboard:
            self._drags += 1
        key = f"nudge {sorted(map(str, places))}" if by_keyboard else f"drag {self._drags}"
        self.edits.move(places, key)

    @Slot(int)
    def _toggled(self, group: int) -> None:
        self.edits.collapse([group], not self.session.circuit.supernode(group).collapsed)

    def show_suggestions(self) -> None:
        """Bring the suggestions to the front."""
        self.tabs.setCurrentIndex(0)

    def show_paths(self) -> None:
        """Bring the paths to the front."""
        self.tabs.setCurrentIndex(1)

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:
        """What can be done with the box under the pointer."""
        at = self.diagram.mapFromGlobal(event.globalPos())
        if self.diagram.drawing is None or not self.diagram.rect().contains(at):
            return
        key = self.diagram.key_at(at.toPointF())
        if key is not None and key not in self.choice.places:
            self.choice.choose((key,))
        menu = QMenu(self)
        for command in CONTEXT:
            menu.addAction(self.registry.action(command))
        colours = menu.addMenu("Colour of the group")
        for action in self.registry.actions():
            if action.command.id.startswith("edit.colour."):
                colours.addAction(action)
        menu.aboutToHide.connect(menu.deleteLater)
        menu.popup(event.globalPos())

    def changeEvent(self, event: QEvent) -> None:
        """Larger text: the side keeps room for its words."""
        super().changeEvent(event)
        if event.type() in (QEvent.Type.FontChange, QEvent.Type.StyleChange) and hasattr(self, "side"):
            self._fit_side()

    def _fit_side(self) -> None:
        bar = self.style().pixelMetric(QStyle.PixelMetric.PM_ScrollBarExtent)
        needed = max(view.minimumSizeHint().width() for view in (self.suggestions, self.paths)) + bar
        self.side.setMinimumWidth(max(200, needed, self.fontMetrics().averageCharWidth() * 34))
