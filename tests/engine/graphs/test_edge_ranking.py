"""Which edges are drawn."""

from __future__ import annotations

import numpy as np

from engine.graphs.edge_ranking import LOGIT_INPUTS, EdgeRanking
from engine.graphs.graph import NodeKind
from tests.graph_builder import build_graph


def test_every_node_shows_its_strongest_input_before_any_shows_its_second() -> None:
    graph = build_graph(n_features=60)
    shown = np.random.default_rng(1).random(graph.n_edges) < 0.5
    targets = np.unique(graph.target[shown])
    features = targets[graph.kind[targets] == NodeKind.FEATURE]
    logits = targets[graph.kind[targets] == NodeKind.LOGIT]
    of_logits = sum(min(LOGIT_INPUTS, np.count_nonzero(shown & (graph.target == node))) for node in logits)
    first = EdgeRanking(graph).strongest(shown, len(features) + of_logits)
    assert shown[first].all()
    assert len(np.unique(first)) == len(first)
    for node in features:
        mine = np.flatnonzero(shown & (graph.target == node))
        best = mine[np.argmax(np.abs(graph.weight[mine]))]
        assert first[graph.target[first] == node].tolist() == [best]


def test_the_count_is_kept_and_few_edges_are_all_shown() -> None:
    graph = build_graph(n_features=60)
    ranking = EdgeRanking(graph)
    everything = np.ones(graph.n_edges, dtype=bool)
    assert len(ranking.strongest(everything, 37)) == 37
    few = np.zeros(graph.n_edges, dtype=bool)
    few[::50] = True
    assert set(ranking.strongest(few, 10_000)) == set(np.flatnonzero(few))
    assert len(ranking.strongest(np.zeros(graph.n_edges, dtype=bool))) == 0


def test_edges_of_a_node_are_its_shown_inputs_and_outputs_strongest_first() -> None:
    graph = build_graph(n_features=60)
    shown = np.random.default_rng(2).random(graph.n_edges) < 0.7
    ranking = EdgeRanking(graph)
    for node in (7, 20, graph.n_nodes - 1):
        edges = ranking.of_node(node, shown)
        wanted = np.flatnonzero(shown & ((graph.source == node) | (graph.target == node)))
        assert set(edges) == set(wanted)
        assert (np.diff(np.abs(graph.share[edges])) <= 0).all()
        assert len(ranking.of_node(node, shown, 3)) == min(3, len(wanted))
    assert len(ranking.of_nodes((), shown)) == 0


def test_edges_between_nodes_have_both_ends_among_them() -> None:
    graph = build_graph(n_features=60)
    chosen = list(range(0, graph.n_nodes, 3))
    everything = np.ones(graph.n_edges, dtype=bool)
    edges = EdgeRanking(graph).between(chosen, everything)
    member = np.isin(np.arange(graph.n_nodes), chosen)
    assert set(edges) == set(np.flatnonzero(member[graph.source] & member[graph.target]))
    assert len(EdgeRanking(graph).between([], everything)) == 0
