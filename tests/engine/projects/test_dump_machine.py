"""Any sequence of edits, undone and made again: the file holds the same, row for row and byte for byte."""

from __future__ import annotations

import atexit
import functools
import shutil
from collections.abc import Callable
from pathlib import Path
from types import CodeType

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.errors import RequestError
from engine.graphs.graph import NodeKind
from engine.projects import TOP, Experiments, FeatureLabels, NewLabel, Project, Suggestions, Tree, TreeRef
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


def pick(project: Project, number: int) -> TreeRef:
    entries = project.tree.entries()
    return entries[number % len(entries)].ref


def folder(project: Project, number: int) -> int:
    folders = [TOP, *(entry.ref.number for entry in project.tree.entries() if entry.kind == "folder")]
    return folders[number % len(folders)]


def group(project: Project, number: int) -> int:
    groups = project.annotations(1).groups
    return groups[number % len(groups)].id if groups else 0


def member(project: Project, number: int) -> int:
    found = [one for one in project.annotations(1).groups if one.id == group(project, number)]
    return found[0].nodes[0] if found and found[0].nodes else 0


def suggestion(project: Project, number: int) -> int:
    found = project.suggestions.of_trace(1, None)
    return found[number % len(found)].id if found else 0


def feature(project: Project, number: int) -> int:
    return int(project.load_graph(1).of_kind(NodeKind.FEATURE)[number])


def tag(project: Project, number: int) -> str:
    tags = list(project.tree.tags())
    return tags[number % len(tags)] if tags else "none"


@functools.cache
def another() -> Path:
    """A project to take in, the same for all."""
    path = memory_folder() / "another.loupe"
    atexit.register(shutil.rmtree, path.parent)
    with Project.create(path) as project:
        furnished(project)
        project.label_everywhere(1, feature(project, 2), "elsewhere")
        project.tree.add_note("theirs", "text", folder=project.tree.add_folder("folder").number)
    return path


Edit = Callable[[Project, int, int, str], object]
Step = tuple[Edit, int, int, str]
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
    lambda p, a, b, t: p.label_everywhere(1, feature(p, a), t, merge="typing" if b > 3 else None),
    lambda p, a, b, t: p.give_labels(1, {a: t, b: f"{t} too"}, source="automatic"),
    lambda p, a, b, t: p.rename_group(1, group(p, a), t),
    lambda p, a, b, t: p.recolour_group(1, group(p, a), f"#00000{b}"),
    lambda p, a, b, t: p.collapse_group(1, group(p, a), a > 3),
    lambda p, a, b, t: p.collapse_groups(1, [group(p, a), group(p, b)], b < 4),
    lambda p, a, b, t: p.put_into_group(1, group(p, a), [b], [group(p, a + 1)] if b > 4 else []),
    lambda p, a, b, t: p.take_out_of_group(1, group(p, a), member(p, a)),
    lambda p, a, b, t: p.rename_trace(1, t),
    lambda p, a, b, t: p.delete_trace(2),
    lambda p, a, b, t: p.restore_snapshot(p.snapshots()[-1].id),
    lambda p, a, b, t: p.take_in(another()),
    lambda p, a, b, t: p.suggestions.refuse(suggestion(p, a)),
    lambda p, a, b, t: p.tree.add_prompt(t, t, {"bos": a > 3}, folder=folder(p, b)),
    lambda p, a, b, t: p.tree.gather([pick(p, a), pick(p, b)], t),
    lambda p, a, b, t: p.tree.write(pick(p, a), f"{t}{b}", merge="typing" if b > 3 else None),
    lambda p, a, b, t: p.tree.untag([pick(p, a), pick(p, b)], tag(p, a)),
]
# What leaves no step: Escape takes back what was typed.
TAKEN_BACK: Edit = lambda p, a, b, t: p.take_back("typing")  # noqa: E731
# What ends between two edits and is no step of undo: traces, experiments, feature pages, proposals, settings.
ARRIVALS: list[Edit] = [
    lambda p, a, b, t: p.add_trace({"number": a}, small_graph(a), title=t),
    lambda p, a, b, t: p.experiments.add("ablate", t, {"dose": a}, {"change": b}, trace=1, evidence="supported"),
    lambda p, a, b, t: p.experiments.add("ablate", t, {}, {}),
    lambda p, a, b, t: p.save_effects(f"feature {a}", [b, t]),
    lambda p, a, b, t: p.set_view(1, {"node_threshold": a / 8}),
    lambda p, a, b, t: p.set_setting(f"experiment/{a}", {"dose": b}),
    lambda p, a, b, t: p.suggestions.add_group(1, f"{t}{a}", [a, b], source="test"),
    lambda p, a, b, t: p.suggestions.add_label(1, a, f"{t}{b}", source="test"),
    lambda p, a, b, t: p.suggestions.add_pin(1, a, f"{t}{b}", source="test", stability=0.5),
]
STEPS = st.lists(
    st.tuples(
        st.sampled_from([*EDITS, *ARRIVALS, *ARRIVALS, TAKEN_BACK, TAKEN_BACK]),
        st.integers(0, 7),
        st.integers(0, 7),
        st.sampled_from(["", "Texas", "ü\n*", "it's"]),
    ),
    min_size=3,
    max_size=20,
)
# What only reads, or is about the file.
READS = {
    *("create", "open", "close", "heartbeat", "save_copy", "save_package", "undo", "redo", "all", "by_number"),
    *("traces", "load_graph", "report", "asked", "annotations", "label_versions", "snapshots", "search", "view"),
    *("effects", "setting", "of_trace", "key_of", "nodes_of", "versions", "settings", "result", "entries", "text"),
    *("content", "tags", "is_free", "require_writable", "changed_elsewhere"),
}


