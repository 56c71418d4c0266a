"""Any sequence of edits, undos, redos and restarts against a model of plain Python values."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from engine.errors import RequestError
from engine.projects import Annotations, EditDone, Group, Project
from tests.engine.projects.conftest import memory_folder, small_graph

NODES = st.lists(st.integers(0, 4), max_size=3)
NODE = st.integers(0, 4)
TEXT = st.sampled_from(["", " ", "Texas", "a state", "ü\n*", "it's"])
TRACE = st.sampled_from([1, 1, 2])
PLACE = st.sampled_from([0, 1, "0", "group 1"])
MERGE = st.sampled_from([None, None, "typing"])


@dataclass
class TraceModel:
    title: str
    deleted: bool = False
    pins: list[int] = field(default_factory=list)
    labels: dict[int, str] = field(default_factory=dict)
    groups: dict[int, Group] = field(default_factory=dict)
    note: str = ""
    positions: dict[int | str, tuple[float, float]] = field(default_factory=dict)

    def annotations(self) -> Annotations:
        groups = tuple(self.groups[number] for number in sorted(self.groups))
        return Annotations(tuple(self.pins), self.labels, groups, self.note, self.positions)

    def leave(self, nodes: list[int], but: int) -> None:
        for number, group in list(self.groups.items()):
            rest = tuple(node for node in group.nodes if node not in nodes)
            if number == but or rest == group.nodes:
                continue
            del self.groups[number]
            if rest:
                self.groups[number] = Group(number, group.name, group.colour, rest, group.collapsed)


@dataclass
class World:
    name: str
    traces: dict[int, TraceModel]


@dataclass
class Step:
    before: World
    after: World


Change = Callable[[TraceModel], None]


class ProjectMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = memory_folder()
        self.project = Project.create(self.folder / "a.loupe", name="a")
        self.world = World("a", {})
        self.steps: list[Step] = []
        self.at = 0  # steps before this one are done, the rest undone
        self.joinable: tuple[str, int, str] | None = None
        self.groups_seen = 0

    @initialize()
    def two_traces_and_something_on_them(self) -> None:
        self.add_trace("one")
        self.add_trace("two")
        self.add_group(1, "low", [0, 1])
        self.add_group(1, "high", [4, 3])
        self.pin(1, [4, 0])
        self.label(1, 2, "Texas", None)

    def teardown(self) -> None:
        try:
            end, last = self.world, self.steps[self.at :]
            while self.project.undo() is not None:
                pass
            self.world = self.steps[0].before if self.steps else end
            self.same()
            while self.project.redo() is not None:
                pass
            self.world = self.steps[-1].after if self.steps else end
            self.same()
            for _ in last:
                self.project.undo()
            self.world = end
            self.same()
        finally:
            self.project.close()
            shutil.rmtree(self.folder)

    def made(self, done: EditDone | None, world: World, merge: tuple[str, int, str] | None = None) -> None:
        """An edit was made, after which the world should be this."""
        if world == self.world:
            assert done is None
            return
        assert done is not None
        del self.steps[self.at :]
        if merge is not None and self.joinable == merge and self.steps:
            self.steps[-1].after = world
            if self.steps[-1].before == world:
                self.steps.pop()
                self.joinable = None
        else:
            self.steps.append(Step(self.world, world))
            self.joinable = merge
        self.at = len(self.steps)
        self.world = world

    def edit(
        self, trace: int, edit: Callable[[], EditDone | None], change: Change, merge: str | None = None, kind: str = ""
    ) -> None:
        world = deepcopy(self.world)
        if world.traces[trace].deleted:
            with pytest.raises(RequestError):
                edit()
            return
        change(world.traces[trace])
        self.made(edit(), world, None if merge is None else (merge, trace, kind))

    @rule(title=TEXT)
    def add_trace(self, title: str) -> None:
        number = self.project.add_trace({}, small_graph(), title=title)
        # A trace is there whatever is undone.
        worlds = [self.world, *(step.before for step in self.steps), *(step.after for step in self.steps)]
        for world in {id(world): world for world in worlds}.values():
            world.traces[number] = TraceModel(title)

    @rule(trace=TRACE, nodes=NODES)
    def pin(self, trace: int, nodes: list[int]) -> None:
        def change(model: TraceModel) -> None:
            model.pins += [node for node in dict.fromkeys(nodes) if node not in model.pins]

        self.edit(trace, lambda: self.project.pin(trace, nodes), change)

    @rule(trace=TRACE, nodes=NODES)
    def unpin(self, trace: int, nodes: list[int]) -> None:
        def change(model: TraceModel) -> None:
            model.pins = [node for node in model.pins if node not in nodes]

        self.edit(trace, lambda: self.project.unpin(trace, nodes), change)

    @rule(trace=TRACE, node=NODE, text=TEXT, merge=MERGE)
    def label(self, trace: int, node: int, text: str, merge: str | None) -> None:
        def change(model: TraceModel) -> None:
            model.labels.pop(node, None)
            if text.strip():
                model.labels[node] = text

        self.edit(trace, lambda: self.project.set_label(trace, node, text, merge=merge), change, merge, "label")

    @rule(trace=TRACE, node=NODE, typed=st.lists(TEXT, min_size=2, max_size=4), into_note=st.booleans())
    def type_on(self, trace: int, node: int, typed: list[str], into_note: bool) -> None:
        for text in typed:
            if into_note:
                self.note(trace, text, "typing")
            else:
                self.label(trace, node, text, "typing")

    @rule(trace=TRACE, text=TEXT, merge=MERGE)
    def note(self, trace: int, text: str, merge: str | None) -> None:
        def change(model: TraceModel) -> None:
            model.note = text if text.strip() else ""

        self.edit(trace, lambda: self.project.set_note(trace, text, merge=merge), change, merge, "note")

    @rule(trace=TRACE, key=PLACE, x=st.floats(-1e6, 1e6), merge=MERGE)
    def place(self, trace: int, key: int | str, x: float, merge: str | None) -> None:
        def change(model: TraceModel) -> None:
            model.positions[key] = (x, 1.0)

        self.edit(trace, lambda: self.project.set_position(trace, key, x, 1.0, merge=merge), change, merge, "place")

    @rule(trace=TRACE, name=TEXT, nodes=NODES.filter(bool))
    def add_group(self, trace: int, name: str, nodes: list[int]) -> None:
        if self.world.traces[trace].deleted:
            return
        number = self.project.add_group(trace, name, nodes)
        assert number > self.groups_seen
        self.groups_seen = number
        world = deepcopy(self.world)
        world.traces[trace].leave(nodes, number)
        world.traces[trace].groups[number] = Group(number, name, "", tuple(dict.fromkeys(nodes)), False)
        self.made(EditDone("", trace), world)

    @precondition(lambda self: self.live_groups())
    @rule(data=st.data(), nodes=NODES)
    def set_group_nodes(self, data: st.DataObject, nodes: list[int]) -> None:
        trace, old = data.draw(st.sampled_from(self.live_groups()))

        def change(model: TraceModel) -> None:
            del model.groups[old.id]
            if nodes:
                model.leave(nodes, old.id)
                members = tuple(dict.fromkeys(nodes))
                model.groups[old.id] = Group(old.id, old.name, old.colour, members, old.collapsed)

        self.edit(trace, lambda: self.project.set_group_nodes(trace, old.id, nodes), change)

    @precondition(lambda self: self.live_groups())
    @rule(data=st.data(), name=TEXT, colour=st.sampled_from(["", "#aabbcc"]), collapsed=st.booleans())
    def change_group(self, data: st.DataObject, name: str, colour: str, collapsed: bool) -> None:
        trace, old = data.draw(st.sampled_from(self.live_groups()))
        number = old.id

        def replaced(group: Group | None) -> Change:
            def change(model: TraceModel) -> None:
                del model.groups[number]
                if group is not None:
                    model.groups[number] = group
                else:  # what was in it stays in the circuit
                    model.pins += [node for node in old.nodes if node not in model.pins]

            return change

        choices: list[tuple[Callable[[], EditDone | None], Group | None]] = [
            (
                lambda: self.project.rename_group(trace, number, name),
                Group(number, name, old.colour, old.nodes, old.collapsed),
            ),
            (
                lambda: self.project.recolour_group(trace, number, colour),
                Group(number, old.name, colour, old.nodes, old.collapsed),
            ),
            (
                lambda: self.project.collapse_group(trace, number, collapsed),
                Group(number, old.name, old.colour, old.nodes, collapsed),
            ),
            (lambda: self.project.remove_group(trace, number), None),
        ]
        edit, group = choices[data.draw(st.integers(0, len(choices) - 1))]
        self.edit(trace, edit, replaced(group))

    def live_groups(self) -> list[tuple[int, Group]]:
        models = [(trace, model) for trace, model in self.world.traces.items() if not model.deleted]
        return [(trace, group) for trace, model in models for group in model.groups.values()]

    @rule(trace=TRACE, title=TEXT)
    def rename_trace(self, trace: int, title: str) -> None:
        def change(model: TraceModel) -> None:
            model.title = title

        self.edit(trace, lambda: self.project.rename_trace(trace, title), change)

    @rule()
    def delete_trace(self) -> None:
        trace = 2  # the other stays, so that most edits have something to change

        def change(model: TraceModel) -> None:
            model.deleted = True

        self.edit(trace, lambda: self.project.delete_trace(trace), change)

    @rule(name=TEXT)
    def rename(self, name: str) -> None:
        world = deepcopy(self.world)
        world.name = name
        self.made(self.project.rename(name), world)

    @rule()
    def undo(self) -> None:
        title, done = self.project.undo_title, self.project.undo()
        assert (done is None) == (self.at == 0)
        assert title == (None if done is None else done.title)
        if done is not None:
            self.at -= 1
            self.world = self.steps[self.at].before
        self.joinable = None

    @rule()
    def redo(self) -> None:
        title, done = self.project.redo_title, self.project.redo()
        assert (done is None) == (self.at == len(self.steps))
        assert title == (None if done is None else done.title)
        if done is not None:
            self.world = self.steps[self.at].after
            self.at += 1
        self.joinable = None

    @rule()
    def reopen(self) -> None:
        self.project.close()
        self.project = Project.open(self.project.path)
        assert not self.project.read_only
        self.joinable = None

    @rule(data=st.data())
    def go_back(self, data: st.DataObject) -> None:
        kept = self.project.snapshots()
        assert len(kept) <= 10
        if not kept:
            return
        before = self.live()
        done = self.project.restore_snapshot(data.draw(st.sampled_from(kept)).id)
        if done is None:
            assert self.live() == before
            return
        after = self.live()
        self.project.undo()
        assert self.live() == before
        self.project.redo()
        assert self.live() == after
        # What a snapshot holds is tested elsewhere; here it is a step back to where the model knows the way.
        self.project.undo()
        del self.steps[self.at :]
        self.project.rename(self.world.name + "'")
        world = deepcopy(self.world)
        world.name += "'"
        self.steps.append(Step(self.world, world))
        self.at, self.world, self.joinable = len(self.steps), world, None

    def live(self) -> tuple[str, dict[int, tuple[str, Annotations]]]:
        rows = self.project.traces()
        return self.project.name, {row.id: (row.title, self.project.annotations(row.id)) for row in rows}

    @invariant()
    def same(self) -> None:
        traces = {
            number: (model.title, model.annotations())
            for number, model in self.world.traces.items()
            if not model.deleted
        }
        assert self.live() == (self.world.name, traces)


TestProjectMachine = ProjectMachine.TestCase
TestProjectMachine.settings = settings(max_examples=30, stateful_step_count=35, deadline=None)
