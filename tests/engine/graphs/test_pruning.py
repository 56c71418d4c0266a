"""Pruning equals the dense definition; thresholds nest; pins, tokens and logits stay."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from engine.graphs import AttributionGraph, NodeKind, everything, keep_strongest, prune, scores
from engine.graphs.influence import influence
from tests.engine.graphs import dense_reference as dense
from tests.graph_builder import build_graph


def with_exact_influence(seed: int, **sizes: int) -> AttributionGraph:
    graph = build_graph(seed=seed, **sizes)
    return replace(graph, influence=influence(graph, count_rest=False).astype(np.float32))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("node_share", "edge_share"), [(0.8, 0.98), (0.5, 0.9), (0.95, 0.6)])
def test_prune_equals_the_dense_definition(seed: int, node_share: float, edge_share: float) -> None:
    graph = with_exact_influence(seed)
    nodes, edges = dense.prune(graph, node_share, edge_share)
    view = prune(graph, node_share, edge_share)
    assert (view.nodes == nodes).all()
    assert (view.edges == edges[graph.target, graph.source]).all()


def test_thresholds_nest() -> None:
    graph = with_exact_influence(1, n_features=400)
    before = np.zeros(graph.n_nodes, bool)
    for share in (0.2, 0.4, 0.6, 0.8, 0.95):
        nodes = prune(graph, share, 1.0).nodes
        assert (nodes | ~before).all(), "a node left when the threshold rose"
        assert nodes.sum() > before.sum()
        before = nodes
    fewer, more = prune(graph, 0.8, 0.5), prune(graph, 0.8, 0.9)
    assert (more.edges | ~fewer.edges).all()


def test_what_always_stays() -> None:
    graph = with_exact_influence(2)
    weakest = int(
        np.flatnonzero(graph.kind == NodeKind.FEATURE)[np.argmin(graph.influence[graph.kind == NodeKind.FEATURE])]
    )
    view = prune(graph, 0.1, 0.1, keep=[weakest])
    assert view.nodes[weakest]
    assert view.nodes[graph.kind == NodeKind.LOGIT].all()
    assert view.nodes[graph.kind == NodeKind.EMBEDDING].all()
    assert not prune(graph, 0.1, 0.1).nodes[weakest]


def test_hiding_errors_and_the_first_position() -> None:
    graph = with_exact_influence(4)
    view = prune(graph, 0.99, 0.99, hide_errors=True, hide_bos=True)
    assert not (graph.kind[view.nodes] == NodeKind.ERROR).any()
    assert not (graph.position[view.nodes] == 0).any()
    assert 0 < view.explained < prune(graph, 0.99, 0.99).explained


def test_what_is_not_wanted_goes_unless_it_is_pinned() -> None:
    graph = with_exact_influence(4)
    features = graph.of_kind(NodeKind.FEATURE)
    wanted = prune(graph, 0.99, 0.99)
    unwanted = np.zeros(graph.n_nodes, bool)
    unwanted[features[::2]] = True
    pinned = int(features[0])
    assert wanted.nodes[unwanted].any()
    view = prune(graph, 0.99, 0.99, hide=unwanted, keep=[pinned])
    assert np.flatnonzero(view.nodes & unwanted).tolist() == [pinned]
    assert not unwanted[graph.source[view.edges]][graph.source[view.edges] != pinned].any()
    assert (view.nodes & ~unwanted).any() and view.explained < wanted.explained


def test_edges_never_lead_to_hidden_nodes() -> None:
    graph = with_exact_influence(5)
    view = prune(graph)
    assert view.nodes[graph.source[view.edges]].all()
    assert view.nodes[graph.target[view.edges]].all()
    assert everything(graph).explained == 1.0


@pytest.mark.parametrize("seed", range(4))
def test_compatible_scores_equal_the_dense_definition(seed: int) -> None:
    graph = build_graph(seed=seed)
    replacement, completeness = dense.scores(graph)
    found = scores(graph, compatible=True)
    assert found.replacement == pytest.approx(replacement, rel=1e-9)
    assert found.completeness == pytest.approx(completeness, rel=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_leaving_edges_out_never_raises_a_score(seed: int) -> None:
    graph = build_graph(seed=seed)
    before = scores(graph)
    assert before.replacement is not None
    assert before.completeness is not None
    for mass in (0.99, 0.9, 0.6, 0.3):
        after = scores(keep_strongest(graph, mass))
        assert after.completeness is not None
        assert after.replacement is not None
        assert after.completeness <= before.completeness + 1e-7
        assert after.replacement <= before.replacement + 1e-7
        before = after


def test_scores_do_not_apply_to_neurons() -> None:
    found = scores(replace(build_graph(), measure="relevance"))
    assert (found.replacement, found.completeness) == (None, None)


@pytest.mark.parametrize("mass", [0.5, 0.9, 0.995])
def test_trimmed_rows_still_sum(mass: float) -> None:
    graph = build_graph(seed=7)
    trimmed = keep_strongest(graph, mass)
    assert 0 < trimmed.n_edges < graph.n_edges
    assert np.allclose(trimmed.input_mass, graph.input_mass, rtol=1e-5)
    assert trimmed.conservation_error.max() < 1e-4
    for target in graph.traced:
        size = np.abs(graph.weight[graph.inputs(int(target))])
        kept = np.abs(trimmed.weight[trimmed.inputs(int(target))])
        assert kept.sum() >= mass * size.sum() * (1 - 1e-6)
        assert kept[:-1].sum() < mass * size.sum() or not len(size)
        assert (kept == size[: len(kept)]).all(), "not the strongest"
