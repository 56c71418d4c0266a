"""Circuits: the tree of supernodes, edges between them, scores, and where boxes stand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import RequestError
from engine.graphs import AttributionGraph, NodeKind, scores
from engine.graphs.circuit import Box, Circuit, Supernode, boxes, circuit_scores
from engine.graphs.circuit_layout import BOX_HEIGHT, circuit_places
from engine.graphs.supernode_edges import supernode_edges
from tests.engine.graphs import dense_reference as dense
from tests.graph_builder import build_graph


def features(graph: AttributionGraph) -> list[int]:
    return [int(node) for node in graph.of_kind(NodeKind.FEATURE)]


def some_circuit(graph: AttributionGraph, seed: int, *, collapsed: bool = True) -> Circuit:
    """Eight features: two pins, a supernode of three that holds another of two, and one of one node."""
    nodes = np.random.default_rng(seed).permutation(features(graph))[:8].tolist()
    return Circuit(
        pins=(nodes[0], nodes[1], nodes[2]),
        supernodes=(
            Supernode(1, "outer", tuple(nodes[2:5]), collapsed=collapsed),
            Supernode(2, "inner", tuple(nodes[5:7]), parent=1),
            Supernode(3, "alone", (nodes[7],), collapsed=collapsed),
        ),
    )


def test_the_tree_and_what_it_shows() -> None:
    graph = build_graph()
    circuit = some_circuit(graph, 0)
    assert circuit.members(1) == (*circuit.supernode(1).nodes, *circuit.supernode(2).nodes)
    assert len(circuit.nodes) == 8
    shown = boxes(circuit, graph)
    assert [box.key for box in shown] == [circuit.pins[0], circuit.pins[1], "supernode 1", "supernode 3"]
    opened = boxes(some_circuit(graph, 0, collapsed=False), graph, {circuit.pins[0]: "a name"})
    assert opened[0].name == "a name"
    assert [box.inside for box in opened] == [(), (), (1,), (1,), (1,), (1,), (3,)]
    assert opened[5].nodes == circuit.supernode(2).nodes  # still collapsed, inside the open one
    assert sorted(n for box in shown for n in box.nodes) == sorted(n for box in opened for n in box.nodes)


@pytest.mark.parametrize(
    ("supernodes", "sentence"),
    [
        ((Supernode(1, "a"), Supernode(1, "b")), "same number"),
        ((Supernode(1, "a", (3,)), Supernode(2, "b", (3,))), "two supernodes"),
        ((Supernode(1, "a", parent=7),), "not there"),
        ((Supernode(1, "a", parent=1),), "in itself"),
        ((Supernode(1, "a", parent=2), Supernode(2, "b", parent=1)), "in itself"),
    ],
)
def test_what_cannot_be_a_tree(supernodes: tuple[Supernode, ...], sentence: str) -> None:
    with pytest.raises(RequestError, match=sentence):
        Circuit((), supernodes)


def test_a_node_that_is_not_there() -> None:
    with pytest.raises(RequestError, match="does not have"):
        boxes(Circuit((10_000,)), build_graph())


def brute_edge(graph: AttributionGraph, to: Box, start: Box, *, of_outside_input: bool) -> tuple[float, float]:
    """The formula of the module, entry by entry, from a dense matrix."""
    matrix, mass = dense.adjacency(graph), graph.input_mass
    top = top_absolute = below = 0.0
    for t in to.nodes:
        if mass[t] == 0:
            continue
        inside = sum(abs(matrix[t, s]) for s in to.nodes) / mass[t]
        outside = 1 - inside
        below += outside
        factor = 1 if of_outside_input else outside
        top += factor * sum(matrix[t, s] for s in start.nodes) / mass[t]
        top_absolute += factor * sum(abs(matrix[t, s]) for s in start.nodes) / mass[t]
    return top / below, top_absolute / below


@pytest.mark.parametrize("of_outside_input", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_supernode_edges_equal_the_formula(seed: int, of_outside_input: bool) -> None:
    graph = build_graph(n_features=30, n_edges=900, seed=seed)
    shown = boxes(some_circuit(graph, seed), graph)
    found = supernode_edges(graph, shown, of_outside_input=of_outside_input)
    assert len(found.source) >= 3
    assert (np.diff(found.absolute) <= 0).all()
    matrix = dense.adjacency(graph)
    for start, to, share, absolute, weight in zip(
        found.source, found.target, found.share, found.absolute, found.weight, strict=True
    ):
        wanted = brute_edge(graph, shown[to], shown[start], of_outside_input=of_outside_input)
        assert (share, absolute) == pytest.approx(wanted, rel=1e-5)
        assert weight == pytest.approx(sum(matrix[t, s] for t in shown[to].nodes for s in shown[start].nodes), rel=1e-5)
    pairs = set(zip(found.source.tolist(), found.target.tolist(), strict=True))
    assert len(pairs) == len(found.source)
    for i, start in enumerate(shown):
        for j, to in enumerate(shown):
            linked = any(matrix[t, s] for t in to.nodes for s in start.nodes)
            assert ((i, j) in pairs) == (linked and i != j)


@given(seed=st.integers(0, 10_000))
@settings(max_examples=40, deadline=None)
def test_the_inputs_of_a_box_never_exceed_what_comes_from_outside(seed: int) -> None:
    graph = build_graph(n_features=25, n_edges=500, seed=seed % 7)
    found = supernode_edges(graph, boxes(some_circuit(graph, seed), graph), of_outside_input=True)
    into = np.bincount(found.target, weights=found.absolute, minlength=len(found.covered))
    assert (into <= 1 + 1e-5).all()
    assert into == pytest.approx(found.covered, abs=1e-5)
    assert (np.abs(found.share) <= found.absolute + 1e-12).all()


def test_single_nodes_have_their_own_shares() -> None:
    graph = build_graph()
    shown = boxes(Circuit(tuple(features(graph)[:40])), graph)
    found = supernode_edges(graph, shown)
    share = {(int(s), int(t)): float(v) for s, t, v in zip(graph.source, graph.target, graph.share, strict=True)}
    assert len(found.source) > 10
    for start, to, value in zip(found.source, found.target, found.share, strict=True):
        assert value == pytest.approx(share[shown[start].nodes[0], shown[to].nodes[0]], rel=1e-5)


def merged(graph: AttributionGraph, kept: np.ndarray) -> tuple[float, float]:
    """Scores of a dense graph whose other features' columns were moved, as absolute values, to one error node."""
    matrix = np.abs(dense.adjacency(graph))
    n = graph.n_nodes
    ended = (graph.kind == NodeKind.FEATURE) & ~kept
    grown = np.zeros((n + 2, n + 2))  # n: the other features, n + 1: what the graph does not keep
    grown[:n, :n] = matrix
    grown[:n, n] = matrix[:, ended].sum(1)
    grown[graph.traced, n + 1] = graph.rest_absolute
    grown[:n, :n][:, ended] = 0
    grown[:n][ended] = 0
    share = grown / np.maximum(grown.sum(1), 1e-10)[:, None]
    weight = np.append(dense.logit_weight(graph), [0, 0])
    flow = dense.influence(share, weight)
    wrong = np.append(graph.kind == NodeKind.ERROR, [True, True])
    tokens, errors = flow[:n][graph.kind == NodeKind.EMBEDDING].sum(), flow[wrong].sum()
    good, all_flow = 1 - share[:, wrong].sum(1), (flow + weight)[: n + 1]  # the rest is no node
    return tokens / (tokens + errors), (good[: n + 1] * all_flow).sum() / all_flow.sum()


