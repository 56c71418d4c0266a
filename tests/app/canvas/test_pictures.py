"""The canvas against kept pictures, in both themes: coarse enough for other fonts, fine enough to see what is missing.

Kept are the drawings between their margins, 220 by 140 points large; the margins, which follow the font, are fixed.
After a change that is meant: `LOUPE_REDRAW=1 python -m pytest tests/app/canvas/test_pictures.py`, then look at them.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QImage
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from app.canvas import GraphCanvas
from app.canvas.camera import Margins
from app.theme import DARK, LIGHT, Theme
from engine.graphs.graph import AttributionGraph, NodeKind
from engine.graphs.pruning import prune
from tests.app.canvas.conftest import Group
from tests.graph_builder import build_graph

MARGINS = Margins(left=50.0, top=44.0, right=12.0, bottom=30.0)
PICTURES = Path(__file__).parent / "pictures"
SIZE = (220, 140)
MEAN, WORST = 0.5, 40.0  # of 255: of all points, and of the worst but one in five hundred
THEMES = {"light": LIGHT, "dark": DARK, "colour-blind": LIGHT.with_colour_blind_signs()}


def nothing(canvas: GraphCanvas, graph: AttributionGraph) -> None:
    canvas.set_view(prune(graph, 0.9, 0.98))


def selected(canvas: GraphCanvas, graph: AttributionGraph) -> None:
    view = prune(graph, 0.9, 0.98)
    inputs = np.bincount(graph.target[view.edges], minlength=graph.n_nodes)
    canvas.set_view(view)
    canvas.select(int(np.argmax(np.where(graph.kind == NodeKind.FEATURE, inputs, 0))))


def marked(canvas: GraphCanvas, graph: AttributionGraph) -> None:
    features = graph.of_kind(NodeKind.FEATURE)
    chosen = [int(node) for node in features[np.argsort(-graph.influence[features])][:9]]
    canvas.set_annotations(chosen[:5], {}, (Group("", "#d58400", tuple(chosen[5:])),))
    canvas._hover(chosen[0])


def errors_large(canvas: GraphCanvas, graph: AttributionGraph) -> None:
    canvas.set_size_by("activation")
    canvas.zoom_in()
    canvas.zoom_in()


STATES: dict[str, Callable[[GraphCanvas, AttributionGraph], None]] = {
    "nothing-selected": nothing, "selected": selected, "marked": marked, "zoomed-by-activation": errors_large,
}  # fmt: skip


@pytest.fixture(autouse=True)
def same_margins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.canvas.surface.plan_margins", lambda stage: (MARGINS, False))


def drawn(qtbot: QtBot, theme: Theme, state: str, points: float = 9.0) -> np.ndarray:
    """(140, 220, 3): the middle of a canvas in a state, without margins, legend and cards."""
    graph = build_graph(n_layers=8, n_positions=6, n_features=140, n_edges=2_500, seed=5)
    canvas = GraphCanvas()
    qtbot.addWidget(canvas)
    font = canvas.font()
    font.setPointSizeF(points)
    canvas.setFont(font)
    canvas.set_theme(theme)
    canvas.resize(960, 620)
    canvas.show()
    canvas.set_graph(graph)
    for _ in range(3):  # until what is between the margins is as large as in the kept pictures, whatever the font
        inner = canvas._surface.stage.inner
        canvas.resize(canvas.width() + 880 - round(inner.width()), canvas.height() + 560 - round(inner.height()))
        QApplication.processEvents()
    STATES[state](canvas, graph)
    canvas._card.hide()
    surface = canvas._surface
    surface.labels.setVisible(False)  # texts, with tests of their own
    image = surface.grab(surface.stage.inner.toAlignedRect()).toImage()
    image = image.scaled(*SIZE, Qt.AspectRatioMode.IgnoreAspectRatio, Qt.TransformationMode.SmoothTransformation)
    image = image.convertToFormat(QImage.Format.Format_RGB888)
    rows = np.array(image.constBits(), dtype=np.uint8).reshape(SIZE[1], image.bytesPerLine())
    return np.asarray(rows[:, : 3 * SIZE[0]].reshape(SIZE[1], SIZE[0], 3))


def differences(one: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    apart = np.abs(one.astype(np.int16) - other.astype(np.int16)).max(axis=2)
    return float(apart.mean()), float(np.quantile(apart, 0.998))


def alike(one: np.ndarray, other: np.ndarray) -> bool:
    mean, worst = differences(one, other)
    return mean <= MEAN and worst <= WORST


def kept(name: str) -> np.ndarray:
    image = QImage(str(PICTURES / f"{name}.png")).convertToFormat(QImage.Format.Format_RGB888)
    assert (image.width(), image.height()) == SIZE, name
    rows = np.array(image.constBits(), dtype=np.uint8).reshape(SIZE[1], image.bytesPerLine())
    return np.asarray(rows[:, : 3 * SIZE[0]].reshape(SIZE[1], SIZE[0], 3))


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("theme", THEMES)
def test_the_canvas_looks_as_it_did(qtbot: QtBot, theme: str, state: str) -> None:
    name, found = f"{theme}-{state}", drawn(qtbot, THEMES[theme], state)
    if os.environ.get("LOUPE_REDRAW"):
        PICTURES.mkdir(exist_ok=True)
        QImage(found.tobytes(), *SIZE, 3 * SIZE[0], QImage.Format.Format_RGB888).save(str(PICTURES / f"{name}.png"))
        return
    assert alike(found, kept(name)), differences(found, kept(name))


@pytest.mark.parametrize("state", ["nothing-selected", "marked"])
def test_another_font_is_no_difference(qtbot: QtBot, state: str) -> None:
    found = drawn(qtbot, LIGHT, state, points=10.5)
    assert alike(found, kept(f"light-{state}")), differences(found, kept(f"light-{state}"))


def test_every_kept_picture_is_told_from_every_other() -> None:
    names = [f"{theme}-{state}" for theme in THEMES for state in STATES]
    assert sorted(path.stem for path in PICTURES.glob("*.png")) == sorted(names)
    for i, one in enumerate(names):
        for other in names[:i]:
            assert not alike(kept(one), kept(other)), (one, other, differences(kept(one), kept(other)))


def test_a_missing_layer_is_seen(qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> None:
    from app.canvas.edges_layer import EdgesLayer
    from app.canvas.nodes_layer import NodesLayer
    from app.canvas.rings_layer import RingsLayer

    for layer, state in ((EdgesLayer, "nothing-selected"), (NodesLayer, "nothing-selected"), (RingsLayer, "marked")):
        with monkeypatch.context() as patch:
            patch.setattr(layer, "paint_layer", lambda self, painter: None)
            found = drawn(qtbot, LIGHT, state)
        assert not alike(found, kept(f"light-{state}")), (layer, differences(found, kept(f"light-{state}")))
