"""The drawing itself: camera, stage and layers in one view. It knows nothing of keys and clicks' meaning."""

from __future__ import annotations

from PySide6.QtCore import QPointF, QRectF, Signal, Slot
from PySide6.QtGui import QFont, QPaintEvent, QResizeEvent
from PySide6.QtWidgets import QWidget

from app.canvas.all_edges import AllEdges
from app.canvas.backdrop_layer import BackdropLayer
from app.canvas.camera import Camera
from app.canvas.edges_layer import EdgesLayer
from app.canvas.headers_layer import HeadersLayer, plan_margins
from app.canvas.labels_layer import LabelsLayer
from app.canvas.mouse_view import MouseView
from app.canvas.nodes_layer import NodesLayer
from app.canvas.rings_layer import RingsLayer
from app.canvas.scene import NOTHING, GraphView, Scene, same_place
from app.canvas.stage import Stage
from app.theme import Theme

REACH = 14.0  # pixels from the pointer in which the nearest node is taken


class Surface(MouseView):
    """Draws a scene; fitted into the view until someone pans or zooms."""

    cameraMoved = Signal()
    restyled = Signal()  # which edges are shown, and their scale, may be others
    laidOut = Signal()  # by this surface itself, not because another one shares its rows
    _ready = False  # pyqtgraph's constructors resize the view before ours has run

    def __init__(self, parent: QWidget, theme: Theme) -> None:
        super().__init__(parent)
        self.camera = Camera()
        self.stage = Stage(self.camera, theme, parent.font())
        self.fitted = True
        self.paints = 0  # pictures drawn so far
        self.setCentralItem(self.camera)
        self.backdrop, self.edges = BackdropLayer(self.stage), EdgesLayer(self.stage)
        self.nodes, self.rings = NodesLayer(self.stage), RingsLayer(self.stage)
        self.labels, self.headers = LabelsLayer(self.stage), HeadersLayer(self.stage)
        self.all_edges = AllEdges(self.stage, self)
        self.layers = (
            self.backdrop,
            self.all_edges.layer,
            self.edges,
            self.nodes,
            self.rings,
            self.labels,
            self.headers,
        )
        self.camera.sigRangeChanged.connect(self._camera_moved)
        self._ready = True

    # -- what is drawn ------------------------------------------------------------------------------------------------

    def set_scene(self, scene: Scene | None) -> None:
        """Draw another scene, fitted; None draws nothing."""
        self.all_edges.forget()
        if scene is None:
            self.stage.forget()
        self.stage.scene = scene
        self.stage.measure()
        self.fitted = True
        self._lay_out()

    def grow(self, scene: Scene) -> None:
        """Draw the next state of a growing scene; while zoomed in, what is in the middle stays there."""
        before, middle, scales = self.stage.scene, self.camera.inner().center(), self.camera.scales()
        assert before is not None
        anchor, pixel = self.camera.point_at(middle), middle
        x, y = same_place(before.layout, scene.layout, anchor.x(), anchor.y())
        if before.is_shown(before.selected) and scene.is_shown(scene.selected):
            pixel = self.pixel_of(before.selected)
            x, y = float(scene.layout.x[scene.selected]), float(scene.layout.y[scene.selected])
        self.all_edges.forget()
        self.stage.scene = scene
        self.stage.measure()
        self._lay_out()
        if not self.fitted:
            self.camera.hold(x, y, pixel, scales)

    def show_view(self, view: GraphView) -> None:
        """Draw other nodes of the scene; while zoomed in, the selected node stays where it is on screen."""
        scene = self.stage.scene
        assert scene is not None
        anchor = scene.selected if not self.fitted and scene.is_shown(scene.selected) else NOTHING
        pixel = self.pixel_of(anchor) if anchor != NOTHING else QPointF()
        scales = self.camera.scales()
        scene.viewport = self._room()
        self.all_edges.forget()
        scene.show(view)
        self._lay_out()
        if anchor != NOTHING and scene.is_shown(anchor):
            self.camera.hold(float(scene.layout.x[anchor]), float(scene.layout.y[anchor]), pixel, scales)

    def set_theme(self, theme: Theme) -> None:
        """Draw in other colours."""
        self.stage.theme = theme
        self.setBackground(theme.graph.background)
        self.repaint_layers()
        self.all_edges.refresh()

    def take_font(self, font: QFont) -> None:
        """Write in another font; margins and labels follow it."""
        self.stage.set_font(font)
        self._lay_out()

    def restyle(self) -> None:
        """Edges, tints and marks, after selection, hover or annotations changed."""
        self.stage.choose()
        self.repaint_layers()
        self.restyled.emit()

    def rehover(self) -> None:
        """Edges and marks, after nothing but the hover changed."""
        self.stage.choose_edges()
        self.repaint_layers()
        self.restyled.emit()

    def remeasure(self) -> None:
        """Sizes of glyphs, after the scene's `size_by` changed."""
        self.stage.measure()
        self.repaint_layers()

    def repaint_layers(self) -> None:
        """Ask for a new picture."""
        for layer in self.layers:
            layer.update()

    # -- the camera ---------------------------------------------------------------------------------------------------

    def fit(self) -> None:
        """Lay out for the present size and show everything."""
        self.fitted = True
        if self.stage.scene is not None:
            self.all_edges.forget()
            self.stage.scene.viewport = self._room()
            self.stage.scene.lay_out()
            self._lay_out()

    def zoom(self, factor: float, pixel: QPointF) -> None:
        """Zoom around a pixel."""
        self.fitted = False
        self.camera.zoom_at(factor, pixel)

    def pan(self, dx: float, dy: float) -> None:
        """Move the drawing by pixels."""
        self.fitted = False
        self.camera.pan_by(dx, dy)

    def reveal(self, node: int, *, closer: bool = False) -> None:
        """Bring a node into sight if it is not; `closer` brings it to the middle at 100 % or more."""
        scene = self.stage.scene
        if scene is None or not scene.is_shown(node):
            return
        # A fitted view shows everything, rows at its very edge included.
        if closer or not (self.fitted or self.stage.inner.adjusted(8, 8, -8, -8).contains(self.pixel_of(node))):
            self.fitted = False
            scale = 1.5 if closer else None
            self.camera.centre_on(float(scene.layout.x[node]), float(scene.layout.y[node]), scale)

    # -- pixels and nodes ---------------------------------------------------------------------------------------------

    def pixel_of(self, node: int) -> QPointF:
        """Where a shown node is in the view."""
        return QPointF(float(self.stage.x[node]), float(self.stage.y[node]))

    def node_at(self, pixel: QPointF) -> int:
        """The nearest node within reach of a pixel, or -1; nothing is reached through the headers."""
        scene = self.stage.scene
        if scene is None or not len(scene.shown) or not self.stage.inner.adjusted(-6, -6, 6, 6).contains(pixel):
            return NOTHING
        point = self.camera.point_at(pixel)
        return scene.nearest(point.x(), point.y(), REACH, self.camera.scales())

    def resizeEvent(self, event: QResizeEvent) -> None:
        if not self._ready or self.camera.rect().isEmpty():
            super().resizeEvent(event)
            return
        middle, scales = self.camera.rect().center(), self.camera.scales()
        point = self.camera.point_at(middle)
        super().resizeEvent(event)
        if self.fitted:
            self.fit()
        else:
            self.camera.hold(point.x(), point.y(), self.camera.rect().center(), scales)

    def paintEvent(self, event: QPaintEvent) -> None:
        self.stage.ratio = self.devicePixelRatioF()
        self.paints += 1
        super().paintEvent(event)

    def follow(self, fitted: bool, least_bottom: float) -> None:
        """Draw again after the surface that shares this one's rows changed them."""
        self.fitted, self.stage.least_bottom = fitted, least_bottom
        self._draw_layout()

    def _room(self) -> tuple[float, float]:
        inner = self.camera.inner()
        return inner.width(), inner.height()

    def _lay_out(self) -> None:
        self._draw_layout()
        self.laidOut.emit()

    def _draw_layout(self) -> None:
        self.stage.layout_changes += 1
        scene = self.stage.scene
        if scene is not None:
            layout = scene.layout
            self.camera.margins, self.stage.rotated_tokens = plan_margins(self.stage)
            self.camera.content = QRectF(0, 0, max(layout.width, 1.0), max(layout.height, 1.0))
            if self.fitted:
                self.camera.fit()
        self.stage.place()
        self.restyle()
        self.all_edges.refresh()

    @Slot()
    def _camera_moved(self) -> None:
        self.stage.place()
        self.repaint_layers()
        self.all_edges.refresh()
        self.cameraMoved.emit()
