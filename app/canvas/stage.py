"""What every layer of the canvas paints from: the scene in pixels, the theme and the fonts."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import QFont, QFontMetricsF

from app.canvas.camera import Camera
from app.canvas.scene import Scene
from app.theme import Theme
from engine.graphs.colours import ramp_index
from engine.graphs.glyphs import SIZES
from engine.graphs.layout import NODE_GAP

Array = NDArray[np.float64]

STEPS = 17  # of the signed scale
SMALLEST_DOMAIN = 0.02  # the scale of shares never stretches noise below 2 % to full colour
GLYPH_SHARE = (SIZES[-1] + NODE_GAP) / SIZES[-1]
MOST_TEXTS = 10_000  # shortened texts that are kept
LARGEST_DOMAIN = 0.4  # and what is above 40 % has full colour


class Stage:
    """Shared by the layers; the canvas refreshes it, layers only read it."""

    def __init__(self, camera: Camera, theme: Theme, font: QFont) -> None:
        self.camera = camera
        self.theme = theme
        self.scene: Scene | None = None
        self.ratio = 1.0  # device pixels in a pixel
        self.set_font(font)
        self.style_changes = 0
        self.place_changes = 0
        self.layout_changes = 0
        self.rotated_tokens = False
        self.crowded = False  # this drawing's token texts do not fit beside each other
        self.beside_crowded = False  # nor do those of the drawing beside it: both slant them
        self.own_bottom = 0.0  # room for the token texts of this drawing
        self.least_bottom = 0.0  # and of the one beside it, so that both end at the same height
        self.grouping: tuple[int, ...] = ()
        self.focused = False
        self.forget()

    def forget(self) -> None:
        """No graph."""
        empty = np.empty(0)
        self.scene = None
        self.x: Array = empty
        self.y: Array = empty
        self.levels: NDArray[np.intp] = np.empty(0, dtype=np.intp)
        self.edges: NDArray[np.int64] = np.empty(0, dtype=np.int64)  # drawn now, those on top last
        self.still_edges: NDArray[np.int64] = np.empty(0, dtype=np.int64)  # the first of them: hovering changes none
        self.edge_changes = 0  # how often those became others
        self._still_for: bool | None = None  # whether a node was hovered when they were chosen
        self.in_focus = False  # whether edges of some nodes are shown, or the strongest of all
        self.domain = LARGEST_DOMAIN
        self.tints: NDArray[np.intp] = np.empty(0, dtype=np.intp)
        self.faded: NDArray[np.bool_] = np.empty(0, dtype=np.bool_)

    def still(self) -> tuple[object, ...]:
        """Equal as long as the camera, the layout and the colours are: what depends on them alone may be kept."""
        size = self.camera.rect().size()
        return self.place_changes, self.theme, self.ratio, size.width(), size.height()

    def set_font(self, font: QFont) -> None:
        """Take the canvas's font; headers and labels are a little smaller, and grow with it."""
        self.font = QFont(font)
        size = font.pointSizeF() if font.pointSizeF() > 0 else 9.0
        self.font.setPointSizeF(max(size * 0.9, 7.0))
        self.bold = QFont(self.font)
        self.bold.setWeight(QFont.Weight.DemiBold)
        self._shortened: dict[tuple[str, float], str] = {}
        self.metrics = QFontMetricsF(self.font)
        self.bold_metrics = QFontMetricsF(self.bold)

    def shortened(self, text: str, width: float) -> str:
        """The text with its end left out where it is wider than `width` pixels; kept, for it is asked every frame."""
        key = (text, width)
        if key not in self._shortened:
            if len(self._shortened) > MOST_TEXTS:
                self._shortened.clear()
            self._shortened[key] = self.metrics.elidedText(text, Qt.TextElideMode.ElideRight, width)
        return self._shortened[key]

    @property
    def rect(self) -> QRectF:
        """The whole view, in pixels."""
        return QRectF(self.camera.rect())

    @property
    def inner(self) -> QRectF:
        """Between the headers, in pixels."""
        return self.camera.inner()

    @property
    def glyph_scale(self) -> float:
        """By how much glyphs grow and shrink with the zoom, in steps, so that few pictures of them are needed."""
        zoom = min(max(self.camera.zoom(), 0.3), 3.0)
        # Below 100 % glyphs take the gaps between them too, so that they stay legible and still do not overlap.
        scale = min(zoom * GLYPH_SHARE, 1.0) if zoom < 1 else zoom**0.5
        return float(2 ** (np.floor(np.log2(scale) * 6 + 1e-6) / 6))

    def size_of(self, node: int) -> float:
        """Width of a node's glyph in pixels."""
        return SIZES[int(self.levels[node])] * self.glyph_scale

    def place(self) -> None:
        """Pixels of every node, after the camera or the layout moved."""
        if self.scene is not None:
            self.x, self.y = self.camera.to_pixels(self.scene.layout.x, self.scene.layout.y)
        self.place_changes += 1

    def grid(self) -> tuple[Array, Array]:
        """Pixels of the column borders (C + 1,), and of the row borders (R + 1,) from the bottom to the top."""
        if self.scene is None:
            return np.zeros(1), np.zeros(1)
        layout = self.scene.layout
        x, _ = self.camera.to_pixels(layout.column_edges, np.zeros_like(layout.column_edges))
        _, y = self.camera.to_pixels(np.zeros_like(layout.row_edges), layout.row_edges)
        return x, y

    def choose(self) -> None:
        """Edges, tints and fading, after selection, pins or the view changed."""
        scene = self.scene
        if scene is None:
            return
        self._still_for = None
        self.choose_edges()
        nodes, shares = scene.connections()
        n = scene.graph.n_nodes
        self.tints = np.full(n, -1, dtype=np.intp)
        self.faded = np.zeros(n, dtype=np.bool_)
        if scene.lit:
            self.faded[:] = True
            self.faded[list(scene.lit)] = False
            self.style_changes += 1
            return
        if scene.is_shown(scene.selected):
            self.tints[nodes] = ramp_index(shares, self.domain, STEPS)
        if scene.is_shown(scene.selected) or scene.found is not None:
            self.faded[:] = True
            self.faded[nodes] = False
            self.faded[list(scene.pins)] = False
            if scene.is_shown(scene.selected):
                self.faded[scene.selected] = False
            if scene.found is not None:
                self.faded[scene.found] = False
        self.style_changes += 1

    def choose_edges(self) -> None:
        """Edges and the scale of their shares, after the hover changed; a selection keeps its scale and tints."""
        scene = self.scene
        if scene is None:
            return
        hovered = scene.hovers()
        if self._still_for != hovered:
            self._still_for = hovered
            self.still_edges = scene.still_edges()
            self.edge_changes += 1
        self.edges = np.concatenate([self.still_edges, scene.hovered_edges(self.still_edges)])
        self.in_focus = scene.has_focus()
        selected = scene.is_shown(scene.selected)
        strength = np.abs(scene.connections()[1] if selected else scene.graph.share[self.edges])
        # Of the whole graph's strongest edges a few giants would leave all others pale.
        strongest = float(np.quantile(strength, 1.0 if self.in_focus else 0.9)) if len(strength) else 0.0
        self.domain = min(max(strongest, SMALLEST_DOMAIN), LARGEST_DOMAIN)

    def measure(self) -> None:
        """Sizes of glyphs, after the graph or the choice of size changed."""
        if self.scene is not None:
            self.levels = self.scene.size_levels()
            self.style_changes += 1
