from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
from PySide6.QtCore import QPointF, QRectF
from PySide6.QtGui import QColor, QImage
from pytestqt.qtbot import QtBot

from app.canvas.all_edges import PIECE, AllEdges, Request, draw_all
from app.canvas.legend_bar import LegendBar
from app.theme import LIGHT
from engine.graphs.graph import AttributionGraph
from tests.app.canvas.conftest import Hands, View
from tests.graph_builder import build_graph


def request(graph: AttributionGraph, x: np.ndarray, y: np.ndarray) -> Request:
    shown = np.ones(graph.n_edges, dtype=np.bool_)
    return Request(graph, shown, x, y, 200.0, 100.0, 1.0, LIGHT.negative, LIGHT.positive, QRectF(0, 0, 200, 100))


def two_edges() -> AttributionGraph:
    """Node 0 to the last two nodes: against the first, for the second."""
    graph = build_graph(n_layers=2, n_positions=2, n_features=4, n_logits=2, n_edges=10)
    source = np.array([0, 0], dtype=np.int32)
    target = np.array([graph.n_nodes - 2, graph.n_nodes - 1], dtype=np.int32)
    return replace(graph, source=source, target=target, weight=np.array([-3.0, 3.0], dtype=np.float32))


def test_lines_lie_between_their_nodes_in_the_colour_of_their_sign() -> None:
    graph = two_edges()
    x, y = np.full((2, graph.n_nodes), 50.0)
    x[[0, -2, -1]], y[[0, -2, -1]] = (10.0, 190.0, 190.0), (50.0, 10.0, 90.0)
    picture = draw_all(request(graph, x, y), threading.Event())
    assert picture is not None
    assert picture.edges == 2
    image = picture.image
    against, favour = image.pixelColor(100, 30), image.pixelColor(100, 70)
    assert against.alpha() > 0 < favour.alpha()
    assert np.hypot(against.red() - QColor(LIGHT.negative).red(), against.green() - QColor(LIGHT.negative).green()) < 9
    assert np.hypot(favour.red() - QColor(LIGHT.positive).red(), favour.green() - QColor(LIGHT.positive).green()) < 9
    assert image.pixelColor(100, 5).alpha() == image.pixelColor(150, 50).alpha() == 0


def test_edges_outside_the_view_and_hidden_ones_are_not_drawn() -> None:
    graph = two_edges()
    x, y = np.full((2, graph.n_nodes), 50.0)
    x[[0, -2, -1]], y[[0, -2, -1]] = (10.0, 190.0, 190.0), (50.0, 10.0, 90.0)
    asked = request(graph, x, y)
    picture = draw_all(replace(asked, shown=np.array([True, False])), threading.Event())
    assert picture is not None
    assert picture.edges == 1
    assert picture.image.pixelColor(100, 70).alpha() == 0
    away = draw_all(replace(asked, x=x - 500), threading.Event())
    assert away is not None
    assert away.edges == 0


def test_where_both_signs_run_neither_hides_the_other() -> None:
    graph = build_graph(n_layers=3, n_positions=2, n_features=40, n_logits=1, n_edges=40)
    n = graph.n_nodes
    source = np.arange(0, 20, dtype=np.int32)
    weight = np.where(np.arange(20) % 2, 1.0, -1.0).astype(np.float32)
    graph = replace(graph, source=source, target=np.full(20, n - 1, dtype=np.int32), weight=weight)
    x, y = np.full(n, 10.0), np.full(n, 50.0)
    x[-1] = 190.0  # all twenty on one line
    picture = draw_all(request(graph, x, y), threading.Event())
    assert picture is not None
    found = picture.image.pixelColor(100, 50)
    one, other = QColor(LIGHT.negative), QColor(LIGHT.positive)
    assert abs(found.red() - (one.red() + other.red()) / 2) < 12
    assert abs(found.green() - (one.green() + other.green()) / 2) < 12


def test_cancelling_ends_it_within_a_piece() -> None:
    graph = build_graph(n_layers=6, n_positions=5, n_features=300, n_edges=6 * PIECE)
    x, y = np.random.default_rng(0).uniform(0, 100, (2, graph.n_nodes))

    class After(threading.Event):
        asked = 0

        def is_set(self) -> bool:
            self.asked += 1
            return self.asked > 2

    cancel = After()
    assert draw_all(request(graph, x, y), cancel) is None
    assert cancel.asked == 3


def drawn(hands: Hands, qtbot: QtBot) -> AllEdges:
    every = hands.surface.all_edges
    qtbot.waitUntil(lambda: every.layer.picture is not None and not every.busy, timeout=10_000)
    return every


def ink(image: QImage) -> int:
    same = image.convertToFormat(QImage.Format.Format_RGB32)
    return int((np.array(same.constBits(), dtype=np.uint8).reshape(-1, 4)[:, :3].min(axis=1) < 200).sum())


def test_switched_on_it_follows_view_and_camera_and_switched_off_it_goes(
    hands: Hands, graph: AttributionGraph, qtbot: QtBot
) -> None:
    before = ink(hands.canvas.grab().toImage())
    hands.canvas.set_all_edges(True)
    every = drawn(hands, qtbot)
    assert every.layer.picture is not None
    assert every.layer.picture.edges == graph.n_edges
    assert ink(hands.canvas.grab().toImage()) > 1.2 * before
    legend = hands.canvas.findChild(LegendBar)
    scene = hands.stage.scene
    assert legend is not None
    assert scene is not None
    assert legend.words(scene) == f"all {graph.n_edges:,} edges, by input share"
    first = every.layer.picture
    hands.surface.zoom(4.0, QPointF(hands.stage.inner.center()))
    qtbot.waitUntil(lambda: every.layer.picture is not first and not every.busy, timeout=10_000)
    assert every.layer.picture.edges < first.edges
    few = np.arange(graph.n_edges) < 9
    hands.surface.fit()
    hands.canvas.set_view(View(np.ones(graph.n_nodes, dtype=bool), few))
    assert every.layer.picture is None  # the old one shows what is hidden now
    assert drawn(hands, qtbot).layer.picture.edges == 9  # type: ignore[union-attr]
    hands.canvas.set_all_edges(False)
    assert every.layer.picture is None


def test_leaving_while_it_draws_leaves_no_thread(hands: Hands, qtbot: QtBot) -> None:
    hands.canvas.set_all_edges(True)
    every = hands.surface.all_edges
    with qtbot.waitSignal(every.changed, timeout=10_000):
        pass
    hands.canvas.set_graph(None)
    assert not [thread for thread in threading.enumerate() if thread.name == "all-edges"]
    assert every.layer.picture is None
    hands.canvas.grab()
