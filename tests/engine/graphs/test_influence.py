"""Back-substitution equals power iteration on dense matrices; the fast threshold equals a full sort."""

from __future__ import annotations

import importlib
import tracemalloc
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.graphs.graph import AttributionGraph
from engine.graphs.influence import cumulative_cut, cumulative_share, influence
from engine.graphs.scores import scores
from tests.engine.graphs import dense_reference as dense
from tests.graph_builder import build_graph

FIGURES: list[Callable[[AttributionGraph], Sequence[float]]] = [
    influence,
    lambda graph: graph.sum_by_target(graph.weight),
    lambda graph: [scores(graph).replacement or 0, scores(graph).completeness or 0],
    lambda graph: [scores(graph, compatible=True).replacement or 0, scores(graph, compatible=True).completeness or 0],
]


@pytest.mark.parametrize("seed", range(5))
def test_influence_equals_power_iteration(seed: int) -> None:
    graph = build_graph(seed=seed)
    expected = dense.influence(dense.normalise(dense.adjacency(graph)), dense.logit_weight(graph))
    assert np.allclose(influence(graph, count_rest=False), expected, rtol=1e-10, atol=1e-14)


def test_the_rest_takes_its_share() -> None:
    graph = build_graph(seed=3)
    extra = np.zeros(graph.n_nodes)
    extra[graph.traced] = graph.rest_absolute
    expected = dense.influence(dense.normalise(dense.adjacency(graph), extra), dense.logit_weight(graph))
    found = influence(graph)
    assert np.allclose(found, expected, rtol=1e-5)
    assert found.sum() < influence(graph, count_rest=False).sum()


def in_pieces(monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    for module in ("graph", "influence", "scores"):
        monkeypatch.setattr(importlib.import_module(f"engine.graphs.{module}"), "EDGES_AT_ONCE", at_once)


@pytest.mark.parametrize("at_once", [1, 7, 60])
def test_going_through_edges_in_pieces_changes_nothing(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = build_graph(seed=2)
    assert graph.n_edges > 3 * at_once
    found = [figure(graph) for figure in FIGURES]
    in_pieces(monkeypatch, at_once)
    again = build_graph(seed=2)
    for whole, figure in zip(found, FIGURES, strict=True):
        assert np.allclose(figure(again), whole, rtol=1e-12, atol=0)


def test_scores_of_many_edges_take_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = build_graph(n_layers=12, n_positions=20, n_features=500, n_edges=60_000)
    in_pieces(monkeypatch, 1_000)
    tracemalloc.start()
    try:
        scores(graph, compatible=True)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # One copy of their sizes, and what is done with some of them at once. Widening all of them takes 12 bytes each.
    assert peak < 6 * graph.n_edges


positive = st.lists(st.floats(0, 1e6, width=32), min_size=1, max_size=300)


@given(positive, st.floats(0.01, 1.0))
def test_cut_keeps_the_fewest_that_hold_the_share(values: list[float], share: float) -> None:
    scores = np.array(values)
    cut = cumulative_cut(scores, share)
    kept = scores[scores >= cut]
    assert kept.sum() >= share * scores.sum() * (1 - 1e-9)
    # Without the smallest kept value (and its equals) it is less than asked: nothing could be spared.
    if scores.sum() > 0 and share < 1:
        assert scores[scores > cut].sum() <= share * scores.sum() * (1 + 1e-9)


def test_cut_equals_a_full_sort() -> None:
    scores = np.random.default_rng(0).pareto(1.1, 100_000)
    for share in (0.1, 0.5, 0.8, 0.98, 0.999):
        assert cumulative_cut(scores, share) == dense.threshold(scores, share)


def test_cumulative_share_counts_the_node_itself() -> None:
    assert np.allclose(cumulative_share(np.array([1.0, 3.0, 0.0])), [1.0, 0.75, 1.0])
