from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytestqt.qtbot import QtBot

from app.commands import Edits, TreeEdits
from app.commands.edits import group_of
from app.session import Session, ViewSettings
from app.unsaved import is_unsaved
from app.visited import Visited
from engine.errors import RequestError
from engine.graphs import AttributionGraph, NodeKind
from engine.graphs.colours import GROUP_COLOURS
from engine.projects import TreeRef
from tests.app.conftest import as_trace


def feature_nodes(graph: AttributionGraph) -> list[int]:
    return [int(node) for node in graph.of_kind(NodeKind.FEATURE)]


def test_a_trace_is_never_without_a_home(session: Session, graph: AttributionGraph, home: Path) -> None:
    session.add_trace(as_trace(graph), "A title", "neurons")
    assert session.project is not None
    assert is_unsaved(session.project.path)
    assert session.project.path.is_relative_to(home)
    assert [row.title for row in session.project.traces()] == ["A title"]
    assert session.graph is not None
    assert session.graph.n_nodes == graph.n_nodes


def test_panels_hear_of_a_new_trace(session: Session, graph: AttributionGraph, qtbot: QtBot) -> None:
    with qtbot.waitSignals([session.projectChanged, session.tracesChanged, session.traceChanged]):
        session.add_trace(as_trace(graph), "A title", "neurons")


def test_sliders_are_kept_with_the_trace(open_session: Session) -> None:
    open_session.set_view(node_threshold=0.4, hide_bos=True)
    open_session.keep_view()
    path = open_session.project.path  # type: ignore[union-attr]
    open_session.set_project(None)
    open_session.open_project(path)
    assert open_session.settings == ViewSettings(node_threshold=0.4, hide_bos=True)


def test_fewer_influence_shows_fewer_nodes(open_session: Session) -> None:
    view = open_session.view
    assert view is not None
    open_session.set_view(node_threshold=0.3)
    fewer = open_session.view
    assert fewer is not None
    assert fewer.nodes.sum() < view.nodes.sum()
    assert fewer.explained < view.explained


def test_selecting_a_hidden_node_brings_it_into_view(open_session: Session) -> None:
    open_session.set_view(node_threshold=0.05)
    view = open_session.view
    assert view is not None
    hidden = int(np.flatnonzero(~view.nodes)[0])
    open_session.select(hidden)
    assert open_session.view is not None
    assert open_session.view.nodes[hidden]


def test_pins_stay_in_view_whatever_the_sliders_say(open_session: Session, graph: AttributionGraph) -> None:
    weakest = min(feature_nodes(graph), key=lambda node: float(graph.influence[node]))
    Edits(open_session).pin([weakest])
    open_session.set_view(node_threshold=0.05)
    assert open_session.view is not None
    assert open_session.view.nodes[weakest]


def test_back_and_forth_through_what_was_visited(open_session: Session, graph: AttributionGraph) -> None:
    first, second, third = feature_nodes(graph)[:3]
    for node in (first, second, third):
        open_session.select(node)
    open_session.go_back()
    open_session.go_back()
    assert open_session.selected == first
    open_session.go_forward()
    assert open_session.selected == second
    open_session.select(first)
    assert not open_session.visited.can_go_forward


@given(st.lists(st.one_of(st.integers(0, 5), st.sampled_from(["back", "forward"])), max_size=60))
def test_visited_behaves_like_a_list_with_a_cursor(steps: list[int | str]) -> None:
    visited, nodes, at = Visited(), list[int](), -1
    for step in steps:
        if step == "back":
            expected = nodes[at - 1] if at > 0 else None
            assert visited.back() == expected
            at -= at > 0
        elif step == "forward":
            expected = nodes[at + 1] if at < len(nodes) - 1 else None
            assert visited.forward() == expected
            at += at < len(nodes) - 1
        elif at < 0 or nodes[at] != step:
            assert isinstance(step, int)
            visited.visit(step)
            nodes, at = [*nodes[: at + 1], step], at + 1
        else:
            assert isinstance(step, int)
            visited.visit(step)


@given(
    st.recursive(st.none() | st.booleans() | st.floats() | st.text(), lambda inner: st.dictionaries(st.text(), inner))
)
def test_view_settings_of_any_file_are_usable(stored: object) -> None:
    settings = ViewSettings.from_json(stored)
    assert 0 < settings.node_threshold <= 1
    assert ViewSettings.from_json(settings.as_json()) == settings


