"""`import` and `export` as scripts rely on them: projects in, projects out, one sentence for every refusal."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine.cli import main
from engine.graphs import NodeKind
from engine.projects import Project
from tests.engine.graphs.formats.comparing import assert_same_graph, in_any_order
from tests.engine.graphs.formats.documents import circuit_tracer, find
from tests.engine.graphs.formats.torch_files import graph_values, save
from tests.graph_builder import build_graph


def refusal(capsys: pytest.CaptureFixture[str]) -> str:
    """The one sentence of a refusal; progress lines before it are not part of it."""
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("circuit-loupe: ")]
    assert len(lines) == 1
    assert lines[0].endswith(".")
    return lines[0].removeprefix("circuit-loupe: ")


def run(*words: object) -> int:
    """One command."""
    return main([str(word) for word in words])


@pytest.fixture
def document(tmp_path: Path) -> Path:
    """A graph of another program with unknown fields, labels, pins and supernodes, under a name that says nothing."""
    values = circuit_tracer()
    values["metadata"]["future"] = [1, {"a": None}]
    values["links"][3]["note"] = "seen"
    find(values, "1_12928_3")["clerp"] = "a name"
    values["qParams"] |= {"pinnedIds": ["13_82873_3"], "supernodes": [["pair", "1_12928_3", "0_18753_3"]]}
    path = tmp_path / "download.dat"
    path.write_text(json.dumps(values))
    return path


@pytest.fixture
def traced(tmp_path: Path) -> Path:
    """A project with one trace that a person worked on."""
    graph = replace(build_graph(seed=7), meta={"prompt": "The capital", "model": {"name": "m"}})
    with Project.create(tmp_path / "t.loupe") as project:
        number = project.add_trace(graph.meta, graph, title="a trace")
        first, second = (int(one) for one in graph.of_kind(NodeKind.FEATURE)[:2])
        project.pin(number, [second, first])
        project.set_label(number, first, "=1+1 <b>")
        project.add_group(number, "both", [first, second])
    return tmp_path / "t.loupe"


def test_a_graph_goes_through_a_project_unharmed(
    tmp_path: Path, document: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    project = tmp_path / "p.loupe"
    assert run("import", document, "--project", project) == 0
    said = capsys.readouterr().out
    assert "12 nodes, 12 edges" in said
    assert "1 pins, 1 supernodes, 1 labels" in said
    assert "not checked" in said
    with Project.open(project, read_only=True) as opened:
        (row,) = opened.traces()
        notes = opened.annotations(row.id)
        assert row.title == '<bos>123 → 4, say "x"'
        assert notes.labels == {1: "a name"}
        assert notes.pins == (2,)
        assert notes.groups[0].name == "pair"
        assert opened.report(row.id)["conservation_error"] is None
    assert run("export", project, "--trace", row.id, "--format", "json", "--out", tmp_path / "back.json") == 0
    back = json.loads((tmp_path / "back.json").read_text())
    assert in_any_order(back) == in_any_order(json.loads(document.read_text()))


@pytest.mark.parametrize(
    ("form", "name"), [("graphml", "g.xml"), ("csv", "g.csv"), ("csv", "g.zip"), ("npz", "g.bin"), ("json", "g.json")]
)
def test_every_form_comes_back(
    tmp_path: Path, traced: Path, form: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = ["--all"] if form == "json" else []
    assert run("export", traced, "--trace", 1, "--format", form, "--out", tmp_path / name, *whole) == 0
    written = [Path(line.removeprefix("Wrote: ")) for line in capsys.readouterr().out.splitlines()]
    assert all(path.is_file() for path in written)
    again = tmp_path / "again.loupe"
    assert run("import", written[0], "--project", again, "--title", "came back") == 0
    with Project.open(traced, read_only=True) as before, Project.open(again, read_only=True) as after:
        assert after.traces()[0].title == "came back"
        old, new = before.annotations(1), after.annotations(1)
        assert (old.pins, old.labels, [(g.name, g.nodes) for g in old.groups]) == (
            new.pins,
            new.labels,
            [(g.name, g.nodes) for g in new.groups],
        )
        if form != "json":
            assert_same_graph(before.load_graph(1), after.load_graph(1))
            assert after.report(1) == before.report(1)
        else:
            assert (before.load_graph(1).weight == after.load_graph(1).weight).all()


def test_thresholds_of_a_trace(tmp_path: Path, traced: Path) -> None:
    sizes = []
    for more in ([], ["--node-threshold", 0.3, "--edge-threshold", 0.5], ["--all"]):
        out = tmp_path / "g.json"
        assert run("export", traced, "--trace", 1, "--format", "json", "--out", out, *more) == 0
        sizes.append(len(json.loads(out.read_text())["links"]))
    assert sizes[1] < sizes[0] < sizes[2] == build_graph(seed=7).n_edges


def test_a_graph_of_circuit_tracer_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    project = tmp_path / "p.loupe"
    path = save(tmp_path / "graph", graph_values())
    assert run("import", path, "--project", project) == 0
    assert "circuit-tracer .pt: 14 nodes" in capsys.readouterr().out
    assert run("import", path, "--project", project) == 0
    with Project.open(project, read_only=True) as opened:
        assert len(opened.traces()) == 2


def test_repairs_are_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    values = circuit_tracer()
    values["links"].append({"source": "gone", "target": "E_2_0", "weight": 1.0})
    (tmp_path / "g.json").write_text(json.dumps(values))
    assert run("import", tmp_path / "g.json", "--project", tmp_path / "p.loupe") == 0
    assert "Repaired: Links lead to nodes that are not there" in capsys.readouterr().out


def _hostile(folder: Path) -> Path:
    import os

    class Evil:
        def __reduce__(self) -> Any:
            return os.system, (f"touch {folder / 'ran'}",)

    return save(folder / "evil.pt", {**graph_values(), "scan": Evil()})


def test_refused_imports_leave_no_project(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text").write_text("hello")
    (tmp_path / "nan.json").write_text(json.dumps({**circuit_tracer(), "x": float("nan")}))
    for path, says in [
        (tmp_path / "absent", "no file"),
        (tmp_path, "no file"),
        (tmp_path / "text", "no graph file"),
        (tmp_path / "nan.json", "NaN at x"),
        (_hostile(tmp_path), "nothing in it was run"),
    ]:
        assert run("import", path, "--project", tmp_path / "p.loupe") == 2
        assert says in refusal(capsys)
    assert not (tmp_path / "p.loupe").exists()
    assert not (tmp_path / "ran").exists()


def test_refused_exports(tmp_path: Path, traced: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "g.json"
    good = ["export", traced, "--trace", 1, "--format", "json", "--out", out]
    before = traced.read_bytes()
    for words, status, says in [
        (["export", tmp_path / "absent.loupe", *good[2:]], 2, "no project"),
        ([*good[:3], 7, *good[4:]], 2, "no trace 7; its traces are 1"),
        ([*good[:5], "npz", *good[6:], "--all"], 2, "--format json"),
        ([*good[:5], "csv", *good[6:], "--node-threshold", 0.5], 2, "--format json"),
        ([*good, "--all", "--edge-threshold", 0.5], 2, "exclude"),
        ([*good, "--node-threshold", 2], 2, "share"),
        ([*good[:7], tmp_path], 2, "folder"),
        ([*good[:7], traced], 2, "replace the project"),
        ([*good[:7], tmp_path / "absent" / "g.json"], 2, "no folder"),
        ([*good[:5], "docx", *good[6:]], 2, "invalid choice"),
    ]:
        assert run(*words) == status, words
        assert says in refusal(capsys)
    assert not out.exists()
    assert traced.read_bytes() == before


def test_a_project_that_another_program_has_open(tmp_path: Path, traced: Path, document: Path) -> None:
    """Export needs no more than to read."""
    with Project.open(traced):
        out = tmp_path / "g.npz"
        assert run("export", traced, "--trace", 1, "--format", "npz", "--out", out) == 0
        assert out.exists()


def test_a_title_too_long_is_one_sentence(tmp_path: Path, document: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("import", document, "--project", tmp_path / "p.loupe", "--title", "x" * 2000) == 2
    assert "characters" in refusal(capsys)
    assert not (tmp_path / "p.loupe").exists()


def test_forms_for_people(tmp_path: Path, traced: Path) -> None:
    """Pictures of the graph and of its circuit, and the report, with the labels as text."""
    size = {}
    for name, flags in (
        ("a.svg", ()), ("b.svg", ("--dark",)), ("c.svg", ("--circuit",)), ("a.pdf", ("--circuit",)), ("a.png", ()),
        ("d.svg", ("--all",)), ("a.html", ()),
    ):  # fmt: skip
        path = tmp_path / name
        assert run("export", traced, "--trace", 1, "--format", path.suffix[1:], "--out", path, *flags) == 0
        size[name] = path.stat().st_size
    graph, dark, circuit = ((tmp_path / name).read_text("utf-8") for name in ("a.svg", "b.svg", "c.svg"))
    assert "#16181b" in dark
    assert "#16181b" not in graph
    assert "=1+1 &lt;b&gt;" in circuit
    assert "2 of " in circuit
    assert size["d.svg"] > size["a.svg"]
    assert (tmp_path / "a.pdf").read_bytes().startswith(b"%PDF-")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    report = (tmp_path / "a.html").read_text("utf-8")
    assert "=1+1 &lt;b&gt;" in report
    assert "both" in report


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--format", "ipynb", "--out", "a.ipynb"), "not traced here"),
        (("--format", "html", "--out", "a.html", "--circuit"), "for pictures"),
        (("--format", "svg", "--out", "a.png"), r"ends in .svg"),
        (("--format", "svg", "--out", "a.svg", "--circuit", "--all"), "drawn whole"),
    ],
)
def test_refused_forms_for_people(
    tmp_path: Path,
    traced: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    told: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("export", traced, "--trace", 1, *words) == 2
    assert told in refusal(capsys)
    assert not list(tmp_path.glob("a.*"))


def test_a_circuit_that_is_not_there_is_not_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Project.create(tmp_path / "p.loupe") as project:
        project.add_trace({}, build_graph(seed=3), title="plain")
    assert (
        run("export", tmp_path / "p.loupe", "--trace", 1, "--format", "svg", "--circuit", "--out", tmp_path / "a.svg")
        == 2
    )
    assert "pin nodes" in refusal(capsys)
