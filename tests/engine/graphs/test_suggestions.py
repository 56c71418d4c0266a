"""Suggested pins and groups: clustering against brute force, planted groups found, conditions kept."""

from __future__ import annotations

import threading
from dataclasses import replace

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import Cancelled
from engine.graphs import AttributionGraph, NodeKind
from engine.graphs.circuit import Circuit, Supernode, circuit_scores
from engine.graphs.clustering import adjusted_rand, average_linkage
from engine.graphs.similarity import (
    combined,
    decoder_similarity,
    edge_similarity,
    label_similarity,
    role_similarity,
)
from engine.graphs.suggestions import WEAKEST_LINK, candidates, suggest_groups, suggest_pins
from tests.engine.graphs import dense_reference as dense
from tests.graph_builder import build_graph


def brute_linkage(similarity: np.ndarray, at_least: float) -> set[frozenset[int]]:
    clusters = [frozenset([i]) for i in range(len(similarity))]
    while len(clusters) > 1:
        pairs = [
            (np.mean([similarity[i, j] for i in a for j in b]), a, b) for a in clusters for b in clusters if a != b
        ]
        best = max(pairs, key=lambda pair: pair[0])
        if best[0] < at_least:
            break
        clusters = [c for c in clusters if c not in best[1:]] + [best[1] | best[2]]
    return set(clusters)


@given(seed=st.integers(0, 10_000), n=st.integers(1, 12), at_least=st.floats(0.2, 0.8))
@settings(max_examples=80, deadline=None)
def test_average_linkage_equals_the_definition(seed: int, n: int, at_least: float) -> None:
    raw = np.random.default_rng(seed).random((n, n))
    similarity = (raw + raw.T) / 2
    found = average_linkage(similarity, at_least)
    assert {frozenset(cluster) for cluster in found} == brute_linkage(similarity, at_least)
    assert sorted(item for cluster in found for item in cluster) == list(range(n))


def test_linkage_obeys_its_condition() -> None:
    similarity = np.ones((6, 6))
    found = average_linkage(similarity, 0.5, lambda one, other: len(one) + len(other) <= 3)
    assert max(map(len, found)) <= 3
    assert average_linkage(similarity, 0.5, lambda one, other: False) == [(i,) for i in range(6)]
    assert average_linkage(np.zeros((0, 0)), 0.5) == []


def test_adjusted_rand() -> None:
    one = np.array([0, 0, 1, 1, 2, 2])
    assert adjusted_rand(one, np.array([5, 5, 3, 3, 0, 0])) == 1
    # By hand: 1 pair together in both, 3 and 4 pairs together in either, 15 pairs: (1 - 12/15) / (3.5 - 12/15).
    assert adjusted_rand(one, np.array([0, 0, 0, 1, 1, 2])) == pytest.approx((1 - 0.8) / (3.5 - 0.8))
    rng = np.random.default_rng(0)
    chance = [adjusted_rand(rng.integers(0, 4, 60), rng.integers(0, 4, 60)) for _ in range(200)]
    assert abs(np.mean(chance)) < 0.02


def test_role_similarity_is_a_row_of_edge_similarity() -> None:
    graph = build_graph(n_layers=5, n_positions=4, n_features=60, seed=3)
    every = list(range(graph.n_nodes))
    whole = edge_similarity(graph, every)
    assert np.isfinite(whole).any()
    for node in every:
        assert np.allclose(role_similarity(graph, node), whole[node], equal_nan=True), graph.describe(node)
    likeness = combined({"edges": role_similarity(graph, 12), "decoders": np.full(graph.n_nodes, np.nan)})
    assert np.allclose(likeness, np.nan_to_num(whole[12]))


def test_edge_similarity_equals_cosines_of_dense_rows() -> None:
    graph = build_graph(n_features=20, n_edges=300)
    nodes = graph.of_kind(NodeKind.FEATURE).tolist()
    share = np.zeros((graph.n_nodes, graph.n_nodes))
    share[graph.target, graph.source] = graph.share
    matters = np.maximum(graph.influence, dense.logit_weight(graph))
    found = edge_similarity(graph, nodes)
    for i, one in enumerate(nodes):
        for j, other in enumerate(nodes):
            cosines = []
            for a, b in ((share[one], share[other]), (share[:, one] * matters, share[:, other] * matters)):
                length = np.linalg.norm(a) * np.linalg.norm(b)
                if length > 0:
                    cosines.append(max(a @ b / length, 0))
            if cosines:
                assert found[i, j] == pytest.approx(np.mean(cosines), abs=1e-5)
            else:
                assert np.isnan(found[i, j])


def test_other_similarities() -> None:
    vectors = np.array([[1.0, 0], [2, 0], [0, 1], [-1, 0], [np.nan, 0]])
    found = decoder_similarity(vectors)
    assert found[0, 1] == pytest.approx(1)
    assert found[0, 2] == found[0, 3] == 0
    assert np.isnan(found[4]).all()
    labels = label_similarity(["say a capital", "Capital cities", "", "the of"])
    assert labels[0, 1] == pytest.approx(1 / 2)
    assert np.isnan(labels[0, 2]) and np.isnan(labels[0, 3])
    both = combined({"decoders": found[:4, :4], "labels": labels})
    assert both[0, 1] == pytest.approx((0.3 * 1 + 0.2 * 0.5) / 0.5)
    assert both[0, 2] == 0  # the labels say nothing


