"""A full disk, a folder that may not be written, a file that vanished: one sentence, and nothing lost."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from engine.errors import MachineError, RequestError
from engine.projects import Project, connection, ownership
from engine.projects.faults import plainly
from tests.engine.projects.conftest import change_file, everything, small_graph
from tests.engine.projects.test_killed import ROOT

on_posix = pytest.mark.skipif(os.name != "posix", reason="Windows has other rights and limits")
NOBODY = 65534

# The kernel refuses to let the file grow, as a quota or a failing drive does.
LIMITED = """
import resource, sys
from engine.errors import MachineError
from engine.projects import Project, connection, ownership
from engine.projects.faults import plainly
project = Project.open(sys.argv[1])
size = project.path.stat().st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
try:
    project.set_note(1, "x" * 900_000)
except MachineError as error:
    print(error.sentence)
try:
    project.save_copy(project.path.with_name("copy.loupe"))
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))
    project.save_copy(project.path.with_name("copy 2.loupe"))
except MachineError as error:
    print(error.sentence)
try:
    Project.create(project.path.with_name("new.loupe"))
except MachineError as error:
    print(error.sentence)
print(repr(project.annotations(1).note))
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
project.set_note(1, "room again")
project.close()
"""


@contextmanager
def full_disk(project: Project) -> Iterator[None]:
    """SQLite refuses one more page with the error that a full disk gives."""
    with project._file.reading() as db:
        pages = db.execute("PRAGMA page_count").fetchone()[0]
        db.execute(f"PRAGMA max_page_count={pages}")
        yield
        db.execute("PRAGMA max_page_count=1000000")


def test_an_edit_on_a_full_disk_changes_nothing(project: Project) -> None:
    project.set_note(1, "before", merge="typing")
    state, title = everything(project), project.undo_title
    with full_disk(project):
        with pytest.raises(
            MachineError, match=r"The disk is full and texas\.loupe was left as it was; free some space"
        ):
            project.set_note(1, "x" * 500_000, merge="typing")
        assert (everything(project), project.undo_title) == (state, title)
        graph = small_graph(9)
        with pytest.raises(MachineError, match="The disk is full"):
            project.add_trace({"long": "x" * 500_000}, graph, title="too much")
        assert everything(project) == state
    project.set_note(1, "after")
    assert project.annotations(1).note == "after"
    project.undo()
    assert everything(project) == state


def test_an_edit_that_fails_halfway_changes_nothing(project: Project) -> None:
    failed = 0
    for room in range(1, 40):
        state, title = everything(project), project.undo_title
        with project._file.reading() as db:
            pages = db.execute("PRAGMA page_count").fetchone()[0]
            db.execute(f"PRAGMA max_page_count={pages + room}")
        try:
            project.set_note(1, f"room{room} " + "x" * 40_000)
        except MachineError:
            failed += 1
            assert (everything(project), project.undo_title) == (state, title)
            assert project.search(f"room{room}") == []
    assert 10 < failed < 39, "some must fail between the note's row and the history's"


def test_a_claim_that_could_not_be_given_back_is_stale(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(ownership, "release", fail)
    project.close()
    monkeypatch.undo()
    with Project.open(project.path) as again:
        assert not again.read_only


@on_posix
def test_a_file_that_may_not_grow(project: Project) -> None:
    project.set_note(1, "before")
    project.close()
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(project.path)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    first, second, third, note = done.stdout.splitlines()
    assert (
        first == "The drive could not read or write texas.loupe, which is as it was; "
        "check the drive, or save a copy elsewhere."
    )
    assert second.startswith("The drive could not read or write copy 2.loupe")
    assert third.startswith("The drive could not read or write new.loupe")
    assert note == "'before'"
    assert sorted(file.name for file in project.path.parent.iterdir()) == ["copy.loupe", "texas.loupe"]
    with Project.open(project.path) as again:
        assert again.annotations(1).note == "room again"
        assert again.undo() is not None
        assert again.annotations(1).note == "before"


def test_too_little_memory_is_a_sentence_too() -> None:
    with pytest.raises(MachineError, match=r"too little memory for a part of a\.loupe"), plainly("a.loupe"):
        raise MemoryError


@contextmanager
def as_somebody_without_rights() -> Iterator[None]:
    """Drop root's right to write everything; an ordinary user never had it."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


