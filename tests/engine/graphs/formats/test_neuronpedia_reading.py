"""Graph JSON of every program and version comes in, and goes out again with every field it had."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from engine.graphs import NodeKind, prune
from engine.graphs.formats.neuronpedia_nodes import cantor, uncantor
from tests.engine.graphs.formats.comparing import exported, imported, in_any_order
from tests.engine.graphs.formats.documents import N_LAYERS, TOKENS, circuit_tracer, feature_node, find, node
from tests.graph_builder import build_graph


def test_a_graph_of_circuit_tracer() -> None:
    file = imported(circuit_tracer())
    graph = file.graph
    assert file.repairs == ()
    assert graph.n_layers == N_LAYERS
    assert graph.tokens == tuple(TOKENS)
    assert graph.feature[graph.kind == NodeKind.FEATURE].tolist() == [18753, 12928, 82873, 5]
    assert graph.layer[graph.kind == NodeKind.FEATURE].tolist() == [0, 1, 13, 0]
    assert graph.layer[graph.kind == NodeKind.ERROR].tolist() == [5, 25]
    assert (graph.layer[graph.kind == NodeKind.LOGIT] == N_LAYERS).all()
    assert graph.logit_text == ("4", 'say "x"')
    assert graph.logit_token.tolist() == [235310, 256001]
    assert graph.n_edges == 12
    assert graph.meta["model"]["name"] == "gemma-2-2b"


def test_nothing_claims_that_conservation_was_checked() -> None:
    graph = imported(circuit_tracer()).graph
    assert graph.meta["conservation_error"] is None
    assert graph.meta["unexplored"] is None
    assert graph.meta["replacement"] is None
    assert len(graph.traced) == len(graph.value) == 0


def test_influence_is_that_of_the_edges_at_hand() -> None:
    """By hand: the second logit takes 0.14 and gives nearly all of it to the last token."""
    graph = imported(circuit_tracer()).graph
    by_name = dict(zip([one["node_id"] for one in circuit_tracer()["nodes"]], graph.influence.tolist(), strict=True))
    first = 1.546875 + 1.8828125 + 0.640625
    assert by_name["25_-1_3"] == pytest.approx(0.2333984375 * 0.640625 / first)
    assert by_name["27_235310_3"] == pytest.approx(0.2333984375)
    assert by_name["13_82873_3"] == pytest.approx(
        0.2333984375 * 1.546875 / first + 0.1416015625 * 0.001 / 15.6885, rel=1e-6
    )
    assert prune(graph).nodes.any()


@pytest.mark.parametrize("old_errors", [False, True])
def test_what_circuit_tracer_wrote_comes_back(old_errors: bool) -> None:
    document = circuit_tracer(old_errors=old_errors)
    if old_errors:
        document["nodes"] = [one for one in document["nodes"] if one["node_id"] != "0_5_3"]
        document["nodes"].append(feature_node(0, 5, 2))
        document["links"] = [one for one in document["links"] if "0_5_3" not in (one["source"], one["target"])]
    assert in_any_order(exported(imported(document))) == in_any_order(document)


def test_unknown_fields_come_back_from_everywhere() -> None:
    document = circuit_tracer()
    document["qk_only_nodes"] = {"a": {"node_id": "a", "feature_type": "lorsa"}}
    document["metadata"]["future"] = {"deep": [1, 2.5, None, {"x": True}]}
    document["qParams"] |= {"hiddenIds": "a,b", "pruningThreshold": "0.6", "densityThreshold": 1}
    document["nodes"][1]["qk_tracing_results"] = {"pair_wise_contributors": [["a", "b", 0.5]]}
    document["nodes"][2] |= {"vis_link": "https://x", "top_logit_effects": ["a"], "influence": 1, "layer": 13}
    del document["nodes"][3]["run_idx"]
    document["links"][4]["note"] = "<b>seen</b>"
    document["links"][5] |= {"weight": 0.1, "pctInput": 0.25}
    document["links"][6]["weight"] = 3
    file = imported(document)
    assert in_any_order(exported(file)) == in_any_order(document)
    kept = json.dumps(file.graph.meta["imported"]["document"])
    assert len(kept) < len(json.dumps(document)) / 2


@pytest.mark.parametrize("weights", [[0.1, 0.123456], [0.12345678901234567, 1e-300]])
def test_weights_that_float32_cannot_hold_come_back(weights: list[float]) -> None:
    document = circuit_tracer()
    for i, link in enumerate(document["links"]):
        link["weight"] = weights[i % 2] * (i + 1)
    assert in_any_order(exported(imported(document))) == in_any_order(document)


def test_our_own_file_comes_back_word_for_word() -> None:
    graph = replace(build_graph(seed=4), meta={"prompt": "The capital", "model": {"name": "m"}, "replacement": 0.5})
    pins = tuple(graph.of_kind(NodeKind.FEATURE)[:3].tolist())
    logit, embedding = int(graph.of_kind(NodeKind.LOGIT)[1]), int(graph.of_kind(NodeKind.EMBEDDING)[0])
    labels = {pins[0]: "<b>capital & co</b>", logit: "my (p=1) token", embedding: "first"}
    from engine.graphs.formats.graph_file import GraphFile

    first = exported(GraphFile(graph, pins, (("pair", pins[:2]),), labels), whole=True)
    file = imported(first)
    assert exported(file) == first
    assert (file.pins, file.groups, file.labels) == (pins, (("pair", pins[:2]),), labels)
    assert file.repairs == ()
    back = file.graph
    assert back.logit_text == graph.logit_text
    assert back.token_ids == graph.token_ids
    for column in ("kind", "layer", "position", "feature", "activation", "influence", "source", "target", "weight"):
        assert (getattr(back, column) == getattr(graph, column)).all(), column
    assert exported(imported(exported(file))) == first


def test_a_pruned_file_of_ours_is_not_pruned_again() -> None:
    from engine.graphs.formats.graph_file import GraphFile

    first = exported(GraphFile(build_graph(seed=5)))
    assert len(first["nodes"]) < build_graph(seed=5).n_nodes
    assert exported(imported(first)) == first


def test_neuron_graphs_keep_their_measure() -> None:
    from engine.graphs.formats.graph_file import GraphFile

    graph = replace(build_graph(seed=6), measure="relevance")
    back = imported(exported(GraphFile(graph), whole=True)).graph
    assert back.measure == "relevance"
    assert (back.influence == graph.influence).all()


def test_our_own_file_says_which_model_and_dictionary_it_came_from() -> None:
    from engine.graphs.formats.graph_file import GraphFile

    features = {"name": "neurons", "kind": "neurons", "fingerprint": "abc"}
    meta = {
        "model": {"name": "m", "fingerprint": "def", "source": "/home/someone/m"},
        "features": features,
        "replacement": 0.5,
        "conservation_error": 1e-6,
    }
    document = exported(GraphFile(replace(build_graph(seed=6), meta=meta)))
    assert "/home/someone" not in json.dumps(document)
    back = imported(document).graph.meta
    assert back["model"] == {"name": "m", "fingerprint": "def", "source": None}
    assert back["features"] == features
    assert back["replacement"] == 0.5
    assert back["conservation_error"] is None


@pytest.mark.parametrize(
    ("scheme", "expected"),
    [
        (lambda layer, number: cantor(layer, number), [18753, 12928, 82873, 5]),
        (lambda layer, number: layer * 10**5 + number, [18753, 12928, 82873, 5]),
        (lambda layer, number: layer * 10**6 + number, [18753, 12928, 82873, 5]),
        (lambda layer, number: number, [18753, 12928, 82873, 5]),
    ],
)
@pytest.mark.parametrize("version", [None, 0])
def test_older_feature_numbers(scheme: Any, expected: list[int], version: int | None) -> None:
    document = circuit_tracer()
    if version is None:
        del document["metadata"]["schema_version"]
    else:
        document["metadata"]["schema_version"] = version
    for one in document["nodes"]:
        if one["feature_type"] == "cross layer transcoder":
            one["feature"] = scheme(*uncantor(one["feature"]))
    file = imported(document)
    assert file.graph.feature[file.graph.kind == NodeKind.FEATURE].tolist() == expected
    assert in_any_order(exported(file)) == in_any_order(document)


def test_cantor_pairs_of_any_size() -> None:
    for layer, number in [(0, 0), (3, 2**40), (61, 2**31 - 1), (25, 16383)]:
        assert uncantor(cantor(layer, number)) == (layer, number)


def test_ids_are_never_taken_apart() -> None:
    document = circuit_tracer()
    names = {one["node_id"]: f"node {i} / ü" for i, one in enumerate(document["nodes"])}
    for one in document["nodes"]:
        one["node_id"] = names[one["node_id"]]
    for link in document["links"]:
        link["source"], link["target"] = names[link["source"]], names[link["target"]]
    file, plain = imported(document), imported(circuit_tracer())
    for column in ("kind", "layer", "position", "feature", "source", "target", "weight"):
        assert (getattr(file.graph, column) == getattr(plain.graph, column)).all()
    assert in_any_order(exported(file)) == in_any_order(document)


@pytest.mark.parametrize("errors_first", [False, True])
def test_the_id_collision_of_release_0_5_0(errors_first: bool) -> None:
    """Feature 5 of layer 0 and the error of layer 5 are both 0_5_3: two nodes, a warning, two ids when written."""
    document = circuit_tracer(old_errors=True)
    if errors_first:
        document["nodes"].sort(key=lambda one: one["feature_type"] != "mlp reconstruction error")
    file = imported(document)
    graph = file.graph
    assert graph.n_nodes == len(document["nodes"])
    error = int(np.flatnonzero((graph.kind == NodeKind.ERROR) & (graph.layer == 5))[0])
    feature = int(np.flatnonzero((graph.kind == NodeKind.FEATURE) & (graph.feature == 5))[0])
    pairs = set(zip(graph.source.tolist(), graph.target.tolist(), strict=True))
    into_feature = {s for s, t in pairs if t == feature}
    assert into_feature, "what leads to the shared id leads to the feature"
    assert not any(t == error for _, t in pairs)
    assert any("0_5_3" in one for one in file.repairs)
    assert any("links[" in one for one in file.repairs)
    back = exported(file)
    assert find(back, "0_5_3")["feature_type"] == "cross layer transcoder"
    assert find(back, "err_5_3")["feature_type"] == "mlp reconstruction error"
    assert exported(imported(back)) == back


def test_a_source_below_its_target_decides_a_shared_id() -> None:
    """Layer 2 can only be reached by the feature of layer 0, not by the error of layer 5."""
    document = circuit_tracer(old_errors=True)
    document["nodes"].append(feature_node(2, 77, 3))
    document["links"].append({"source": "0_5_3", "target": "2_77_3", "weight": 2.0})
    file = imported(document)
    graph = file.graph
    target = int(np.flatnonzero(graph.feature == 77)[0])
    (source,) = graph.source[graph.target == target].tolist()
    assert graph.kind[source] == NodeKind.FEATURE
    assert not any("links[12]" in one for one in file.repairs), "nothing to guess"


def test_ids_given_to_nodes_that_shared_one_are_new() -> None:
    document = circuit_tracer(old_errors=True)
    document["nodes"].append(feature_node(3, 1, 3, node_id="err_5_3"))
    names = [one["node_id"] for one in exported(imported(document))["nodes"]]
    assert len(set(names)) == len(names)
    assert names[-1] == "err_5_3"


def test_a_node_belongs_to_one_supernode() -> None:
    document = circuit_tracer()
    document["qParams"]["supernodes"] = [["first", "1_12928_3", "0_18753_3"], ["second", "1_12928_3", "E_2_0"]]
    file = imported(document)
    assert file.groups == (("first", (1, 0)), ("second", (6,)))
    assert any("supernodes[1]" in one for one in file.repairs)
    assert in_any_order(exported(file)) == in_any_order(document)


def test_a_zero_keeps_its_sign_and_a_number_its_type() -> None:
    document = circuit_tracer()
    document["nodes"][0]["token_prob"] = -0.0
    document["nodes"][1]["token_prob"] = 0
    document["nodes"][2]["run_idx"] = False
    document["links"][0]["weight"] = -0.0
    assert json.dumps(in_any_order(exported(imported(document)))) == json.dumps(in_any_order(document))


def test_two_links_of_a_shared_id_belong_to_both_nodes() -> None:
    document = circuit_tracer(old_errors=True)
    document["links"] = [one for one in document["links"] if one["source"] != "0_5_3"]
    document["links"] += [{"source": "0_5_3", "target": "27_256001_3", "weight": weight} for weight in (4.0, 8.0)]
    graph = imported(document).graph
    of_kind = {
        NodeKind(int(graph.kind[source])): weight
        for source, weight in zip(graph.source, graph.weight.tolist(), strict=True)
        if weight in (4.0, 8.0)
    }
    assert of_kind == {NodeKind.FEATURE: 4.0, NodeKind.ERROR: 8.0}


def test_types_of_other_programs() -> None:
    document = circuit_tracer()
    extra = [
        ("lorsa", NodeKind.FEATURE),
        ("lorsa error", NodeKind.ERROR),
        ("bias", NodeKind.BIAS),
        ("unknown", NodeKind.ERROR),
        ("unexplored node", NodeKind.ERROR),
        ("something new", NodeKind.FEATURE),
    ]
    for i, (kind, _) in enumerate(extra):
        document["nodes"].append(node(kind, f"x{i}", "7", 2, i, activation=0.5))
        document["links"].append({"source": f"x{i}", "target": "27_235310_3", "weight": 0.125})
    document["links"].append({"source": "E_2_0", "target": "x5", "weight": 1.0})
    file = imported(document)
    assert [NodeKind(int(kind)) for kind in file.graph.kind[-len(extra) :]] == [kind for _, kind in extra]
    assert any("'something new' are shown as features" in one for one in file.repairs)
    assert any("'unknown' are shown as error nodes" in one for one in file.repairs)
    assert in_any_order(exported(file)) == in_any_order(document)


def test_labels_pins_and_supernodes() -> None:
    document = circuit_tracer()
    find(document, "1_12928_3")["clerp"] = "<img src=x onerror=alert(1)>"
    document["qParams"] |= {
        "pinnedIds": ["13_82873_3", "E_2_0", "gone"],
        "supernodes": [["a group", "13_82873_3", "1_12928_3"], ["empty", "gone"]],
        "clerps": [["0_" + str(cantor(0, 18753)) + "_3", "renamed"]],
    }
    file = imported(document)
    assert file.pins == (2, 6)
    assert file.groups == (("a group", (2, 1)),)
    assert file.labels == {1: "<img src=x onerror=alert(1)>", 0: "renamed"}
    assert any("'gone'" in one for one in file.repairs)
    assert in_any_order(exported(file)) == in_any_order(document)


@pytest.mark.parametrize("form", [json.dumps, ",".join])
def test_lists_written_as_text(form: Any) -> None:
    document = circuit_tracer()
    document["qParams"]["pinnedIds"] = form(["13_82873_3", "E_2_0"])
    document["qParams"]["supernodes"] = json.dumps([["a", "E_2_0"]])
    file = imported(document)
    assert file.pins == (2, 6)
    assert file.groups == (("a", (6,)),)
    assert in_any_order(exported(file)) == in_any_order(document)


def test_anthropic_lists_name_nodes_by_js_node_id() -> None:
    document = circuit_tracer()
    document["qParams"] |= {"pinnedIds": ["E_2-0", "13_82873-0"], "supernodes": [["g", "L_235310-3"]]}
    file = imported(document)
    assert file.pins == (6, 2)
    assert file.groups == (("g", (10,)),)
    assert in_any_order(exported(file)) == in_any_order(document)
    changed = exported(replace(file, pins=(2,)))
    assert changed["qParams"]["pinnedIds"] == ["13_82873-0"]
    assert changed["qParams"]["supernodes"] == document["qParams"]["supernodes"]


def test_a_name_of_several_positions_names_no_node() -> None:
    document = circuit_tracer()
    document["nodes"].append(feature_node(13, 82873, 2))
    document["qParams"]["pinnedIds"] = ["13_82873-0"]
    file = imported(document)
    assert file.pins == ()
    assert any("'13_82873-0'" in one for one in file.repairs)
    assert in_any_order(exported(file)) == in_any_order(document)


def test_what_a_person_changes_is_written() -> None:
    document = circuit_tracer()
    find(document, "1_12928_3")["clerp"] = "old name"
    find(document, "0_18753_3")["clerp"] = "to be cleared"
    document["qParams"] |= {"pinnedIds": ["gone"], "clerps": [["E_2_0", "start"], ["gone", "x"]]}
    file = imported(document)
    changed = replace(file, pins=(1,), groups=(("new", (1, 2)),), labels={1: "new name", 6: "begin", 11: "the say"})
    back = exported(changed)
    assert find(back, "1_12928_3")["clerp"] == "new name"
    assert find(back, "0_18753_3")["clerp"] == ""
    assert back["qParams"]["pinnedIds"] == ["1_12928_3", "gone"]
    assert back["qParams"]["supernodes"] == [["new", "1_12928_3", "13_82873_3"]]
    assert back["qParams"]["clerps"][0] == ["E_2_0", "begin"]
    # Neuronpedia's loader splits at exactly this.
    assert float(find(back, "27_256001_3")["clerp"].split("(p=")[1].split(")")[0]) == 0.142
    again = imported(back)
    assert again.labels == changed.labels
    assert again.graph.logit_text == file.graph.logit_text


def test_thresholds_prune_and_are_said() -> None:
    file = imported(circuit_tracer())
    pruned = exported(file, node_threshold=0.6, edge_threshold=0.7)
    assert len(pruned["links"]) < file.graph.n_edges
    assert pruned["metadata"]["pruning_settings"] == {"node_threshold": 0.6, "edge_threshold": 0.7}
    ids = {one["node_id"] for one in pruned["nodes"]}
    assert {link["source"] for link in pruned["links"]} | {link["target"] for link in pruned["links"]} <= ids
    imported(pruned)


def test_a_logit_without_token_prob_is_read_from_its_caption() -> None:
    document = circuit_tracer()
    for one in document["nodes"]:
        one.pop("token_prob")
        one.pop("influence")
        one.pop("activation")
    file = imported(document)
    assert file.graph.logit_probability.tolist() == pytest.approx([0.233, 0.142])
    assert in_any_order(exported(file)) == in_any_order(document)


def test_logits_without_any_probability_weigh_the_same() -> None:
    document = circuit_tracer()
    for one in document["nodes"]:
        if one["feature_type"] == "logit":
            one |= {"token_prob": None, "clerp": "x"}
    file = imported(document)
    assert file.graph.logit_probability.tolist() == [0.5, 0.5]
    assert any("probability" in one for one in file.repairs)
    assert in_any_order(exported(file)) == in_any_order(document)


def test_a_model_of_one_layer() -> None:
    document = circuit_tracer()
    document["nodes"] = [one for one in document["nodes"] if one["layer"] in ("E", "0", "27")]
    ids = {one["node_id"] for one in document["nodes"]}
    document["links"] = [one for one in document["links"] if {one["source"], one["target"]} <= ids]
    for one in document["nodes"]:
        if one["layer"] == "27":
            one["layer"] = "2"
    file = imported(document)
    assert file.graph.n_layers == 1
    assert in_any_order(exported(file)) == in_any_order(document)


def test_feature_numbers_out_of_range_are_said_and_kept() -> None:
    document = circuit_tracer()
    document["nodes"][0]["feature"] = cantor(0, 2**33)
    document["nodes"][1]["feature"] = 7
    document["nodes"][2]["feature"] = None
    file = imported(document)
    assert file.graph.feature[:3].tolist() == [-1, 7, -1]
    assert len(file.repairs) == 2
    assert in_any_order(exported(file)) == in_any_order(document)


def test_reading_leaves_the_document_alone() -> None:
    document = circuit_tracer(old_errors=True)
    before = copy.deepcopy(document)
    from engine.graphs.formats.neuronpedia_reading import read_document

    read_document(document, "x")
    assert document == before
