"""Oracle: on the same model and transcoders, edges, scores and pruning are circuit-tracer's.

The references are circuit-tracer's own graphs (see `make_references.py`; each file names the versions). What it does
not have (bias nodes) or does otherwise is compared in the compatible mode, where this engine leaves them out too.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.dictionaries import load_features
from engine.graphs import AttributionGraph, NodeKind, prune, scores
from engine.tracing import Prompt, Target, Trace, TraceSpec, trace
from tests.engine.models.in_memory import weights_of
from tests.engine.tracing.tiny_models import TinyModel, TinyTokenizer
from tests.oracle.tiny_case import CASES, PROMPT, VOCAB, hf_model
from tests.oracle.transcoder_case import Case, write_dictionary

REFERENCES = Path(__file__).parent / "references"
CASE_NAMES = [case.name for case in CASES]


class CaseTokenizer(TinyTokenizer):
    vocab_size = VOCAB


@cache
def reference(name: str) -> dict[str, np.ndarray]:
    with np.load(REFERENCES / f"{name}.npz", allow_pickle=False) as arrays:
        return {key: arrays[key] for key in arrays.files}


@pytest.fixture(scope="module", params=CASE_NAMES)
def compared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Trace, dict[str, Any]]:
    case: Case = next(one for one in CASES if one.name == request.param)
    folder = tmp_path_factory.mktemp(case.name)
    write_dictionary(case, folder)
    hf = hf_model(case.family)
    model = TinyModel(hf, weights_of(hf), case.name, CaseTokenizer())
    features = load_features(folder, model, trust=True)  # type: ignore[arg-type]
    target = Target(top_logits=5, logit_mass=0.8)
    theirs = reference(case.name)
    # All active features, those included that nothing leads from: a budget would not spend nodes on them.
    nodes = tuple((int(layer), int(position), int(feature)) for layer, position, feature in theirs["active_features"])
    spec = TraceSpec(Prompt(token_ids=PROMPT), target, nodes=nodes, compatible=True)
    return trace(model, features, spec), theirs  # type: ignore[arg-type]


def their_numbers(graph: AttributionGraph, theirs: dict[str, np.ndarray]) -> np.ndarray:
    """(N,) circuit-tracer's number of each of our nodes: features, errors by layer, tokens, logits in its order."""
    features = {tuple(row): number for number, row in enumerate(theirs["active_features"].tolist())}
    first_error, n = len(features), graph.n_positions
    first_token = first_error + graph.n_layers * n
    numbers = np.empty(graph.n_nodes, int)
    for node in range(graph.n_nodes):
        layer, position = int(graph.layer[node]), int(graph.position[node])
        kind = NodeKind(int(graph.kind[node]))
        if kind is NodeKind.FEATURE:
            numbers[node] = features[(layer, position, int(graph.feature[node]))]
        elif kind is NodeKind.ERROR:
            numbers[node] = first_error + layer * n + position
        elif kind is NodeKind.EMBEDDING:
            numbers[node] = first_token + position
        else:
            order = theirs["logit_tokens"].tolist().index(int(graph.feature[node]))
            numbers[node] = first_token + n + order
    return numbers


def test_the_same_features_are_active(compared: tuple[Trace, dict[str, Any]]) -> None:
    graph, theirs = compared[0].graph, compared[1]
    features = graph.of_kind(NodeKind.FEATURE)
    ours = np.stack([graph.layer[features], graph.position[features], graph.feature[features]], 1)
    assert (ours == theirs["active_features"]).all()
    assert len(ours) == compared[0].report["active_features"] > 100
    assert np.allclose(graph.activation[features], theirs["activation_values"], rtol=1e-4, atol=1e-5)


def test_the_same_logits_are_traced(compared: tuple[Trace, dict[str, Any]]) -> None:
    graph, theirs = compared[0].graph, compared[1]
    assert graph.logit_token.tolist() == theirs["logit_tokens"].tolist()
    assert np.allclose(graph.logit_probability, theirs["logit_probabilities"], rtol=1e-4)


def test_edges_are_equal_to_1e_5(compared: tuple[Trace, dict[str, Any]]) -> None:
    graph, theirs = compared[0].graph, compared[1]
    numbers = their_numbers(graph, theirs)
    ours = np.zeros_like(theirs["adjacency"])
    ours[numbers[graph.target], numbers[graph.source]] = graph.weight
    scale = np.abs(theirs["adjacency"]).max(1, keepdims=True).clip(1e-6)
    assert (np.abs(ours - theirs["adjacency"]) / scale).max() < 1e-5
    assert (theirs["adjacency"] != 0).sum() > 5000


def test_scores_are_equal(compared: tuple[Trace, dict[str, Any]]) -> None:
    found = scores(compared[0].graph, compatible=True)
    assert [found.replacement, found.completeness] == pytest.approx(compared[1]["scores"].tolist(), rel=1e-5)


def test_pruning_is_equal(compared: tuple[Trace, dict[str, Any]]) -> None:
    graph, theirs = compared[0].graph, compared[1]
    numbers, size = their_numbers(graph, theirs), len(theirs["adjacency"])
    view = prune(graph, 0.8, 0.98, compatible=True)
    nodes = np.zeros(size, bool)
    nodes[numbers[view.nodes]] = True
    edges = np.zeros((size, size), bool)
    edges[numbers[graph.target[view.edges]], numbers[graph.source[view.edges]]] = True
    their_edges = np.unpackbits(theirs["edge_mask"])[: size * size].reshape(size, size).astype(bool)
    # A score within rounding of the threshold may fall on either side of it.
    assert (nodes != theirs["node_mask"]).sum() <= 1
    assert (edges != their_edges).sum() <= 0.002 * their_edges.sum() + 3


@pytest.mark.parametrize("name", CASE_NAMES)
def test_references_name_their_versions(name: str) -> None:
    assert [line.split()[0] for line in reference(name)["versions"].tolist()] == [
        "circuit-tracer",
        "transformer-lens",
        "transformers",
        "torch",
    ]
