"""The sample projects: small, about nobody's machine, and saying what was measured; one is measured again."""

from __future__ import annotations

import getpass
import platform
from pathlib import Path

import pytest

from app.samples import load_sample_projects
from engine.graphs.graph import NodeKind
from engine.interventions.baselines import baseline_of
from engine.interventions.case import open_case
from engine.interventions.circuit_evidence import read_circuit
from engine.interventions.measure import measure
from engine.models.language_model import LanguageModel
from engine.projects import Project
from tests.samples.make import (
    CONTROLS,
    FOLDER,
    INDEX,
    NECESSARY_P,
    NODES,
    SAMPLES,
    TABLE,
    Sample,
    figures,
    write_index,
    write_table,
)

# A graph of the usual size, and the one that is larger.
LARGEST_BYTES, LARGER_BYTES, ALL_BYTES = 300 * 1024, 1200 * 1024, 3 * 2**20


@pytest.mark.parametrize("sample", SAMPLES, ids=[one.name for one in SAMPLES])
def test_a_sample_says_what_was_measured(sample: Sample) -> None:
    path = FOLDER / f"{sample.name}.loupe"
    with Project.open(path, read_only=True) as project:
        (row,) = project.traces()
        graph, notes = project.load_graph(row.id), project.annotations(row.id)
        report = project.report(row.id)
    found = figures(path)
    circuit, search = found["circuit"], found["search"]
    assert report["conservation_error"] <= report["conservation_bound"]
    assert report["model"]["name"] == sample.model and report["top_tokens"][0]["token"] == sample.token
    pinned = {(int(graph.layer[n]), int(graph.position[n]), int(graph.feature[n])) for n in notes.pins}
    assert pinned == {tuple(one) for one in search["features"]} and len(pinned) == circuit["size"]
    assert all(graph.kind[n] == NodeKind.FEATURE for n in notes.pins)
    need = circuit["necessity"]
    assert need["n"] == len(need["effects"]) == CONTROLS
    assert need["p"] == (1 + sum(one >= need["effect"] for one in need["effects"])) / (CONTROLS + 1)
    assert search["faithfulness"] >= 0.8 and sum(need["widened"].values()) == circuit["size"]
    # One that fails says so, in the project's note too.
    failed = need["p"] >= NECESSARY_P
    assert ("not shown to be needed" in circuit["sentence"]) == failed
    assert circuit["sentence"] in notes.note


def test_samples_are_small_and_about_nobodys_machine() -> None:
    paths = [FOLDER / f"{sample.name}.loupe" for sample in SAMPLES]
    sizes = [path.stat().st_size for path in paths]
    most = [LARGEST_BYTES if sample.nodes == NODES else LARGER_BYTES for sample in SAMPLES]
    assert all(size <= bound for size, bound in zip(sizes, most, strict=True)) and sum(sizes) <= ALL_BYTES
    known = [str(Path.home()), str(Path(__file__).parent.parent.parent), platform.node()]
    known += [f"/{getpass.getuser()}/"]
    for path in paths:
        held = path.read_bytes()
        assert not [one for one in known if len(one) > 3 and one.encode() in held], path.name


def test_the_table_is_what_the_projects_hold(tmp_path: Path) -> None:
    write_table(FOLDER, tmp_path / "samples.md")
    assert (tmp_path / "samples.md").read_text(encoding="utf-8") == TABLE.read_text(encoding="utf-8")


def test_what_the_window_lists_is_what_the_projects_hold(tmp_path: Path) -> None:
    write_index(FOLDER, tmp_path / "samples.json")
    assert (tmp_path / "samples.json").read_text(encoding="utf-8") == INDEX.read_text(encoding="utf-8")
    assert [one.name for one in load_sample_projects()] == [one.name for one in SAMPLES]
    for one in load_sample_projects():
        assert one.needed == (figures(FOLDER / f"{one.name}.loupe")["circuit"]["necessity"]["p"] < NECESSARY_P)


def test_a_sample_measured_again_gives_its_figures(smollm: LanguageModel) -> None:
    from engine.dictionaries.neurons import NeuronFeatures

    with Project.open(FOLDER / "capital.loupe", read_only=True) as project:
        (row,) = project.traces()
        asked = project.asked(row.id)
        (kept,) = [one for one in project.experiments.all() if one.kind == "circuit"]
        spec, result = (
            read_circuit(project.experiments.settings(kept.id)["experiment"]),
            project.experiments.result(kept.id),
        )
    case = open_case(smollm, NeuronFeatures(smollm.weights), asked.spec)
    baseline = baseline_of(case, spec.ablation)
    outside = [one for one in spec.universe if one not in set(spec.features)]
    found = measure(case, [(), baseline.ablated(spec.features), baseline.ablated(outside)], spec.settings)
    expected = [result["full"], result["without"], result["alone"]]
    assert found.metric.tolist() == pytest.approx(expected, abs=2e-2)
