"""circuit-tracer's .pt graphs, in every form they had, without torch.load and without running a byte of them."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from engine.errors import RequestError
from engine.graphs import NodeKind
from engine.graphs.formats import circuit_tracer_pt, read_graph_file
from tests.engine.graphs.formats.comparing import exported, imported
from tests.engine.graphs.formats.torch_files import (
    N_LAYERS,
    N_POS,
    HookedTransformerConfig,
    dense,
    graph_values,
    layers,
    repacked,
    save,
)


def test_nodes_and_edges(tmp_path: Path) -> None:
    values = graph_values()
    file = read_graph_file(save(tmp_path / "named.json", values))
    graph = file.graph
    assert file.form == "circuit-tracer .pt"
    counts = [int((graph.kind == kind).sum()) for kind in NodeKind]
    assert counts == [4, N_LAYERS * N_POS, N_POS, 0, 2]
    assert graph.layer.tolist() == layers().tolist()
    assert graph.position.tolist() == [0, 1, 1, 1, *[0, 1] * N_LAYERS, 0, 1, 1, 1]
    assert graph.feature[:4].tolist() == [7, 3, 9, 11]
    assert graph.activation[:4].tolist() == [1.5, 2.5, 3.5, 5.5]
    assert (dense(graph) == values["adjacency_matrix"].numpy()).all()
    assert graph.token_ids == (1, 2)
    assert graph.logit_text == (" x", "x−y")
    assert graph.logit_token.tolist() == [5, 51]
    assert graph.logit_probability.tolist() == [0.5, 0.25]
    assert graph.meta["prompt"] == "ab"
    assert graph.meta["model"]["name"] == "tiny"
    assert graph.meta["features"]["name"] == "org/transcoders"
    assert graph.meta["conservation_error"] is None
    assert len(graph.traced) == 0


def test_influence_and_scores_equal_circuit_tracers(tmp_path: Path) -> None:
    """Against the dense power series of circuit-tracer's definition, in float64."""
    values = graph_values(seed=3)
    graph = read_graph_file(save(tmp_path / "g.pt", values)).graph
    matrix = values["adjacency_matrix"].double().abs()
    share = matrix / matrix.sum(1, keepdim=True).clamp_min(1e-10)
    weight = torch.zeros(len(matrix), dtype=torch.float64)
    weight[-2:] = torch.tensor([0.5, 0.25])
    influence, term = torch.zeros_like(weight), weight @ share
    while term.any():
        influence, term = influence + term, term @ share
    assert np.allclose(graph.influence[:-2], influence[:-2].numpy(), rtol=1e-5)
    token, error = influence[10:12].sum(), influence[4:10].sum()
    assert graph.meta["compatible"]["replacement"] == pytest.approx(float(token / (token + error)))


def _legacy(values: dict[str, Any]) -> None:
    values["logit_targets"] = torch.tensor([5, 51])


def _oldest(values: dict[str, Any]) -> None:
    values["logit_tokens"] = torch.tensor([5, 51])
    del values["logit_targets"], values["vocab_size"]
    values["cfg"] = HookedTransformerConfig(N_LAYERS, np.sqrt(64.0), torch.bfloat16, torch.device("cpu"), None)


def _newest(values: dict[str, Any]) -> None:
    values["scan_name"] = values.pop("scan")


@pytest.mark.parametrize("form", [_legacy, _oldest, _newest])
def test_forms_of_other_years(tmp_path: Path, form: Any) -> None:
    values = graph_values()
    form(values)
    graph = read_graph_file(save(tmp_path / "g.pt", values)).graph
    assert (dense(graph) == values["adjacency_matrix"].numpy()).all()
    assert graph.logit_token.tolist() == [5, 51]
    assert graph.meta["features"]["name"] == "org/transcoders"


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_number_types(tmp_path: Path, dtype: torch.dtype) -> None:
    values = graph_values()
    for name in ("adjacency_matrix", "activation_values", "logit_probabilities"):
        values[name] = values[name].to(dtype)
    graph = read_graph_file(save(tmp_path / "g.pt", values)).graph
    assert (dense(graph) == values["adjacency_matrix"].float().numpy()).all()
    assert graph.activation[:4].tolist() == [1.5, 2.5, 3.5, 5.5]


def test_views_and_steps(tmp_path: Path) -> None:
    """A transposed matrix and slices of one storage are read through their offsets and strides."""
    values = graph_values()
    matrix = values["adjacency_matrix"]
    values["adjacency_matrix"] = matrix.t().contiguous().t()
    shared = torch.zeros(10)
    shared[2:7] = values["activation_values"]
    values["activation_values"] = shared[2:7]
    values["logit_probabilities"] = torch.tensor([0.5, 9.0, 0.25])[::2]
    graph = read_graph_file(save(tmp_path / "g.pt", values)).graph
    assert (dense(graph) == matrix.numpy()).all()
    assert graph.activation[:4].tolist() == [1.5, 2.5, 3.5, 5.5]
    assert graph.logit_probability.tolist() == [0.5, 0.25]


