"""bfloat16 from the command line: the graph is float32's within that format's digits, and its error is shown."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from engine.cli import main
from engine.graphs import AttributionGraph, NodeKind
from engine.graphs.formats import load_npz
from engine.models.language_model import LanguageModel
from tests.oracle.starter_case import CASES, MODEL, TEXT
from tests.oracle.transcoder_case import write_dictionary


@pytest.fixture(scope="module", params=["neurons", "transcoders"])
def asked(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, smollm: LanguageModel) -> list[str]:
    """A trace of SmolLM2 of a dozen nodes, whatever the dtype; `smollm` has the model prepared before."""
    folder = tmp_path_factory.mktemp(request.param)
    nodes = [(layer, position, 3 * layer + position) for layer in (5, 12, 20, 29) for position in (1, 3, 5)]
    source = "neurons"
    if request.param == "transcoders":
        write_dictionary(CASES[0], folder / "transcoders")
        with np.load(Path(__file__).parents[2] / "oracle/references" / f"{CASES[0].name}.npz") as arrays:
            nodes = [tuple(row) for row in arrays["active_features"][::16].tolist()]
        source = str(folder / "transcoders")
    (folder / "nodes.json").write_text(json.dumps(nodes))
    words = ["trace", TEXT, "--model", MODEL, "--device", "cpu", "--no-cache", "--features", source, "--trust-features"]
    return [*words, "--nodes", str(folder / "nodes.json"), "--edge-mass", "1", "--top-logits", "3"]


def rows(graph: AttributionGraph) -> dict[tuple[int, ...], np.ndarray]:
    """The edges of each logit and feature by source, sources in one order whatever the nodes' numbers are."""
    key = np.stack([graph.kind, graph.layer, graph.position, graph.feature], 1).astype(np.int64)
    order = {tuple(row): number for number, row in enumerate(sorted(map(tuple, key.tolist())))}
    dense = np.zeros((graph.n_nodes, graph.n_nodes))
    place = np.array([order[tuple(row)] for row in key.tolist()])
    dense[place[graph.target], place[graph.source]] = graph.weight
    traced = np.isin(graph.kind, [int(NodeKind.FEATURE), int(NodeKind.LOGIT)])
    return {tuple(row): dense[order[tuple(row)]] for row in key[traced].tolist()}


def test_a_bfloat16_trace_is_near_and_says_how_near(
    asked: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outputs = {dtype: (tmp_path / f"{dtype}.npz", tmp_path / f"{dtype}.json") for dtype in ("float32", "bfloat16")}
    status, printed = {}, {}
    for dtype, (arrays, report) in outputs.items():
        status[dtype] = main([*asked, "--dtype", dtype, "--arrays", str(arrays), "--report", str(report)])
        printed[dtype] = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("Proof:"))
    assert status == {"float32": 0, "bfloat16": 4}
    found = {dtype: json.loads(report.read_text(encoding="utf-8")) for dtype, (_, report) in outputs.items()}
    assert found["bfloat16"]["machine"]["dtype"] == "bfloat16"
    assert found["bfloat16"]["top_tokens"][0]["token"] == found["float32"]["top_tokens"][0]["token"] == " Austin"
    # Eight binary digits: far above float32's bound, and no more than some tens of roundings.
    assert 1e-4 < found["bfloat16"]["conservation_error"] < 0.1
    error = f"{found['bfloat16']['conservation_error']:.1e}"
    assert printed["bfloat16"] == f"Proof:      largest conservation error {error} (ABOVE the bound of 1e-04)"
    assert "(within the bound of 1e-04)" in printed["float32"]
    exact, near = (rows(load_npz(outputs[dtype][0])) for dtype in ("float32", "bfloat16"))
    assert set(near) == set(exact)
    for node in exact:
        cosine = near[node] @ exact[node] / (np.linalg.norm(near[node]) * np.linalg.norm(exact[node]) + 1e-30)
        assert cosine > 0.98, node
