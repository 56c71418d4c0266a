"""Two graphs side by side with one layer axis, what is shared and what is not, and the table of the differences."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QPointF, QSize, Qt, QTimer, Slot
from PySide6.QtGui import QColor, QIcon, QKeyEvent, QPainter, QPixmap
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QHBoxLayout,
    QLineEdit,
    QSizePolicy,
    QSplitter,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from app.canvas import GraphCanvas, Mark, Scene
from app.canvas.sprites import glyph_path, mark_colours, paint_mark
from app.commands import Edits, Registry
from app.comparison_desk import ComparisonDesk
from app.panels.compare_table import CompareTable
from app.panels.flow import FlowLayout
from app.panels.plain import Heading, MutedLabel, PlainLabel, tip
from app.session import Session
from app.theme import Theme, current_theme, theme_watcher
from engine.graphs import NodeKind

FILTERS: tuple[tuple[str, Mark | None], ...] = (
    ("view.compare.all", None),
    ("view.compare.shared", Mark.SHARED),
    ("view.compare.changed", Mark.CHANGED),
    ("view.compare.only_left", Mark.ONLY_LEFT),
    ("view.compare.only_right", Mark.ONLY_RIGHT),
)
WAITING = "Reading the two graphs…"
NONE_OF_CLASS = "This side has no nodes of the class that is shown; press All to see every node."
LEFT_ONLY = "Pins and labels belong to the graph at the left; exchange the two to edit this one."


def mark_icon(theme: Theme, mark: Mark, ratio: float) -> QIcon:
    """A feature's glyph with a mark: the legend of the classes."""
    picture = QPixmap(QSize(16, 16) * ratio)
    picture.setDevicePixelRatio(ratio)
    picture.fill(Qt.GlobalColor.transparent)
    painter = QPainter(picture)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    colours, centre = mark_colours(theme), QPointF(8, 8)
    painter.setPen(colours[Mark.SHARED])
    painter.setBrush(QColor(theme.graph.feature))
    painter.drawPath(glyph_path(NodeKind.FEATURE, centre, 12))
    if mark is not Mark.SHARED:
        paint_mark(painter, NodeKind.FEATURE, centre, 12, mark, colours[mark], QColor(theme.graph.background))
    painter.end()
    return QIcon(picture)


