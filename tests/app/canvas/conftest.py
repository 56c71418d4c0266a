"""A canvas on screen, and the plain values it takes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from PySide6.QtCore import QPoint, Qt
from pytestqt.qtbot import QtBot

from app.canvas import GraphCanvas
from app.canvas.surface import Surface
from app.theme import LIGHT
from engine.graphs.graph import AttributionGraph
from tests.graph_builder import build_graph


@dataclass(frozen=True)
class View:
    nodes: np.ndarray
    edges: np.ndarray
    explained: float = 1.0


@dataclass(frozen=True)
class Group:
    name: str
    colour: str
    nodes: tuple[int, ...]


class Hands:
    """A canvas, and what a person does with it."""

    def __init__(self, canvas: GraphCanvas, qtbot: QtBot) -> None:
        self.canvas, self.qtbot = canvas, qtbot
        self.surface = canvas.findChild(Surface)
        assert self.surface is not None
        self.stage = self.surface.stage

    def point(self, node: int) -> QPoint:
        return self.surface.pixel_of(node).toPoint()

    def empty_point(self) -> QPoint:
        """A pixel inside the drawing with no node within reach."""
        inner = self.stage.inner
        for x in range(int(inner.left()) + 8, int(inner.right()) - 8, 7):
            for y in range(int(inner.top()) + 8, int(inner.bottom()) - 8, 7):
                point = QPoint(x, y)
                if self.surface.node_at(point.toPointF()) < 0:
                    return point
        raise AssertionError("no empty place")

    def click(self, node: int, modifier: Qt.KeyboardModifier = Qt.KeyboardModifier.NoModifier) -> None:
        self.qtbot.mouseClick(self.surface.viewport(), Qt.MouseButton.LeftButton, modifier, self.point(node))

    def hover(self, node: int) -> None:
        self.qtbot.mouseMove(self.surface.viewport(), self.point(node))

    def key(self, key: Qt.Key, modifier: Qt.KeyboardModifier = Qt.KeyboardModifier.NoModifier) -> None:
        self.qtbot.keyClick(self.canvas, key, modifier)

    def apart(self, count: int) -> list[int]:
        """Shown nodes whose pixels are not within reach of each other."""
        scene = self.stage.scene
        assert scene is not None
        chosen: list[int] = []
        for node in scene.shown.tolist():
            at = self.surface.pixel_of(node)
            if self.surface.node_at(at) == node and all(
                (self.surface.pixel_of(other) - at).manhattanLength() > 40 for other in chosen
            ):
                chosen.append(node)
        assert len(chosen) >= count
        return chosen[:count]


@pytest.fixture
def graph() -> AttributionGraph:
    return build_graph(n_layers=6, n_positions=5, n_features=60)


@pytest.fixture
def hands(qtbot: QtBot, graph: AttributionGraph) -> Hands:
    canvas = GraphCanvas()
    qtbot.addWidget(canvas)
    canvas.set_theme(LIGHT)
    canvas.resize(900, 560)
    with qtbot.waitExposed(canvas):
        canvas.show()
    canvas.set_graph(graph)
    canvas.setFocus()
    return Hands(canvas, qtbot)
