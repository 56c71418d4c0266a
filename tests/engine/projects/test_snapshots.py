"""The states that are kept, and going back to one."""

from __future__ import annotations

import pytest

from engine.errors import RequestError
from engine.projects import Project
from tests.engine.projects.conftest import everything, small_graph


def reopened(project: Project) -> Project:
    project.close()
    return Project.open(project.path)


def test_a_state_is_kept_at_opening_only_after_edits(project: Project) -> None:
    project = reopened(project)
    assert project.snapshots() == []
    project.pin(1, [1])
    project = reopened(project)
    assert len(project.snapshots()) == 1
    project = reopened(project)
    assert len(project.snapshots()) == 1
    project.close()
    with Project.open(project.path, read_only=True) as reading:
        assert len(reading.snapshots()) == 1


def test_ten_are_kept_newest_first(project: Project) -> None:
    for number in range(13):
        project.set_note(1, f"note {number}")
        project = reopened(project)
    kept = project.snapshots()
    assert [row.id for row in kept] == list(range(13, 3, -1))
    project.restore_snapshot(kept[-1].id)
    assert project.annotations(1).note == "note 3"
    project.close()


def test_going_back_is_one_edit_that_can_be_undone(project: Project) -> None:
    project.pin(1, [1, 2])
    project.set_label(2, 3, "three")
    project.add_group(1, "group", [4, 5])
    project.delete_trace(2)
    then = everything(project)
    project = reopened(project)
    project.undo()
    project.unpin(1, [1])
    project.set_label(1, 1, "new")
    project.set_group_nodes(1, 1, [5])
    project.add_group(1, "later", [6])
    project.rename_trace(1, "renamed")
    project.rename("renamed too")
    now = everything(project)
    done = project.restore_snapshot(project.snapshots()[0].id)
    assert done is not None
    assert done.title.startswith("Go back to 20")
    assert everything(project) == then
    project.undo()
    assert everything(project) == now
    project.redo()
    assert everything(project) == then
    assert project.search("later") == []
    project.close()


def test_a_trace_that_came_later_keeps_what_was_written_on_it(project: Project) -> None:
    project.pin(1, [1])
    project = reopened(project)
    later = project.add_trace({}, small_graph(), title="later")
    project.set_note(later, "stays")
    project.add_group(later, "stays too", [1, 2])
    project.unpin(1, [1])
    kept = project.annotations(later)
    project.restore_snapshot(1)
    assert project.annotations(1).pins == (1,)
    assert project.annotations(later) == kept
    project.close()


def test_going_back_to_where_one_is_or_to_nothing(project: Project) -> None:
    project.pin(1, [1])
    project = reopened(project)
    assert project.restore_snapshot(1) is None
    assert project.undo_title == "Pin 1 node"
    with pytest.raises(RequestError, match="keeps no state 77"):
        project.restore_snapshot(77)
    project.close()
