from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.canvas.picking import NodeBins
from app.canvas.scene import Scene
from tests.graph_builder import build_graph


def plain(nodes: np.ndarray, x: np.ndarray, y: np.ndarray, at: tuple[float, float], reach: float, scales) -> int:  # type: ignore[no-untyped-def]
    distance = ((x[nodes] - at[0]) * scales[0]) ** 2 + ((y[nodes] - at[1]) * scales[1]) ** 2
    return int(nodes[np.argmin(distance)]) if distance.min(initial=np.inf) <= reach**2 else -1


@given(seed=st.integers(0, 10_000), count=st.integers(0, 200), scale=st.floats(0.05, 8.0), tall=st.floats(0.2, 5.0))
def test_bins_find_what_a_plain_search_finds(seed: int, count: int, scale: float, tall: float) -> None:
    rng = np.random.default_rng(seed)
    # Whole numbers, so that equally near ones are common, and hidden nodes without a place.
    x, y = rng.integers(-300, 900, (2, count + 5)).astype(np.float64)
    x[:5] = y[:5] = np.nan
    nodes = np.arange(5, count + 5)
    bins = NodeBins(nodes, x, y, 32.0)
    for at in rng.uniform(-400, 1000, (20, 2)).tolist():
        scales = (scale, scale * tall)
        assert bins.nearest(*at, 14.0, scales) == plain(nodes, x, y, (at[0], at[1]), 14.0, scales)


def test_a_search_among_ten_thousand_looks_at_few() -> None:
    graph = build_graph(n_layers=26, n_positions=40, n_features=9_000, n_edges=20_000)
    scene = Scene(graph)
    looked = []
    for node in scene.shown[::97].tolist():
        assert scene.nearest(float(scene.layout.x[node]), float(scene.layout.y[node]), 14.0, (1.0, 1.0)) == node
        assert scene._bins is not None
        looked.append(scene._bins.looked_at)
    assert max(looked) <= 40
    assert scene.graph.n_nodes > 9_000


def test_other_nodes_shown_are_found_and_hidden_ones_not(graph) -> None:  # type: ignore[no-untyped-def]
    scene = Scene(graph)
    node = int(scene.shown[7])
    place = float(scene.layout.x[node]), float(scene.layout.y[node])
    assert scene.nearest(*place, 5.0, (1.0, 1.0)) == node
    shown = np.ones(graph.n_nodes, dtype=bool)
    shown[node] = False

    class View:
        nodes = shown
        edges = np.ones(graph.n_edges, dtype=bool)

    scene.show(View())
    for other in scene.shown.tolist():
        assert scene.nearest(float(scene.layout.x[other]), float(scene.layout.y[other]), 5.0, (1.0, 1.0)) == other
    assert scene.nearest(*place, 5.0, (1.0, 1.0)) != node


def test_nothing_shown_is_nothing_found() -> None:
    empty = np.empty(0)
    assert NodeBins(np.empty(0, dtype=np.int64), empty, empty, 10.0).nearest(0.0, 0.0, 100.0, (1.0, 1.0)) == -1
    with pytest.raises(IndexError):
        NodeBins(np.array([3]), empty, empty, 10.0)
