"""Paths equal networkx's and dense sums on small graphs; a large graph gives the same as a thinned one."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import RequestError
from engine.graphs import AttributionGraph, NodeKind
from engine.graphs.paths import PathFinder
from tests.engine.graphs import dense_reference as dense
from tests.graph_builder import build_graph


def small(seed: int) -> AttributionGraph:
    return build_graph(n_layers=6, n_positions=3, n_features=14, n_logits=2, n_edges=70, seed=seed)


def ends(graph: AttributionGraph) -> tuple[int, int]:
    """A token and a target."""
    return int(graph.of_kind(NodeKind.EMBEDDING)[-1]), int(graph.of_kind(NodeKind.LOGIT)[0])


def all_paths(graph: AttributionGraph, source: int, target: int) -> list[tuple[tuple[int, ...], float]]:
    share = {(int(s), int(t)): float(v) for s, t, v in zip(graph.source, graph.target, graph.share, strict=True)}
    drawn = nx.DiGraph(list(share))
    drawn.add_nodes_from([source, target])
    found = []
    for nodes in nx.all_simple_paths(drawn, source, target):
        found.append((tuple(nodes), float(np.prod([share[pair] for pair in pairwise(nodes)]))))
    return sorted(found, key=lambda entry: -abs(entry[1]))


@pytest.mark.parametrize("seed", range(8))
def test_paths_equal_all_simple_paths(seed: int) -> None:
    graph = small(seed)
    source, target = ends(graph)
    wanted, finder = all_paths(graph, source, target), PathFinder(graph)
    found = finder.strongest(source, target, 10_000)
    assert {path.nodes for path in found} == {nodes for nodes, _ in wanted}
    assert [abs(path.share) for path in found] == pytest.approx([abs(share) for _, share in wanted], rel=1e-5)
    by_nodes = dict(wanted)
    assert all(path.share == pytest.approx(by_nodes[path.nodes], rel=1e-5) for path in found)
    assert finder.strongest(source, target, 3) == found[:3]


@pytest.mark.parametrize("seed", range(8))
def test_totals_and_mediators_equal_sums_over_paths(seed: int) -> None:
    graph = small(seed)
    source, target = ends(graph)
    wanted, finder = all_paths(graph, source, target), PathFinder(graph)
    found = finder.connection(source, target)
    total = sum(abs(share) for _, share in wanted)
    assert found.total == pytest.approx(total, rel=1e-5)
    assert found.net == pytest.approx(sum(share for _, share in wanted), rel=1e-4, abs=1e-9)
    for node in range(graph.n_nodes):
        on = sum(abs(share) for nodes, share in wanted if node in nodes)
        assert found.through[node] == pytest.approx(on / total if total else 0, abs=1e-5)
    between = found.mediators(5)
    assert [one.share for one in between] == sorted((one.share for one in between), reverse=True)
    group = {one.node for one in between[:3]}
    on = sum(abs(share) for nodes, share in wanted if group & set(nodes))
    assert finder.share_through(source, target, group) == pytest.approx(on / total if total else 0, abs=1e-5)


def test_the_total_is_an_entry_of_the_dense_sum() -> None:
    graph = build_graph(seed=3)
    source, target = ends(graph)
    unit = np.zeros(graph.n_nodes)
    unit[target] = 1
    rest = np.zeros(graph.n_nodes)
    rest[graph.traced] = graph.rest_absolute
    share = dense.normalise(dense.adjacency(graph), rest)
    assert PathFinder(graph).connection(source, target).total == pytest.approx(
        dense.influence(share, unit)[source], rel=1e-5
    )


@given(seed=st.integers(0, 500))
@settings(max_examples=40, deadline=None)
def test_properties(seed: int) -> None:
    graph = build_graph(n_features=60, seed=seed % 11)
    rng = np.random.default_rng(seed)
    source, target = rng.choice(graph.n_nodes, 2, replace=False).tolist()
    finder = PathFinder(graph)
    found, paths = finder.connection(source, target), finder.strongest(source, target, 25)
    sizes = [abs(path.share) for path in paths]
    assert sizes == sorted(sizes, reverse=True)
    assert len({path.nodes for path in paths}) == len(paths)
    assert sum(sizes) <= found.total * (1 + 1e-9)
    assert abs(found.net) <= found.total * (1 + 1e-9)
    assert bool(paths) == (found.total > 0)
    assert ((found.through >= 0) & (found.through <= 1)).all()
    edges = set(zip(graph.source.tolist(), graph.target.tolist(), strict=True))
    for path in paths:
        assert path.nodes[0] == source
        assert path.nodes[-1] == target
        assert all(pair in edges for pair in pairwise(path.nodes))


def with_edges_inside_a_layer(graph: AttributionGraph, pairs: list[tuple[int, int]]) -> AttributionGraph:
    """Give every node of layer 2 in order a chain of edges, as an imported graph may have."""
    source, target = np.array(pairs, dtype=np.int32).T
    old = [(int(s), int(t), float(w)) for s, t, w in zip(graph.source, graph.target, graph.weight, strict=True)]
    rows = sorted(
        [*old, *((int(s), int(t), 2.0) for s, t in zip(source, target, strict=True))], key=lambda r: (r[1], -abs(r[2]))
    )
    s, t, w = (np.array(column) for column in zip(*rows, strict=True))
    return replace(graph, source=s.astype(np.int32), target=t.astype(np.int32), weight=w.astype(np.float32))


def test_edges_inside_a_layer() -> None:
    graph = small(1)
    layer = np.flatnonzero((graph.layer == 2) & (graph.kind == NodeKind.FEATURE)).tolist()
    layer += np.flatnonzero((graph.layer == 2) & (graph.kind == NodeKind.ERROR)).tolist()
    chain = list(pairwise(layer[::-1]))
    assert len(chain) >= 2
    linked = with_edges_inside_a_layer(graph, chain)
    source, target = layer[-1], layer[0]
    assert PathFinder(linked).strongest(source, target)[0].nodes == tuple(layer[::-1])
    assert PathFinder(linked).connection(source, target).through[layer[1]] == pytest.approx(1)
    with pytest.raises(RequestError, match="circle"):
        PathFinder(with_edges_inside_a_layer(graph, [*chain, (layer[0], layer[-1])]))


def test_refusals() -> None:
    finder = PathFinder(small(0))
    with pytest.raises(RequestError, match="no node"):
        finder.connection(0, 10_000)
    with pytest.raises(RequestError, match="two different"):
        finder.strongest(1, 1)
    assert finder.share_through(int(finder.graph.of_kind(NodeKind.LOGIT)[0]), 0, {1}) == 0
