"""Network drives are named; a file that vanished or was replaced is noticed at the next tick of a timer."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from engine.errors import MachineError, RequestError
from engine.projects import Project, drives
from tests.engine.projects.conftest import everything


def mounted(monkeypatch: pytest.MonkeyPatch, *parts: tuple[str, str, str]) -> None:
    found = [SimpleNamespace(mountpoint=where, fstype=kind, opts=options) for where, kind, options in parts]
    monkeypatch.setattr(psutil, "disk_partitions", lambda **_: found)


def test_which_drives_are_of_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    mounted(
        monkeypatch,
        ("/", "ext4", "rw"),
        ("/home", "nfs4", "rw,hard"),
        ("/home/anna/local", "btrfs", "rw"),
        ("/mnt/share", "CIFS", "rw"),
        ("/z", "NTFS", "rw,remote"),
        ("/smooth", "xfs", "rw"),
    )
    kinds = {
        "/a.loupe": None,
        "/home/a.loupe": "nfs4",
        "/home/anna/local/deep/a.loupe": None,
        "/homely/a.loupe": None,
        "/mnt/share/a.loupe": "cifs",
        "/z/a.loupe": "remote",
        "/smooth/a.loupe": None,
        "\\\\server\\share\\a.loupe": None if os.name == "posix" else "remote",
    }
    assert {path: drives.network_drive(Path(path)) for path in kinds} == kinds


def test_a_project_on_a_network_drive_says_so(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    assert project.warning is None
    project.close()
    mounted(monkeypatch, (str(project.path.parent), "nfs", "rw"))
    with Project.open(project.path) as again:
        assert again.warning is not None
        assert again.warning.startswith("texas.loupe is on a network drive (nfs), where other computers may not see")
        again.pin(1, [1])


on_posix = pytest.mark.skipif(os.name != "posix", reason="Windows keeps an open file where it is")


@on_posix
@pytest.mark.parametrize("read_only", [False, True])
@pytest.mark.parametrize("how", ["deleted", "moved", "replaced"])
def test_what_happens_underneath_is_noticed_and_can_be_saved_elsewhere(
    project: Project, how: str, read_only: bool
) -> None:
    project.set_note(1, "kept")
    state = everything(project)
    project.close()
    with Project.open(project.path, read_only=read_only) as again:
        again.heartbeat()
        if how == "deleted":
            again.path.unlink()
        elif how == "moved":
            again.path.rename(again.path.with_name("moved.loupe"))
        else:
            shutil.copy(again.path, again.path.with_name("other.loupe"))
            again.path.with_name("other.loupe").replace(again.path)
        with pytest.raises(RequestError, match="was deleted, moved or replaced by another program; save this project"):
            again.heartbeat()
        copy = again.path.with_name("elsewhere.loupe")
        again.save_copy(copy)
        assert everything(again) == state
    with Project.open(copy) as saved:
        assert everything(saved) == state
        assert not saved.read_only


def test_a_drive_that_is_gone_is_named(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(_: Path) -> drives.FileId:
        raise OSError(116, "Stale file handle")

    monkeypatch.setattr(drives, "file_id", gone)
    for use in (project.heartbeat, lambda: project.pin(1, [1])):
        with pytest.raises(MachineError, match=r"cannot be reached \(Stale file handle\); check the drive, or save"):
            use()
    monkeypatch.undo()
    assert project.pin(1, [1]) is not None
