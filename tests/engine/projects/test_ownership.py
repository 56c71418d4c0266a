"""One writer at a time: who has a project, and when a claim is stale."""

from __future__ import annotations

import gc
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from engine.errors import RequestError
from engine.projects import Owner, Project, ownership
from tests.engine.projects.conftest import change_file, small_graph
from tests.engine.projects.test_killed import ROOT

HOLDING = """
import sys
from engine.projects import Project
project = Project.open(sys.argv[1])
print(project.read_only, flush=True)
for line in sys.stdin:
    project.set_note(1, line.strip())
    print(project.annotations(1).note, flush=True)
project.close()
"""


@pytest.fixture
def holder(project: Project) -> Iterator[subprocess.Popen[str]]:
    """Another process that has the project open and writes what it is told into the note."""
    project.close()
    command = [sys.executable, "-c", HOLDING, str(project.path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "False\n"
        yield process
        process.kill()


def tell(process: subprocess.Popen[str], line: str) -> str:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(line + "\n")
    process.stdin.flush()
    return process.stdout.readline().strip()


def test_the_second_program_reads_and_is_told_who_writes(holder: subprocess.Popen[str], path: Path) -> None:
    with Project.open(path) as second:
        assert second.read_only
        assert second.read_only_reason == (
            f"This project is open in another program (process {holder.pid} on {socket.gethostname()}), "
            "so it is open here for reading only."
        )
        assert second.owner is not None
        assert second.owner.process == holder.pid
        with pytest.raises(RequestError, match=r"open in another program .* Save a copy to edit it\."):
            second.pin(1, [1])
        # The first goes on writing, and the second sees it.
        assert tell(holder, "from the first") == "from the first"
        assert second.annotations(1).note == "from the first"
        second.heartbeat()


def test_it_is_said_when_the_first_program_lets_go(holder: subprocess.Popen[str], path: Path) -> None:
    with Project.open(path) as second:
        assert second.read_only
        with pytest.raises(RequestError, match="open in another program"):
            second.require_writable()
        assert not second.is_free()
        holder.kill()
        holder.wait()
        assert second.is_free()
        assert second.read_only, "only opening it again takes it"
    with Project.open(path) as third:
        third.require_writable()
        assert not third.is_free(), "it was nobody else's"


def test_a_copy_of_a_project_that_is_open_belongs_to_nobody(holder: subprocess.Popen[str], path: Path) -> None:
    tell(holder, "copied")
    with Project.open(path) as second:
        second.save_copy(path.with_name("copy.loupe"))
    with Project.open(path.with_name("copy.loupe")) as copy:
        assert not copy.read_only
        assert copy.annotations(1).note == "copied"


def test_a_file_that_was_copied_while_it_is_open_is_edited(holder: subprocess.Popen[str], path: Path) -> None:
    tell(holder, "copied")
    shutil.copy(path, path.with_name("copy.loupe"))  # as a file manager does, the owner's row with it
    with Project.open(path.with_name("copy.loupe")) as copy:
        assert not copy.read_only
        assert copy.annotations(1).note == "copied"
        copy.set_note(1, "in the copy")
        assert tell(holder, "in the original") == "in the original"
        with Project.open(path) as second:
            assert second.read_only, "the original is still the other program's"
            assert second.annotations(1).note == "in the original"
        assert copy.annotations(1).note == "in the copy"


def test_a_file_that_was_copied_while_this_program_has_it_is_edited(project: Project) -> None:
    shutil.copy(project.path, project.path.with_name("copy.loupe"))
    with Project.open(project.path.with_name("copy.loupe")) as copy:
        copy.require_writable()
    project.set_note(1, "still mine")


def test_what_another_program_writes_is_noticed(holder: subprocess.Popen[str], path: Path) -> None:
    with Project.open(path) as second:
        assert not second.changed_elsewhere(), "from now on"
        assert not second.changed_elsewhere()
        tell(holder, "written")
        assert second.changed_elsewhere()
        assert not second.changed_elsewhere(), "once"


@pytest.mark.skipif(os.name != "posix", reason="Windows has no zombies")
def test_a_dead_owner_is_stale_even_before_its_parent_has_noticed(holder: subprocess.Popen[str], path: Path) -> None:
    holder.kill()
    # Wait until it is dead, but leave it a zombie.
    os.waitid(os.P_PID, holder.pid, os.WEXITED | os.WNOWAIT)
    assert psutil.Process(holder.pid).status() == psutil.STATUS_ZOMBIE
    with Project.open(path) as project:
        assert not project.read_only


def test_closing_gives_the_project_back(project: Project) -> None:
    with Project.open(project.path) as second:
        assert second.read_only_reason == (
            "This project is already open in this program, so it is open here for reading only."
        )
    project.close()
    with Project.open(project.path) as third:
        assert not third.read_only


def test_a_project_that_was_dropped_can_be_opened_again(project: Project) -> None:
    project.close()
    dropped = Project.open(project.path)
    dropped._file._db.conn.close()  # as a notebook leaves it, without Python's warning about the connection
    del dropped
    gc.collect()
    with Project.open(project.path) as again:
        assert not again.read_only


def owner(**changes: object) -> Owner:
    started = psutil.Process().create_time()
    plain = {"token": "t", "process": os.getppid(), "started": started, "host": socket.gethostname()}
    return Owner(**{**plain, "heartbeat": time.time(), **changes})  # type: ignore[arg-type]


def test_who_counts_as_alive() -> None:
    parent = psutil.Process(os.getppid()).create_time()
    long_ago = time.time() - 10_000
    assert ownership.is_alive(owner(started=parent, heartbeat=long_ago))
    assert ownership.is_alive(owner(started=parent + 500)), "the clock was set, but the heart beats"
    assert not ownership.is_alive(owner(started=parent + 500, heartbeat=long_ago)), "another process with its number"
    assert not ownership.is_alive(owner(process=os.getpid())), "this process has no such project"
    assert not ownership.is_alive(owner(process=2**22 + 5, heartbeat=long_ago))
    for impossible in (-1, 2**40, 2**63 - 1):
        assert not ownership.is_alive(owner(process=impossible))


def test_on_another_machine_the_heartbeat_decides() -> None:
    assert ownership.is_alive(owner(host="elsewhere", process=-1))
    assert not ownership.is_alive(owner(host="elsewhere", heartbeat=time.time() - 301))
    assert not ownership.is_alive(owner(host="elsewhere", heartbeat=time.time() + 10_000))
    assert not ownership.is_alive(owner(host="elsewhere", heartbeat=float("inf")))


def test_a_copy_is_told_from_the_file_that_was_taken(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    path, copy = project.path, project.path.with_name("copy.loupe")
    shutil.copy(path, copy)
    with project._file.reading() as db:
        mine = ownership.read_owner(db)
    assert mine is not None
    assert ownership.has(mine, path)
    assert not ownership.has(mine, copy)
    # A file that was moved is the same; one that is gone is for others to say.
    copy.replace(path.with_name("moved.loupe"))
    path.rename(copy)
    assert ownership.has(mine, copy)
    assert ownership.has(mine, path)
    # Nothing is said where numbers of files are not the file's own.
    moved = path.with_name("moved.loupe")
    assert not ownership.has(mine, moved)
    assert ownership.has(replace(mine, host="elsewhere"), moved)
    monkeypatch.setattr(ownership, "network_drive", lambda path: "nfs4")
    assert ownership.has(mine, moved)
    copy.rename(path)


@pytest.mark.parametrize("token", ["", "t", "t-1", "t-1-2-3", "t-x-y", "t--", "--1-2", "ff" * 16])
def test_a_token_that_names_no_file_says_nothing(token: str, project: Project) -> None:
    assert owner(token=token).file is None
    parent = psutil.Process(os.getppid()).create_time()
    assert ownership.has(owner(token=token, started=parent), project.path)


def test_a_name_of_a_host_from_a_file_stays_one_short_line() -> None:
    assert len(owner(host="a\nb" + "x" * 999).sentence) < 150
    assert "\n" not in owner(host="a\nb").sentence


def test_the_heartbeat_is_written_now_and_then(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    def beat() -> float:
        with project._file.reading() as db:
            found = ownership.read_owner(db)
        assert found is not None
        return found.heartbeat

    first = beat()
    project.heartbeat()
    assert beat() == first, "not at every tick of a timer: each is a write to the drive"
    monkeypatch.setattr(ownership, "HEARTBEAT_SECONDS", 0.0)
    project.heartbeat()
    assert beat() > first


def test_a_project_taken_over_is_read_only_from_then_on(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    change_file(project.path, "UPDATE owner SET token = 'other', host = 'elsewhere'")
    monkeypatch.setattr(ownership, "HEARTBEAT_SECONDS", 0.0)
    with pytest.raises(RequestError, match=r"took this project over .* Save a copy to edit it\."):
        project.heartbeat()
    assert project.read_only
    assert project.owner is not None
    assert project.owner.host == "elsewhere"
    with pytest.raises(RequestError, match="took this project over"):
        project.pin(1, [1])
    project.close()
    with Project.open(project.path, read_only=True) as again:
        with again._file.reading() as db:
            assert ownership.still_owns(db, "other"), "closing must not take the other one's claim away"
        assert again.annotations(1).pins == ()


def test_a_graph_waits_while_the_file_is_in_use(project: Project) -> None:
    writer = threading.Thread(target=project.add_trace, args=({}, small_graph()), kwargs={"title": "written"})
    with project._file.reading():
        writer.start()
        writer.join(timeout=0.3)
        assert writer.is_alive()
        assert len(project.traces()) == 2
    writer.join()
    assert len(project.traces()) == 3


def test_graphs_arrive_from_another_thread_while_a_person_edits(project: Project) -> None:
    added: list[int] = []

    def write() -> None:
        for number in range(8):
            added.append(project.add_trace({}, small_graph(number), title=f"written {number}"))

    writer = threading.Thread(target=write)
    writer.start()
    for node in range(20):
        project.pin(1, [node])
    writer.join()
    assert [row.id for row in project.traces()] == [1, 2, *added]
    assert project.annotations(1).pins == tuple(range(20))
    assert [project.load_graph(number).n_nodes for number in added] == [small_graph(n).n_nodes for n in range(8)]
    for _ in range(20):
        assert project.undo() is not None
    assert project.undo() is None
