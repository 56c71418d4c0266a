"""Projects taken in, packages given away, and labels as files."""

from __future__ import annotations

import json
import socket
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.errors import Cancelled, RequestError
from engine.projects import (
    Asked,
    ImportedLabels,
    NewLabel,
    Project,
    TreeRef,
    export_labels,
    import_labels,
)
from engine.projects.packages import without_paths
from engine.tracing.spec import Prompt, TraceSpec
from tests.engine.projects.conftest import assert_same_graph, change_file, everything, small_graph
from tests.engine.projects.test_migration import OLD
from tests.engine.projects.test_tree import shown

USER = "annabelqx"
HOME = f"/home/{USER}/secret-folder"
REPORT = {
    "model": {"name": "tiny", "fingerprint": "m1", "source": f"{HOME}/models/tiny"},
    "features": {"kind": "neurons", "fingerprint": "neurons", "name": f"C:\\Users\\{USER}\\dictionaries\\mine"},
    "prompt": "The path /usr/bin/env is",
    "imported": {"file": f"\\\\server\\{USER}\\graph.json", "of": f"/home/{USER}", "on": f"C:\\Users\\{USER} Smith"},
}


def rows(path: Path, sql: str) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(path)
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


@pytest.fixture
def other(path: Path) -> Iterator[Path]:
    """Another project: a folder with a trace, everything on it, a circuit, an experiment, labels."""
    where = path.with_name("other.loupe")
    with Project.create(where, name="Other") as project:
        folder = project.tree.add_folder("Inside")
        asked = Asked(TraceSpec(Prompt("The path /usr/bin/env is")), f"{HOME}/dictionaries/mine")
        number = project.add_trace(REPORT, small_graph(7), title=f"from {HOME}/x", asked=asked)
        project.tree.move([TreeRef("trace", number)], folder.number)
        project.pin(number, [3, 1])
        project.set_label(number, 3, f"seen in {HOME}/notes.txt")
        outer = project.add_group(number, "outer", [4])
        project.add_group(number, "inner", [5], parent=outer)
        project.set_position(number, f"supernode {outer}", 1.0, 2.0)
        project.set_note(number, f"written by hand, see {HOME}/a.txt and ~/b/c.txt")
        project.tree.tag([TreeRef("trace", number)], "good")
        project.tree.keep_circuit(number, "kept")
        project.experiments.add("ablate", "Without", {"file": f"{HOME}/e.json"}, {"x": [1, 2]}, trace=number)
        project.feature_labels.set("d", 1, 2, "theirs")
        project.feature_labels.set("d", 1, 3, "new")
        project.set_setting("draft", {"features": f"{HOME}/dictionaries"})
        project.save_effects("k", {"from": f"{HOME}/effects"})
        project.set_view(number, {"nodes": 0.8})
        gone = project.add_trace({**REPORT, "deleted": USER}, small_graph(8), title=f"secret of {USER}")
        project.delete_trace(gone)
    with Project.open(where) as project:
        project.set_note(number, "written by hand")
        project.undo()
    return where


# Taking in


def test_another_project_comes_whole_and_goes_in_one_step(project: Project, other: Path) -> None:
    project.feature_labels.set("d", 1, 2, "mine")
    before, bytes_of_other = (everything(project), shown(project)), other.read_bytes()
    done = project.take_in(other)
    assert (done.traces, done.experiments, done.items, done.labels, done.kept) == (1, 1, 2, 1, 1)
    assert other.read_bytes() == bytes_of_other
    assert shown(project)[2:4] == [(0, "folder", "Other"), (1, "folder", "Inside")]
    (trace,) = [row for row in project.traces() if row.id > 2]
    assert_same_graph_but_meta(project, trace.id)
    found = project.annotations(trace.id)
    assert found.pins == (3, 1)
    assert list(found.labels) == [3]
    assert found.sources == {3: "imported"}
    outer, inner = found.groups
    assert (outer.name, inner.name, inner.parent) == ("outer", "inner", outer.id)
    assert found.positions == {f"supernode {outer.id}": (1.0, 2.0)}
    assert project.asked(trace.id).spec.prompt.text == "The path /usr/bin/env is"
    assert project.view(trace.id) == {"nodes": 0.8}
    entries = {entry.title: entry for entry in project.tree.entries()}
    assert entries[trace.title].tags == ("good",)
    assert entries["kept"].trace == trace.id
    assert [row.trace for row in project.experiments.all()] == [trace.id]
    labels = [(label.text, label.source) for label in project.feature_labels.all()]
    assert labels == [("mine", "person"), ("new", "imported")]
    assert project.undo_title == "Take in Other"
    after = (everything(project), shown(project))
    project.undo()
    assert (everything(project), shown(project)) == before
    project.redo()
    assert (everything(project), shown(project)) == after
    project.tree.show_circuit(entries["kept"].ref)


