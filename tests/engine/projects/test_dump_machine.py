"""Any sequence of edits, undone and made again: the file holds the same, row for row and byte for byte."""

from __future__ import annotations

import shutil
from collections.abc import Callable

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.errors import RequestError
from engine.projects import TOP, NewLabel, Project, TreeRef
from engine.projects.schema import TABLES
from tests.engine.projects.conftest import memory_folder, small_graph

# The history itself, who has the file, kept states, and the index that is checked against the rows elsewhere.
_APART = {"history", "owner", "snapshot", "words"}
# A copy of a trace or an experiment stays in the file when it is undone, hidden, as one that is deleted does.
_SHOWN = {
    "trace": "deleted = 0",
    "experiment": "deleted = 0",
    "graph_column": "trace IN (SELECT id FROM trace WHERE deleted = 0)",
    "view": "trace IN (SELECT id FROM trace WHERE deleted = 0)",
}


def dump(project: Project) -> dict[str, list[str]]:
    """Every row of every table that edits reach, and what search knows, as text."""
    with project._file.reading() as db:
        rows = {
            table: sorted(map(repr, db.conn.execute(f"SELECT * FROM {table} WHERE {_SHOWN.get(table, '1')}")))
            for table in TABLES
            if table not in _APART
        }
        found = db.conn.execute(
            "SELECT text, kind, trace, item FROM words "
            "WHERE trace = 0 OR trace IN (SELECT id FROM trace WHERE deleted = 0)"
        )
        hidden = {number for (number,) in db.conn.execute("SELECT id FROM experiment WHERE deleted = 1")}
        rows["words"] = sorted(repr(row) for row in found if not (row[1] == "experiment" and row[3] in hidden))
    return rows


Step = tuple[int, int, int, str]
STEPS = st.lists(
    st.tuples(st.integers(0, 27), st.integers(0, 7), st.integers(0, 7), st.sampled_from(["", "Texas", "ü\n*", "it's"])),
    min_size=3,
    max_size=14,
)


def pick(project: Project, number: int) -> TreeRef:
    entries = project.tree.entries()
    return entries[number % len(entries)].ref


def folder(project: Project, number: int) -> int:
    folders = [TOP, *(entry.ref.number for entry in project.tree.entries() if entry.kind == "folder")]
    return folders[number % len(folders)]


def group(project: Project, number: int) -> int:
    groups = project.annotations(1).groups
    return groups[number % len(groups)].id if groups else 0


def suggestion(project: Project, number: int) -> int:
    found = project.suggestions.of_trace(1, None)
    return found[number % len(found)].id if found else 0


Edit = Callable[[Project, int, int, str], object]
EDITS: list[Edit] = [
    lambda p, a, b, t: p.pin(1, [a, b]),
    lambda p, a, b, t: p.unpin(1, [a, b]),
    lambda p, a, b, t: p.set_label(1, a, t, merge="typing" if b > 4 else None),
    lambda p, a, b, t: p.set_label(1, a, t, source="imported"),
    lambda p, a, b, t: p.set_note(1, t),
    lambda p, a, b, t: p.set_position(1, a, float(b), 1.0),
    lambda p, a, b, t: p.add_group(1, t, [a, b], parent=group(p, a) if b > 5 else None),
    lambda p, a, b, t: p.nest_group(1, group(p, a), group(p, b)),
    lambda p, a, b, t: p.remove_group(1, group(p, a)),
    lambda p, a, b, t: p.set_group_nodes(1, group(p, a), [b]),
    lambda p, a, b, t: p.set_group_note(1, group(p, a), t, merge="typing"),
    lambda p, a, b, t: p.rename(t),
    lambda p, a, b, t: p.tree.add_folder(t, folder=folder(p, a)),
    lambda p, a, b, t: p.tree.add_note(t, t, folder=folder(p, a)),
    lambda p, a, b, t: p.tree.keep_circuit(1, t),
    lambda p, a, b, t: p.tree.show_circuit(pick(p, a)),
    lambda p, a, b, t: p.tree.rename(pick(p, a), t),
    lambda p, a, b, t: p.tree.move([pick(p, a)], folder(p, b)),
    lambda p, a, b, t: p.tree.duplicate(pick(p, a)),
    lambda p, a, b, t: p.tree.delete([ref for ref in [pick(p, a)] if ref != TreeRef("trace", 1)]),
    lambda p, a, b, t: p.tree.tag([pick(p, a)], t),
    lambda p, a, b, t: p.feature_labels.set("d", a, b, t, merge="typing" if a > 4 else None),
    lambda p, a, b, t: p.feature_labels.give([NewLabel("d", a, b, t, "automatic"), NewLabel("d", b, a, t, "imported")]),
    lambda p, a, b, t: p.suggestions.accept(suggestion(p, a)),
    lambda p, a, b, t: p.leave_circuit(1, [a, b]),
    lambda p, a, b, t: p.experiments.judge(1, "supported" if a > 3 else "unclear"),
    lambda p, a, b, t: p.label_everywhere(1, a, t),
    lambda p, a, b, t: p.tree.untag([pick(p, a), pick(p, b)], "Texas"),
]