def test_it_can_be_written_as_json_and_read_again(tmp_path: Path) -> None:
    file = read_graph_file(save(tmp_path / "g.pt", graph_values()))
    back = imported(exported(file, whole=True)).graph
    assert (dense(back) == dense(file.graph)).all()
    assert back.token_ids == file.graph.token_ids


def test_rows_of_a_large_graph_keep_their_strongest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = graph_values()
    monkeypatch.setattr(circuit_tracer_pt, "MOST_EDGES", 2 * len(values["adjacency_matrix"]))
    file = read_graph_file(save(tmp_path / "g.pt", values))
    graph = file.graph
    for row in range(graph.n_nodes):
        given = np.sort(np.abs(values["adjacency_matrix"][row].numpy()))[::-1]
        kept = np.abs(graph.weight[graph.inputs(row)])
        assert (kept == given[given > 0][:2]).all()
    assert any("strongest 2 of each row" in one for one in file.repairs)


def test_entries_against_the_order_are_left_out_and_said(tmp_path: Path) -> None:
    values = graph_values()
    values["adjacency_matrix"][0, 3] = 1.0
    values["adjacency_matrix"][2, 2] = 1.0
    file = read_graph_file(save(tmp_path / "g.pt", values))
    (sentence,) = [one for one in file.repairs if "lower layer" in one]
    assert "adjacency_matrix[0, 3] and 1 more" in sentence
    assert dense(file.graph)[0, 3] == 0


def _set(name: str, value: Any) -> Any:
    return lambda values: values.update({name: value})


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda v: v.pop("adjacency_matrix"), "no graph of circuit-tracer"),
        (lambda v: v["adjacency_matrix"].__setitem__((1, 4), float("nan")), r"adjacency_matrix\[1, 4\]"),
        (_set("adjacency_matrix", torch.zeros(3, 3)), "adjacency_matrix of"),
        (_set("adjacency_matrix", torch.zeros(14)), "damaged"),
        (_set("adjacency_matrix", [1]), "damaged"),
        (_set("selected_features", torch.tensor([0, 99])), "selected_features"),
        (_set("selected_features", torch.tensor([0, -1])), "selected_features"),
        (_set("active_features", torch.tensor([[9, 0, 1]] * 5)), "active_features"),
        (_set("active_features", torch.tensor([[0, 5, 1]] * 5)), "active_features"),
        (_set("active_features", torch.tensor([[0, 0, 2**40]] * 5)), "active_features"),
        (_set("active_features", torch.zeros(5, 2)), "active_features"),
        (_set("input_tokens", torch.tensor([])), "input_tokens"),
        (_set("input_tokens", torch.tensor([-1, 2])), "input_tokens"),
        (_set("logit_probabilities", torch.tensor([0.5, float("inf")])), "logit_probability"),
        (_set("logit_probabilities", torch.tensor([0.5])), "logit_probability"),
        (_set("logit_targets", [("a", 1), ("b", "c")]), "logit_targets"),
        (_set("logit_targets", []), "adjacency_matrix"),
        (_set("cfg", {"n_layers": 10**9}), "n_layers"),
        (_set("cfg", 3), "cfg"),
        (_set("activation_values", torch.tensor([1.0] * 4)), "selected_features"),
    ],
)
def test_values_that_make_no_graph(tmp_path: Path, spoil: Any, says: str) -> None:
    values = graph_values()
    spoil(values)
    with pytest.raises(RequestError, match=says):
        read_graph_file(save(tmp_path / "g.pt", values))


def test_other_files_of_torch(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="no graph of circuit-tracer"):
        read_graph_file(save(tmp_path / "g.pt", {"weight": torch.zeros(3)}))
    torch.save({"a": torch.zeros(2)}, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    with pytest.raises(RequestError, match="bare pickle"):
        read_graph_file(tmp_path / "old.pt")
    path = save(tmp_path / "big.pt", graph_values())
    name = next(one for one in zipfile.ZipFile(path).namelist() if one.endswith("byteorder"))
    repacked(path, lambda entries: entries.update({name: b"big"}))
    with pytest.raises(RequestError, match="byte order"):
        read_graph_file(path)


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9, 0.99])
def test_a_file_that_is_cut_short(tmp_path: Path, share: float) -> None:
    path = save(tmp_path / "g.pt", graph_values())
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(RequestError, match=r"g\.pt"):
        read_graph_file(path)
