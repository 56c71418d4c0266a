"""Files of the version before: kept as they were beside themselves, then brought along with everything in them."""

from __future__ import annotations

import hashlib
import shutil
import socket
import sqlite3
import time
from pathlib import Path

import pytest

from engine.errors import RequestError
from engine.projects import Group, Project, TreeRef, migration
from engine.projects.header import read_header
from tests.engine.projects.conftest import assert_same_graph, change_file, everything
from tests.engine.projects.test_cannot_write import as_somebody_without_rights, on_posix, readable_folder
from tests.graph_builder import build_graph

__all__ = ["readable_folder"]

OLD = Path(__file__).parent / "files" / "version-1.0.loupe"


@pytest.fixture
def old(path: Path) -> Path:
    """A file that version 1.0 wrote: traces 1, 2 and a deleted 3, edits, an undone one, a snapshot."""
    shutil.copy(OLD, path)
    return path


def rows(path: Path, sql: str) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(path)
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


def check_content(project: Project) -> None:
    assert project.name == "Texas"
    assert [(row.id, row.title) for row in project.traces()] == [(1, "Trace 1"), (2, "The second")]
    found = project.annotations(1)
    assert (found.pins, found.labels, found.note) == ((4, 2), {3: "a state"}, "what is known")
    assert found.groups == (Group(1, "low", "", (1, 2), False), Group(2, "high", "#aabbcc", (9, 8), False))
    assert found.positions == {4: (1.5, -2.0), "group 1": (3.0, 4.0)}
    assert project.annotations(2).labels == {5: "ü capital"}
    for number in (1, 2):
        assert_same_graph_but_meta(project, number)
    assert project.view(1) == {"nodes": 0.8}
    assert project.setting("draft") == {"text": "The"}
    assert project.effects("1/2") == [1, 2]


def assert_same_graph_but_meta(project: Project, number: int) -> None:
    assert_same_graph(project.load_graph(number), build_graph(n_layers=3, n_positions=3, n_features=12, seed=number))


def test_everything_comes_along(old: Path) -> None:
    assert read_header(old).older
    with Project.open(old) as project:
        assert not project.read_only
        check_content(project)
        assert [entry.ref for entry in project.tree.entries()] == [TreeRef("trace", 1), TreeRef("trace", 2)]
        assert [version.text for version in project.label_versions(1, 3)] == ["a state"]
    assert not read_header(old).older
    with Project.open(old) as again:
        assert again.backup is None, "only the first opening brings it along"
        check_content(again)


def test_the_file_is_kept_as_it_was(old: Path) -> None:
    before = rows(old, "SELECT * FROM label")
    with Project.open(old) as project:
        assert project.backup == old.with_name("texas (format 1.0).loupe")
        project.set_label(1, 1, "new")
    kept = old.with_name("texas (format 1.0).loupe")
    assert read_header(kept).older
    assert rows(kept, "SELECT * FROM label") == before
    assert rows(kept, "SELECT count(*) FROM owner") == [(0,)]
    # And it opens by itself, keeping another backup under a name that is free.
    with Project.open(kept) as project:
        check_content(project)


def test_a_backup_never_takes_the_place_of_a_file(old: Path) -> None:
    taken = old.with_name("texas (format 1.0).loupe")
    taken.write_bytes(b"something of a person")
    with Project.open(old) as project:
        assert project.backup == old.with_name("texas (format 1.0 2).loupe")
    assert taken.read_bytes() == b"something of a person"


def test_old_steps_are_undone_and_redone(old: Path) -> None:
    with Project.open(old) as project:
        assert project.redo_title == "Label bias"
        project.redo()
        assert project.annotations(1).labels == {3: "a state of the USA"}
        state = everything(project)
        steps = 0
        while project.undo() is not None:
            steps += 1
        assert steps == 12
        assert [row.title for row in project.traces()] == ["Trace 1", "Trace 2", "Trace 3"]
        assert project.annotations(1).pins == ()
        assert project.annotations(1).groups == ()
        while project.redo() is not None:
            pass
        assert everything(project) == state


def test_old_snapshots_are_gone_back_to(old: Path) -> None:
    with Project.open(old) as project:
        state = everything(project)
        assert len(project.snapshots()) == 1, "nothing a person wrote has changed, so no new state is kept"
        project.set_label(1, 3, "other")
        project.restore_snapshot(1)
        assert everything(project) == state


def test_numbers_are_not_given_again(old: Path) -> None:
    with Project.open(old) as project:
        for _ in range(12):
            project.undo()
        assert project.add_group(1, "new", [1]) == 3
        assert project.add_trace({}, build_graph(n_layers=3, n_positions=3, n_features=12), title="new") == 4


def test_a_failure_on_the_way_leaves_the_file_as_it_was(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = hashlib.sha256(repr(rows(old, "SELECT * FROM label")).encode())

    def fail(_: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(migration, "_newer_snapshot", fail)
    with pytest.raises(RequestError), Project.open(old):
        pass
    monkeypatch.undo()
    assert read_header(old).older
    assert hashlib.sha256(repr(rows(old, "SELECT * FROM label")).encode()).digest() == digest.digest()
    assert rows(old, "SELECT count(*) FROM owner") == [(0,)], "the claim is given back"
    with Project.open(old) as project:
        check_content(project)


@on_posix
def test_an_old_file_that_may_not_be_written_is_read(readable_folder: Path) -> None:
    path = readable_folder / "texas.loupe"
    shutil.copy(OLD, path)
    path.chmod(0o444)
    readable_folder.chmod(0o555)
    before = path.read_bytes()
    with as_somebody_without_rights(), Project.open(path) as project:
        assert project.read_only_reason is not None
        check_content(project)
        assert [hit.item for hit in project.search("capital")] == [5]
    assert path.read_bytes() == before
    assert [file.name for file in readable_folder.iterdir()] == ["texas.loupe"]


def test_an_old_file_of_another_owner_is_read(old: Path) -> None:
    with Project.open(old) as first:
        change_file(first.backup or old, "UPDATE project SET name = 'Texas'")
        shutil.copy(first.backup or old, old.with_name("other.loupe"))
    other = old.with_name("other.loupe")
    change_file(other, "INSERT INTO owner VALUES (1, 't', 5, 1.0, ?, ?)", f"not {socket.gethostname()}", time.time())
    before = other.read_bytes()
    with Project.open(other) as project:
        assert project.owner is not None
        check_content(project)
    assert other.read_bytes() == before


def test_damaged_old_steps_stay_damaged_and_hurt_nothing_else(old: Path) -> None:
    change_file(old, "UPDATE history SET changes = '[{]' WHERE undone = 0")
    change_file(old, "UPDATE snapshot SET content = '[]'")
    with Project.open(old) as project:
        check_content(project)
        with pytest.raises(RequestError, match="damaged"):
            project.undo()
        with pytest.raises(RequestError, match="damaged"):
            project.restore_snapshot(1)