class FilterButton(QToolButton):
    """One class: its glyph, its name and how many nodes it has; pressed, only these are shown."""

    def __init__(self, registry: Registry, command: str, mark: Mark | None, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.mark = mark
        self._action = registry.action(command)
        self.setObjectName(f"button-{command}")
        self.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.setCheckable(True)
        self.clicked.connect(self._action.fire)
        self._action.changed.connect(self.refresh)
        self.refresh()

    @Slot()
    def refresh(self) -> None:
        """Follow the command, and the theme."""
        self.setText(self._action.text().replace("&", ""))
        self.setAccessibleName(f"Show {self._action.command.words}")
        self.setToolTip(self._action.toolTip())
        self.setChecked(self._action.isChecked())
        self.setEnabled(self._action.isEnabled())
        if self.mark is not None:
            self.setIcon(mark_icon(current_theme(), self.mark, self.devicePixelRatioF()))


class ComparePage(QWidget):
    """Shown in place of the one graph while two are compared."""

    def __init__(
        self, session: Session, desk: ComparisonDesk, edits: Edits, registry: Registry, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.setObjectName("compare-page")
        self.session, self.desk, self.edits, self.registry = session, desk, edits, registry
        self.left, self.right = GraphCanvas(), GraphCanvas()
        self.left.setAccessibleName("Left attribution graph")
        self.right.setAccessibleName("Right attribution graph")
        self.left.share_rows(self.right)
        self.table = CompareTable(session, desk)
        self._views_wait = QTimer(self)
        self._views_wait.setSingleShot(True)
        self._views_wait.setInterval(0)
        self._views_wait.timeout.connect(self._show_views)
        self._build()
        self._connect()

    # ---- building ----------------------------------------------------------------------------------------------

    def _build(self) -> None:
        self.doubt = PlainLabel("", wrap=True)
        self.doubt.setProperty("problem", True)
        self.doubt.setContentsMargins(8, 2, 8, 2)
        self.left_title = Heading("")
        self.left_title.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.right_title = QComboBox()
        self.right_title.setAccessibleName("The trace at the right")
        self.right_title.setToolTip("Choose another trace of this project to compare with")
        self.right_title.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.right_title.setMinimumContentsLength(12)
        self.right_title.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self._fit_text()
        graphs = QSplitter(Qt.Orientation.Horizontal)
        graphs.setObjectName("compare-graphs")
        graphs.addWidget(self._side("Left", self.left_title, self.left))
        graphs.addWidget(self._side("Right", self.right_title, self.right))
        graphs.setChildrenCollapsible(False)
        graphs.setSizes([500, 500])
        self.splitter = QSplitter(Qt.Orientation.Vertical)
        self.splitter.setObjectName("compare-splitter")
        self.splitter.addWidget(graphs)
        self.splitter.addWidget(self._differences())
        self.splitter.setStretchFactor(0, 1)
        self.splitter.setSizes([430, 200])
        self.splitter.setCollapsible(0, False)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(self._head())
        column.addWidget(self.doubt)
        column.addWidget(self.splitter, 1)

    def _head(self) -> QWidget:
        """The classes with their counts, exchange and close."""
        head = QWidget()
        row = QHBoxLayout(head)
        row.setContentsMargins(8, 3, 8, 3)
        classes = QWidget()
        flow = FlowLayout(classes, gap=4, line_gap=2)
        flow.setContentsMargins(0, 0, 0, 0)
        self.filters = [FilterButton(self.registry, command, mark) for command, mark in FILTERS]
        for button in self.filters:
            flow.addWidget(button)
        row.addWidget(classes, 1)
        for command in ("trace.compare_swap", "trace.compare_close"):
            action = self.registry.action(command)
            tool = QToolButton()
            tool.setDefaultAction(action)
            tool.setAccessibleName(action.command.words)
            tool.setObjectName(f"button-{command}")
            row.addWidget(tool, 0, Qt.AlignmentFlag.AlignTop)
        return head

    @staticmethod
    def _side(word: str, title: QWidget, canvas: GraphCanvas) -> QWidget:
        side = QWidget()
        column = QVBoxLayout(side)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2)
        row = QHBoxLayout()
        row.setContentsMargins(8, 2, 8, 0)
        row.addWidget(MutedLabel(word))
        row.addWidget(title, 1)
        column.addLayout(row)
        column.addWidget(canvas, 1)
        return side

    def _differences(self) -> QWidget:
        below = QWidget()
        self.filter = QLineEdit()
        self.filter.setObjectName("compare-filter")
        self.filter.setPlaceholderText("Find in the differences: label, token, L12, 503, changed, error…")
        self.filter.setAccessibleName("Find in the differences")
        self.filter.setClearButtonEnabled(True)
        self.everything = QCheckBox("Also hidden nodes")
        self.everything.setToolTip("List the nodes the sliders hide, too; choosing one brings it into view")
        self.count = MutedLabel()
        row = QHBoxLayout()
        row.addWidget(self.filter, 1)
        row.addWidget(self.everything)
        row.addWidget(self.count)
        column = QVBoxLayout(below)
        column.setContentsMargins(8, 4, 8, 4)
        column.setSpacing(4)
        column.addLayout(row)
        column.addWidget(self.table, 1)
        return below

    def _connect(self) -> None:
        session, desk = self.session, self.desk
        desk.changed.connect(self._show_pair)
        desk.filterChanged.connect(self._show_views)
        desk.pairSelected.connect(self._show_selection)
        session.viewChanged.connect(self._views_wait.start)
        session.annotationsChanged.connect(self._show_annotations)
        session.finding.changed.connect(self._show_found)
        self.left.selectionChanged.connect(desk.select_left)
        self.right.selectionChanged.connect(desk.select_right)
        self.left.hoverChanged.connect(session.hover)
        self.left.pinToggled.connect(self._toggle_pin)
        self.left.labelRequested.connect(self._label)
        self.left.groupRequested.connect(self._group)
        for signal in (self.right.pinToggled, self.right.labelRequested, self.right.groupRequested):
            signal.connect(self._not_here)
        self.table.rowChosen.connect(desk.select_row)
        self.table.rows.modelReset.connect(self._counted)
        self.filter.textChanged.connect(self.table.rows.set_words)
        self.everything.toggled.connect(self.table.rows.set_all_nodes)
        self.right_title.activated.connect(self._other_right)
        theme_watcher().changed.connect(self._restyle)
        self._restyle()

    # ---- from the desk -----------------------------------------------------------------------------------------

    @Slot()
    def _show_pair(self) -> None:
        found = self.desk.pairing
        self._fill_titles()
        doubts = () if found is None else found.doubts
        self.doubt.setText("\n".join(doubts))
        self.doubt.setVisible(bool(doubts))
        scenes: tuple[Scene | None, Scene | None] = (None, None) if found is None else found.scenes
        for canvas, scene in zip((self.left, self.right), scenes, strict=True):
            canvas.set_empty_message(WAITING)
            canvas.blockSignals(True)  # An emptied canvas tells that nothing is selected; the desk knows better.
            canvas.set_scene(scene)
            canvas.blockSignals(False)
        if found is None:
            self.table.rows.refill()
            return
        self.filter.clear()
        self._show_annotations()
        self._show_found()
        self._show_views()
        self.left.fit()
        self._show_selection(self.desk.left_node, self.desk.right_node)

    def _fill_titles(self) -> None:
        project, right = self.session.project, self.desk.right
        rows = [] if project is None or right is None else project.traces()
        left = next((row.title for row in rows if row.id == self.session.trace_id), "")
        self.left_title.setText(left)
        self.left_title.setToolTip(tip(left))
        self.right_title.clear()
        for row in rows:
            if row.id != self.session.trace_id:
                self.right_title.addItem(row.title, row.id)
        self.right_title.setCurrentIndex(self.right_title.findData(right))

    @Slot()
    def _show_views(self) -> None:
        found, desk = self.desk.pairing, self.desk
        if found is None:
            return
        for canvas in (self.left, self.right):
            canvas.set_hidden_message(*((NONE_OF_CLASS,) if desk.only is not None else ()))
        session = self.session
        # Of the right graph something is known where it has the same dictionary.
        right = session.too_dense(found.right.graph) if found.comparison.same_dictionary else None
        hide = (session.too_dense(found.left.graph), right)
        views = found.views(session.settings, desk.left_node, desk.right_node, desk.only, hide)
        for canvas, view in zip((self.left, self.right), views, strict=True):
            canvas.set_view(view)
        self.table.rows.show_seen(views[0].nodes, views[1].nodes)

    @Slot()
    def _show_annotations(self) -> None:
        found = self.desk.pairing
        if found is not None:
            for canvas, own in ((self.left, self.session.annotations), (self.right, found.right.annotations)):
                canvas.set_annotations(own.pins, own.labels, own.groups)

    @Slot()
    def _show_found(self) -> None:
        if self.desk.pairing is not None:
            self.left.set_found(self.session.finding.found)

    @Slot(int, int)
    def _show_selection(self, left: int, right: int) -> None:
        found = self.desk.pairing
        if found is None:
            return
        for canvas, node, scene in ((self.left, left, found.scenes[0]), (self.right, right, found.scenes[1])):
            canvas.blockSignals(True)
            canvas.select(node)
            canvas.blockSignals(False)
            if node >= 0 and not scene.is_shown(node):
                self._views_wait.start()
        for canvas, node in ((self.left, left), (self.right, right)):
            if node >= 0:
                canvas.reveal(node)
        self.table.follow(found.row_of(left, right))

    @Slot()
    def _counted(self) -> None:
        found = self.desk.pairing
        total = 0 if found is None else len(found.mark)
        self.count.setText(f"{self.table.rows.rowCount():,} of {total:,}")
        if found is not None:
            self.table.follow(found.row_of(self.desk.left_node, self.desk.right_node))

    @Slot()
    def _restyle(self) -> None:
        for canvas in (self.left, self.right):
            canvas.set_theme(current_theme())
        for button in self.filters:
            button.refresh()

    def _fit_text(self) -> None:
        """Both titles as high as the choice at the right: below them the rows of both graphs are level."""
        for title in (self.left_title, self.right_title):
            title.setFixedHeight(self.fontMetrics().height() + 10)

    def changeEvent(self, event: QEvent) -> None:
        """Titles grow with the text, icons follow the screen they are on."""
        super().changeEvent(event)
        if event.type() in (QEvent.Type.FontChange, QEvent.Type.StyleChange) and hasattr(self, "right_title"):
            self._fit_text()
        if event.type() == QEvent.Type.DevicePixelRatioChange:
            self._restyle()

    # ---- from the person ---------------------------------------------------------------------------------------

    @Slot(int)
    def _other_right(self, index: int) -> None:
        trace, left = self.right_title.itemData(index), self.session.trace_id
        if isinstance(trace, int) and left is not None and trace != self.desk.right:
            self.desk.compare(left, trace)

    @Slot(int)
    def _toggle_pin(self, node: int) -> None:
        self.edits.toggle_pin(node)

    @Slot(int)
    def _label(self, node: int) -> None:
        self.session.select(node)
        self.registry.run("edit.label")

    @Slot(object)
    def _group(self, nodes: list[int]) -> None:
        self.edits.group(nodes)

    @Slot()
    def _not_here(self) -> None:
        self.session.report_problem("graph", LEFT_ONLY, "trace.compare_swap")

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Escape that meant nothing to a canvas ends the comparison."""
        if event.key() == Qt.Key.Key_Escape:
            self.registry.run("trace.compare_close")
        else:
            super().keyPressEvent(event)
