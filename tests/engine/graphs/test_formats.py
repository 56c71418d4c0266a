"""Arrays come back bit for bit; the JSON has the published schema's fields and survives hostile labels."""

from __future__ import annotations

import json
import zipfile
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from engine.errors import RequestError
from engine.graphs import NodeKind, prune
from engine.graphs.formats import load_npz, save_npz, write_json
from engine.graphs.formats.neuronpedia import cantor
from tests.graph_builder import build_graph


def test_arrays_round_trip(tmp_path: Path) -> None:
    graph = replace(build_graph(seed=2), meta={"prompt": "a\x00", "n": [1, None]}, tokens=("a\x00",) * 6)
    save_npz(graph, tmp_path / "graph.npz")
    back = load_npz(tmp_path / "graph.npz")
    for column in fields(graph):
        before, after = getattr(graph, column.name), getattr(back, column.name)
        if isinstance(before, np.ndarray):
            assert before.dtype == after.dtype
            assert (before == after).all()
        else:
            assert before == after


def test_arrays_hold_no_objects_and_the_documented_names(tmp_path: Path) -> None:
    save_npz(build_graph(), tmp_path / "graph.npz")
    with np.load(tmp_path / "graph.npz", allow_pickle=False) as arrays:
        names = "kind kind_names layer position feature activation source target weight rest rest_absolute value "
        names += "tokens logit_token logit_probability"
        assert set(names.split()) <= set(arrays.files)
        assert all(arrays[name].dtype != object for name in arrays.files)
        assert list(arrays["kind_names"]) == ["feature", "error", "embedding", "bias", "logit"]


@pytest.mark.parametrize("damage", ["cut", "text", "missing", "other"])
def test_damaged_arrays_are_refused_in_a_sentence(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "graph.npz"
    save_npz(build_graph(), path)
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:1000])
    elif damage == "text":
        path.write_text("hello")
    elif damage == "missing":
        path.unlink()
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a.npy", b"nothing")
    with pytest.raises(RequestError, match=r"graph\.npz"):
        load_npz(path)


def test_an_unwritable_place_leaves_what_was_there(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="no folder"):
        save_npz(build_graph(), tmp_path / "absent" / "graph.npz")


def test_json_has_what_readers_need(tmp_path: Path) -> None:
    graph = replace(build_graph(seed=1), meta={"prompt": "The capital", "model": {"name": "m"}})
    pin = int(graph.of_kind(NodeKind.FEATURE)[0])
    write_json(graph, tmp_path / "g.json", pins=(pin,), groups=(("pair", (pin,)),), labels={pin: "<b>capital & co</b>"})
    document = json.loads((tmp_path / "g.json").read_text(encoding="utf-8"))
    view = prune(graph, keep=[pin])
    assert {"metadata", "qParams", "nodes", "links"} <= set(document)
    assert {"slug", "scan", "prompt_tokens", "prompt", "node_threshold"} <= set(document["metadata"])
    assert len(document["nodes"]) == view.nodes.sum()
    assert len(document["links"]) == view.edges.sum()
    ids = [node["node_id"] for node in document["nodes"]]
    assert len(set(ids)) == len(ids), "ids collide"
    assert {link["source"] for link in document["links"]} | {link["target"] for link in document["links"]} <= set(ids)
    required = {"node_id", "feature", "layer", "ctx_idx", "feature_type", "jsNodeId", "clerp"}
    for node in document["nodes"]:
        assert required <= set(node)
        if node["feature_type"] == "logit":
            # Neuronpedia's loader splits at exactly this.
            assert 0 <= float(node["clerp"].split("(p=")[1].split(")")[0]) <= 1
    assert document["qParams"]["pinnedIds"] == [
        ids[[n["clerp"] for n in document["nodes"]].index("<b>capital & co</b>")]
    ]
    assert document["qParams"]["supernodes"] == [["pair", document["qParams"]["pinnedIds"][0]]]


@pytest.mark.parametrize("layer", [0, 7, 31])
@pytest.mark.parametrize("number", [0, 5, 16383])
def test_cantor_pairs_can_be_taken_apart(layer: int, number: int) -> None:
    from math import isqrt

    pair = cantor(layer, number)
    width = (isqrt(8 * pair + 1) - 1) // 2
    index = pair - width * (width + 1) // 2
    assert (width - index, index) == (layer, number)
