"""Kills a program again and again while it edits and adds traces, and looks whether anything it had said is lost.

    python -m tests.engine.projects.torture --kills 500

Every edit is decided by its number, so that the state after any number of them is known. The program says each edit
that has returned; after SIGKILL the file must hold exactly those, or one more that had not been said yet. Beside the
edits a thread adds traces, every other one traced live with a tiny model and followed by an experiment on it, so that
kills fall into tracing and measuring as well; what was said must come out again as it is kept.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import select
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from engine.projects import Project, TreeRef
from tests.engine.projects import live
from tests.graph_builder import build_graph

NODES = 20
OLD = Path(__file__).parent / "files" / "version-1.0.loupe"
LONGEST = 0.5  # seconds from the fork to the kill
KILLS_A_FILE = 40


@dataclass(frozen=True)
class State:
    """What a person wrote, as the model has it."""

    labels: tuple[tuple[int, str, str], ...] = ()  # with who gave it
    pins: tuple[int, ...] = ()
    note: str = ""
    features: tuple[tuple[int, str], ...] = ()
    notes: tuple[str, ...] = ()
    circuits: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    experiment: str = "experiment 0"  # what it is called
    effects: str = ""  # of a feature page; kept without history


def choice(number: int) -> tuple[str, int]:
    chance = random.Random(number)
    kinds = ["label", "label", "pin", "note", "feature", "tree", "group", "undo"]
    kinds += ["automatic", "experiment", "effects", "circuit", "tag"]
    return chance.choice(kinds), chance.randrange(NODES)


def changed(state: State, number: int) -> State:
    """The state after edit `number`, those that undo does not reach apart."""
    kind, node = choice(number)
    text = f"{kind} {number}"
    labels = {one: (one, words, source) for one, words, source in state.labels}
    if kind == "label":
        return replace(state, labels=tuple(sorted({**labels, node: (node, text, "person")}.values())))
    if kind == "automatic":
        if labels.get(node, (node, "", kind))[2] == kind:  # a person's label stays
            labels[node] = (node, text, kind)
        return replace(state, labels=tuple(sorted(labels.values())))
    if kind == "experiment":
        return replace(state, experiment=text)
    if kind == "circuit":
        return replace(state, circuits=(*state.circuits, text))
    if kind == "tag":
        return replace(state, tags=tuple(sorted((*state.tags, text))))
    if kind == "pin":
        there = node in state.pins
        return replace(state, pins=tuple(p for p in state.pins if p != node) if there else (*state.pins, node))
    if kind == "note":
        return replace(state, note=text + " long" * (number % 300))
    if kind == "feature":
        return replace(state, features=tuple(sorted({**dict(state.features), node: text}.items())))
    if kind == "tree":
        return replace(state, notes=(*state.notes, text))
    return replace(state, groups=(*state.groups, text))


def advance(stack: list[State], number: int) -> list[State]:
    """The states that can be gone back to after edit `number`, the present one last."""
    kind = choice(number)[0]
    if kind == "undo":
        return stack[:-1] if len(stack) > 1 else stack
    if kind == "effects":
        return [replace(state, effects=f"effects {number}") for state in stack]
    after = changed(stack[-1], number)
    return stack if after == stack[-1] else [*stack, after]  # what changes nothing is no step


EDITS: dict[str, Callable[[Project, str, int], object]] = {
    "undo": lambda project, text, node: project.undo(),
    "label": lambda project, text, node: project.set_label(1, node, text),
    "feature": lambda project, text, node: project.feature_labels.set("d", 1, node, text),
    "tree": lambda project, text, node: project.tree.add_note(text, text),
    "automatic": lambda project, text, node: project.give_labels(1, {node: text}, source="automatic"),
    "effects": lambda project, text, node: project.save_effects("a feature", text),
    "circuit": lambda project, text, node: project.tree.keep_circuit(1, text),
    "tag": lambda project, text, node: project.tree.tag([TreeRef("trace", 1)], text),
    "experiment": lambda project, text, node: project.tree.rename(TreeRef("experiment", 1), text),
}


def edit(project: Project, number: int, state: State) -> None:
    kind, node = choice(number)
    text = f"{kind} {number}"
    if kind in EDITS:
        EDITS[kind](project, text, node)
    elif kind == "pin":
        (project.unpin if node in state.pins else project.pin)(1, [node])
    elif kind == "note":
        project.set_note(1, text + " long" * (number % 300))
    else:
        # Nodes of their own, so that no supernode takes another's.
        project.add_group(1, text, [NODES + number % 200])


def found(project: Project) -> State:
    annotations, entries = project.annotations(1), project.tree.entries()
    given = annotations.sources
    return State(
        labels=tuple((node, text, given.get(node, "person")) for node, text in sorted(annotations.labels.items())),
        pins=annotations.pins,
        note=annotations.note,
        features=tuple((label.feature, label.text) for label in project.feature_labels.all()),
        notes=tuple(entry.title for entry in entries if entry.kind == "note"),
        circuits=tuple(entry.title for entry in entries if entry.kind == "circuit"),
        tags=next(tuple(sorted(entry.tags)) for entry in entries if entry.ref == TreeRef("trace", 1)),
        experiment=project.experiments.all()[0].title,
        effects=project.effects("a feature") or "",
        groups=tuple(group.name for group in annotations.groups),
    )


def same(one: State, other: State) -> bool:
    """Supernodes that took each other's nodes are compared by the newest only."""
    return replace(one, groups=one.groups[-1:]) == replace(other, groups=other.groups[-1:])


