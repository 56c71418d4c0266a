"""What is left when the program dies: everything that was committed, and never a broken file."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from engine.errors import RequestError
from engine.projects import Project
from tests.engine.projects.conftest import change_file, everything

pytestmark = pytest.mark.skipif(os.name != "posix", reason="SIGKILL exists on POSIX only")

ROOT = Path(__file__).parents[3]

# Says what is committed, line by line, until it is killed.
EDITING = """
import sys
from engine.projects import Project
project = Project.open(sys.argv[1])
assert not project.read_only, project.read_only_reason
number = len(project.annotations(1).labels)
while True:
    number += 1
    project.set_label(1, number % 20, f"label {number}")
    print("label", number % 20, f"label {number}", sep="|", flush=True)
    project.pin(1, [number % 20])
    project.unpin(1, [(number + 10) % 20])
    print("pins", project.annotations(1).pins[-1], "", sep="|", flush=True)
    project.set_note(1, f"note {number} " + "long " * (number % 400), merge="typing")
    print("note", number, "", sep="|", flush=True)
    group = project.add_group(1, f"group {number}", [number % 20, (number + 1) % 20])
    print("group", group, f"group {number}", sep="|", flush=True)
"""

MAKING = """
import sys
from pathlib import Path
from engine.projects import Project
folder, number = Path(sys.argv[1]), 0
while True:
    number += 1
    with Project.create(folder / f"{number}.loupe") as project:
        project.save_copy(folder / "copy.loupe", overwrite=True)
    print(number, flush=True)
"""

# Dies in the middle of a transaction whose first pages have reached the file.
INTERRUPTED = """
import os, signal, sys
from engine.projects import Project
project = Project.open(sys.argv[1])
db = project._file._db
db.conn.execute("PRAGMA cache_size=1")
db.conn.execute("BEGIN IMMEDIATE")
db.conn.execute("UPDATE label SET text = 'lost'")
for number in range(50):
    db.conn.execute("INSERT INTO setting VALUES (?, ?)", (str(number), '"' + "x" * 50_000 + '"'))
os.kill(os.getpid(), signal.SIGKILL)
"""


def run(script: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)


def killed_at_random(process: subprocess.Popen[str], seed: int) -> list[str]:
    """The whole lines that a program printed before it was killed at a random moment."""
    chance = random.Random(seed)
    assert process.stdout is not None
    with process:
        lines = [process.stdout.readline() for _ in range(chance.randint(1, 40))]
        time.sleep(chance.random() * 0.004)  # anywhere within an edit: no event to wait for
        process.kill()
        lines += process.stdout.readlines()
    assert lines[0], "the program died by itself"
    return [line.rstrip("\n") for line in lines if line.endswith("\n")]


@pytest.mark.parametrize("seed", range(4))
def test_everything_committed_is_there_after_sigkill(project: Project, seed: int) -> None:
    project.close()
    lines = killed_at_random(run(EDITING, project.path), seed)
    with Project.open(project.path) as again:
        assert not again.read_only, "the dead program's claim is stale"
        found = again.annotations(1)
        # Of each kind the last that was printed must be there; one more edit may have been committed unsaid.
        said = {kind: (key, text) for kind, key, text in (line.split("|") for line in lines)}
        if "label" in said:
            key, text = said["label"]
            assert found.labels[int(key)] == text
        if "group" in said:
            key, name = said["group"]
            assert (int(key), name) in [(group.id, group.name) for group in found.groups]
        if "note" in said:
            assert int(found.note.split()[1]) - int(said["note"][0]) in (0, 1)
        if "pins" in said:
            assert int(said["pins"][0]) in found.pins
        assert len([line for line in lines if line.startswith("label")]) - _count(again, "Label ") in (0, -1)
        state = everything(again)
        while again.undo() is not None:
            pass
        assert again.annotations(1).labels == {}
        while again.redo() is not None:
            pass
        assert everything(again) == state


def _count(project: Project, start: str) -> int:
    with project._file.reading() as db:
        return int(db.execute("SELECT count(*) FROM history WHERE title LIKE ? || '%'", [start]).fetchone()[0])


@pytest.mark.parametrize("seed", range(2))
def test_a_program_killed_while_it_makes_projects_leaves_none_broken(path: Path, seed: int) -> None:
    lines = killed_at_random(run(MAKING, path.parent), seed + 10)
    found = sorted(path.parent.glob("*.loupe"))
    assert len(found) >= len(lines) + 1
    for file in found:
        with Project.open(file) as project:
            assert project.traces() == []
            assert not project.read_only


def test_half_a_transaction_is_taken_back(project: Project) -> None:
    project.set_label(1, 1, "kept")
    project.close()
    with run(INTERRUPTED, project.path) as process:
        pass
    assert process.returncode == -signal.SIGKILL
    assert project.path.with_name("texas.loupe-journal").stat().st_size > 0, "the test must leave a journal"
    assert b"lost" in project.path.read_bytes(), "the test must leave half a transaction in the file"
    with Project.open(project.path) as again:
        assert again.annotations(1).labels == {1: "kept"}
        assert again.setting("1") is None
        assert again.undo_title == "Label embedding"


def test_an_old_journal_does_not_touch_a_new_project_in_its_place(project: Project) -> None:
    project.set_label(1, 1, "old")
    project.close()
    with run(INTERRUPTED, project.path):
        pass
    project.path.unlink()
    with Project.create(project.path, name="new") as made:
        assert made.name == "new"
        assert made.traces() == []
    assert [file.name for file in project.path.parent.iterdir()] == ["texas.loupe"]


def test_a_stray_journal_does_not_hide_that_a_file_is_cut_short(project: Project) -> None:
    project.close()
    journal = project.path.with_name("texas.loupe-journal")
    journal.write_bytes(b"not a journal")
    with project.path.open("r+b") as file:
        file.truncate(5000)
    with pytest.raises(RequestError, match="is damaged"):
        Project.open(project.path)


def test_what_is_not_committed_is_not_there(project: Project) -> None:
    """The counterpart: the checks above can fail."""
    project.set_label(1, 1, "kept")
    project.close()
    change_file(project.path, "DELETE FROM label")
    with Project.open(project.path) as again:
        assert again.annotations(1).labels == {}