@pytest.fixture
def readable_folder() -> Iterator[Path]:
    """A folder that everybody may read and only its owner may write, outside of pytest's private ones."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    folder.chmod(0o755)
    shutil.rmtree(folder)


@on_posix
@pytest.mark.parametrize("locked", ["the file and the folder", "the folder"])
def test_what_may_not_be_written_opens_for_reading(readable_folder: Path, locked: str) -> None:
    path = readable_folder / "texas.loupe"
    with Project.create(path) as project:
        project.add_trace({}, small_graph(), title="a trace")
        project.set_note(1, "seen")
    path.chmod(0o444 if locked == "the file and the folder" else 0o666)
    readable_folder.chmod(0o555)
    with as_somebody_without_rights(), Project.open(path) as project:
        assert (
            project.read_only_reason == "texas.loupe or its folder may not be written; save a copy in another folder."
        )
        assert project.owner is None
        with pytest.raises(MachineError, match="may not be written"):
            project.require_writable()
        assert project.annotations(1).note == "seen"
        assert project.load_graph(1).n_nodes == small_graph().n_nodes
        with pytest.raises(RequestError, match=r"may not be written; save a copy in another folder\. Save a copy"):
            project.pin(1, [1])
        with pytest.raises(MachineError, match=r"could not be written|may not be written"):
            project.save_copy(readable_folder / "copy.loupe")
        with pytest.raises(MachineError, match=r"could not be written|may not be written"):
            Project.create(readable_folder / "new.loupe")
    assert [file.name for file in readable_folder.iterdir()] == ["texas.loupe"]


@on_posix
def test_what_may_not_be_read(readable_folder: Path) -> None:
    path = readable_folder / "secret.loupe"
    Project.create(path).close()
    path.chmod(0o000)
    with as_somebody_without_rights(), pytest.raises(MachineError, match="may not be read by this user"):
        Project.open(path)


def test_opened_for_reading_only_when_asked(project: Project) -> None:
    project.close()
    with Project.open(project.path, read_only=True) as again:
        assert again.read_only_reason == "This project was opened for reading only."
        for edit in (
            lambda: again.pin(1, [1]),
            lambda: again.undo(),
            lambda: again.set_setting("a", 1),
            lambda: again.add_trace({}, small_graph(), title="x"),
        ):
            with pytest.raises(RequestError, match="opened for reading only"):
                edit()
        with Project.open(project.path) as writer:
            assert not writer.read_only


@on_posix
def test_a_file_deleted_while_it_is_open(project: Project) -> None:
    project.set_note(1, "kept")
    state = everything(project)
    project.path.unlink()
    with pytest.raises(
        RequestError, match=r"texas\.loupe was deleted, moved or replaced .* save this project under a new"
    ):
        project.pin(1, [1])
    assert everything(project) == state
    copy = project.path.with_name("rescued.loupe")
    project.save_copy(copy)
    project.close()
    assert not project.path.exists(), "closing must not bring half a file back"
    with Project.open(copy) as rescued:
        assert everything(rescued) == state
        rescued.undo()
        assert rescued.annotations(1).note == ""


@on_posix
def test_a_file_replaced_while_it_is_open(project: Project) -> None:
    other = project.path.with_name("other.loupe")
    Project.create(other, name="other").close()
    other.replace(project.path)
    bytes_of_other = project.path.read_bytes()
    with pytest.raises(RequestError, match="replaced by another program"):
        project.pin(1, [1])
    project.close()
    assert project.path.read_bytes() == bytes_of_other


def test_a_new_project_never_replaces_a_file_unasked(project: Project) -> None:
    project.close()
    before = project.path.read_bytes()
    with pytest.raises(RequestError, match=r"texas\.loupe is already there; open it, or choose another name"):
        Project.create(project.path)
    with pytest.raises(RequestError, match="is already there"), Project.open(project.path, read_only=True) as again:
        again.save_copy(project.path.parent)
    assert project.path.read_bytes() == before
    with Project.create(project.path, overwrite=True) as new:
        assert new.traces() == []
    with pytest.raises(RequestError, match="There is no folder"):
        Project.create(project.path.parent / "none" / "a.loupe")


def test_a_copy_is_whole_and_apart(project: Project) -> None:
    project.pin(1, [1, 2])
    copy = project.path.with_name("Kopie ü #1%.loupe")
    project.save_copy(copy)
    with pytest.raises(RequestError, match="is already there"):
        project.save_copy(copy)
    with pytest.raises(RequestError, match="is this project itself"):
        project.save_copy(project.path, overwrite=True)
    project.save_copy(copy, overwrite=True)
    state = everything(project)
    with Project.open(copy) as other:
        assert not other.read_only
        assert everything(other) == state
        other.undo()
        assert everything(project) == state


def test_a_file_that_another_program_holds_locked(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project.close()
    monkeypatch.setattr(connection, "_WAIT_SECONDS", 0.01)
    other = sqlite3.connect(project.path, isolation_level=None)
    try:
        other.execute("BEGIN IMMEDIATE")
        with Project.open(project.path) as again:
            assert again.read_only_reason == "Another program is using texas.loupe; close it there and try again."
            assert len(again.traces()) == 2
        other.execute("COMMIT")
    finally:
        other.close()


def test_a_file_left_in_another_journal_mode_comes_back(project: Project) -> None:
    project.close()
    change_file(project.path, "PRAGMA journal_mode=WAL")
    assert project.path.read_bytes()[18:20] == b"\2\2"
    with Project.open(project.path) as again:
        again.pin(1, [1])
        assert again.path.read_bytes()[18:20] == b"\1\1"
        assert [file.name for file in again.path.parent.iterdir()] == ["texas.loupe"]
