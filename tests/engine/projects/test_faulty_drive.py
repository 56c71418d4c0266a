"""Every call that changes the drive may fail, once or for good: what was done is there, what failed is not."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engine.errors import LoupeError
from engine.projects import Project
from tests.engine.projects.conftest import everything, memory_folder, small_graph
from tests.engine.projects.faulty_drive import FaultyDrive, Plan
from tests.engine.projects.test_hostile_files import check_sentence
from tests.engine.projects.test_migration import OLD, check_content

Edit = Callable[[Project], object]
EDITS: list[Edit] = [
    lambda p: p.set_label(1, 3, "Texas"),
    lambda p: p.set_note(1, "long " * 4_000),
    lambda p: p.tree.add_folder("new"),
    lambda p: p.undo(),
    lambda p: p.add_trace({}, small_graph(4), title="new"),
    lambda p: p.feature_labels.set("d", 1, 2, "everywhere"),
]


@pytest.fixture(scope="module")
def drive() -> FaultyDrive:
    return FaultyDrive()


@pytest.fixture
def base(two_traces: bytes) -> Iterator[Path]:
    folder = memory_folder()
    path = folder / "texas.loupe"
    path.write_bytes(two_traces)
    with Project.open(path) as project:
        project.set_note(1, "before")
    yield path
    shutil.rmtree(folder)


def state(project: Project) -> object:
    return everything(project), project.tree.entries(), project.feature_labels.all(), project.undo_title


def work(path: Path, drive: FaultyDrive, plan: Plan) -> tuple[list[object], int]:
    """Open, edit until everything was tried; the states after each edit that returned, and how many were refused."""
    refused = 0
    drive.plan = plan
    try:
        project = Project.open(path)
    except LoupeError:
        drive.plan = Plan()
        return [], 1
    if project.read_only:
        drive.plan = Plan()
        project.close()
        return [], 1
    states = [state(project)]
    for edit in EDITS:
        try:
            edit(project)
        except LoupeError as error:
            check_sentence(error)
            refused += 1
            unchanged(project, states[-1], plan)
        else:
            states.append(state(project))
    project.close()
    drive.plan = Plan()
    return states, refused


def unchanged(project: Project, before: object, plan: Plan) -> None:
    """What failed has changed nothing. Of a drive that is gone for good, not even reading may be possible."""
    try:
        now = state(project)
    except LoupeError as error:
        check_sentence(error)
        assert plan.lasting
    else:
        assert now == before


def calls_of_all_edits(path: Path, drive: FaultyDrive) -> int:
    plan = Plan()
    work(path, drive, plan)
    return plan.calls


@pytest.mark.parametrize("how", ["io", "full", "half"])
@pytest.mark.parametrize("lasting", [False, True])
def test_no_failing_call_loses_what_was_done(base: Path, drive: FaultyDrive, how: str, lasting: bool) -> None:
    whole = base.read_bytes()
    with Project.open(base, read_only=True) as project:
        first = state(project)
    with drive.in_place():
        calls = calls_of_all_edits(base, drive)
        assert calls > 60
        refusals = 0
        for at in range(1, calls + 1, 5 if how == "io" else 11):
            for file in base.parent.iterdir():
                file.unlink()
            base.write_bytes(whole)
            plan = Plan(at, how, lasting)
            states, refused = work(base, drive, plan)
            assert plan.failed, at
            refusals += refused > 0
            with Project.open(base) as again:
                assert not again.read_only
                with again._file.reading() as db:
                    assert db.conn.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
                assert state(again) == (states[-1] if states else first), at
                for row in again.traces():
                    again.load_graph(row.id)
        assert refusals > 3, "most of these faults must be noticed"


@pytest.mark.parametrize("lasting", [False, True])
def test_no_failing_call_hurts_an_old_file_on_its_way(base: Path, drive: FaultyDrive, lasting: bool) -> None:
    plan = Plan()
    with drive.in_place():
        shutil.copy(OLD, base)
        drive.plan = plan
        Project.open(base).close()
        drive.plan = Plan()
        for at in range(1, plan.calls + 1, 6):
            for file in base.parent.iterdir():
                file.unlink()
            shutil.copy(OLD, base)
            drive.plan = Plan(at, "io", lasting)
            try:
                Project.open(base).close()
            except LoupeError as error:
                check_sentence(error)
            drive.plan = Plan()
            with Project.open(base) as again:
                assert not again.read_only
                check_content(again)


def test_the_drive_is_whole_again_afterwards(base: Path, drive: FaultyDrive) -> None:
    with drive.in_place():
        drive.plan = Plan(1, "io", lasting=True)
        with Project.open(base) as project:
            assert project.read_only
    with Project.open(base) as project:
        assert not project.read_only
        assert project.pin(1, [1]) is not None
