"""The find bar's queries, grouped connections, and the signed effect they ask about."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import RequestError
from engine.graphs import AttributionGraph, NodeKind
from engine.graphs.connections import Direction, GroupedBy, group_connections
from engine.graphs.search import Names, NodeSearch, node_tokens
from engine.graphs.total_effect import total_effect
from engine.tracing import Prompt, Target, TraceSpec, trace
from tests.engine.graphs import dense_reference as dense
from tests.engine.tracing.tiny_models import features_of, tiny_model
from tests.graph_builder import build_graph

GRAPH = build_graph()
FEATURES = GRAPH.of_kind(NodeKind.FEATURE)
NAMES = Names(
    labels={int(FEATURES[3]): "capital cities", int(FEATURES[4]): "say a capital", int(FEATURES[5]): "Texas"},
    pins=(int(FEATURES[3]), int(FEATURES[9])),
    supernodes={int(FEATURES[4]): ("places", "cities of states"), int(FEATURES[9]): ("places",)},
)
DENSITY = np.where(GRAPH.kind == NodeKind.FEATURE, np.linspace(0, 0.5, GRAPH.n_nodes, dtype=np.float32), np.nan)
DENSITY[FEATURES[2]] = np.nan  # not in the index
SEARCH = NodeSearch(GRAPH, NAMES, DENSITY.astype(np.float32))
LAYER, POSITION, LAST = GRAPH.layer, GRAPH.position, GRAPH.n_positions - 1
IS_FEATURE = GRAPH.kind == NodeKind.FEATURE
TOKENS = np.array(node_tokens(GRAPH))


def only(*nodes: int) -> np.ndarray:
    mask = np.zeros(GRAPH.n_nodes, bool)
    mask[[int(FEATURES[node]) for node in nodes]] = True
    return mask


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("", np.ones(GRAPH.n_nodes, bool)),
        ("label:CAPITAL", only(3, 4)),
        ('label:"say a"', only(4)),
        ("in:cities", only(4)),
        ("in:places -is:pinned", only(4)),
        ("is:pinned", only(3, 9)),
        ("is:labeled -label:texas", only(3, 4)),
        ("is:grouped", only(4, 9)),
        ("token:texas", TOKENS == " Texas"),
        ("token:Austin", TOKENS == " Austin"),
        ("layer:3", LAYER == 3),
        ("l3", LAYER == 3),
        ("layer:3..5", (LAYER >= 3) & (LAYER <= 5)),
        ("layer:9..", LAYER >= 9),
        ("layer:..2", LAYER <= 2),
        ("layer:-1", LAYER == -1),
        ("layer:1,4..5", np.isin(LAYER, [1, 4, 5])),
        ("position:2", POSITION == 2),
        ("position:-1", POSITION == LAST),
        ("position:-2..-1", (POSITION >= LAST - 1) & (POSITION <= LAST)),
        ("position:..1", (POSITION >= 0) & (POSITION <= 1)),
        ("kind:error,bias", np.isin(GRAPH.kind, [NodeKind.ERROR, NodeKind.BIAS])),
        ("-kind:feature", ~IS_FEATURE),
        (f"feature:{GRAPH.feature[FEATURES[7]]}", IS_FEATURE & (GRAPH.feature == GRAPH.feature[FEATURES[7]])),
        ("activation>2.5", IS_FEATURE & (GRAPH.activation > 2.5)),
        ("activation<=1e-1", IS_FEATURE & (GRAPH.activation <= 0.1)),
        ("density<=10%", DENSITY <= 0.1),
        ("density>.1 kind:feature", DENSITY > 0.1),
        ("influence>=1%", GRAPH.influence >= 0.01),
        ("Influence<.005 kind:feature", (GRAPH.influence < 0.005) & IS_FEATURE),
        ("sign:+", total_effect(GRAPH) > 0),
        ("sign:- kind:error", (total_effect(GRAPH) < 0) & (GRAPH.kind == NodeKind.ERROR)),
    ],
)
def test_queries(query: str, wanted: np.ndarray) -> None:
    assert (SEARCH.find(query) == wanted).all()


def test_plain_words_look_in_label_token_and_name() -> None:
    assert (SEARCH.find("texas") == ((TOKENS == " Texas") | only(5))).all()
    assert (SEARCH.find("error") == (GRAPH.kind == NodeKind.ERROR)).all()
    assert (SEARCH.find("capital say") == only(4)).all()
    assert not SEARCH.find('"layer:3"').any()
    assert SEARCH.find("sign:+").any() and SEARCH.find("sign:-").any()


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("colour:red", "does not know 'colour:'"),
        ("layer>3", "does not know 'layer>'"),
        ("layer:three", "'three' is no layer; write layer:3"),
        ("layer:", "Nothing follows layer:"),
        ("layer:..", "is no layer"),
        ("layer:3,,4", "is no layer"),
        ("kind:neuron", "the kinds are feature, error"),
        ("sign:0", "sign:[+] or sign:-"),
        ("is:red", "is:pinned, is:labelled or is:grouped"),
        ("activation>much", "compares with no number"),
        ("activation:3", "Write activation>2.5"),
        ('"of the', "quotation mark stands alone"),
        ('ca"pital"', "quotation mark stands alone"),
        ('   "', "quotation mark stands alone"),
    ],
)
def test_a_query_that_is_wrong_says_so(query: str, sentence: str) -> None:
    with pytest.raises(RequestError, match=sentence) as raised:
        SEARCH.find(query)
    assert raised.value.sentence.endswith(".")


def test_densities_need_an_index_and_outlive_a_new_label() -> None:
    with pytest.raises(RequestError, match="index a text"):
        NodeSearch(GRAPH, NAMES).find("density<1%")
    assert (SEARCH.with_names(Names()).find("density<=10%") == (DENSITY <= 0.1)).all()


@given(query=st.text(alphabet='layer:kindsgotexa>=<%"-+. 0123456789,', max_size=30))
@settings(max_examples=300, deadline=None)
def test_any_text_is_a_query_or_refused_with_a_sentence(query: str) -> None:
    sentence = "."
    try:
        assert SEARCH.find(query).shape == (GRAPH.n_nodes,)
    except RequestError as error:
        sentence = error.sentence
    assert sentence.endswith(".") and "\n" not in sentence


@given(
    one=st.sampled_from(["layer:3..", "kind:feature", "sign:+", "texas"]), other=st.sampled_from(["L4", "is:pinned"])
)
def test_terms_narrow_and_a_minus_is_the_rest(one: str, other: str) -> None:
    first, second = SEARCH.find(one), SEARCH.find(other)
    assert (SEARCH.find(f"{one}  {other}") == (first & second)).all()
    assert (SEARCH.find(f"-{one}") == ~first).all()


def brute_effect(graph: AttributionGraph) -> np.ndarray:
    """effect = w (I + S + S^2 + ...) over dense shares of values, the logits' values in front."""
    matrix, value = dense.adjacency(graph), np.zeros(graph.n_nodes)
    value[graph.traced] = graph.value
    share = np.divide(matrix, value[:, None], out=np.zeros_like(matrix), where=value[:, None] != 0)
    start = dense.logit_weight(graph) * value
    return np.linalg.solve((np.eye(graph.n_nodes) - share).T, start)


