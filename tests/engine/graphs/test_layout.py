"""Where nodes stand: inside their own cell, never over each other, the same every time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.graphs.graph import AttributionGraph, NodeKind
from engine.graphs.layout import Layout, lay_out, with_shared_rows
from tests.graph_builder import build_graph


def all_of(graph: AttributionGraph) -> np.ndarray:
    return np.ones(graph.n_nodes, dtype=bool)


@st.composite
def graphs_and_masks(draw: st.DrawFn) -> tuple[AttributionGraph, np.ndarray, tuple[float, float]]:
    graph = build_graph(
        n_layers=draw(st.integers(1, 6)),
        n_positions=draw(st.integers(1, 5)),
        n_features=draw(st.integers(0, 60)),
        n_logits=draw(st.integers(1, 12)),
        n_edges=5,
        errors=draw(st.booleans()),
        biases=draw(st.booleans()),
        seed=draw(st.integers(0, 50)),
    )
    mask = np.random.default_rng(draw(st.integers(0, 50))).random(graph.n_nodes) < draw(st.sampled_from([0, 0.3, 1]))
    viewport = (draw(st.floats(50, 3000)), draw(st.floats(50, 3000)))
    return graph, mask, viewport


def assert_valid(graph: AttributionGraph, mask: np.ndarray, layout: Layout) -> None:
    x, y = layout.x[mask], layout.y[mask]
    assert np.isfinite(x).all()
    assert np.isfinite(y).all()
    assert np.isnan(layout.x[~mask]).all()
    assert np.isnan(layout.y[~mask]).all()
    half = layout.node_size / 2
    row, column = layout.row[mask], layout.column[mask]
    assert (x - half >= layout.column_edges[column]).all()
    assert (x + half <= layout.column_edges[column + 1]).all()
    assert (y - half >= layout.row_edges[row]).all()
    assert (y + half <= layout.row_edges[row + 1]).all()
    assert (layout.layers[row] == graph.layer[mask]).all()
    assert (layout.positions[column] == graph.position[mask]).all()
    if len(x) > 1:
        # Glyphs are squares of node_size at most: apart in x or in y by at least that.
        apart = np.maximum(np.abs(x[:, None] - x[None, :]), np.abs(y[:, None] - y[None, :]))
        apart[np.diag_indices(len(x))] = np.inf
        assert apart.min() >= layout.node_size


@given(graphs_and_masks())
@settings(max_examples=60, deadline=None)
def test_nodes_are_inside_their_cell_and_never_overlap(
    case: tuple[AttributionGraph, np.ndarray, tuple[float, float]],
) -> None:
    graph, mask, viewport = case
    layout = lay_out(graph, mask, viewport=viewport)
    assert_valid(graph, mask, layout)
    again = lay_out(graph, mask, viewport=viewport)
    assert np.array_equal(layout.x, again.x, equal_nan=True)
    assert np.array_equal(layout.y, again.y, equal_nan=True)


def test_rows_go_up_from_embeddings_to_logits() -> None:
    graph = build_graph()
    layout = lay_out(graph, all_of(graph))
    middle = {int(layer): layout.y[graph.layer == layer].mean() for layer in np.unique(graph.layer)}
    assert [middle[layer] for layer in sorted(middle)] == sorted(middle.values())
    assert min(middle) == -1
    assert max(middle) == graph.n_layers
    assert (np.diff(layout.row_edges) > 0).all()


def test_tokens_go_right_and_the_bias_without_a_token_is_at_the_far_left_in_a_narrow_column() -> None:
    graph = build_graph(n_features=300)
    layout = lay_out(graph, all_of(graph))
    assert layout.positions.tolist() == [-1, *range(graph.n_positions)]
    assert int(np.nanargmin(layout.x)) == int(np.flatnonzero(graph.position == -1)[0])
    widths = np.diff(layout.column_edges)
    assert widths[0] == widths.min()
    without = lay_out(graph, graph.position >= 0)
    assert without.positions.tolist() == list(range(graph.n_positions))


def test_the_strongest_node_of_a_cell_comes_first_in_reading_order() -> None:
    graph = build_graph(n_features=400, n_layers=2, n_positions=2)
    layout = lay_out(graph, all_of(graph), viewport=(300, 900))
    for row in range(len(layout.layers)):
        for column in range(len(layout.positions)):
            cell = np.flatnonzero((layout.row == row) & (layout.column == column))
            reading = cell[np.lexsort((layout.x[cell], -layout.y[cell]))]
            assert (np.diff(graph.influence[reading]) <= 0).all()


def test_a_column_is_as_wide_as_its_busiest_cell_and_empty_layers_are_thin() -> None:
    graph = build_graph(n_features=200, n_layers=8)
    few = (graph.kind == NodeKind.EMBEDDING) | (graph.kind == NodeKind.LOGIT)
    layout = lay_out(graph, few)
    heights = np.diff(layout.row_edges)
    assert layout.row_used.tolist() == [True, *[False] * 8, True]
    assert heights[1:-1].max() < heights[[0, -1]].min() / 3
    crowded = lay_out(graph, all_of(graph))
    busiest = [
        max(np.count_nonzero((crowded.column == c) & (crowded.row == r)) for r in range(len(crowded.layers)))
        for c in range(len(crowded.positions))
    ]
    widths = np.diff(crowded.column_edges)
    assert widths[int(np.argmax(busiest))] == widths.max()


def test_crowded_cells_wrap_to_fill_the_viewport() -> None:
    graph = build_graph(n_features=900, n_layers=4, n_positions=2, errors=False, biases=False)
    wide = lay_out(graph, all_of(graph), viewport=(2000, 300))
    tall = lay_out(graph, all_of(graph), viewport=(300, 2000))
    assert wide.width / wide.height > 3 * tall.width / tall.height
    assert_valid(graph, all_of(graph), wide)
    assert_valid(graph, all_of(graph), tall)


def test_a_row_is_as_high_as_its_most_wrapped_cell() -> None:
    graph = build_graph(n_features=500, n_layers=3, n_positions=3, errors=False, biases=False)
    layout = lay_out(graph, all_of(graph), viewport=(300, 900))
    for row in range(len(layout.layers)):
        lines = len(np.unique(np.round(layout.y[layout.row == row], 3)))
        assert np.diff(layout.row_edges)[row] >= lines * layout.pitch / 2


def test_ten_thousand_nodes_stay_valid() -> None:
    graph = build_graph(n_layers=30, n_positions=40, n_features=9_300, n_edges=1_000)
    layout = lay_out(graph, all_of(graph), viewport=(1400, 800))
    x, y = layout.x, layout.y
    # Neighbours in reading order of one line are a pitch apart, lines are a pitch apart.
    order = np.lexsort((x, y))
    same_line = np.diff(y[order]) < 1e-9
    assert (np.diff(x[order])[same_line] >= layout.node_size).all()


def test_nothing_shown_and_wrong_flags() -> None:
    graph = build_graph(n_features=5)
    layout = lay_out(graph, np.zeros(graph.n_nodes, dtype=bool))
    assert np.isnan(layout.x).all()
    assert layout.width > 0
    assert layout.height > 0
    with pytest.raises(ValueError, match="flags"):
        lay_out(graph, np.ones(3, dtype=bool))


def test_influence_that_is_not_a_number_does_no_harm() -> None:
    graph = build_graph(n_features=30)
    graph.influence[5:20] = np.nan
    assert_valid(graph, all_of(graph), lay_out(graph, all_of(graph)))


def test_two_drawings_share_their_rows() -> None:
    one, other = build_graph(n_layers=5, n_features=200), build_graph(n_layers=5, n_features=40, n_positions=3, seed=2)
    own = lay_out(one, all_of(one)), lay_out(other, all_of(other))
    left, right = with_shared_rows(*own)
    assert (left.row_edges == right.row_edges).all()
    assert (np.diff(left.row_edges) >= np.diff(own[0].row_edges) - 1e-9).all()
    assert (np.diff(right.row_edges) >= np.diff(own[1].row_edges) - 1e-9).all()
    for graph, layout in ((one, left), (other, right)):
        assert_valid(graph, all_of(graph), layout)


def test_drawings_of_other_heights_stay_as_they_are() -> None:
    one, other = build_graph(n_layers=5), build_graph(n_layers=6)
    own = lay_out(one, all_of(one)), lay_out(other, all_of(other))
    assert with_shared_rows(*own) == own
