"""Every fault of a graph JSON is refused or repaired in one sentence that names the key."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.errors import MachineError, RequestError
from engine.graphs.formats import json_document, read_graph_file
from tests.engine.graphs.formats.comparing import exported, imported, in_any_order
from tests.engine.graphs.formats.documents import circuit_tracer, feature_node, find, node


def refusal(path: Path, content: bytes | str) -> str:
    """The sentence that a file is refused with."""
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(RequestError) as caught:
        read_graph_file(path)
    sentence = caught.value.sentence
    assert sentence.endswith(".")
    assert "\n" not in sentence
    assert path.name in sentence
    return sentence


@pytest.mark.parametrize(
    ("spoil", "names"),
    [
        (lambda d: d["links"][3].update(weight=float("nan")), "NaN at links[3].weight"),
        (lambda d: d["links"][2].update(weight=float("-inf")), "-Infinity at links[2].weight"),
        (lambda d: d["nodes"][1].update(activation=float("inf")), "Infinity at nodes[1].activation"),
        (lambda d: d["metadata"].update(deep=[{"x": float("nan")}]), "NaN at metadata.deep[0].x"),
    ],
)
def test_numbers_that_are_none(tmp_path: Path, spoil: Callable[[Any], None], names: str) -> None:
    document = circuit_tracer()
    spoil(document)
    assert names in refusal(tmp_path / "g.json", json.dumps(document))


def test_a_number_too_large_for_any_float(tmp_path: Path) -> None:
    text = json.dumps(circuit_tracer()).replace("-2.390625", "1e999")
    assert "1e999 at links[0].weight" in refusal(tmp_path / "g.json", text)


@pytest.mark.parametrize(
    ("spoil", "names"),
    [
        (lambda d: d["links"][3].pop("weight"), "links[3].weight"),
        (lambda d: d["links"][3].update(weight="1"), "links[3].weight"),
        (lambda d: d["links"][3].update(weight=True), "links[3].weight"),
        (lambda d: d["links"][3].update(weight=1e39), "links[3].weight"),
        (lambda d: d["links"][3].update(weight=10**400), "links[3].weight"),
        (lambda d: d["links"][3].update(source=4), "links[3].source"),
        (lambda d: d["links"].insert(0, []), "links[0]"),
        (lambda d: d["nodes"][1].pop("node_id"), "nodes[1].node_id"),
        (lambda d: d["nodes"][1].update(node_id=["x"]), "nodes[1].node_id"),
        (lambda d: d["nodes"][1].pop("feature_type"), "nodes[1].feature_type"),
        (lambda d: d["nodes"][1].update(ctx_idx=4), "nodes[1].ctx_idx"),
        (lambda d: d["nodes"][1].update(ctx_idx=-1), "nodes[1].ctx_idx"),
        (lambda d: d["nodes"][1].update(ctx_idx=1.5), "nodes[1].ctx_idx"),
        (lambda d: d["nodes"][1].update(ctx_idx=True), "nodes[1].ctx_idx"),
        (lambda d: d["nodes"][1].update(layer="seven"), "nodes[1].layer"),
        (lambda d: d["nodes"][1].update(layer="99999999999"), "nodes[1].layer"),
        (lambda d: d["nodes"][1].update(layer=-2), "nodes[1].layer"),
        (lambda d: d["nodes"][1].update(layer="²"), "nodes[1].layer"),
        (lambda d: d["nodes"][-1].update(layer="E"), "nodes[11].layer"),
        (lambda d: d["nodes"][1].update(feature="7"), "nodes[1].feature"),
        (lambda d: d["nodes"][1].update(activation="x"), "nodes[1].activation"),
        (lambda d: d["nodes"][1].update(activation=1e300), "nodes[1].activation"),
        (lambda d: d["nodes"][-1].update(token_prob=-0.5), "nodes[11].token_prob"),
        (lambda d: d["nodes"].append("x"), "nodes[12]"),
        (lambda d: d["nodes"].clear(), "0 nodes"),
        (lambda d: d["metadata"].update(prompt_tokens=[]), "prompt_tokens"),
        (lambda d: d["metadata"].update(prompt_tokens=["a", 1]), "prompt_tokens"),
        (lambda d: d["metadata"].pop("prompt_tokens"), "prompt_tokens"),
        (lambda d: d.pop("metadata"), "metadata"),
        (lambda d: d.pop("links"), "links"),
        (lambda d: d.update(nodes={}), "nodes"),
    ],
)
def test_fields_that_cannot_be_used(tmp_path: Path, spoil: Callable[[Any], None], names: str) -> None:
    document = circuit_tracer()
    spoil(document)
    assert names in refusal(tmp_path / "g.json", json.dumps(document))


def test_no_logit(tmp_path: Path) -> None:
    document = circuit_tracer()
    document["nodes"] = [one for one in document["nodes"] if one["feature_type"] != "logit"]
    assert "'logit'" in refusal(tmp_path / "g.json", json.dumps(document))


def test_the_same_id_for_two_nodes_of_a_type(tmp_path: Path) -> None:
    document = circuit_tracer()
    document["nodes"].append(feature_node(1, 12928, 3, activation=9.0))
    sentence = refusal(tmp_path / "g.json", json.dumps(document))
    assert "nodes[12].node_id" in sentence
    assert "nodes[1]" in sentence


def test_a_node_written_twice_is_one() -> None:
    document = circuit_tracer()
    document["nodes"].append(dict(document["nodes"][1]))
    file = imported(document)
    assert file.graph.n_nodes == 12
    assert "nodes[12].node_id" in file.repairs[0]


@pytest.mark.parametrize(
    ("source", "target", "names"),
    [
        ("gone", "27_235310_3", "links[12].source"),
        ("E_2_0", "gone", "links[12].target"),
        ("1_12928_3", "1_12928_3", "to itself"),
        ("13_82873_3", "1_12928_3", "lower layer, against the order of an attribution graph, and were"),
        ("27_235310_3", "1_12928_3", "lower layer"),
        ("1_12928_3", "E_2_0", "lower layer"),
        ("27_235310_3", "27_256001_3", "same layer"),
        ("0_5_3", "0_18753_3", "same layer"),
    ],
)
def test_links_that_no_graph_can_have_are_set_aside(source: str, target: str, names: str) -> None:
    document = circuit_tracer()
    document["links"].append({"source": source, "target": target, "weight": 1.0, "extra": 1})
    file = imported(document)
    assert file.graph.n_edges == 12
    assert names in file.repairs[0]
    assert "kept for export" in file.repairs[0]
    assert in_any_order(exported(file)) == in_any_order(document)


def test_a_cycle_within_a_layer_and_one_across() -> None:
    document = circuit_tracer()
    document["nodes"].append(feature_node(13, 4, 3))
    document["links"] += [
        {"source": "13_82873_3", "target": "13_4_3", "weight": 1.0},
        {"source": "13_4_3", "target": "13_82873_3", "weight": 1.0},
        {"source": "13_4_3", "target": "0_18753_3", "weight": 1.0},
    ]
    file = imported(document)
    assert file.graph.n_edges == 12
    assert len(file.repairs) == 2
    assert in_any_order(exported(file)) == in_any_order(document)


def test_a_bias_may_act_in_its_own_layer() -> None:
    document = circuit_tracer()
    document["nodes"].append(node("bias", "b", "13", 3, -1))
    document["links"].append({"source": "b", "target": "13_82873_3", "weight": 1.0})
    file = imported(document)
    assert file.graph.n_edges == 13
    assert file.repairs == ()


def test_links_in_any_order_and_repeated() -> None:
    document = circuit_tracer()
    document["links"] = [*document["links"][::-1], dict(document["links"][0])]
    file = imported(document)
    graph = file.graph
    assert (np.diff(graph.target) >= 0).all()
    assert any("links[12]" in one and "repeat" in one for one in file.repairs)
    assert in_any_order(exported(file)) == in_any_order(document)


def test_a_repair_names_three_places_and_counts_the_rest() -> None:
    document = circuit_tracer()
    document["links"] += [{"source": "gone", "target": "E_2_0", "weight": 1.0}] * 1000
    (sentence,) = imported(document).repairs
    assert "links[14].source and 997 more" in sentence


def test_texts_in_sentences_cannot_move_the_terminal() -> None:
    document = circuit_tracer()
    document["qParams"]["pinnedIds"] = ["\x1b[2J\u202e\n" + "x" * 5000]
    (sentence,) = imported(document).repairs
    assert "\x1b" not in sentence
    assert "\u202e" not in sentence
    assert len(sentence) < 200


@pytest.mark.parametrize("where", ["metadata", "nodes", "links", "top"])
def test_deep_nesting(tmp_path: Path, where: str) -> None:
    document = circuit_tracer()
    deep: Any = 1
    for _ in range(200):
        deep = [deep]
    place = document if where == "top" else document[where] if where == "metadata" else document[where][0]
    place["x"] = deep
    assert "nested" in refusal(tmp_path / "g.json", json.dumps(document))


def test_nesting_that_would_end_the_parser(tmp_path: Path) -> None:
    refusal(tmp_path / "g.json", "[" * 200_000)
    refusal(tmp_path / "h.json", '{"nodes":' * 200_000)


def test_memory_is_estimated_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import psutil

    free = psutil.virtual_memory()._replace(available=10_000)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: free)
    path = tmp_path / "g.json"
    path.write_text(json.dumps(circuit_tracer()))
    with pytest.raises(MachineError, match=r"g\.json needs up to"):
        read_graph_file(path)


def test_a_file_that_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_document, "LARGEST_FILE", 1000)
    assert "prune" in refusal(tmp_path / "g.json", json.dumps(circuit_tracer()))


@pytest.mark.parametrize("content", [b"", b"hello", b"{", b'{"nodes": [', b"\xff\xfe\x00\xd8{", b"{\xc3\x28}", b"null"])
def test_what_is_no_json(tmp_path: Path, content: bytes) -> None:
    refusal(tmp_path / "g.json", content)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_every_unicode_form_is_read_and_names_say_nothing(tmp_path: Path, encoding: str) -> None:
    document = circuit_tracer()
    find(document, "1_12928_3")["clerp"] = "Zürich 🜚"
    path = tmp_path / "graph.npz"
    path.write_bytes(json.dumps(document, ensure_ascii=False).encode(encoding))
    assert read_graph_file(path).labels == {1: "Zürich 🜚"}


def test_half_a_surrogate_pair_comes_back(tmp_path: Path) -> None:
    from engine.graphs.formats import write_json

    document = circuit_tracer()
    document["metadata"]["prompt_tokens"][1] = "\ud83d"
    path = tmp_path / "g.json"
    path.write_text(json.dumps(document))
    file = read_graph_file(path)
    write_json(file.graph, tmp_path / "h.json", labels=file.labels)
    assert in_any_order(json.loads((tmp_path / "h.json").read_text())) == in_any_order(document)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda kept: kept.pop("nodes"),
        lambda kept: kept.update(nodes={"clerp": {"each": []}}),
        lambda kept: kept.update(nodes={"clerp": {"at": {"x": 1}, "absent": []}}),
        lambda kept: kept.update(nodes={"clerp": {"at": {"99": 1}, "absent": []}}),
        lambda kept: kept.update(nodes=[1]),
        lambda kept: kept.update(metadata=7),
        lambda kept: kept.update(links_aside=3),
        lambda kept: kept.update(other=3),
    ],
)
def test_a_project_that_was_tampered_with_is_refused_at_export(spoil: Callable[[Any], None]) -> None:
    file = imported(circuit_tracer())
    spoil(file.graph.meta["imported"]["document"])
    with pytest.raises(RequestError, match="import the file again"):
        exported(file)