def assert_same_graph_but_meta(project: Project, trace: int) -> None:
    assert_same_graph(project.load_graph(trace), small_graph(7))


def test_an_old_project_can_be_taken_in(project: Project) -> None:
    done = project.take_in(OLD)
    assert done.traces == 2
    assert [hit.kind for hit in project.search("ü capital")] == ["label"]
    assert sorted(file.name for file in OLD.parent.iterdir()) == ["version-1.0.loupe"]


def test_a_project_does_not_take_itself_in_nor_half_of_another(project: Project, other: Path) -> None:
    with pytest.raises(RequestError, match="is this project itself"):
        project.take_in(project.path)
    cancel = threading.Event()
    cancel.set()
    before = (everything(project), shown(project), project.undo_title)
    with pytest.raises(Cancelled):
        project.take_in(other, cancel=cancel)
    change_file(other, "UPDATE array SET data = zeroblob(40) WHERE id = 3")
    with pytest.raises(RequestError, match=r"other\.loupe is damaged"):
        project.take_in(other)
    assert (everything(project), shown(project), project.undo_title) == before


def test_an_array_with_a_false_name_is_not_taken(project: Project, other: Path) -> None:
    """Else an honest graph with the real content would later find the false one."""
    change_file(other, "UPDATE array SET sha256 = 'f' || substr(sha256, 2) WHERE id = 5")
    with pytest.raises(RequestError, match="is damaged"):
        project.take_in(other)


# Packages


def test_a_package_names_nobody_and_no_place(other: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "workstation-qx7")
    package = other.with_name("package.loupe")
    with Project.open(other) as project:
        assert b"workstation-qx7" in other.read_bytes(), "the owner's row names the machine while the project is open"
        project.save_package(package)
        graph = project.load_graph(1)
        with pytest.raises(RequestError, match="already there"):
            project.save_package(package)
    content = package.read_bytes()
    for secret in (USER, "secret", "/home", "Users", "\\\\server", "workstation-qx7", str(Path.home()) + "/"):
        assert secret.encode() not in content, secret
    assert b"/usr/bin/env" in content, "prompts stay as they are"
    with Project.open(package) as shared:
        assert not shared.read_only
        assert [row.title for row in shared.traces()] == ["from x"]
        assert_same_graph(shared.load_graph(1), small_graph(7))
        assert shared.load_graph(1).tokens == graph.tokens
        report = shared.report(1)
        assert report["model"] == {"name": "tiny", "fingerprint": "m1", "source": "tiny"}
        assert report["features"]["name"] == "mine"
        assert report["imported"]["file"] == "graph.json"
        found = shared.annotations(1)
        assert found.note == "written by hand, see a.txt and c.txt"
        assert found.labels == {3: "seen in notes.txt"}
        assert [group.name for group in found.groups] == ["outer", "inner"]
        assert shared.asked(1) == Asked(TraceSpec(Prompt("The path /usr/bin/env is")), "mine")
        assert shared.experiments.settings(1) == {"file": "e.json"}
        assert shared.effects("k") == {"from": "effects"}
        assert shared.undo_title is None
        assert shared.snapshots() == []
        assert len(shared.feature_labels.all()) == 2
        assert [hit.kind for hit in shared.search("notes")] == ["label"]
        assert shared.tree.tags() == {"good": 1}
    assert rows(package, "SELECT count(*) FROM trace") == [(1,)]