@pytest.mark.parametrize("seed", range(5))
def test_total_effect_equals_the_dense_sum(seed: int) -> None:
    graph = build_graph(seed=seed, n_layers=4, n_features=30)
    assert total_effect(graph) == pytest.approx(brute_effect(graph), rel=1e-3, abs=1e-6)


def test_total_effect_is_shared_out_without_loss() -> None:
    """What tokens, errors, biases and the rest get is all there was."""
    graph = build_graph(n_layers=3, n_features=20)
    effect, value = total_effect(graph), np.zeros(graph.n_nodes)
    value[graph.traced] = graph.value
    rest = np.zeros(graph.n_nodes)
    rest[graph.traced] = graph.rest
    kept_back = (effect[graph.traced] * (rest / np.where(value == 0, 1, value))[graph.traced]).sum()
    ends = effect[(graph.kind != NodeKind.FEATURE) & (graph.kind != NodeKind.LOGIT)].sum()
    logits = effect[graph.kind == NodeKind.LOGIT].sum()
    assert ends + kept_back == pytest.approx(logits, rel=1e-3)


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_with_every_neuron_its_size_is_the_relevance(family: str) -> None:
    model: Any = tiny_model(family)
    features: Any = features_of(family, "neurons")
    spec = TraceSpec(Prompt("5 9 3"), Target(token_id=4), max_nodes=10_000, edge_mass=1.0)
    graph = trace(model, features, spec).graph
    neurons = graph.of_kind(NodeKind.FEATURE)
    size = np.abs(total_effect(graph))[neurons]
    assert len(neurons) > 100
    assert size / size.sum() == pytest.approx(graph.influence[neurons] / graph.influence[neurons].sum(), abs=1e-4)


