"""Back-substitution equals power iteration on dense matrices; the fast threshold equals a full sort."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.graphs.influence import cumulative_cut, cumulative_share, influence
from tests.engine.graphs import dense_reference as dense
from tests.graph_builder import build_graph


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
