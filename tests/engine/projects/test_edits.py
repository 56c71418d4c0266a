"""Every edit: what it changes, that undo takes it back and redo makes it again, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from engine.errors import RequestError
from engine.graphs.graph import NodeKind
from engine.projects import Brought, EditDone, Group, Project, history
from engine.projects.rows import RowChange
from tests.engine.projects.conftest import everything, small_graph
from tests.graph_builder import build_graph

Edit = Callable[[Project], object]

# Each after `furnish`: pins 3, 5; labels on 3, 4; supernodes 1 (3, 4) and 2 (5); a note; a place.
EDITS: dict[str, tuple[Edit, str]] = {
    "pin": (lambda p: p.pin(1, [6, 7]), "Pin 2 nodes"),
    "pin some that are pinned": (lambda p: p.pin(1, [3, 6]), "Pin 1 node"),
    "unpin": (lambda p: p.unpin(1, [3]), "Unpin 1 node"),
    "label": (lambda p: p.set_label(1, 8, "Texas"), "Label "),
    "change a label": (lambda p: p.set_label(1, 3, "a state"), "Label "),
    "remove a label": (lambda p: p.set_label(1, 3, ""), "Remove the label of "),
    "note": (lambda p: p.set_note(1, "Texas → Austin"), "Write the note"),
    "clear the note": (lambda p: p.set_note(1, " \n"), "Clear the note"),
    "place": (lambda p: p.set_position(1, 8, 1.5, -2.0), "Move a node"),
    "move": (lambda p: p.set_position(1, "group 1", 0.25, 9e9), "Move a node"),
    "group": (lambda p: p.add_group(1, "capitals", [8, 9]), "Group 2 nodes as capitals"),
    "group from another": (lambda p: p.add_group(1, "one", [4]), "Group 1 node as one"),
    "group all of another": (lambda p: p.add_group(1, "all", [3, 4, 5]), "Group 3 nodes as all"),
    "rename a group": (lambda p: p.rename_group(1, 1, "cities"), "Rename supernode cities"),
    "recolour a group": (lambda p: p.recolour_group(1, 1, "#12ab34"), "Colour supernode states"),
    "collapse a group": (lambda p: p.collapse_group(1, 1, True), "Collapse supernode states"),
    "change a group's nodes": (lambda p: p.set_group_nodes(1, 1, [9, 3]), "Change supernode states"),
    "take a group's nodes": (lambda p: p.set_group_nodes(1, 1, [5, 3]), "Change supernode states"),
    "empty a group": (lambda p: p.set_group_nodes(1, 1, []), "Remove supernode states"),
    "remove a group": (lambda p: p.remove_group(1, 1), "Remove supernode states"),
    "rename a trace": (lambda p: p.rename_trace(1, "Austin"), "Rename trace Austin"),
    "delete a trace": (lambda p: p.delete_trace(1), "Delete trace Trace 1"),
    "rename the project": (lambda p: p.rename("Capitals"), "Rename the project"),
}


@pytest.fixture
def furnished(project: Project) -> Project:
    project.pin(1, [3, 5])
    project.set_label(1, 3, "Texas")
    project.set_label(1, 4, "capital of")
    project.add_group(1, "states", [3, 4])
    project.add_group(1, "rest", [5])
    project.set_note(1, "first thoughts")
    project.set_position(1, "group 1", 10.0, 20.0)
    return project


@pytest.mark.parametrize("name", EDITS)
def test_every_edit_is_done_undone_and_done_again(furnished: Project, name: str) -> None:
    edit, title = EDITS[name]
    before = everything(furnished)
    edit(furnished)
    after = everything(furnished)
    assert after != before
    assert furnished.undo_title is not None
    assert furnished.undo_title.startswith(title)
    assert furnished.redo_title is None

    done = furnished.undo()
    assert done is not None
    assert done.title.startswith(title)
    assert done.trace == (None if name == "rename the project" else 1)
    assert everything(furnished) == before
    assert furnished.redo_title == done.title

    furnished.close()
    with Project.open(furnished.path) as again:
        assert again.redo() == done
        assert everything(again) == after


def test_what_the_annotations_hold(furnished: Project) -> None:
    found = furnished.annotations(1)
    assert found.pins == (3, 5)
    assert found.labels == {3: "Texas", 4: "capital of"}
    assert found.groups == (Group(1, "states", "", (3, 4), False), Group(2, "rest", "", (5,), False))
    assert found.note == "first thoughts"
    assert found.positions == {"group 1": (10.0, 20.0)}
    assert furnished.annotations(2).pins == ()


def test_pins_keep_the_order_they_were_made_in(project: Project) -> None:
    project.pin(1, [7, 2])
    project.pin(1, [5, 7])
    assert project.annotations(1).pins == (7, 2, 5)
    project.unpin(1, [7])
    project.pin(1, [7])
    assert project.annotations(1).pins == (2, 5, 7)


def test_a_label_is_titled_by_its_node(project: Project) -> None:
    graph = small_graph(1)
    feature = int(graph.of_kind(NodeKind.FEATURE)[0])
    done = project.set_label(1, feature, "x")
    assert done == EditDone(f"Label layer {graph.layer[feature]} · {graph.feature[feature]}", 1)
    error = int(graph.of_kind(NodeKind.ERROR)[0])
    assert project.set_label(1, error, "x") == EditDone(f"Label error of layer {graph.layer[error]}", 1)


def test_a_node_is_in_one_supernode_and_an_empty_one_goes(furnished: Project) -> None:
    number = furnished.add_group(1, "new", [5, 4])
    assert number == 3
    assert [(group.id, group.nodes) for group in furnished.annotations(1).groups] == [(1, (3,)), (3, (5, 4))]


def test_new_nodes_of_a_supernode_leave_the_one_they_were_in(furnished: Project) -> None:
    furnished.set_label(1, 5, "x")
    furnished.add_group(1, "more", [6, 7])

    def groups() -> dict[int, tuple[int, ...]]:
        return {group.id: group.nodes for group in furnished.annotations(1).groups}

    furnished.set_group_nodes(1, 1, [7, 3, 5])
    assert groups() == {1: (7, 3, 5), 3: (6,)}
    furnished.undo()
    assert groups() == {1: (3, 4), 2: (5,), 3: (6, 7)}


def test_a_supernode_number_is_never_given_twice(project: Project) -> None:
    first = project.add_group(1, "a", [1])
    project.undo()
    second = project.add_group(1, "b", [1])
    assert second > first


def test_a_new_edit_drops_what_could_be_redone(furnished: Project) -> None:
    furnished.undo()
    furnished.undo()
    furnished.pin(1, [9])
    assert furnished.redo_title is None
    assert furnished.redo() is None
    assert furnished.annotations(1).note == ""


def test_edits_that_change_nothing_leave_no_step(furnished: Project) -> None:
    title = furnished.undo_title
    furnished.undo()
    redo = furnished.redo_title
    nothing = [
        furnished.pin(1, [3]),
        furnished.pin(1, []),
        furnished.unpin(1, [9]),
        furnished.set_label(1, 3, "Texas"),
        furnished.set_label(1, 9, ""),
        furnished.set_note(1, "first thoughts"),
        furnished.rename_group(1, 1, "states"),
        furnished.set_group_nodes(1, 1, [3, 4]),
        furnished.rename("texas"),
    ]
    assert nothing == [None] * len(nothing)
    assert furnished.redo_title == redo == title


def test_typing_with_one_key_is_one_step(project: Project) -> None:
    for end in range(1, 6):
        project.set_note(1, "Texas"[:end], merge="note 1")
    project.set_label(1, 3, "A", merge="label 3")
    project.set_label(1, 3, "Au", merge="label 3")
    assert project.annotations(1).labels == {3: "Au"}
    project.undo()
    assert project.annotations(1).labels == {}
    assert project.annotations(1).note == "Texas"
    project.undo()
    assert project.annotations(1).note == ""
    assert project.undo_title is None
    project.redo()
    assert project.annotations(1).note == "Texas"


def test_one_key_joins_neither_traces_nor_kinds(project: Project) -> None:
    project.set_note(1, "a", merge="typing")
    project.set_note(2, "b", merge="typing")
    project.set_label(2, 1, "c", merge="typing")
    project.set_label(2, 2, "d", merge="typing")
    project.undo()
    assert (project.annotations(2).labels, project.annotations(2).note) == ({}, "b")
    project.undo()
    assert (project.annotations(2).note, project.annotations(1).note) == ("", "a")


def test_typing_that_comes_back_leaves_no_step(project: Project) -> None:
    project.pin(1, [1])
    project.set_note(1, "T", merge="note")
    project.set_note(1, "", merge="note")
    assert project.undo_title == "Pin 1 node"


def test_typing_that_is_taken_back_leaves_no_step(furnished: Project) -> None:
    before, title = everything(furnished), furnished.undo_title
    versions = furnished.label_versions(1, 3)
    for text in ("A", "Au", "Austin"):
        furnished.set_label(1, 3, text, merge="typing")
    assert furnished.take_back("another") is None, "what was typed elsewhere is not meant"
    furnished.set_label(1, 3, "again", merge="typing")
    furnished.undo()
    assert furnished.take_back("typing") is None, "an undone step is taken back already"
    furnished.redo()
    furnished.undo()
    furnished.undo()
    assert everything(furnished) == before
    furnished.set_label(1, 3, "Austin", merge="typing")
    done = furnished.take_back("typing")
    assert done is not None
    assert done.trace == 1
    assert everything(furnished) == before
    assert furnished.label_versions(1, 3) == versions
    assert (furnished.undo_title, furnished.redo_title) == (title, None)
    furnished.set_label(1, 3, "Austin", merge="typing")
    furnished.pin(1, [8])
    assert furnished.take_back("typing") is None, "something else was done since"
    assert furnished.annotations(1).labels[3] == "Austin"


def test_steps_do_not_join_over_another_edit_an_undo_or_a_restart(project: Project) -> None:
    project.set_note(1, "a", merge="note")
    project.pin(1, [1])
    project.set_note(1, "ab", merge="note")
    project.undo()
    assert project.annotations(1).note == "a"
    project.redo()
    project.set_note(1, "abc", merge="note")
    project.undo()
    assert project.annotations(1).note == "ab"
    project.redo()
    project.close()
    with Project.open(project.path) as again:
        again.set_note(1, "abcd", merge="note")
        again.undo()
        assert again.annotations(1).note == "abc"


def test_typing_goes_on_after_a_refusal(project: Project) -> None:
    project.set_note(1, "a", merge="note")
    with pytest.raises(RequestError):
        project.set_note(1, "x" * 1_000_001, merge="note")
    project.set_note(1, "ab", merge="note")
    project.undo()
    assert project.annotations(1).note == ""


def test_an_edit_joins_only_the_last_step(project: Project) -> None:
    def note(before: str | None, after: str) -> history.Edit:
        rows = [None if text is None else {"trace": 1, "text": text} for text in (before, after)]
        return history.Edit("note", 1, [RowChange("note", {"trace": 1}, rows[0], rows[1])])

    with project._file.writing() as db:
        first = history.apply_edit(db, note(None, "a"))
        history.apply_edit(db, note("a", "b"))
        history.apply_edit(db, note("b", "c"), join=first)
    for text in ("b", "a", ""):
        project.undo()
        assert project.annotations(1).note == text


def test_an_edit_that_changes_a_row_twice_is_taken_back_in_reverse(project: Project) -> None:
    rows = [{"trace": 1, "text": text} for text in "ab"]
    changes = [RowChange("note", {"trace": 1}, None, rows[0]), RowChange("note", {"trace": 1}, rows[0], rows[1])]
    with project._file.writing() as db:
        history.apply_edit(db, history.Edit("twice", 1, changes))
    assert project.undo() == EditDone("twice", 1)
    assert project.annotations(1).note == ""
    assert project.redo() == EditDone("twice", 1)
    assert project.annotations(1).note == "b"


def test_dragging_with_one_key_is_one_step(project: Project) -> None:
    project.set_position(1, 2, 0.0, 0.0)
    for x in range(1, 50):
        project.set_position(1, 2, float(x), -float(x), merge="drag 7")
    project.undo()
    assert project.annotations(1).positions == {2: (0.0, 0.0)}


@pytest.mark.parametrize(
    ("edit", "sentence"),
    [
        (lambda p: p.pin(1, [10_000]), "has no node 10000"),
        (lambda p: p.pin(1, [-1]), "has no node -1"),
        (lambda p: p.set_label(1, 10_000, "x"), "has no node 10000"),
        (lambda p: p.set_label(1, 1, "x" * 1001), "at most 1,000 characters"),
        (lambda p: p.set_note(1, "x" * 1_000_001), "at most 1,000,000 characters"),
        (lambda p: p.add_group(1, "none", []), "needs at least one node"),
        (lambda p: p.rename_group(1, 77, "x"), "no supernode 77"),
        (lambda p: p.rename_group(2, 1, "x"), "no supernode 1"),
        (lambda p: p.recolour_group(1, 1, "<b>red"), "not a colour"),
        (lambda p: p.set_position(1, 1, float("nan"), 0.0), "two finite numbers"),
        (lambda p: p.set_position(1, 10_000, 0.0, 0.0), "has no node 10000"),
        (lambda p: p.pin(99, [1]), "no trace 99"),
        (lambda p: p.delete_trace(99), "no trace 99"),
    ],
)
def test_refusals_are_one_sentence_and_change_nothing(furnished: Project, edit: Edit, sentence: str) -> None:
    before, title = everything(furnished), furnished.undo_title
    with pytest.raises(RequestError, match=sentence) as refused:
        edit(furnished)
    assert refused.value.sentence.endswith(".")
    assert everything(furnished) == before
    assert furnished.undo_title == title


def test_text_that_cannot_be_encoded_is_kept_as_far_as_it_can(project: Project) -> None:
    project.set_note(1, "a\ud800b\0c")
    assert project.annotations(1).note == "a?b\0c"


def test_a_deleted_trace_comes_back_with_everything(furnished: Project) -> None:
    before = everything(furnished)
    furnished.delete_trace(1)
    assert [row.id for row in furnished.traces()] == [2]
    with pytest.raises(RequestError, match="no trace 1"):
        furnished.load_graph(1)
    furnished.undo()
    assert everything(furnished) == before
    assert furnished.load_graph(1).n_nodes == small_graph(1).n_nodes


def test_settings_views_and_effects_are_kept_without_history(furnished: Project) -> None:
    furnished.undo()
    title = furnished.redo_title
    furnished.set_view(1, {"nodes": 0.8, "hide_errors": True})
    furnished.set_setting("draft", {"text": "The capital of"})
    furnished.save_effects("neurons/3/17", {"top": [[" Austin", 1.5]]})
    furnished.add_trace({}, small_graph(3), title="meanwhile")
    assert furnished.redo_title == title
    furnished.close()
    with Project.open(furnished.path) as again:
        assert again.view(1) == {"nodes": 0.8, "hide_errors": True}
        assert again.view(2) == {}
        assert again.setting("draft") == {"text": "The capital of"}
        assert again.setting("none", 5) == 5
        assert again.effects("neurons/3/17") == {"top": [[" Austin", 1.5]]}
        assert again.effects("neurons/3/18") is None
        assert again.redo_title == title


def test_search_finds_words_wherever_a_person_wrote_them(furnished: Project) -> None:
    def found(words: str) -> list[tuple[str, int, int]]:
        return sorted((hit.kind, hit.trace, hit.item) for hit in furnished.search(words))

    assert found("texas") == [("label", 1, 3)]
    assert found("first THOUGHTS") == [("note", 1, 1)]
    assert found("stat") == [("supernode", 1, 1)]
    assert found("trace") == [("trace", 1, 1), ("trace", 2, 2)]
    assert found('" OR * NEAR(') == found("") == []
    furnished.set_label(1, 3, "Houston")
    assert found("texas") == []
    assert found("houston") == [("label", 1, 3)]
    furnished.undo()
    assert found("texas") == [("label", 1, 3)]
    furnished.delete_trace(1)
    assert found("texas") == []
    furnished.undo()
    assert found("texas") == [("label", 1, 3)]


def test_a_closed_project_says_so(project: Project) -> None:
    project.close()
    project.close()
    with pytest.raises(RequestError, match="is closed"):
        project.traces()
    with pytest.raises(RequestError, match="is closed"):
        project.pin(1, [1])


def test_what_a_graph_brings_along_is_there_at_once_and_no_step_of_undo(furnished: Project) -> None:
    furnished.undo()
    before, undo, redo = everything(furnished), furnished.undo_title, furnished.redo_title
    labels = {2: "Lone Star", 0: "", 5: "  "}
    brought = Brought((4, 1, 4), (("gone", [3]), ("low", [1, 2]), ("high", [3, 2, 3])), labels, "from elsewhere")
    number = furnished.add_trace({}, small_graph(3), title="brought", brought=brought)
    notes = furnished.annotations(number)
    assert notes.pins == (4, 1)
    assert notes.labels == {2: "Lone Star"}
    assert notes.note == "from elsewhere"
    assert [(group.name, group.nodes) for group in notes.groups] == [("low", (1,)), ("high", (3, 2))]
    assert [(hit.kind, hit.trace) for hit in furnished.search("lone")] == [("label", number)]
    assert (furnished.undo_title, furnished.redo_title) == (undo, redo)
    assert everything(furnished)["annotations"].items() >= before["annotations"].items()
    furnished.set_label(number, 2, "Texas")
    assert furnished.search("lone") == []
    furnished.undo()
    assert furnished.annotations(number) == notes
    furnished.delete_trace(number)
    furnished.undo()
    assert furnished.annotations(number) == notes


@pytest.mark.parametrize(
    "brought",
    [
        Brought(pins=[10_000]),
        Brought(labels={-1: "x"}),
        Brought(groups=[("empty", [])]),
        Brought(groups=[("far", [1, 10_000])]),
        Brought(pins=[1], labels={1: "x" * 1_001}),
    ],
)
def test_what_cannot_come_along_keeps_the_graph_out_too(project: Project, brought: Brought) -> None:
    before = everything(project)
    with pytest.raises(RequestError):
        project.add_trace({}, small_graph(3), title="broken", brought=brought)
    assert everything(project) == before
    assert project.search("broken") == []


def test_labels_that_come_along_are_one_commit_and_few_statements_each(project: Project) -> None:
    statements: list[int] = []
    for count in (4, 16):
        graph = build_graph(n_layers=4, n_positions=4, n_features=40)
        seen: list[str] = []
        project._file._db.conn.set_trace_callback(seen.append)
        brought = Brought(labels={node: f"label {node}" for node in range(count)})
        project.add_trace({}, graph, title="many", brought=brought)
        project._file._db.conn.set_trace_callback(None)
        assert sum(one.startswith("COMMIT") for one in seen) == 1
        assert not any("DELETE FROM words" in one for one in seen)
        statements.append(len(seen))
    assert statements[1] - statements[0] <= 12 * 9  # the label, its version, and its words