def test_a_graph_of_a_file_has_no_values() -> None:
    empty = np.zeros(0, np.float32)
    graph = replace(GRAPH, traced=np.zeros(0, np.int32), value=empty, rest=empty, rest_absolute=empty)
    assert np.isfinite(total_effect(graph)).all()
    assert (total_effect(graph) != 0).sum() > 50


@pytest.mark.parametrize("direction", ["inputs", "outputs"])
@pytest.mark.parametrize("by", ["token", "layer", "supernode", "label"])
def test_every_connection_is_in_one_group(direction: Direction, by: GroupedBy) -> None:
    node = int(FEATURES[60])
    edges = GRAPH.inputs(node) if direction == "inputs" else GRAPH.outputs(node)
    groups = group_connections(GRAPH, node, direction, by, NAMES)
    assert len(edges) > 3
    assert sorted(np.concatenate([group.edges for group in groups]).tolist()) == sorted(edges.tolist())
    assert len({group.name for group in groups}) == len(groups) or by == "token"
    for group in groups:
        share = GRAPH.share[group.edges].astype(float)
        assert group.share == pytest.approx(share.sum(), abs=1e-9)
        assert group.absolute == pytest.approx(np.abs(share).sum())
        assert group.positive >= 0 >= group.negative
        assert group.weight == pytest.approx(GRAPH.weight[group.edges].sum(), rel=1e-4)
        assert (np.diff(np.abs(share)) <= 1e-12).all()


def test_groups_are_those_asked_for() -> None:
    logit = int(GRAPH.of_kind(NodeKind.LOGIT)[0])
    by_layer = group_connections(GRAPH, logit, "inputs", "layer", NAMES)
    layers = [int(LAYER[GRAPH.source[group.edges[0]]]) for group in by_layer]
    assert layers == sorted(set(layers))
    assert by_layer[0].name == ("embed" if layers[0] < 0 else str(layers[0]))
    child = int(FEATURES[4])
    edge = GRAPH.outputs(child)[0]
    into = int(GRAPH.target[edge])
    named = {group.name: group for group in group_connections(GRAPH, into, "inputs", "supernode", NAMES)}
    assert edge in named["cities of states"].edges  # the inner of the two
    found = SEARCH.find("kind:embedding")
    few = group_connections(GRAPH, logit, "inputs", "label", NAMES, found=found)
    assert all(GRAPH.kind[GRAPH.source[edge]] == NodeKind.EMBEDDING for group in few for edge in group.edges)
    assert sum(len(group.edges) for group in few) == found[GRAPH.source[GRAPH.inputs(logit)]].sum()
