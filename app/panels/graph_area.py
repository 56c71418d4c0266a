"""The middle of the window: the start page, or the graph with its strip above and the node table below."""

from __future__ import annotations

from PySide6.QtCore import QEvent, Qt, QTimer, Signal, Slot
from PySide6.QtGui import QContextMenuEvent, QKeyEvent
from PySide6.QtWidgets import QMenu, QSplitter, QStackedWidget, QTabWidget, QVBoxLayout, QWidget

from app.canvas import GraphCanvas
from app.circuit import CircuitPage
from app.commands import Edits, Registry
from app.comparison_desk import ComparisonDesk
from app.experiments import ExperimentPage
from app.panels.banner import Banner
from app.panels.compare_page import ComparePage
from app.panels.find_bar import FindBar
from app.panels.node_table import NodeTable
from app.panels.shared_panel import SharedPanel
from app.panels.start_page import StartPage
from app.panels.time_strip import TimeStrip
from app.panels.view_strip import ViewStrip
from app.series import SeriesDesk
from app.session import Session
from app.theme import current_theme, theme_watcher

CONTEXT = (
    "edit.pin",
    "edit.label",
    "edit.group_pins",
    "edit.ungroup",
    "circuit.remove",
    "circuit.paths",
    "experiment.change",
    "trace.feature",
    "go.back",
    "go.forward",
    "view.fit",
)
ROWS_IN_SIGHT = 8  # lines of text, with those above and below the drawing