def furnished(project: Project) -> None:
    for number in (1, 2):
        made_with = {"kind": "transcoders", "fingerprint": "d"}
        project.add_trace({"number": number, "features": made_with}, small_graph(number), title=f"Trace {number}")
    project.experiments.add("ablate", "Without", {}, {"change": 1.0}, trace=1)
    project.suggestions.add_group(1, "suggested", [1, 2, 3], source="test")
    project.suggestions.add_label(1, 4, "suggested", source="test")
    project.suggestions.add_pin(1, 5, "suggested", source="test", stability=0.5)


def test_every_edit_of_the_list_can_be_made() -> None:
    """The counterpart: refused edits would make the property below empty."""
    path = memory_folder() / "a.loupe"
    with Project.create(path) as project:
        furnished(project)
        project.pin(1, [6])
        project.add_group(1, "one", [1, 2])
        project.add_group(1, "two", [4, 5])
        project.set_note(1, "x")
        circuit = project.tree.keep_circuit(1, "kept")
        project.pin(1, [7])
        project.remove_group(1, 2)
        at = [entry.ref for entry in project.tree.entries()].index(circuit)
        project.add_group(1, "three", [4, 5])
        for number, edit in enumerate(EDITS):
            if number == len(EDITS) - 1:
                project.tree.tag([pick(project, 6)], "Texas")
            before = dump(project)
            edit(project, at if number == 15 else 6, 1 if number == 7 else 3, "Texas")
            assert dump(project) != before, number
            if number != 0:
                project.undo()
                assert dump(project) == before, number
    shutil.rmtree(path.parent)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(STEPS)
def test_edits_undone_and_redone_leave_the_same_rows(steps: list[Step]) -> None:
    path = memory_folder() / "a.loupe"
    project = Project.create(path, name="a")
    try:
        furnished(project)
        states, titles = [dump(project)], [project.undo_title]
        for number, a, b, text in steps:
            try:
                EDITS[number](project, a, b, text)
            except RequestError:
                assert dump(project) == states[-1], "what is refused changes nothing"
                continue
            if dump(project) == states[-1]:
                continue
            states.append(dump(project))
            titles.append(project.undo_title)
        back = [dump(project)]
        while project.undo() is not None:
            back.append(dump(project))
        # Typing joins steps, so that some states between are never gone back to; all that are gone back to were there.
        assert back[0] == states[-1]
        assert back[-1] == states[0]
        assert all(state in states for state in back)
        project.close()
        project = Project.open(path)
        forth = [dump(project)]
        while project.redo() is not None:
            forth.append(dump(project))
        assert forth == back[::-1]
    finally:
        project.close()
        shutil.rmtree(path.parent)