def test_every_edit_is_in_the_file_at_once_and_can_be_undone(open_session: Session, graph: AttributionGraph) -> None:
    edits, (one, two, three) = Edits(open_session), feature_nodes(graph)[:3]
    edits.pin([one, two, three])
    edits.label(one, "  says   a capital ")
    edits.group([two, three], "Texas")
    edits.note("The path through Dallas is weak.")
    path = open_session.project.path  # type: ignore[union-attr]
    open_session.set_project(None)
    open_session.open_project(path)
    annotations = open_session.annotations
    assert annotations.pins == (one, two, three)
    assert annotations.labels == {one: "says a capital"}
    assert [(group.name, group.nodes) for group in annotations.groups] == [("Texas", (two, three))]
    assert annotations.note == "The path through Dallas is weak."
    for _ in range(4):
        assert edits.undo()
    assert not edits.undo()
    assert open_session.annotations.pins == ()
    assert not open_session.annotations.labels
    for _ in range(4):
        assert edits.redo()
    assert open_session.annotations == annotations


def test_undo_goes_to_the_trace_the_edit_was_made_on(open_session: Session, graph: AttributionGraph) -> None:
    edits, first = Edits(open_session), open_session.trace_id
    edits.pin(feature_nodes(graph)[:2])
    open_session.add_trace(as_trace(graph), "Another", "neurons")
    assert open_session.trace_id != first
    edits.undo()
    assert open_session.trace_id == first
    assert open_session.annotations.pins == ()


def test_a_deleted_trace_comes_back(open_session: Session, graph: AttributionGraph) -> None:
    edits, number = Edits(open_session), open_session.trace_id
    assert number is not None
    edits.pin(feature_nodes(graph)[:2])
    TreeEdits(open_session).delete([TreeRef("trace", number)])
    assert open_session.graph is None
    assert open_session.project is not None
    assert open_session.project.traces() == []
    edits.undo()
    assert open_session.trace_id == number
    assert len(open_session.annotations.pins) == 2


def test_groups_of_no_colour_get_one_that_stays(open_session: Session, graph: AttributionGraph) -> None:
    edits, nodes = Edits(open_session), feature_nodes(graph)
    edits.group(nodes[:2], "One")
    edits.group(nodes[2:4], "Two")
    one, two = open_session.annotations.groups
    assert one.colour != two.colour
    edits.recolour_group(two.id, GROUP_COLOURS[5][1])
    edits.ungroup(one.id)
    assert [group.colour for group in open_session.annotations.groups] == [GROUP_COLOURS[5][1]]
    assert group_of(open_session.annotations, nodes[0]) is None


def test_a_group_of_one_is_refused_in_words(open_session: Session, graph: AttributionGraph, qtbot: QtBot) -> None:
    with qtbot.waitSignal(open_session.problem) as blocker:
        assert not Edits(open_session).group(feature_nodes(graph)[:1])
    assert "two nodes" in blocker.args[0].sentence


def test_taking_nodes_out_of_a_group_ends_with_no_group(open_session: Session, graph: AttributionGraph) -> None:
    edits, (one, two, three) = Edits(open_session), feature_nodes(graph)[:3]
    edits.group([one, two, three], "Texas")
    group = open_session.annotations.groups[0].id
    edits.remove_from_group(group, one)
    assert open_session.annotations.groups[0].nodes == (two, three)
    edits.remove_from_group(group, two)
    edits.remove_from_group(group, three)
    assert open_session.annotations.groups == ()
    assert open_session.annotations.pins == (one, two, three), "what leaves a group stays in the circuit"


def test_nothing_is_written_to_a_project_open_for_reading(
    open_session: Session, graph: AttributionGraph, qtbot: QtBot
) -> None:
    path = open_session.project.path  # type: ignore[union-attr]
    open_session.set_project(None)
    open_session.open_project(path, read_only=True)
    assert not open_session.can_edit
    with qtbot.waitSignal(open_session.problem) as blocker:
        assert not Edits(open_session).pin(feature_nodes(graph)[:1])
    assert blocker.args[0].command == "file.save_as"
    assert open_session.annotations.pins == ()


def test_a_file_that_cannot_be_opened_leaves_what_was_open(open_session: Session, tmp_path: Path) -> None:
    bad = tmp_path / "bad.loupe"
    bad.write_bytes(b"not a project at all")
    with pytest.raises(RequestError):
        open_session.open_project(bad)
    assert open_session.graph is not None


def test_the_prompt_comes_back_with_its_trace_without_the_model(open_session: Session) -> None:
    prompt = open_session.prompt
    prompt.edit(text="The capital of Texas is", bos=False)
    open_session.keep_prompt()
    path = open_session.project.path  # type: ignore[union-attr]
    open_session.set_project(None)
    prompt.edit(text="something else", bos=True)
    open_session.open_project(path)
    assert (prompt.draft.text, prompt.draft.bos) == ("The capital of Texas is", False)


def test_a_project_opens_at_the_trace_it_was_left_at(open_session: Session, graph: AttributionGraph) -> None:
    first = open_session.trace_id
    open_session.add_trace(as_trace(graph), "Another", "neurons")
    assert first is not None
    open_session.open_trace(first)
    path = open_session.project.path  # type: ignore[union-attr]
    open_session.close()
    open_session.open_project(path)
    assert open_session.trace_id == first
