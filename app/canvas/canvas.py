"""The attribution graph on screen. It shows, and tells what the hands did; it edits nothing itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QEvent, QPointF, Qt, Signal, Slot
from PySide6.QtGui import QFocusEvent, QKeyEvent, QResizeEvent
from PySide6.QtWidgets import QVBoxLayout, QWidget

from app.canvas.gathering import Gathering
from app.canvas.hover_card import HoverCard
from app.canvas.legend_bar import LegendBar
from app.canvas.notice import notice
from app.canvas.scene import NOTHING, GraphView, Group, Scene, SizeBy
from app.canvas.shared_rows import SharedRows
from app.canvas.surface import Surface
from app.canvas.walking import Step, walk
from app.theme import Theme, current_theme
from engine.graphs.glyphs import describe
from engine.graphs.graph import AttributionGraph

ZOOM_STEP = 1.25
EMPTY = (
    "No graph yet.\nWrite a prompt, choose the token to explain and press Trace: its attribution graph appears here."
)
ALL_HIDDEN = "Every node is hidden.\nRaise the share of influence kept to see the graph again."
_WALKS = {
    Qt.Key.Key_Left: (Step.LEFT, Step.PREVIOUS),
    Qt.Key.Key_Right: (Step.RIGHT, Step.NEXT),
    Qt.Key.Key_Up: (Step.UP, Step.UP),
    Qt.Key.Key_Down: (Step.DOWN, Step.DOWN),
}


class GraphCanvas(QWidget):
    """Rows are layers, columns are tokens, logits on top.

    Signals carry node numbers of the graph, -1 for none. The canvas changes its own selection and hover; pins, labels
    and supernodes change only through `set_annotations`.
    """

    selectionChanged = Signal(int)
    hoverChanged = Signal(int)
    pinToggled = Signal(int)
    groupRequested = Signal(object)  # list[int], at least two nodes
    labelRequested = Signal(int)
    unlit = Signal()  # everything should be shown again
    _ready = False

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setMinimumSize(240, 120)
        self.setAccessibleName("Attribution graph")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self.held = False  # whether what was hovered stays so, wherever the pointer goes
        self._empty_text, self._hidden_text = EMPTY, ALL_HIDDEN
        self._surface = Surface(self, current_theme())
        self._stage = self._surface.stage
        self._legend = LegendBar(self._surface, self)
        self._card = HoverCard(self)
        self._gathering = Gathering(self, self._surface)
        self._gathering.requested.connect(self.groupRequested)
        self._empty = notice(self, "emptyCanvas")
        self._empty.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._empty.setWordWrap(True)
        column = QVBoxLayout(self)
        column.setContentsMargins(2, 2, 2, 2)
        column.setSpacing(0)
        column.addWidget(self._surface, 1)
        column.addWidget(self._legend)
        self._surface.all_edges.changed.connect(self._legend.update)
        self._surface.restyled.connect(self._legend.follow)
        self._surface.cameraMoved.connect(self._place_card)
        self._surface.moved.connect(self._pointer_moved)
        self._surface.left.connect(self._pointer_left)
        self._surface.clicked.connect(self._clicked)
        self._surface.doubleClicked.connect(self._double_clicked)
        self._surface.dragged.connect(self._dragged)
        self._surface.scrolled.connect(self._dragged)
        self._surface.wheeled.connect(self._wheeled)
        self.set_theme(current_theme())
        self._show_state()
        self._ready = True

    # -- what is shown ------------------------------------------------------------------------------------------------

    def set_graph(self, graph: AttributionGraph | None, view: GraphView | None = None) -> None:
        """Show a graph, fitted, with nothing selected and no annotations; None empties the canvas.

        Give the first view here, so that everything is laid out once.
        """
        scene = None
        if graph is not None:
            scene = Scene(graph, viewport=(self._surface.camera.inner().width(), self._surface.camera.inner().height()))
            if view is not None:
                scene.show(view)
        self.set_scene(scene)

    def set_scene(self, scene: Scene | None) -> None:
        """Show a scene that was made elsewhere, fitted; None empties the canvas."""
        before = self.selected()
        self.end_grouping(request=False)
        self.held = False
        self._hover(NOTHING)
        self._surface.set_scene(scene)
        self._show_state()
        if before != NOTHING:
            self.selectionChanged.emit(NOTHING)

    def share_rows(self, other: GraphCanvas) -> None:
        """Keep the layers of another canvas beside this one at the same heights, however either is moved."""
        SharedRows(self._surface, other._surface, self)

    def grow(self, graph: AttributionGraph, view: GraphView, selected: int, hovered: int) -> None:
        """Show the same graph with more rows: selection, hover and camera stay where they were.

        `selected` and `hovered` are the numbers their nodes have now; nothing is emitted for them.
        """
        before = self._stage.scene
        if before is None:
            self.set_graph(graph, view)
            return
        self.end_grouping(request=False)
        scene = Scene(graph, before.viewport, selected=selected, size_by=before.size_by)
        scene.show(view)
        scene.hovered = hovered if scene.is_shown(hovered) else NOTHING
        self._surface.grow(scene)
        self._show_state()
        self.held = self.held and scene.hovered != NOTHING
        self._show_card()
        if scene.hovered != hovered:
            self.hoverChanged.emit(scene.hovered)

    def set_view(self, view: GraphView) -> None:
        """Show other nodes and edges of the same graph; the selection stays, even if its node is hidden now.

        Raises ValueError when there is no graph or the view is another graph's.
        """
        if self._stage.scene is None:
            raise ValueError("there is no graph to show a view of")
        hovered = self._stage.scene.hovered
        self._surface.show_view(view)
        if self._stage.scene.hovered != hovered:
            self.held = False
            self._card.hide()
            self.hoverChanged.emit(NOTHING)
        self._show_state()

    def set_annotations(self, pins: Sequence[int], labels: Mapping[int, str], groups: Sequence[Group]) -> None:
        """Show pins, labels and supernodes; without a graph this has no effect."""
        if self._stage.scene is not None:
            self._stage.scene.annotate(pins, labels, groups)
            self._surface.restyle()
            self._show_card()

    def set_found(self, found: NDArray[np.bool_] | None) -> None:
        """Light up the nodes a search found, (N,), and let the others step back; None ends it."""
        scene = self._stage.scene
        if scene is not None and (found is None or len(found) == scene.graph.n_nodes):
            scene.found = found
            self._surface.restyle()

    def set_lit(self, nodes: Sequence[int]) -> None:
        """Show some nodes alone, with the edges from each to the next; none: show everything again."""
        scene = self._stage.scene
        if scene is not None:
            scene.lit = tuple(node for node in nodes if 0 <= node < scene.graph.n_nodes)
            self._surface.restyle()

    def set_theme(self, theme: Theme) -> None:
        """Draw in other colours."""
        self._surface.set_theme(theme)
        self._card.set_theme(theme)
        self.setStyleSheet(
            f"GraphCanvas {{ background: {theme.graph.background}; border: 2px solid {theme.graph.background}; }}"
            f"GraphCanvas[keyboardFocus='true'] {{ border-color: {theme.accent}; }}"
            f"#emptyCanvas {{ color: {theme.muted}; background: transparent; }}"
            f"#groupingBanner {{ background: {theme.accent}; color: {theme.accent_text};"
            " border-radius: 5px; padding: 5px 12px; }"
        )
        self._legend.update()

    def set_size_by(self, size_by: SizeBy | str) -> None:
        """Let the size of features say "influence", "activation" or "none" (nothing)."""
        if self._stage.scene is not None:
            self._stage.scene.size_by = SizeBy(size_by)
            self._surface.remeasure()

    def set_all_edges(self, on: bool) -> None:
        """Draw every edge in view, in a thread of its own, behind the strongest; off at first."""
        self._surface.all_edges.switch(on)
        self._legend.update()

    def set_empty_message(self, text: str) -> None:
        """What is said while there is no graph: what is missing, and what would fill the place."""
        self._empty_text = text
        self._show_state()

    def set_hidden_message(self, text: str = ALL_HIDDEN) -> None:
        """What is said while a view hides every node."""
        self._hidden_text = text
        self._show_state()

    def fit(self) -> None:
        """Show the whole graph."""
        self._surface.fit()

    def zoom_in(self) -> None:
        """A step closer, around the selected node if there is one, else around the middle."""
        self._surface.zoom(ZOOM_STEP, self._middle())

    def zoom_out(self) -> None:
        """A step away."""
        self._surface.zoom(1 / ZOOM_STEP, self._middle())

    def reveal(self, node: int) -> None:
        """Bring a node into sight; the view moves only if it is out of sight."""
        self._surface.reveal(node)

    # -- selection ----------------------------------------------------------------------------------------------------

    def selected(self) -> int:
        """The selected node or -1."""
        return self._stage.scene.selected if self._stage.scene is not None else NOTHING

    def hovered(self) -> int:
        """The hovered node or -1."""
        return self._stage.scene.hovered if self._stage.scene is not None else NOTHING

    def select(self, node: int) -> None:
        """Select a node, or nothing with -1; `selectionChanged` is emitted if that is a change."""
        scene = self._stage.scene
        if scene is None or node == scene.selected or not NOTHING <= node < scene.graph.n_nodes:
            return
        scene.selected = node
        self._surface.restyle()
        self._describe()
        self.selectionChanged.emit(node)

    def begin_grouping(self) -> None:
        """From now on clicks (and Enter, for the selected node) gather nodes; the same as holding G."""
        self._gathering.begin()

    def end_grouping(self, *, request: bool = True) -> None:
        """Stop gathering; with `request` and two nodes or more `groupRequested` is emitted."""
        self._gathering.end(request=request)

    # -- the mouse ----------------------------------------------------------------------------------------------------

    @Slot(QPointF)
    def _pointer_moved(self, pixel: QPointF) -> None:
        if not self.held:
            self._hover(self._surface.node_at(pixel))

    @Slot()
    def _pointer_left(self) -> None:
        if not self.held:
            self._hover(NOTHING)

    @Slot(QPointF, bool)
    def _clicked(self, pixel: QPointF, with_control: bool) -> None:
        self.setFocus(Qt.FocusReason.MouseFocusReason)
        self._mark_focus(False)
        node = self._surface.node_at(pixel)
        if self._gathering.on:
            self._gathering.take(node)
        elif with_control:
            if node != NOTHING:
                self.pinToggled.emit(node)
        else:
            self.select(node)

    @Slot(QPointF)
    def _double_clicked(self, pixel: QPointF) -> None:
        node = self._surface.node_at(pixel)
        if node == NOTHING:
            self.fit()
        elif not self._gathering.on:
            self._surface.reveal(node, closer=True)

    @Slot(float, float)
    def _dragged(self, dx: float, dy: float) -> None:
        self._surface.pan(dx, dy)

    @Slot(QPointF, float)
    def _wheeled(self, pixel: QPointF, factor: float) -> None:
        self._surface.zoom(factor, pixel)

    # -- the keyboard -------------------------------------------------------------------------------------------------

    def keyPressEvent(self, event: QKeyEvent) -> None:
        key = Qt.Key(event.key())
        plain = event.modifiers() in (Qt.KeyboardModifier.NoModifier, Qt.KeyboardModifier.KeypadModifier)
        shifted = event.modifiers() == Qt.KeyboardModifier.ShiftModifier
        if key == Qt.Key.Key_Space and event.isAutoRepeat():
            return
        if key in _WALKS and (plain or shifted):
            self.walk(_WALKS[key][1 if shifted else 0])
        elif key == Qt.Key.Key_G and plain:
            if not event.isAutoRepeat():
                self.begin_grouping()
        elif not (plain or shifted) or not self._act(key):
            super().keyPressEvent(event)

    def keyReleaseEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_G and not event.isAutoRepeat():
            self._gathering.let_go()
        else:
            super().keyReleaseEvent(event)

    def _act(self, key: Qt.Key) -> bool:
        """Single keys; says whether the key meant something."""
        selected = self.selected()
        if key == Qt.Key.Key_Space:
            self.toggle_hold()
        elif key == Qt.Key.Key_F:
            self.fit()
        elif key in (Qt.Key.Key_Plus, Qt.Key.Key_Equal):
            self.zoom_in()
        elif key == Qt.Key.Key_Minus:
            self.zoom_out()
        elif key in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and self._gathering.on:
            self._gathering.take(selected)
        elif key == Qt.Key.Key_P and selected != NOTHING:
            self.pinToggled.emit(selected)
        elif key == Qt.Key.Key_L and selected != NOTHING:
            self.labelRequested.emit(selected)
        elif key == Qt.Key.Key_Escape:
            return self._escape()
        else:
            return False
        return True

    def _escape(self) -> bool:
        if self._gathering.on:
            self.end_grouping(request=False)
        elif self.held:
            self.toggle_hold()
        elif self.selected() != NOTHING:
            self.select(NOTHING)
        elif self._stage.scene is not None and self._stage.scene.lit:
            self.unlit.emit()
        else:
            return False
        return True

    def walk(self, step: Step) -> None:
        """Select the next node in a direction, as the arrow keys do, and bring it into sight."""
        scene = self._stage.scene
        if scene is not None:
            self._mark_focus(True)
            if not self.held:
                self._hover(NOTHING)  # its card would lie over what is walked to
            self.select(walk(scene, step))
            self._surface.reveal(scene.selected)

    def focusInEvent(self, event: QFocusEvent) -> None:
        super().focusInEvent(event)
        by_keyboard = event.reason() in (Qt.FocusReason.TabFocusReason, Qt.FocusReason.BacktabFocusReason)
        self._mark_focus(by_keyboard)

    def focusOutEvent(self, event: QFocusEvent) -> None:
        super().focusOutEvent(event)
        self.end_grouping(request=False)
        self._mark_focus(False)

    def _mark_focus(self, visible: bool) -> None:
        """A frame, and a dashed ring on the selected node, once the keyboard is used."""
        if visible != self._stage.focused:
            self._stage.focused = visible
            self.setProperty("keyboardFocus", visible)
            self.style().unpolish(self)
            self.style().polish(self)
            self._surface.repaint_layers()

    # -- cards and words ----------------------------------------------------------------------------------------------

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() == QEvent.Type.FontChange and self._ready:
            self._surface.take_font(self.font())
            self._legend.updateGeometry()

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._place_notices()

    def _hover(self, node: int) -> None:
        scene = self._stage.scene
        if scene is None or node == scene.hovered:
            return
        scene.hovered = node
        self._surface.rehover()
        self._show_card()
        self.hoverChanged.emit(node)

    def toggle_hold(self) -> None:
        """Freeze what is hovered, or let it go again."""
        self.held = not self.held and self.hovered() != NOTHING
        self._show_card()

    def _show_card(self) -> None:
        scene = self._stage.scene
        if scene is None or not scene.is_shown(scene.hovered):
            self._card.hide()
            return
        self._card.show_node(scene, scene.hovered, self.held)
        self._place_card()

    @Slot()
    def _place_card(self) -> None:
        scene = self._stage.scene
        if scene is not None and self._card.isVisible() and scene.is_shown(scene.hovered):
            offset = QPointF(self._surface.pos())
            self._card.place(self._surface.pixel_of(scene.hovered) + offset, self.size())

    def _describe(self) -> None:
        """The same in words, for screen readers."""
        scene = self._stage.scene
        if scene is None:
            self.setAccessibleDescription(self._empty_text)
            return
        counts = f"{len(scene.shown):,} of {scene.graph.n_nodes:,} nodes shown"
        chosen = describe(scene.graph, scene.selected) if scene.selected != NOTHING else "nothing"
        label = scene.label_of(scene.selected)
        self.setAccessibleDescription(f"{counts}. Selected: {chosen}{f', labelled {label}' if label else ''}.")

    def _show_state(self) -> None:
        """Between a drawing and a sentence that says what is missing."""
        scene = self._stage.scene
        text = self._empty_text if scene is None else ("" if len(scene.shown) else self._hidden_text)
        self._empty.setText(text)
        self._empty.setVisible(bool(text))
        self._legend.setVisible(scene is not None)
        self._legend.update()
        self._place_notices()
        self._describe()

    def _place_notices(self) -> None:
        self._empty.setGeometry(self.rect().adjusted(40, 20, -40, -20))
        self._gathering.place()

    def _middle(self) -> QPointF:
        scene = self._stage.scene
        if scene is not None and scene.is_shown(scene.selected):
            pixel = self._surface.pixel_of(scene.selected)
            if self._stage.inner.contains(pixel):
                return pixel
        return self._stage.inner.center()