@pytest.mark.parametrize("seed", range(6))
def test_circuit_scores_equal_the_merged_graph(seed: int) -> None:
    graph = build_graph(seed=seed)
    circuit = Circuit(tuple(features(graph)[seed::3]))
    found = circuit_scores(circuit, graph)
    replacement, completeness = merged(graph, circuit.mask(graph))
    assert found.circuit.replacement == pytest.approx(replacement, rel=1e-5)
    assert found.circuit.completeness == pytest.approx(completeness, rel=1e-5)
    assert found.graph == scores(graph)
    assert 0 < found.explained < 1


def test_the_whole_graph_as_a_circuit() -> None:
    graph = build_graph()
    found = circuit_scores(Circuit(tuple(features(graph))), graph)
    assert found.circuit == found.graph
    assert found.explained == pytest.approx(1)
    assert circuit_scores(Circuit(), replace(graph, measure="relevance")).circuit.replacement is None


@given(seed=st.integers(0, 1000), more=st.integers(1, 30))
@settings(max_examples=60, deadline=None)
def test_one_more_pin_never_lowers_a_score(seed: int, more: int) -> None:
    graph = build_graph(n_features=40, seed=seed % 5)
    order = np.random.default_rng(seed).permutation(features(graph)).tolist()
    few, many = (circuit_scores(Circuit(tuple(order[:n])), graph).circuit for n in (more - 1, more))
    assert few.replacement is not None and many.replacement is not None
    assert few.completeness is not None and many.completeness is not None
    assert many.replacement >= few.replacement - 1e-9
    assert many.completeness >= few.completeness - 1e-9


@given(seed=st.integers(0, 1000), count=st.integers(1, 40), moved=st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_boxes_do_not_overlap_and_kept_ones_stay(seed: int, count: int, moved: int) -> None:
    graph = build_graph(n_features=60, seed=seed % 5)
    rng = np.random.default_rng(seed)
    shown = boxes(Circuit(tuple(rng.permutation(features(graph)).tolist()[:count])), graph)
    widths = rng.uniform(40, 260, count).tolist()
    kept = {box.key: (float(i * 400), -500.0) for i, box in enumerate(shown[:moved])}
    places = circuit_places(graph, shown, widths, kept)
    assert set(places) == {box.key for box in shown}
    assert all(places[key] == place for key, place in kept.items())
    for i, one in enumerate(shown):
        for j in range(i):
            (x, y), (p, q) = places[one.key], places[shown[j].key]
            assert abs(x - p) >= (widths[i] + widths[j]) / 2 or abs(y - q) >= BOX_HEIGHT


def test_layers_go_up_and_moving_one_box_moves_no_other() -> None:
    graph = build_graph(n_features=60)
    shown = boxes(Circuit(tuple(features(graph)[::6])), graph)
    widths = [80.0] * len(shown)
    places = circuit_places(graph, shown, widths)
    layers = [int(graph.layer[box.nodes[0]]) for box in shown]
    for i, one in enumerate(shown):
        for j, other in enumerate(shown):
            if layers[i] < layers[j]:
                assert places[one.key][1] < places[other.key][1]
    far = {shown[0].key: (9000.0, 9000.0)}
    after = circuit_places(graph, shown, widths, far)
    same_row = {box.key for box, layer in zip(shown, layers, strict=True) if layer == layers[0]}
    assert all(after[box.key] == places[box.key] for box in shown if box.key not in same_row)