def test_no_edit_is_missing_from_the_lists() -> None:
    """A new edit must be put into the property below."""
    tried = {name for edit in (*EDITS, *ARRIVALS, TAKEN_BACK) for name in _names(edit)}
    for kind in (Project, Tree, Experiments, FeatureLabels, Suggestions):
        public = {name for name, one in vars(kind).items() if not name.startswith("_") and callable(one)}
        assert public - READS <= tried, kind


def _names(edit: Edit) -> tuple[str, ...]:
    code: CodeType = edit.__code__  # type: ignore[attr-defined]
    return code.co_names


def furnished(project: Project) -> None:
    for number in (1, 2):
        report = {"number": number, "features": {"kind": "transcoders", "fingerprint": "d"}}
        project.add_trace(report, small_graph(number), title=f"Trace {number}")
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
    with Project.open(path) as project:
        circuit = project.tree.keep_circuit(1, "kept")
        project.pin(1, [7])
        project.remove_group(1, 2)
        project.tree.tag([circuit], "Tag")
        at = [entry.ref for entry in project.tree.entries()].index(circuit)
        project.add_group(1, "three", [4, 5])
        on_the_circuit = (EDITS.index(one) for one in EDITS if {"show_circuit", "untag", "write"} & set(_names(one)))
        places = dict.fromkeys(on_the_circuit, at)
        for number, edit in enumerate(EDITS):
            before = dump(project)
            a, b = places.get(number, 6), 1 if "nest_group" in _names(edit) else 3
            edit(project, a, b, "Texas")
            assert dump(project) != before, _names(edit)
            if number != 0:
                project.undo()
                assert dump(project) == before, _names(edit)
        for edit in ARRIVALS:
            before, title = dump(project), project.undo_title
            edit(project, 6, 3, "Texas")
            assert dump(project) != before, _names(edit)
            assert project.undo_title == title, "what arrives is no step"
    shutil.rmtree(path.parent)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(STEPS)
def test_edits_undone_and_redone_leave_the_same_rows(steps: list[Step]) -> None:
    """The same with traces, experiments and feature pages that arrive between them, which undo does not reach."""
    path = memory_folder() / "a.loupe"
    project = Project.create(path, name="a")
    try:
        furnished(project)
        states = [dump(project)]
        project.add_group(1, "one", [1, 2])
        states.append(dump(project))
        project.close()
        project = Project.open(path)  # which keeps a state to go back to
        arrived = False
        for edit, a, b, text in steps:
            try:
                edit(project, a, b, text)
            except RequestError:
                assert dump(project) == states[-1], "what is refused changes nothing"
                continue
            if dump(project) == states[-1]:
                continue
            states.append(dump(project))
            arrived |= edit in ARRIVALS
        back = [dump(project)]
        while project.undo() is not None:
            back.append(dump(project))
        assert back[0] == states[-1]
        # Typing joins steps, so that some states between are never gone back to; all that are gone back to were there.
        if not arrived:
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
