"""Two graphs aligned: against dictionaries of names, against a graph itself, and what several share."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.graphs import AttributionGraph, NodeKind, prune
from engine.graphs.comparison import Limits, compare, paired_views, shared_features
from tests.graph_builder import build_graph


def names(graph: AttributionGraph) -> list[tuple[object, ...]]:
    """Kind, layer, feature, position from the end, and which of that name."""
    found: list[tuple[object, ...]] = []
    for node in range(graph.n_nodes):
        position = int(graph.position[node])
        layer = "logits" if graph.kind[node] == NodeKind.LOGIT else int(graph.layer[node])
        end = None if position < 0 else position - graph.n_positions
        name = (int(graph.kind[node]), layer, int(graph.feature[node]), end)
        found.append((*name, sum(one[:4] == name for one in found)))
    return found


def relatives(seed: int) -> tuple[AttributionGraph, AttributionGraph]:
    """Two graphs with few feature numbers, so that many meet; the right has one token more in front."""
    graphs = [build_graph(n_layers=4, n_positions=3 + i, n_features=40, seed=seed + i) for i in range(2)]
    return tuple(
        replace(graph, feature=np.where(graph.kind == 0, graph.feature % 3, graph.feature)) for graph in graphs
    )  # type: ignore[return-value]


@pytest.mark.parametrize("seed", range(5))
def test_alignment_equals_a_look_up_by_name(seed: int) -> None:
    left, right = relatives(seed)
    found = compare(left, right)
    ours, theirs = names(left), names(right)
    where = {name: node for node, name in enumerate(theirs)}
    wanted = [(node, where[name]) for node, name in enumerate(ours) if name in where]
    assert len(wanted) > 15
    assert list(zip(found.left.tolist(), found.right.tolist(), strict=True)) == wanted
    assert sorted([*found.left, *found.only_left]) == list(range(left.n_nodes))
    assert sorted([*found.right, *found.only_right]) == list(range(right.n_nodes))
    our_edges = {(ours[s], ours[t]): e for e, (s, t) in enumerate(zip(left.source, left.target, strict=True))}
    their_edges = {(theirs[s], theirs[t]): e for e, (s, t) in enumerate(zip(right.source, right.target, strict=True))}
    both = {(our_edges[pair], their_edges[pair]) for pair in our_edges if pair in their_edges}
    assert set(zip(found.left_edges.tolist(), found.right_edges.tolist(), strict=True)) == both
    shared = {ours[node] for node in found.left}
    lost = {e for (s, t), e in our_edges.items() if s in shared and t in shared and (s, t) not in their_edges}
    new = {e for (s, t), e in their_edges.items() if s in shared and t in shared and (s, t) not in our_edges}
    assert set(found.lost_edges.tolist()) == lost
    assert set(found.new_edges.tolist()) == new


def test_a_graph_and_itself() -> None:
    graph = build_graph()
    found = compare(graph, graph)
    assert (found.left == np.arange(graph.n_nodes)).all()
    assert (found.right == found.left).all()
    assert len(found.left_edges) == graph.n_edges
    assert not found.changed.any() and not found.edge_changed.any()
    assert not len(found.lost_edges) and not len(found.new_edges)


def test_what_counts_as_changed() -> None:
    graph = build_graph()
    node = int(graph.of_kind(NodeKind.FEATURE)[50])
    edge = int(graph.inputs(node)[0])
    activation, influence, weight = graph.activation.copy(), graph.influence.copy(), graph.weight.copy()
    activation[node] *= 1.6
    influence[node] *= 1.9
    weight[edge] *= -1
    found = compare(graph, replace(graph, activation=activation, influence=influence, weight=weight))
    assert found.left[found.activation_changed].tolist() == [node]
    assert not found.influence_changed.any()
    assert found.left_edges[found.edge_changed].tolist() == [edge]
    assert found.left[found.edges_changed].tolist() == [node]
    strict = compare(graph, replace(graph, influence=influence), Limits(influence=1.5))
    assert strict.left[strict.changed].tolist() == [node]


def test_another_dictionary_shares_no_feature() -> None:
    graph = build_graph()
    one, other = (replace(graph, meta={"features": {"fingerprint": name}}) for name in ("a", "b"))
    found = compare(one, other)
    assert not found.same_dictionary
    assert not (graph.kind[found.left] == NodeKind.FEATURE).any()
    assert (graph.kind[found.only_left] == NodeKind.FEATURE).all()
    assert len(compare(one, other, same_dictionary=True).left) == graph.n_nodes
    assert compare(one, one).same_dictionary
    assert compare(one, graph).same_dictionary


@given(seed=st.integers(0, 300))
@settings(max_examples=30, deadline=None)
def test_comparing_the_other_way_round_gives_the_same(seed: int) -> None:
    left, right = relatives(seed)
    there, back = compare(left, right), compare(right, left)
    assert set(zip(there.left.tolist(), there.right.tolist(), strict=True)) == set(
        zip(back.right.tolist(), back.left.tolist(), strict=True)
    )
    assert there.only_left.tolist() == back.only_right.tolist()
    assert sorted(there.new_edges) == sorted(back.lost_edges)
    assert there.changed.sum() == back.changed.sum()


def test_features_of_several_graphs() -> None:
    graphs = [*relatives(3), relatives(8)[0]]
    found = shared_features(graphs)
    assert len(found) > 3
    for one in found:
        nodes = [
            [
                int(n)
                for n in graph.of_kind(NodeKind.FEATURE)
                if graph.layer[n] == one.layer and graph.feature[n] == one.feature
            ]
            for graph in graphs
        ]
        assert [list(own) for own in one.nodes] == nodes
        assert one.graphs == tuple(i for i, own in enumerate(nodes) if own)
        totals = [sum(float(graph.influence[n]) for n in own) for graph, own in zip(graphs, nodes, strict=True)]
        assert one.influence == pytest.approx(np.mean(totals), rel=1e-5)
        assert one.spread == pytest.approx(np.std(totals), rel=1e-4, abs=1e-7)
        assert one.positions[one.graphs[0]][0] == graphs[one.graphs[0]].position[nodes[one.graphs[0]][0]] - len(
            graphs[one.graphs[0]].tokens
        )
    counts = [len(one.graphs) for one in found]
    assert counts == sorted(counts, reverse=True)
    assert min(counts) >= 2
    assert {(one.layer, one.feature) for one in shared_features(graphs, 3)} == {
        (one.layer, one.feature) for one in found if len(one.graphs) == 3
    }


def test_a_shared_node_that_one_side_shows_is_shown_on_both() -> None:
    left, right = relatives(3)
    found = compare(left, right)
    one, other = paired_views(left, right, found, 0.4, 0.9)
    assert (one.nodes[found.left] == other.nodes[found.right]).all()
    alone = prune(left, 0.4, 0.9).nodes[found.left], prune(right, 0.4, 0.9).nodes[found.right]
    assert (alone[0] != alone[1]).any()
    assert (one.nodes[found.left] >= alone[0]).all() and (other.nodes[found.right] >= alone[1]).all()
    hidden = int(found.only_right[~other.nodes[found.only_right]][0])
    _, kept = paired_views(left, right, found, 0.4, 0.9, keep=((), (hidden,)))
    assert kept.nodes[hidden]