class GraphArea(QWidget):
    """Binds the canvas to the session: what is open, shown, selected and annotated."""

    grouped = Signal(object)  # list[int]: nodes gathered with G held

    def __init__(
        self,
        session: Session,
        edits: Edits,
        registry: Registry,
        start: StartPage,
        desk: ComparisonDesk,
        series: SeriesDesk,
        shared: SharedPanel,
        circuit: CircuitPage,
        experiments: ExperimentPage,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.session, self.edits, self.registry, self.start = session, edits, registry, start
        self.banner = Banner("graph")
        self.banner.helpRequested.connect(registry.run)
        self.strip = ViewStrip(session, registry)
        self.canvas = GraphCanvas()
        self.table = NodeTable(session)
        self.find_bar = FindBar(session, registry)
        self.splitter = QSplitter(Qt.Orientation.Vertical)
        self.splitter.setObjectName("graph-splitter")
        self.splitter.addWidget(self.canvas)
        self.circuit, self.shared, self.experiments = circuit, shared, experiments
        self.tabs = QTabWidget()
        self.tabs.setObjectName("lower-tabs")
        self.tabs.setDocumentMode(True)
        self.tabs.addTab(circuit, "Circuit")
        self.tabs.addTab(self.table, "Nodes")
        self.tabs.setTabToolTip(0, "What you pinned and grouped, as a diagram")
        self.tabs.setCurrentWidget(self.table)
        self.tabs.setTabToolTip(1, "Every node of the graph as a table")
        self.tabs.addTab(shared, "Shared")
        self.tabs.setTabToolTip(2, "Features that several traces share")
        self.tabs.addTab(experiments, "Experiments")
        self.tabs.setTabToolTip(3, "Change nodes, run the model again, and what came out")
        self.splitter.addWidget(self.tabs)
        self.splitter.setStretchFactor(0, 1)
        self.splitter.setSizes([420, 250])
        self.splitter.setCollapsible(0, False)
        graph = QWidget()
        column = QVBoxLayout(graph)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(self.banner)
        column.addWidget(self.strip)
        column.addWidget(self.find_bar)
        self.compare = ComparePage(session, desk, edits, registry)
        self._late = False
        self.graphs = QStackedWidget()
        self.graphs.addWidget(self.splitter)
        self.graphs.addWidget(self.compare)
        self.time = TimeStrip(series, registry)
        column.addWidget(self.time)
        column.addWidget(self.graphs, 1)
        self.stack = QStackedWidget()
        self.stack.addWidget(start)
        self.stack.addWidget(graph)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(self.stack)
        self.canvas.selectionChanged.connect(session.select)
        self.canvas.hoverChanged.connect(session.hover)
        self.canvas.pinToggled.connect(self._toggle_pin)
        self.canvas.groupRequested.connect(self._group)
        self.canvas.labelRequested.connect(self._label)
        self.canvas.unlit.connect(self._unlight)
        session.traceChanged.connect(self._show_graph)
        session.viewChanged.connect(self._show_view)
        session.annotationsChanged.connect(self._show_annotations)
        session.selectionChanged.connect(self._show_selection)
        session.finding.changed.connect(self._show_found)
        desk.changed.connect(self._show_pair)
        session.litChanged.connect(self._show_lit)
        theme_watcher().changed.connect(self._restyle)
        self.tabs.currentChanged.connect(registry.refresh)
        self._resized = QTimer(self)
        self._resized.setSingleShot(True)
        self._resized.setInterval(0)
        self._resized.timeout.connect(self._keep_rows)
        self.tabs.currentChanged.connect(self._resized.start)
        self._had_circuit = False
        self._show_graph()

    @property
    def shown_canvas(self) -> GraphCanvas:
        """The canvas of the open trace: beside another one while two are compared."""
        return self.compare.left if self.graphs.currentIndex() == 1 else self.canvas

    @Slot()
    def _show_pair(self) -> None:
        self.graphs.setCurrentIndex(1 if self.compare.desk.is_open else 0)
        if self._late:
            self._show_view()

    def show_lower(self, page: QWidget) -> None:
        """Bring the circuit's diagram or the node table to the front."""
        self.tabs.show()
        self.tabs.setCurrentWidget(page)

    def make_room(self, share: float) -> None:
        """Give what is below the graph at least this share of the height."""
        graph, lower = self.splitter.sizes()
        wanted = round(share * (graph + lower))
        if lower < wanted:
            self.splitter.setSizes([graph + lower - wanted, wanted])

    @Slot()
    def _keep_rows(self) -> None:
        """Four lines of text stand above and below the drawing: some rows of nodes stay in sight."""
        graph, lower = self.splitter.sizes()
        wanted = ROWS_IN_SIGHT * self.fontMetrics().height()
        if lower and graph < wanted:
            self.splitter.setSizes([wanted, graph + lower - wanted])

    def changeEvent(self, event: QEvent) -> None:
        """Larger text takes room from the rows of nodes."""
        super().changeEvent(event)
        if event.type() == QEvent.Type.FontChange and hasattr(self, "_resized"):
            self._resized.start()  # once everything has its new size

    def hide_lower(self) -> None:
        """Leave all the room to the graph."""
        self.tabs.hide()

    def is_in_front(self, page: QWidget) -> bool:
        """Whether the diagram, or the table, is what is shown below the graph."""
        return not self.tabs.isHidden() and self.tabs.currentWidget() is page

    def _follow_circuit(self) -> None:
        """A circuit that begins, or is opened, is brought to the front; without one the table is."""
        has_circuit = bool(self.session.circuit.nodes)
        # The one goes from trace to trace, the other adds pins to what it measures.
        in_shared = self.tabs.currentWidget() in (self.shared, self.experiments)
        in_table = self.table.isAncestorOf(self.focusWidget()) if self.focusWidget() is not None else False
        if has_circuit != self._had_circuit and self.session.graph is not None and not (in_table or in_shared):
            self.tabs.setCurrentWidget(self.circuit if has_circuit else self.table)
        self._had_circuit = has_circuit

    @Slot()
    def _show_graph(self) -> None:
        session = self.session
        if session.continued and session.graph is not None and session.view is not None:
            self.canvas.grow(session.graph, session.view, session.selected, session.hovered)
        else:
            self.banner.dismiss()
            self.stack.setCurrentIndex(0 if session.graph is None else 1)
            self.canvas.set_graph(session.graph, session.view)
        self._show_annotations()
        self._show_found()

    @Slot()
    def _show_found(self) -> None:
        self.canvas.set_found(self.session.finding.found)

    @Slot()
    def _show_view(self) -> None:
        self._late = self.shown_canvas is not self.canvas  # drawn when two graphs are no longer compared
        if self.session.view is not None and not self._late:
            self.canvas.set_view(self.session.view)

    @Slot()
    def _show_annotations(self) -> None:
        annotations = self.session.annotations
        self.canvas.set_annotations(annotations.pins, annotations.labels, annotations.groups)
        self._follow_circuit()

    @Slot(int)
    def _show_selection(self, node: int) -> None:
        if node != self.canvas.selected():
            self.canvas.select(node)
            if node >= 0 and self.shown_canvas is self.canvas:
                self.canvas.reveal(node)

    @Slot()
    def _show_lit(self) -> None:
        self.canvas.set_lit(self.session.lit)

    @Slot()
    def _unlight(self) -> None:
        self.session.light(())

    @Slot()
    def _restyle(self) -> None:
        self.canvas.set_theme(current_theme())

    @Slot(int)
    def _toggle_pin(self, node: int) -> None:
        self.edits.toggle_pin(node)

    @Slot(object)
    def _group(self, nodes: list[int]) -> None:
        self.grouped.emit(nodes)

    @Slot(int)
    def _label(self, node: int) -> None:
        self.session.select(node)
        self.registry.run("edit.label")

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Escape that meant nothing to the graph or the table closes the find bar."""
        if event.key() == Qt.Key.Key_Escape and self.find_bar.is_open:
            self.find_bar.close_bar()
            return
        super().keyPressEvent(event)

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:
        """What can be done with the node under the pointer."""
        if self.session.graph is None:
            return
        if self.session.hovered >= 0:
            self.session.select(self.session.hovered)
        menu = QMenu(self)
        for command in CONTEXT:
            menu.addAction(self.registry.action(command))
        menu.aboutToHide.connect(menu.deleteLater)
        menu.popup(event.globalPos())
