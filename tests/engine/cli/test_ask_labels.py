"""`circuit-loupe labels ask`: words that pass become automatic labels, better ones alone, and a person's stay."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from engine import models
from engine.errors import RequestError
from engine.evidence import index_places, model_labeller
from engine.evidence.pages import Example, FeaturePage, Label, Side
from engine.graphs import AttributionGraph, NodeKind
from engine.projects import Project
from tests.engine.cli.test_export_import import refusal, run
from tests.graph_builder import build_graph

REPORT = {"model": {"name": "m", "fingerprint": "m1"}, "features": {"kind": "transcoders", "fingerprint": "f1"}}


class Pages:
    """An index whose features have texts of their own; one has a rule's label that cannot be beaten, one is missing."""

    def __init__(self, missing: int, ruled: int) -> None:
        self.missing, self.ruled, self.closed = missing, ruled, False

    def page(self, layer: int, feature: int) -> FeaturePage:
        if feature == self.missing:
            raise RequestError("It is not in this index.")
        text = Example("Strongest", ("a", f" w{layer}-{feature}"), (0.0, 1.0), 1, 1.0)
        label = Label("a rule", "token", 1.0, 0.5) if feature == self.ruled else None
        return FeaturePage(layer, feature, (Side(1.0, (), (), (text,) * 6, label),) * 2, None, "")

    def close(self) -> None:
        self.closed = True


class ReadsPeaks:
    """Stands where a local model would answer."""

    def __init__(self, *_: Any) -> None:
        pass

    def label(self, examples: Sequence[Example]) -> str | None:
        return examples[0].tokens[1].strip()

    def holds(self, words: str, example: Example) -> bool:
        return example.tokens[1].strip() == words


@pytest.fixture
def graph() -> AttributionGraph:
    return build_graph(seed=7)


@pytest.fixture
def project(tmp_path: Path, graph: AttributionGraph) -> Path:
    with Project.create(tmp_path / "p.loupe") as project:
        project.add_trace(REPORT, graph, title="The capital → Austin")
    return tmp_path / "p.loupe"


def features_of(graph: AttributionGraph) -> list[int]:
    """Nodes behind the first token, one a feature, most influence first."""
    nodes = [int(node) for node in graph.of_kind(NodeKind.FEATURE) if graph.position[node] > 0]
    first: dict[tuple[int, int, bool], int] = {}
    for node in sorted(nodes, key=lambda node: -float(graph.influence[node])):
        first.setdefault((int(graph.layer[node]), int(graph.feature[node]), graph.activation[node] < 0), node)
    return list(first.values())


def test_labels_that_pass_are_given(
    project: Path, graph: AttributionGraph, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, missing, ruled, *free = features_of(graph)
    pages = Pages(int(graph.feature[missing]), int(graph.feature[ruled]))
    monkeypatch.setattr(index_places, "find_index", lambda *of: pages if of == ("f1", "m1") else None)
    monkeypatch.setattr(models, "load_model", lambda *_, **__: None, raising=False)
    monkeypatch.setattr(model_labeller, "ModelLabeller", ReadsPeaks)
    with Project.open(project) as opened:
        opened.set_label(1, mine, "mine")
    assert run("labels", "ask", "--project", project, "--model", "any", "--most", 1000) == 0
    said = capsys.readouterr().out
    with Project.open(project) as opened:
        given = opened.annotations(1)
    assert given.labels[mine] == "mine" and mine not in given.sources
    assert missing not in given.labels and ruled not in given.labels
    left = [node for node in free if int(graph.feature[node]) not in (pages.missing, pages.ruled)]
    assert left and all(given.labels[node] == f"w{graph.layer[node]}-{graph.feature[node]}" for node in left)
    assert {given.sources[node] for node in left} == {"automatic"}
    assert f"{graph.describe(left[0])}: {given.labels[left[0]]} (score 1.00, by chance 0.50)" in said
    assert f"{graph.describe(ruled)}: " in said and "; not better than a rule (1.00)" in said
    assert f"{graph.describe(mine)}: " not in said
    given_count = said.count("by chance") - said.count("; not better")
    assert f"Given:  {given_count:,} labels of {said.count('layer '):,} features" in said
    assert pages.closed


def test_what_is_missing_is_one_sentence(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_places, "find_index", lambda *of: None)
    assert run("labels", "ask", "--project", project, "--model", "any") == 2
    assert "make one with circuit-loupe index" in refusal(capsys)
    assert run("labels", "ask", "--project", project, "--model", "any", "--trace", 9) == 2
    assert "has no trace 9; choose one of 1 with --trace" in refusal(capsys)