def planted(seed: int = 0) -> tuple[AttributionGraph, list[list[int]]]:
    """A graph in which three sets of three features of one layer have the same inputs and outputs."""
    graph = build_graph(n_layers=6, n_features=80, seed=seed)
    rng = np.random.default_rng(seed)
    nodes = [rng.choice(own, 3, replace=False).tolist() for own in (_layer(graph, layer) for layer in (1, 2, 3))]
    edges = {(int(s), int(t)): float(w) for s, t, w in zip(graph.source, graph.target, graph.weight, strict=True)}
    members = {node for group in nodes for node in group}
    edges = {pair: w for pair, w in edges.items() if not members & set(pair)}
    tokens, logits = graph.of_kind(NodeKind.EMBEDDING), graph.of_kind(NodeKind.LOGIT)
    for number, group in enumerate(nodes):
        for node in group:
            for i, token in enumerate(tokens[number * 2 : number * 2 + 2]):
                edges[int(token), node] = 3.0 + i + 0.1 * rng.random()
            edges[node, int(logits[number])] = 4.0 + 0.1 * rng.random()
    rows = sorted(edges.items(), key=lambda row: (row[0][1], -abs(row[1])))
    source, target = (np.array([pair[k] for pair, _ in rows], np.int32) for k in (0, 1))
    weight = np.array([w for _, w in rows], np.float32)
    return replace(graph, source=source, target=target, weight=weight), nodes


def _layer(graph: AttributionGraph, layer: int) -> np.ndarray:
    return np.flatnonzero((graph.kind == NodeKind.FEATURE) & (graph.layer == layer))


def test_planted_groups_are_found_and_stable() -> None:
    graph, planted_groups = planted()
    planted_nodes = [node for group in planted_groups for node in group]
    others = [int(n) for n in graph.of_kind(NodeKind.FEATURE) if n not in planted_nodes][:20]
    nodes = [*planted_nodes, *others]
    labels = {planted_groups[0][0]: "capital of Texas", planted_groups[0][1]: "say capital"}
    found = suggest_groups(graph, nodes, labels=labels, at_least=0.7)
    by_nodes = {group.nodes: group for group in found.groups}
    for own in planted_groups:
        group = by_nodes[tuple(sorted(own))]
        assert group.stability > 0.6
        assert len(group.member_stability) == 3
        assert np.mean(group.member_stability) == pytest.approx(group.stability)
        assert group.reasons[0].startswith("edges 0.9") or group.reasons[0].startswith("edges 1.0")
    first = by_nodes[tuple(sorted(planted_groups[0]))]
    assert first.name == "capital"
    assert any("capital" in reason for reason in first.reasons)
    assert 0.3 < found.adjusted_rand <= 1
    assert found == suggest_groups(graph, nodes, labels=labels, at_least=0.7)  # the same again
    without = suggest_groups(graph, nodes, labels=labels, at_least=0.7, refused=[first.key])
    assert first.nodes not in {group.nodes for group in without.groups}
    assert len(without.groups) == len(found.groups) - 1


def test_decoders_alone_can_make_a_group() -> None:
    graph, _ = planted()
    nodes = graph.of_kind(NodeKind.FEATURE)[:10].tolist()
    vectors = np.eye(10)
    vectors[3] = vectors[2]
    bare = replace(graph, source=graph.source[:0], target=graph.target[:0], weight=graph.weight[:0])
    found = suggest_groups(bare, [nodes[0], *nodes], decoders=np.vstack([np.zeros(10), vectors]), layer_span=99)
    assert [group.nodes for group in found.groups] == [(nodes[2], nodes[3])]
    assert found.groups[0].stability == 1


def test_what_is_active_together_alone_can_make_a_group() -> None:
    graph, _ = planted()
    nodes = graph.of_kind(NodeKind.FEATURE)[:10].tolist()
    alike = np.full((11, 11), np.nan)
    alike[4, 6] = alike[6, 4] = 0.9  # rows of the list below, in which the first node stands twice
    bare = replace(graph, source=graph.source[:0], target=graph.target[:0], weight=graph.weight[:0])
    found = suggest_groups(bare, [nodes[0], *nodes], examples=alike, layer_span=99)
    assert [group.nodes for group in found.groups] == [(nodes[3], nodes[5])]
    assert found.groups[0].reasons == ("examples 0.90 alike",)


