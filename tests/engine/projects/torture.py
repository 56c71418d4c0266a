"""Kills a program again and again while it edits and adds traces, and looks whether anything it had said is lost.

    python -m tests.engine.projects.torture --kills 500

Every edit is decided by its number, so that the state after any number of them is known. The program says each edit
that has returned; after SIGKILL the file must hold exactly those, or one more that had not been said yet. Beside the
edits a thread adds traces, every other one traced live with a tiny model, so that kills fall into tracing as well; a
live trace that was said must come out again as it is kept.
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
from dataclasses import dataclass, replace
from pathlib import Path

from engine.projects import Project, TreeRef
from tests.engine.projects import live
from tests.graph_builder import build_graph

NODES = 20
OLD = Path(__file__).parent / "files" / "version-1.0.loupe"
LONGEST = 0.25  # seconds from the fork to the kill
KILLS_A_FILE = 40


@dataclass(frozen=True)
class State:
    """What a person wrote, as the model has it."""

    labels: tuple[tuple[int, str], ...] = ()
    pins: tuple[int, ...] = ()
    note: str = ""
    features: tuple[tuple[int, str], ...] = ()
    notes: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()


def choice(number: int) -> tuple[str, int]:
    chance = random.Random(number)
    kinds = ["label", "label", "pin", "note", "feature", "tree", "group", "undo"]
    return chance.choice(kinds), chance.randrange(NODES)


def changed(state: State, number: int) -> State:
    """The state after edit `number`, undo apart."""
    kind, node = choice(number)
    text = f"{kind} {number}"
    if kind == "label":
        return replace(state, labels=tuple(sorted({**dict(state.labels), node: text}.items())))
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
    if choice(number)[0] == "undo":
        return stack[:-1] if len(stack) > 1 else stack
    return [*stack, changed(stack[-1], number)]


def edit(project: Project, number: int, state: State) -> None:
    kind, node = choice(number)
    text = f"{kind} {number}"
    if kind == "undo":
        project.undo()
    elif kind == "label":
        project.set_label(1, node, text)
    elif kind == "pin":
        (project.unpin if node in state.pins else project.pin)(1, [node])
    elif kind == "note":
        project.set_note(1, text + " long" * (number % 300))
    elif kind == "feature":
        project.feature_labels.set("d", 1, node, text)
    elif kind == "tree":
        project.tree.add_note(text, text)
    else:
        # Nodes of their own, so that no supernode takes another's.
        project.add_group(1, text, [NODES + number % 200])


def found(project: Project) -> State:
    annotations = project.annotations(1)
    return State(
        labels=tuple(sorted(annotations.labels.items())),
        pins=annotations.pins,
        note=annotations.note,
        features=tuple((label.feature, label.text) for label in project.feature_labels.all()),
        notes=tuple(entry.title for entry in project.tree.entries() if entry.kind == "note"),
        groups=tuple(group.name for group in annotations.groups),
    )


def same(one: State, other: State) -> bool:
    """Supernodes that took each other's nodes are compared by the newest only."""
    return replace(one, groups=one.groups[-1:]) == replace(other, groups=other.groups[-1:])


def is_live(number: int) -> bool:
    return number % 2 == 1


def work(path: Path, first: int, stack: list[State], said: int, traces: int) -> None:
    """What the program does until it is killed: edits in one thread, traces in another."""
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
                project.add_trace(found.report, found.graph, title=f"trace {number}", asked=spec)
                say(f"trace {number}")
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


def run_and_kill(path: Path, first: int, stack: list[State], traces: int, seconds: float) -> tuple[int, int]:
    """Fork, let it work, kill it; how many edits and the number of the last trace it said were done."""
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
    edits = [int(number) for kind, number in lines if kind == "edit"]
    assert edits == list(range(first, first + len(edits)))
    return len(edits), max((int(number) for kind, number in lines if kind == "trace"), default=traces)


def check(path: Path, stack: list[State], first: int, done: int, traces: int) -> tuple[list[State], int, int, int]:
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
            stack, first, traces = [State()], seed * 1_000_000 + kill * 1_000, 0
        if kill % 10 == 9:
            kill_while_migrating(folder, chance.uniform(0, 0.05))
            figures["killed while an old file was brought along"] += 1
            continue
        done, last = run_and_kill(path, first, stack, traces, chance.uniform(0, LONGEST))
        journal = path.with_name(path.name + "-journal")
        figures["killed inside a transaction"] += journal.exists() and journal.stat().st_size > 0
        before = traces
        stack, first, traces, more = check(path, stack, first, done, last)
        figures["traces"] += traces - before
        figures["of them traced live"] += sum(is_live(number) for number in range(before + 1, traces + 1))
        figures["edits said"] += done
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