def is_live(number: int) -> bool:
    return number % 2 == 1


def work(path: Path, first: int, stack: list[State], said: int, traces: int) -> None:
    """What the program does until it is killed: edits in one thread, traces and experiments in another."""
    project = Project.open(path)
    assert not project.read_only, project.read_only_reason
    lock = threading.Lock()

    def say(line: str) -> None:
        with lock:
            os.write(said, (line + "\n").encode())

    def add_traces() -> None:
        number = traces
        while True:
            number += 1
            if is_live(number):
                found, spec = live.trace_live(number), live.asked(number)
                kept = project.add_trace(found.report, found.graph, title=f"trace {number}", asked=spec)
                say(f"trace {number}")
                project.experiments.add(**live.experiment_live(number, found).columns, trace=kept)
                say(f"experiment {number}")
                continue
            graph = build_graph(n_layers=6, n_positions=6, n_features=200, seed=number % 50)
            project.add_trace({"number": number}, graph, title=f"trace {number}")
            say(f"trace {number}")

    threading.Thread(target=add_traces, daemon=True).start()
    number = first
    while True:
        edit(project, number, stack[-1])
        stack = advance(stack, number)
        say(f"edit {number}")
        number += 1


def run_and_kill(path: Path, first: int, stack: list[State], traces: int, seconds: float) -> tuple[int, int, list[int]]:
    """Fork, let it work, kill it; how many edits, the last trace, and which experiments it said were done."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reading)
            work(path, first, stack, writing, traces)
        finally:
            os._exit(9)
    os.close(writing)
    end = time.monotonic() + seconds
    text = b""
    while (left := end - time.monotonic()) > 0:
        if select.select([reading], [], [], left)[0]:
            part = os.read(reading, 65536)
            if not part:
                break
            text += part
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), f"the program ended by itself with {os.waitstatus_to_exitcode(status)}"
    while part := os.read(reading, 65536):
        text += part
    os.close(reading)
    lines = [line.split() for line in text.decode().splitlines()]
    edits, traced, measured = ([int(n) for kind, n in lines if kind == one] for one in ("edit", "trace", "experiment"))
    assert edits == list(range(first, first + len(edits)))
    return len(edits), max(traced, default=traces), measured


def check(
    path: Path, stack: list[State], first: int, done: int, traces: int, measured: list[int]
) -> tuple[list[State], int, int, int]:
    """Look at the file after a kill: the states, the next edit, and the last trace that are really there."""
    with Project.open(path) as project:
        assert not project.read_only, project.read_only_reason
        with project._file.reading() as db:
            assert db.conn.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        present = found(project)
        for number in range(first, first + done):
            stack = advance(stack, number)
        more = 0
        if not same(present, stack[-1]):
            stack, more = advance(stack, first + done), 1
            assert same(present, stack[-1]), (first, done, present, stack[-2], stack[-1])
        rows = project.traces()
        assert len(rows) - 1 in (traces, traces + 1), (len(rows), traces)
        for row in random.Random(first).sample(rows, min(2, len(rows))) + rows[-1:]:
            assert project.load_graph(row.id).n_nodes == row.n_nodes
        last = rows[-1]
        if is_live(int(last.title.split()[1])):
            assert live.is_the_same(project, last.id), "a live trace is not what it was"
        experiments = project.experiments.all()
        missing = {f"experiment {number}" for number in measured} - {one.title for one in experiments}
        assert not missing, f"said and not there: {missing}"
        if len(experiments) > 1:
            newest = experiments[-1]
            assert live.holds(project, newest.id, int(newest.title.split()[1])), "an experiment is not what it was"
        return stack, first + done + more, len(rows) - 1, more


def kill_while_migrating(folder: Path, seconds: float) -> None:
    """An old file whose opening is killed: it is old or new, whole either way."""
    path = folder / "old.loupe"
    shutil.copy(OLD, path)
    child = os.fork()
    if child == 0:
        try:
            with Project.open(path):
                time.sleep(seconds)
        finally:
            os._exit(0)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with Project.open(path) as project:
        assert not project.read_only
        assert project.annotations(1).labels == {3: "a state"}
        assert [entry.ref for entry in project.tree.entries()] == [TreeRef("trace", 1), TreeRef("trace", 2)]
    for file in folder.glob("*old*"):
        file.unlink()


def torture(folder: Path, kills: int, seed: int) -> dict[str, int]:
    """Kill so many times; figures of what was seen. `AssertionError` at the first loss."""
    chance, figures = random.Random(seed), Counter[str]()
    live.prepare()
    for kill in range(kills):
        if kill % KILLS_A_FILE == 0:
            path = folder / f"{kill}.loupe"
            with Project.create(path) as project:
                project.add_trace({}, build_graph(n_layers=6, n_positions=6, n_features=250), title="trace 0")
                project.experiments.add("ablate", "experiment 0", {}, {}, trace=1)
            stack, first, traces = [State()], seed * 1_000_000 + kill * 1_000, 0
            measured: list[int] = []  # experiments that were said, since the file is there
        if kill % 10 == 9:
            kill_while_migrating(folder, chance.uniform(0, 0.05))
            figures["killed while an old file was brought along"] += 1
            continue
        done, last, said = run_and_kill(path, first, stack, traces, chance.uniform(0, LONGEST))
        measured += said
        journal = path.with_name(path.name + "-journal")
        figures["killed inside a transaction"] += journal.exists() and journal.stat().st_size > 0
        before = traces
        stack, first, traces, more = check(path, stack, first, done, last, measured)
        figures["traces"] += traces - before
        figures["of them traced live"] += sum(is_live(number) for number in range(before + 1, traces + 1))
        figures["edits said"] += done
        figures["experiments said"] += len(said)
        figures["edits done and not yet said"] += more
        if kill % KILLS_A_FILE == KILLS_A_FILE - 2:
            path.unlink()
    figures["kills"] = kills
    return dict(figures)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="on which drive (default: the one for temporary files)")
    arguments = parser.parse_args()
    start = time.monotonic()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        figures = torture(Path(folder), arguments.kills, arguments.seed)
    sys.stdout.write(json.dumps({**figures, "seconds": round(time.monotonic() - start)}) + "\n")


if __name__ == "__main__":
    main()
