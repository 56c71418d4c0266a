"""Oracle: the command line, with a real model and a folder in circuit-tracer's layout, gives circuit-tracer's edges."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from engine.graphs import AttributionGraph, NodeKind
from engine.graphs.formats import load_npz
from engine.models.language_model import LanguageModel
from tests.conftest import REPOSITORY
from tests.oracle.starter_case import CASES, LOGIT_MASS, MAX_NODES, MODEL, TEXT, TOKENS, TOP_LOGITS
from tests.oracle.test_circuit_tracer import reference, their_numbers
from tests.oracle.transcoder_case import Case, write_dictionary


@pytest.fixture(scope="module", params=CASES, ids=lambda case: case.name)
def case(request: pytest.FixtureRequest) -> Case:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def written(case: Case, smollm: LanguageModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the graph and the report; `smollm` has the model prepared before the command looks for it."""
    folder = tmp_path_factory.mktemp(case.name)
    write_dictionary(case, folder / "transcoders")
    nodes = reference(case.name)["active_features"]
    assert len(nodes) == MAX_NODES
    (folder / "nodes.csv").write_text("".join(f"{layer},{place},{feature}\n" for layer, place, feature in nodes))
    asked = [TEXT, "--model", MODEL, "--features", str(folder / "transcoders"), "--trust-features", "--compatible"]
    asked += ["--nodes", str(folder / "nodes.csv"), "--top-logits", str(TOP_LOGITS), "--logit-mass", str(LOGIT_MASS)]
    asked += ["--device", "cpu", "--arrays", str(folder / "graph.npz"), "--report", str(folder / "report.json")]
    command = [sys.executable, "-m", "engine", "trace", *asked, "--no-cache"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=250, check=False)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def graph(written: Path) -> AttributionGraph:
    return load_npz(written / "graph.npz")


def test_the_same_prompt_features_and_logits(case: Case, written: Path, graph: AttributionGraph) -> None:
    theirs, report = reference(case.name), json.loads((written / "report.json").read_text(encoding="utf-8"))
    assert tuple(graph.token_ids) == TOKENS
    features = graph.of_kind(NodeKind.FEATURE)
    ours = np.stack([graph.layer[features], graph.position[features], graph.feature[features]], 1)
    assert (ours == theirs["active_features"]).all()
    assert np.allclose(graph.activation[features], theirs["activation_values"], rtol=1e-4, atol=1e-5)
    assert report["active_features"] == int(theirs["active_count"]) > 1000
    assert graph.logit_token.tolist() == theirs["logit_tokens"].tolist()
    assert np.allclose(graph.logit_probability, theirs["logit_probabilities"], rtol=1e-4)


def test_edges_are_equal_to_1e_5(case: Case, graph: AttributionGraph) -> None:
    theirs, numbers = reference(case.name)["adjacency"], their_numbers(graph, reference(case.name))
    ours = np.zeros_like(theirs)
    ours[numbers[graph.target], numbers[graph.source]] = graph.weight
    scale = np.abs(theirs).max(1, keepdims=True).clip(1e-6)
    assert (np.abs(ours - theirs) / scale).max() < 1e-5
    assert (theirs != 0).sum() > 20_000


def test_scores_are_equal(case: Case, written: Path) -> None:
    found = json.loads((written / "report.json").read_text(encoding="utf-8"))["compatible"]
    assert [found["replacement"], found["completeness"]] == pytest.approx(reference(case.name)["scores"], rel=1e-5)