def test_the_project_itself_would_name_them(other: Path) -> None:
    """The counterpart: what the test above looks for is there before."""
    content = other.read_bytes()
    assert USER.encode() in content
    assert b"secret-folder" in content


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("see /home/anna/a/b.txt.", "see b.txt."),
        ("C:\\Users\\Anna\\x\\y.txt", "y.txt"),
        ("\\\\server\\share\\y.txt", "y.txt"),
        ("file:///srv/data/x", "x"),
        ("~/notes/x.md, then", "x.md, then"),
        ("in /Users/anna, or C:\\Users\\anna", "in ~, or ~"),
        ("either/or and 1/2/3", "either/or and 1/2/3"),
        ("a https://example.org/x/y", "a https://example.org/x/y"),
        ("/ and // and /x", "/ and // and /x"),
    ],
)
def test_paths_in_texts(text: str, clean: str) -> None:
    assert without_paths(text) == clean


# Labels as a file


def test_labels_go_out_and_come_in(project: Project, path: Path) -> None:
    file = path.with_name("labels.json")
    project.feature_labels.set("d", 1, 2, "one <b>ü\n")
    project.feature_labels.give([NewLabel("d", 1, 3, "two", "automatic"), NewLabel("e", 1, 2, "three")])
    assert export_labels(project, file) == 3
    assert export_labels(project, path.with_name("d.json"), dictionary="d") == 2
    with Project.create(path.with_name("empty.loupe")) as empty:
        empty.feature_labels.set("d", 1, 2, "mine")
        assert import_labels(empty, file) == ImportedLabels(given=2, same=0, kept=1)
        found = [(label.dictionary, label.text, label.source) for label in empty.feature_labels.all()]
        assert found == [("d", "mine", "person"), ("d", "two", "imported"), ("e", "three", "imported")]
        assert import_labels(empty, file) == ImportedLabels(given=0, same=2, kept=1)
        assert import_labels(empty, file, over_others=True) == ImportedLabels(given=1, same=2, kept=0)
        assert empty.feature_labels.all()[0].text == "one <b>ü\n"
        empty.undo()
        empty.undo()
        assert len(empty.feature_labels.all()) == 1


GOOD = {"dictionary": "d", "layer": 1, "feature": 2, "text": "x", "source": "person"}


def labels_file(path: Path, *labels: object, **changes: object) -> Path:
    file = path.with_name("labels.json")
    content = {"form": "circuit-loupe labels", "version": 1, "labels": list(labels), **changes}
    file.write_text(json.dumps(content), encoding="utf-8")
    return file


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"dictionary": ""}, "label 2 names no dictionary"),
        ({"dictionary": "x" * 300}, "label 2 names no dictionary"),
        ({"layer": -1}, "label 2 names no feature"),
        ({"layer": True}, "label 2 names no feature"),
        ({"feature": 2**40}, "label 2 names no feature"),
        ({"feature": 1.0}, "label 2 names no feature"),
        ({"text": ""}, "label 2 has no text"),
        ({"text": "x" * 1001}, "label 2 has no text"),
        ({"text": ["x"]}, "label 2 has no text"),
    ],
)
def test_labels_that_cannot_be_right(project: Project, path: Path, change: dict[str, object], sentence: str) -> None:
    with pytest.raises(RequestError, match=sentence):
        import_labels(project, labels_file(path, GOOD, {**GOOD, **change}))
    assert project.feature_labels.all() == []


def test_files_that_hold_no_labels(project: Project, path: Path) -> None:
    file = path.with_name("labels.json")
    with pytest.raises(RequestError, match="There is no file"):
        import_labels(project, file)
    for text in ("", "[", "[]", "{}", "[" * 100_000, '{"form": "circuit-loupe labels"}', "\ufeff{}"):
        file.write_text(text, encoding="utf-8")
        with pytest.raises(RequestError, match="is not a file of labels"):
            import_labels(project, file)
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(RequestError, match="is not a file of labels"):
        import_labels(project, file)
    with pytest.raises(RequestError, match="its version is '2'"):
        import_labels(project, labels_file(path, GOOD, version=2))
    with pytest.raises(RequestError, match="label 1 is none"):
        import_labels(project, labels_file(path, 5))
    with file.open("wb") as sparse:
        sparse.truncate(65 * 2**20)
    with pytest.raises(RequestError, match="larger than a file of labels"):
        import_labels(project, file)
