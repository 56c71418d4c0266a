"""Two canvases with one layer axis, and the marks of compared nodes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from PySide6.QtCore import QPointF, Qt
from PySide6.QtGui import QColor, QImage
from PySide6.QtWidgets import QHBoxLayout, QWidget
from pytestqt.qtbot import QtBot

from app.canvas import GraphCanvas, Mark, Scene
from app.canvas.scene import pair
from app.canvas.sprites import LOOKS, Sprites
from app.canvas.surface import Surface
from app.theme import DARK, LIGHT, Theme
from engine.graphs.glyphs import SIZES
from tests.graph_builder import build_graph


class Pair:
    """Two canvases in one window."""

    def __init__(self, qtbot: QtBot) -> None:
        self.window = QWidget()
        row = QHBoxLayout(self.window)
        self.canvases = GraphCanvas(), GraphCanvas()
        graphs = build_graph(n_layers=8, n_positions=5, n_features=160), build_graph(n_layers=8, n_positions=19, seed=4)
        self.scenes = [Scene(graph) for graph in graphs]
        pair(*self.scenes)
        self.canvases[0].share_rows(self.canvases[1])
        for canvas, scene in zip(self.canvases, self.scenes, strict=True):
            row.addWidget(canvas)
            canvas.set_scene(scene)
        self.surfaces = [canvas.findChild(Surface) for canvas in self.canvases]
        self.window.resize(1200, 600)
        qtbot.addWidget(self.window)
        with qtbot.waitExposed(self.window):
            self.window.show()

    def rows(self) -> list[np.ndarray]:
        """Pixels of the row borders of both."""
        return [surface.stage.grid()[1] for surface in self.surfaces]

    def aligned(self) -> bool:
        one, other = self.rows()
        return bool(np.abs(one - other).max() < 0.01)


@pytest.fixture
def both(qtbot: QtBot) -> Pair:
    return Pair(qtbot)


@pytest.mark.parametrize(
    "hand",
    [
        lambda both: both.canvases[0].zoom_in(),
        lambda both: both.surfaces[1].zoom(2.0, QPointF(200, 200)),
        lambda both: both.surfaces[0].pan(10, 60),
        lambda both: both.window.resize(900, 420),
        lambda both: (both.canvases[1].zoom_in(), both.canvases[0].fit()),
    ],
    ids=["zoom", "zoom right", "pan", "resize", "fit"],
)
def test_layers_stay_at_the_same_heights(both: Pair, hand: Callable[[Pair], object], qtbot: QtBot) -> None:
    assert both.aligned()
    assert {surface.stage.crowded for surface in both.surfaces} == {True, False}, "one prompt is short"
    assert all(surface.stage.rotated_tokens for surface in both.surfaces), "beside tokens aslant all are"
    before = both.rows()[1]
    hand(both)
    qtbot.waitUntil(both.aligned)
    assert both.surfaces[0].fitted == both.surfaces[1].fitted
    bottoms = {surface.stage.inner.bottom() for surface in both.surfaces}
    assert len(bottoms) == 1, "the drawings end at different heights"
    assert both.surfaces[0].fitted or np.abs(both.rows()[1] - before).max() > 1


def test_hiding_nodes_of_one_moves_the_rows_of_both(both: Pair) -> None:
    left, right = both.scenes
    before = left.layout.row_edges[-1]
    both.canvases[1].set_view(View(right.graph.kind != 0, np.ones(right.graph.n_edges, dtype=bool)))
    assert both.aligned()
    assert left.layout.row_edges[-1] < before


class View:
    def __init__(self, nodes: np.ndarray, edges: np.ndarray) -> None:
        self.nodes, self.edges = nodes, edges


def test_a_drawing_without_a_partner_is_its_own(both: Pair) -> None:
    alone = Scene(both.scenes[0].graph)
    assert alone.layout.row_edges[-1] < both.scenes[0].layout.row_edges[-1]


@pytest.mark.parametrize("theme", [LIGHT, DARK, LIGHT.with_colour_blind_signs()], ids=["light", "dark", "blind"])
def test_marks_differ_in_shape_and_not_only_in_colour(qtbot: QtBot, theme: Theme) -> None:
    sprites = Sprites(theme, 2.0, 1.0)
    images = []
    for mark in Mark:
        code = int(mark) * LOOKS + SIZES.index(SIZES[-1])
        left, top = sprites.places(np.array([code]))[0].astype(int)
        image = sprites.pixmap.copy(left, top, sprites.cell, sprites.cell).toImage()
        images.append(image.convertToFormat(QImage.Format.Format_Grayscale8))
    middle, quarter = images[0].height() // 2, images[0].width() // 4
    at = {
        mark: [QColor(image.pixel(x, middle)).lightness() for x in (quarter, images[0].width() - 1 - quarter)]
        for mark, image in zip(Mark, images, strict=True)
    }
    for even in (Mark.SHARED, Mark.CHANGED):
        assert abs(at[even][0] - at[even][1]) < 10
    assert abs(at[Mark.ONLY_LEFT][0] - at[Mark.ONLY_LEFT][1]) > 40
    assert abs(at[Mark.ONLY_RIGHT][0] - at[Mark.ONLY_RIGHT][1]) > 40
    assert images[Mark.CHANGED].pixel(middle, middle) != images[Mark.SHARED].pixel(middle, middle)


def test_arrows_walk_in_the_canvas_that_has_the_focus(both: Pair, qtbot: QtBot) -> None:
    left, right = both.canvases
    left.select(int(both.scenes[0].shown[40]))
    right.setFocus()
    qtbot.keyClick(right, Qt.Key.Key_Up)
    assert left.selected() == int(both.scenes[0].shown[40])
    assert right.selected() >= 0
