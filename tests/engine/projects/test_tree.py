"""The tree of an investigation: what stands where, and edits that are undone."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from engine.errors import RequestError
from engine.projects import Project, TreeRef
from tests.engine.projects.conftest import assert_same_graph, change_file, everything, small_graph

TRACE_1, TRACE_2 = TreeRef("trace", 1), TreeRef("trace", 2)


def shown(project: Project) -> list[tuple[int, str, str]]:
    """Depth, kind and title, line by line."""
    depth = {0: 0}
    lines = []
    for entry in project.tree.entries():
        lines.append((depth[entry.folder], entry.kind, entry.title))
        if entry.kind == "folder":
            depth[entry.ref.number] = depth[entry.folder] + 1
    return lines


@pytest.fixture
def furnished(project: Project) -> Project:
    """Folders Capitals (> Doubtful > note Why) and Empty; trace 2 in Capitals; a circuit, a prompt, an experiment."""
    tree = project.tree
    capitals = tree.add_folder("Capitals")
    doubtful = tree.add_folder("Doubtful", folder=capitals.number)
    tree.add_note("Why", "because of Dallas", folder=doubtful.number)
    tree.move([TRACE_2], capitals.number)
    tree.add_folder("Empty")
    project.pin(1, [3, 5])
    project.add_group(1, "states", [3, 4])
    tree.keep_circuit(1, "Texas circuit")
    tree.add_prompt("To try", "The capital of Ohio is", {"bos": True})
    project.experiments.add("ablate", "Without Texas", {"nodes": [3]}, {"change": -0.5}, trace=1)
    return project


FURNISHED = [
    (0, "trace", "Trace 1"),
    (0, "folder", "Capitals"),
    (1, "folder", "Doubtful"),
    (2, "note", "Why"),
    (1, "trace", "Trace 2"),
    (0, "folder", "Empty"),
    (0, "circuit", "Texas circuit"),
    (0, "prompt", "To try"),
    (0, "experiment", "Without Texas"),
]


def ref(project: Project, title: str) -> TreeRef:
    return next(entry.ref for entry in project.tree.entries() if entry.title == title)


def test_what_stands_where(furnished: Project) -> None:
    assert shown(furnished) == FURNISHED
    assert furnished.tree.text(ref(furnished, "Why")) == "because of Dallas"
    assert furnished.tree.content(ref(furnished, "To try")) == {"bos": True}
    new = furnished.add_trace({}, small_graph(5), title="New")
    assert shown(furnished)[-1] == (0, "trace", "New")
    assert furnished.tree.entries()[-1].trace == new


Edit = Callable[[Project], object]
EDITS: dict[str, Edit] = {
    "rename a folder": lambda p: p.tree.rename(ref(p, "Capitals"), "States"),
    "rename a trace": lambda p: p.tree.rename(TRACE_1, "Austin"),
    "rename an experiment": lambda p: p.tree.rename(ref(p, "Without Texas"), "Austin"),
    "write a note": lambda p: p.tree.write(ref(p, "Why"), "because of Houston"),
    "move into a folder": lambda p: p.tree.move([TRACE_1, ref(p, "To try")], ref(p, "Empty").number),
    "move to the top": lambda p: p.tree.move([TRACE_2], 0, before=TRACE_1),
    "move a folder": lambda p: p.tree.move([ref(p, "Capitals")], ref(p, "Empty").number),
    "delete a note": lambda p: p.tree.delete([ref(p, "Why")]),
    "delete a full folder": lambda p: p.tree.delete([ref(p, "Capitals")]),
    "delete a trace and a folder": lambda p: p.tree.delete([TRACE_1, ref(p, "Empty")]),
    "delete an experiment": lambda p: p.tree.delete([ref(p, "Without Texas")]),
    "duplicate a trace": lambda p: p.tree.duplicate(TRACE_1),
    "duplicate a full folder": lambda p: p.tree.duplicate(ref(p, "Capitals")),
    "duplicate an experiment": lambda p: p.tree.duplicate(ref(p, "Without Texas")),
    "duplicate a circuit": lambda p: p.tree.duplicate(ref(p, "Texas circuit")),
    "tag": lambda p: p.tree.tag([TRACE_1], "to check"),
    "add a folder": lambda p: p.tree.add_folder("New"),
}


def state(project: Project) -> object:
    entries = project.tree.entries()
    texts = [project.tree.text(entry.ref) for entry in entries if entry.ref.table == "item"]
    return everything(project), entries, texts, project.experiments.all()


@pytest.mark.parametrize("name", EDITS)
def test_every_edit_is_done_undone_and_done_again(furnished: Project, name: str) -> None:
    before = state(furnished)
    EDITS[name](furnished)
    after = state(furnished)
    assert after != before
    done = furnished.undo()
    assert done is not None
    assert state(furnished) == before
    furnished.close()
    with Project.open(furnished.path) as again:
        assert again.redo() == done
        assert state(again) == after
        again.undo()
        assert state(again) == before


def test_a_deleted_folder_takes_everything_in_it_along(furnished: Project) -> None:
    furnished.tree.delete([ref(furnished, "Capitals")])
    assert [title for _, _, title in shown(furnished)] == [
        "Trace 1",
        "Empty",
        "Texas circuit",
        "To try",
        "Without Texas",
    ]
    assert furnished.search("Dallas") == []
    furnished.undo()
    assert shown(furnished) == FURNISHED
    assert [hit.kind for hit in furnished.search("Dallas")] == ["item"]


def test_a_trace_takes_its_circuits_and_experiments_along(furnished: Project) -> None:
    furnished.delete_trace(1)
    assert not {"Texas circuit", "Without Texas"} & {title for _, _, title in shown(furnished)}
    assert furnished.experiments.all() == []
    furnished.undo()
    assert shown(furnished) == FURNISHED


def test_a_copy_of_a_trace_is_whole_and_apart(furnished: Project) -> None:
    furnished.set_label(1, 3, "Texas")
    furnished.set_view(1, {"nodes": 0.7})
    furnished.set_note(1, "a note")
    furnished.set_position(1, "supernode 1", 2.0, 3.0)
    furnished.set_position(1, 5, 4.0, 5.0)
    copy = furnished.tree.duplicate(TRACE_1).number
    assert_same_graph(furnished.load_graph(copy), furnished.load_graph(1))
    first, second = furnished.annotations(1), furnished.annotations(copy)
    assert (second.pins, second.labels, second.note) == (first.pins, first.labels, first.note)
    assert [group.nodes for group in second.groups] == [(3, 4)]
    assert second.groups[0].id != first.groups[0].id
    assert furnished.view(copy) == {"nodes": 0.7}
    assert second.positions == {f"supernode {second.groups[0].id}": (2.0, 3.0), 5: (4.0, 5.0)}
    furnished.unpin(copy, [3])
    furnished.remove_group(copy, second.groups[0].id)
    assert furnished.annotations(1) == first
    with furnished._file.reading() as db:
        arrays = db.execute("SELECT count(*) FROM array").fetchone()[0]
    furnished.tree.duplicate(TRACE_2)
    with furnished._file.reading() as db:
        assert db.execute("SELECT count(*) FROM array").fetchone()[0] == arrays, "a copy takes no room for its graph"


def test_a_kept_circuit_is_shown_again(furnished: Project) -> None:
    circuit = ref(furnished, "Texas circuit")
    kept = furnished.annotations(1)
    furnished.unpin(1, [3, 5])
    furnished.pin(1, [7])
    furnished.remove_group(1, kept.groups[0].id)
    furnished.add_group(1, "other", [8, 9])
    changed = furnished.annotations(1)
    furnished.tree.show_circuit(circuit)
    shown_now = furnished.annotations(1)
    assert shown_now.pins == kept.pins
    assert [(group.name, group.nodes) for group in shown_now.groups] == [("states", (3, 4))]
    furnished.undo()
    assert furnished.annotations(1) == changed
    with pytest.raises(RequestError, match="is not a circuit"):
        furnished.tree.show_circuit(ref(furnished, "Why"))


def test_tags(furnished: Project) -> None:
    furnished.tree.tag([TRACE_1], " to   check ")
    furnished.tree.tag([ref(furnished, "Why")], "to check")
    furnished.tree.tag([TRACE_1], "sure")
    assert furnished.tree.tags() == {"sure": 1, "to check": 2}
    assert furnished.tree.entries()[0].tags == ("sure", "to check")
    assert furnished.tree.tag([TRACE_1], "sure") is None
    furnished.tree.untag([TRACE_1], "to check")
    assert furnished.tree.untag([TRACE_1], "to check") is None
    assert furnished.tree.tags() == {"sure": 1, "to check": 1}


@pytest.mark.parametrize(
    ("edit", "sentence"),
    [
        (lambda p: p.tree.move([ref(p, "Capitals")], ref(p, "Doubtful").number), "cannot be put into itself"),
        (lambda p: p.tree.move([ref(p, "Capitals")], ref(p, "Capitals").number), "cannot be put into itself"),
        (lambda p: p.tree.move([TRACE_1], ref(p, "Why").number), "is not a folder"),
        (lambda p: p.tree.move([TRACE_1], 99), "has no item 99"),
        (lambda p: p.tree.move([TRACE_1], 0, before=ref(p, "Why")), "not in that folder"),
        (lambda p: p.tree.add_note("x", folder=99), "has no item 99"),
        (lambda p: p.tree.rename(TreeRef("trace", 99), "x"), "has no trace 99"),
        (lambda p: p.tree.rename(TRACE_1, "x" * 1001), "at most 1,000 characters"),
        (lambda p: p.tree.delete([TreeRef("item", 99)]), "has no item 99"),
        (lambda p: p.tree.duplicate(TreeRef("experiment", 99)), "has no experiment 99"),
        (lambda p: p.tree.text(TRACE_1), "has no text of this kind"),
        (lambda p: p.tree.tag([TRACE_1], "  "), "needs a word"),
        (lambda p: p.tree.tag([TRACE_1], "x" * 101), "at most 100 characters"),
        (lambda p: p.tree.keep_circuit(99, "x"), "no trace 99"),
        (lambda p: p.tree.add_prompt("x", "y", {"a": {1, 2}}), "must be plain JSON"),
        (lambda p: p.experiments.add("a", "b", {}, {}, evidence="maybe"), "is no outcome"),
        (lambda p: p.experiments.add("a", "b", {}, {}, trace=99), "has no trace 99"),
    ],
)
def test_refusals_are_one_sentence_and_change_nothing(furnished: Project, edit: Edit, sentence: str) -> None:
    before, title = state(furnished), furnished.undo_title
    with pytest.raises(RequestError, match=sentence) as refused:
        edit(furnished)
    assert refused.value.sentence.endswith(".")
    assert (state(furnished), furnished.undo_title) == (before, title)


def test_folders_that_lead_nowhere_are_shown_at_the_top(furnished: Project) -> None:
    capitals, doubtful = ref(furnished, "Capitals").number, ref(furnished, "Doubtful").number
    furnished.close()
    change_file(furnished.path, "UPDATE item SET parent = ? WHERE id = ?", doubtful, capitals)
    change_file(furnished.path, "UPDATE trace SET parent = 4711 WHERE id = 1")
    with Project.open(furnished.path) as again:
        assert sorted(title for _, _, title in shown(again)) == sorted(title for _, _, title in FURNISHED)
        again.tree.move([TreeRef("item", capitals)], 0)
        assert (0, "folder", "Capitals") in shown(again)


def test_an_entry_of_no_kind_is_damage(furnished: Project) -> None:
    furnished.close()
    change_file(furnished.path, "UPDATE item SET kind = '<b>' WHERE id = 1")
    with Project.open(furnished.path) as again, pytest.raises(RequestError, match="is damaged"):
        again.tree.entries()


@pytest.mark.parametrize(
    "content",
    [
        "[]",
        "{}",
        '{"pins":[9999],"groups":[],"positions":[]}',
        '{"pins":"ab","groups":[],"positions":[]}',
        '{"pins":[],"groups":[{"id":1}],"positions":[]}',
        '{"pins":[],"groups":[{"id":1,"name":"a","colour":"\\"><b>","nodes":[1],"collapsed":false,"parent":null,"note":""}],"positions":[]}',
        '{"pins":[],"groups":[{"id":1,"name":1,"colour":"","nodes":[1],"collapsed":false,"parent":null,"note":""}],"positions":[]}',
        '{"pins":[],"groups":[{"id":1,"name":"","colour":"","nodes":[1],"collapsed":false,"parent":7,"note":""}],"positions":[]}',
        '{"pins":[],"groups":[],"positions":[[1,NaN,0]]}',
        '{"pins":[],"groups":[],"positions":[[1,0]]}',
    ],
)
def test_circuits_that_cannot_be_right(furnished: Project, content: str) -> None:
    circuit = ref(furnished, "Texas circuit")
    furnished.close()
    change_file(furnished.path, "UPDATE item SET content = ? WHERE id = ?", content, circuit.number)
    with Project.open(furnished.path) as again:
        before = everything(again)
        with pytest.raises(RequestError, match="is damaged"):
            again.tree.show_circuit(circuit)
        assert everything(again) == before


def test_experiments_are_kept_whole(furnished: Project) -> None:
    (row,) = furnished.experiments.all(1)
    assert (row.title, row.kind, row.trace, row.evidence) == ("Without Texas", "ablate", 1, "untested")
    assert furnished.experiments.settings(row.id) == {"nodes": [3]}
    assert furnished.experiments.result(row.id) == {"change": -0.5}
    copy = furnished.tree.duplicate(TreeRef("experiment", row.id))
    assert furnished.experiments.result(copy.number) == {"change": -0.5}
    assert [hit.item for hit in furnished.search("without texas")] == [row.id, copy.number]


def test_gathered_entries_are_one_step_of_undo(project: Project) -> None:
    before = shown(project)
    folder = project.tree.gather([TRACE_2, TRACE_1], "Token by token", content={"series": True})
    assert shown(project) == [(0, "folder", "Token by token"), (1, "trace", "Trace 2"), (1, "trace", "Trace 1")]
    assert project.tree.content(folder) == {"series": True}
    project.undo()
    assert shown(project) == before
    project.redo()
    assert shown(project)[0] == (0, "folder", "Token by token")


def test_a_folder_is_not_gathered_into_itself(furnished: Project) -> None:
    capitals = ref(furnished, "Capitals")
    before = shown(furnished)
    with pytest.raises(RequestError, match="into itself"):
        furnished.tree.gather([capitals], "All", folder=capitals.number)
    assert shown(furnished) == before
