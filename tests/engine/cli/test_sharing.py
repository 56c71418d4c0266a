"""`package`, `take-in`, `labels` and `rescue` from a terminal: what they print, what they write, what they refuse."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engine.graphs import NodeKind
from engine.projects import Project
from tests.engine.cli.test_export_import import refusal, run
from tests.graph_builder import build_graph

REPORT = {
    "model": {"name": "m", "fingerprint": "m1", "source": "/home/ada/models/m"},
    "features": {"kind": "transcoders", "fingerprint": "f1", "name": "/home/ada/transcoders"},
}


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A project with a trace, a note, a label of the trace and one that holds everywhere."""
    graph = build_graph(seed=7)
    with Project.create(tmp_path / "mine.loupe") as project:
        number = project.add_trace(REPORT, graph, title="The capital → Austin")
        node = int(graph.of_kind(NodeKind.FEATURE)[2])
        project.set_label(number, int(graph.of_kind(NodeKind.FEATURE)[0]), "here")
        project.label_everywhere(number, node, "Texas")
        project.tree.add_note("Why", "see /home/ada/notes/why.txt")
    return tmp_path / "mine.loupe"


def test_a_package_names_no_place(mine: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before, out = mine.read_bytes(), tmp_path / "shared.loupe"
    assert run("package", mine, "--to", out) == 0
    assert "1 traces, without paths, names and history" in capsys.readouterr().out
    assert mine.read_bytes() == before
    assert b"ada" not in out.read_bytes()
    with Project.open(out) as package:
        assert "Texas" in package.annotations(1).labels.values()
        assert package.undo_title is None
    assert run("package", mine, "--to", out) == 2
    assert "already there" in refusal(capsys)


def test_another_project_is_taken_in(mine: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "target.loupe"
    Project.create(target).close()
    assert run("take-in", mine, "--project", target) == 0
    said = capsys.readouterr().out
    assert "1 traces, 0 experiments, 1 other entries" in said and "1 are new, 0 were not taken" in said
    with Project.open(target) as project:
        assert [entry.kind for entry in project.tree.entries()] == ["folder", "trace", "note"]
        assert sorted(project.annotations(1).labels.values()) == ["Texas", "here"]
        capsys.readouterr()
        assert run("take-in", mine, "--project", target) == 2
        assert "already open in this program" in refusal(capsys)
    assert run("take-in", target, "--project", target) == 2
    assert "this project itself" in refusal(capsys)


def test_labels_go_out_and_come_in(mine: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, target = tmp_path / "labels.json", tmp_path / "target.loupe"
    assert run("labels", "export", file, "--project", mine) == 0
    assert capsys.readouterr().out == f"Wrote:  1 labels to {file}\n"
    (label,) = json.loads(file.read_text(encoding="utf-8"))["labels"]
    assert label["text"] == "Texas"
    with Project.create(target) as project:
        project.feature_labels.set(label["dictionary"], label["layer"], label["feature"], "mine")
    assert run("labels", "import", file, "--project", target) == 0
    assert capsys.readouterr().out == "Given:  0 labels; 0 were here already\nKept:   1 as a person wrote them here\n"
    assert run("labels", "import", file, "--project", target, "--over-others") == 0
    with Project.open(target) as project:
        assert [one.text for one in project.feature_labels.all()] == ["Texas"]
    capsys.readouterr()
    assert run("labels", "import", mine, "--project", target) == 2
    assert "it is not JSON" in refusal(capsys)
    assert run("labels", "export", file) == 2
    assert "--project" in refusal(capsys)


def test_a_damaged_project_is_rescued(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = bytearray(mine.read_bytes())
    content[:100] = bytes(100)  # the header is gone
    mine.write_bytes(content)
    assert run("rescue", mine) == 0
    said = capsys.readouterr().out
    assert said.startswith("Saved:  1 traces, 1 labels, 1 folders, notes and circuits\n")
    with Project.open(mine.with_name("mine (rescued).loupe")) as project:
        assert sorted(project.annotations(1).labels.values()) == ["Texas", "here"]
    assert mine.with_name("mine (damaged).loupe").read_bytes() == bytes(content)