@given(seed=st.integers(0, 200), span=st.integers(0, 5))
@settings(max_examples=25, deadline=None)
def test_groups_keep_their_conditions(seed: int, span: int) -> None:
    graph = build_graph(n_features=40, seed=seed)
    nodes = graph.of_kind(NodeKind.FEATURE).tolist()
    found = suggest_groups(graph, nodes, at_least=0.1, layer_span=span, resamples=2)
    number = {node: i for i, group in enumerate(found.groups) for node in group.nodes}
    assert sum(len(group.nodes) for group in found.groups) == len(number)
    for group in found.groups:
        assert np.ptp(graph.layer[list(group.nodes)]) <= span
        assert 0 <= group.stability <= 1
        assert group.similarity >= 0.1 - 1e-9
    strong = np.abs(graph.share) >= WEAKEST_LINK
    pairs = zip(graph.source[strong].tolist(), graph.target[strong].tolist(), strict=True)
    inside = set(nodes)
    drawn = nx.DiGraph((number.get(s, -s - 1), number.get(t, -t - 1)) for s, t in pairs if s in inside and t in inside)
    drawn.remove_edges_from(list(nx.selfloop_edges(drawn)))
    assert nx.is_directed_acyclic_graph(drawn)


def test_grouping_can_be_cancelled() -> None:
    cancel = threading.Event()
    cancel.set()
    graph = build_graph()
    with pytest.raises(Cancelled):
        suggest_groups(graph, candidates(graph, Circuit()), cancel=cancel)


def test_suggesting_pins_tells_where_it_is_and_can_be_cancelled() -> None:
    graph, told, stop = build_graph(), [], threading.Event()

    def progress(stage: str, fraction: float) -> None:
        told.append(fraction)
        if fraction >= 0.5:
            stop.set()

    with pytest.raises(Cancelled):
        suggest_pins(graph, Circuit(), progress=progress, cancel=stop)
    assert told == sorted(told)
    assert 0.5 <= told[-1] < 0.6


def test_pins_are_where_most_leaves_the_circuit() -> None:
    graph = build_graph()
    feature = graph.of_kind(NodeKind.FEATURE)
    circuit = Circuit((int(feature[70]),))
    found = suggest_pins(graph, circuit, 6)
    # By hand: what reaches each feature from targets and pins only, the rows of others taken away.
    inside = {int(feature[70]), *graph.of_kind(NodeKind.LOGIT).tolist()}
    for one in found:
        share = np.zeros((graph.n_nodes, graph.n_nodes))
        share[graph.target, graph.source] = np.abs(graph.share)
        share[[node for node in range(graph.n_nodes) if node not in inside]] = 0
        flow = dense.influence(share, dense.logit_weight(graph)) / graph.logit_probability.sum()
        flow[[node for node in range(graph.n_nodes) if node in inside or graph.kind[node] != NodeKind.FEATURE]] = 0
        assert one.node == int(np.argmax(flow))
        assert one.share == pytest.approx(flow[one.node], rel=1e-4)
        assert f"{one.share:.1%}".replace("%", " %") in one.reason
        assert 0 <= one.stability <= 1
        inside.add(one.node)
    assert max(one.stability for one in found) > 0.5
    again = suggest_pins(graph, circuit, 6, refused=[found[0].key])
    assert found[0].node not in {one.node for one in again}


def test_suggested_pins_beat_random_ones() -> None:
    graph = build_graph(seed=5)
    pins = tuple(one.node for one in suggest_pins(graph, Circuit(), 10, resamples=0))
    ours = circuit_scores(Circuit(pins), graph).circuit.completeness
    rng = np.random.default_rng(0)
    feature = graph.of_kind(NodeKind.FEATURE)
    scores = [
        circuit_scores(Circuit(tuple(rng.choice(feature, 10, replace=False).tolist())), graph).circuit.completeness
        for _ in range(20)
    ]
    assert ours is not None and ours > max(score for score in scores if score is not None)


def test_neurons_are_suggested_by_relevance() -> None:
    graph = replace(build_graph(), measure="relevance")
    feature = graph.of_kind(NodeKind.FEATURE)
    best = feature[np.argsort(-graph.influence[feature], kind="stable")]
    found = suggest_pins(graph, Circuit((int(best[0]),)), 3)
    assert [one.node for one in found] == best[1:4].tolist()
    assert "relevance" in found[0].reason


def test_candidates() -> None:
    graph = build_graph()
    feature = graph.of_kind(NodeKind.FEATURE)
    best = feature[np.argsort(-graph.influence[feature], kind="stable")].tolist()
    circuit = Circuit((best[100],), (Supernode(1, "taken", (best[0],)),))
    assert candidates(graph, circuit, 5) == (best[100], *best[1:5])


def test_what_is_hidden_is_not_suggested() -> None:
    for measure in ("influence", "relevance"):
        graph = replace(build_graph(), measure=measure)
        first = suggest_pins(graph, Circuit(), 8, resamples=0)
        hidden = np.zeros(graph.n_nodes, dtype=np.bool_)
        hidden[[one.node for one in first[:3]]] = True
        found = suggest_pins(graph, Circuit(), 8, hidden=hidden, resamples=0)
        assert found and not hidden[[one.node for one in found]].any()
        assert not hidden[list(candidates(graph, Circuit(), hidden=hidden))].any()
        pinned = Circuit((first[0].node,))
        assert first[0].node in candidates(graph, pinned, hidden=hidden)  # what a person pinned may be grouped
