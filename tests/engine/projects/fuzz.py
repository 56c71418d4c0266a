"""Throws changed files at everything that reads them: a sentence for the user, or a use; never a crash or a hang.

    python -m tests.engine.projects.fuzz --inputs 100000

Most inputs are whole project files (bytes flipped, pages moved, cut, or rows of text and blobs changed through SQL);
the others are label files, arrays and steps of history given to their readers alone. Batches run in a process of their
own, so that a crash is seen as one, with an alarm, so that a hang is.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sqlite3
import struct
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import numpy as np

from engine.errors import LoupeError
from engine.interventions.changes import Change
from engine.interventions.experiment import ExperimentSpec
from engine.projects import Asked, Project, TreeEntry, arrays, label_files
from engine.projects.faults import DamageError
from engine.projects.rows import parse_changes
from engine.tracing.spec import Prompt, TraceSpec
from tests.engine.projects.test_hostile_files import check_sentence
from tests.graph_builder import build_graph

BATCH = 500
LONGEST = 60  # seconds one batch may take beyond which it counts as a hang, for each 100 inputs
TEXTS = [
    *("", "[", "{}", "null", "<b>x</b>", "../../etc/passwd", "\x00", "9" * 400, "-1", "[" * 9_000),
    *('{"a":NaN}', "é" * 99),
]


def base_file(folder: Path) -> bytes:
    """A small project with a row in every table."""
    path = folder / "base.loupe"
    with Project.create(path) as project:
        graph = build_graph(n_layers=2, n_positions=2, n_features=6, n_logits=2)
        for number in (1, 2):
            asked = Asked(TraceSpec(Prompt("The capital of")), "neurons")
            project.add_trace({"number": number}, graph, title=f"Trace {number}", asked=asked)
        project.pin(1, [1, 2])
        project.set_label(1, 3, "label")
        project.add_group(1, "group", [4, 5])
        project.set_note(1, "note")
        project.set_position(1, "group 1", 1.0, 2.0)
        project.set_view(1, {"nodes": 0.8})
        project.set_setting("draft", {"text": "The"})
        project.save_effects("a", [1, 2])
        project.tree.keep_circuit(1, "circuit")
        project.tree.add_folder("folder")
        project.tree.tag([project.tree.entries()[0].ref], "tag")
        project.feature_labels.set("d", 1, 2, "everywhere")
        project.suggestions.add_group(1, "suggested", [1, 2], source="fuzz")
        changed = ExperimentSpec((Change("feature", 1, 1, 3, "ablate"),))
        result = {"sentence": "It fell.", "recorded": 1.0, "changed": 0.5, "points": [], "evidence": "untested"}
        settings = {"features": "neurons", "experiment": changed.plain()}
        project.experiments.add("intervention", "Without", settings, result, trace=1)
    with Project.open(path) as project:
        project.undo()
    return path.read_bytes()


def items(project: Project) -> list[TreeEntry]:
    return [entry for entry in project.tree.entries() if entry.ref.table == "item"]


def use(path: Path) -> int:
    """Everything a window does with a project; how many uses were refused with a sentence."""
    refused = 0
    with Project.open(path) as project:
        asks: list[Callable[[], object]] = [
            lambda: [project.load_graph(row.id) for row in project.traces()],
            lambda: (project.report(1), project.view(1)),
            lambda: (project.annotations(1), project.label_versions(1, 3)),
            lambda: project.tree.entries(),
            lambda: [project.tree.show_circuit(e.ref) for e in project.tree.entries() if e.kind == "circuit"],
            lambda: (project.feature_labels.all(), project.feature_labels.of_trace(1)),
            lambda: project.suggestions.of_trace(1, None),
            lambda: [
                (project.experiments.settings(one.id), project.experiments.result(one.id))
                for one in project.experiments.all()
            ],
            lambda: [(project.tree.text(e.ref), project.tree.content(e.ref)) for e in items(project)],
            lambda: project.asked(1),
            lambda: project.search("label note"),
            lambda: (project.setting("draft"), project.effects("a"), project.name),
            lambda: [project.restore_snapshot(row.id) for row in project.snapshots()],
            lambda: project.add_group(1, "again", [4]),
            lambda: [project.undo() for _ in range(3)],
            lambda: project.redo(),
        ]
        for ask in asks:
            try:
                ask()
            except LoupeError as error:
                check_sentence(error)
                refused += 1
    return refused


def changed_bytes(content: bytes, chance: random.Random) -> bytes:
    data = bytearray(content)
    kind = chance.randrange(5)
    if kind == 0:
        for _ in range(chance.choice([1, 1, 3, 30])):
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    elif kind == 1:
        for _ in range(chance.choice([1, 4])):
            at = chance.randrange(len(data))
            data[at : at + chance.randrange(1, 64)] = chance.randbytes(chance.randrange(1, 64))
    elif kind == 2:
        one, other = (chance.randrange(len(data) // 4096) * 4096 for _ in range(2))
        data[one : one + 4096] = content[other : other + 4096]
    elif kind == 3:
        data = data[: chance.randrange(len(data))]
    else:
        for _ in range(4):
            data[chance.randrange(0, 200)] = chance.randrange(256)
            data[chance.randrange(len(data) // 4096) * 4096 + chance.randrange(12)] = chance.randrange(256)
    return bytes(data)


def change_rows(path: Path, chance: random.Random) -> None:
    """Values no program wrote, in rows that SQLite takes."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA foreign_keys=OFF")
        db.execute("PRAGMA synchronous=OFF")
        db.execute("PRAGMA journal_mode=MEMORY")
        names = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for _ in range(chance.choice([1, 1, 2, 5])):
            table = chance.choice([name for name in names if not name.startswith("words_")])
            columns = db.execute("SELECT name, type FROM pragma_table_info(?)", (table,)).fetchall()
            column, kind = chance.choice(columns)
            value: object = chance.choice([0, -1, 1, 2, 3, 2**31, 2**63 - 1, -(2**63)])
            if kind == "TEXT":
                value = chance.choice(TEXTS)
                held = db.execute(f"SELECT {column} FROM {table} LIMIT 1").fetchone()
                if held is not None and isinstance(held[0], str) and held[0] and chance.random() < 0.6:
                    at = chance.randrange(len(held[0]))
                    value = held[0][:at] + chance.choice('0"[]{}:,-e9\x00x') + held[0][at + chance.randrange(2) :]
            elif kind == "BLOB":
                value = chance.randbytes(chance.randrange(60))
            elif kind == "REAL":
                value = chance.choice([0.0, -1.0, float("inf"), 1e308])
            with suppress(sqlite3.Error):
                db.execute(f"UPDATE {table} SET {column} = ?", (value,))
            if chance.random() < 0.2:
                with suppress(sqlite3.Error):
                    db.execute(f"DELETE FROM {table}")


def a_project(folder: Path, base: bytes, chance: random.Random) -> str:
    path = folder / "fuzzed.loupe"
    for file in folder.glob("fuzzed*"):
        file.unlink()
    by_rows = chance.random() < 0.5
    path.write_bytes(base if by_rows else changed_bytes(base, chance))
    if by_rows:
        change_rows(path, chance)
    if chance.random() < 0.2 and path.stat().st_size > 64:  # of a newer version, it says
        with path.open("r+b") as file:
            file.seek(60)
            file.write(struct.pack(">I", chance.choice([1 << 16 | 9, 2 << 16, 0xFFFF_FFFF])))
    try:
        return "a project, used" if use(path) == 0 else "a project, parts refused"
    except LoupeError as error:
        check_sentence(error)
        return "a project, refused"


def labels(folder: Path, label_file: bytes, chance: random.Random) -> str:
    path = folder / "fuzzed.json"
    data = bytearray(label_file)
    if chance.random() < 0.3:
        data[chance.randrange(len(data))] = chance.randrange(256)
    for _ in range(chance.choice([0, 1, 2, 8])):
        at = chance.randrange(len(data))
        data[at : at + chance.randrange(3)] = chance.choice(TEXTS).encode()[:200] or chance.randbytes(2)
    path.write_bytes(bytes(data[: chance.randrange(len(data))]) if chance.random() < 0.1 else bytes(data))
    try:
        label_files.read_labels(path)
    except LoupeError as error:
        check_sentence(error)
        return "labels, refused"
    return "labels, read"


def an_array(chance: random.Random) -> str:
    packed = arrays.pack(np.arange(chance.randrange(200), dtype=chance.choice(["int32", "float32", "uint8"])))
    row = dict(vars(packed))
    data = bytearray(packed.data)
    for _ in range(chance.choice([0, 1, 3])):
        data[chance.randrange(len(data))] = chance.randrange(256)
    row["data"] = bytes(data)
    if chance.random() < 0.5:
        row[chance.choice(["dtype", "shape", "sha256", "codec"])] = chance.choice(TEXTS)
    if chance.random() < 0.2:
        row["raw_bytes"] = chance.choice([0, -4, 2**40, 2**62])
    try:
        arrays.check(row)
    except DamageError:
        return "an array, refused"
    return "an array, read"


def steps(chance: random.Random) -> str:
    text = '[{"table":"pin","key":{"trace":1,"node":1},"before":null,"after":{"trace":1,"node":1,"rank":0}}]'
    at = chance.randrange(len(text))
    change = chance.choice([*TEXTS, *'",0123456789'])
    try:
        parse_changes(text if chance.random() < 0.1 else text[:at] + change + text[at + chance.randrange(9) :])
    except DamageError:
        return "steps, refused"
    return "steps, read"


def one_input(folder: Path, base: bytes, label_file: bytes, chance: random.Random) -> str:
    """Make one input and use it; what became of it."""
    kind = chance.random()
    if kind < 0.4:
        return a_project(folder, base, chance)
    if kind < 0.7:
        return labels(folder, label_file, chance)
    return an_array(chance) if kind < 0.85 else steps(chance)


def batch(folder: Path, base: bytes, label_file: bytes, seed: int, count: int) -> Counter[str]:
    """Run one batch in a process of its own; `AssertionError` with the seed if it crashed, hung or failed."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            signal.alarm(LONGEST * max(count // 100, 1))
            chance, found = random.Random(seed), Counter[str]()
            for _ in range(count):
                found[one_input(folder, base, label_file, chance)] += 1
            os.write(writing, json.dumps(found).encode())
            status = 0
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            os._exit(status)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        text = pipe.read()
    _, status = os.waitpid(child, 0)
    assert status == 0, f"batch of seed {seed} ended with {os.waitstatus_to_exitcode(status)} (-14: it hung)"
    return Counter(json.loads(text))


def fuzz(folder: Path, inputs: int, seed: int) -> dict[str, int]:
    """So many inputs; what became of them."""
    base = base_file(folder)
    label_file = folder / "labels.json"
    with Project.open(folder / "base.loupe") as project:
        label_files.export_labels(project, label_file)
    found = Counter[str]()
    for start in range(0, inputs, BATCH):
        found += batch(folder, base, label_file.read_bytes(), seed * 1_000_003 + start, min(BATCH, inputs - start))
    return dict(sorted(found.items()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=Path("/dev/shm"), help="on which drive (default: memory)")
    arguments = parser.parse_args()
    start = time.monotonic()
    folder = Path(tempfile.mkdtemp(dir=arguments.folder if arguments.folder.is_dir() else None))
    try:
        found = fuzz(folder, arguments.inputs, arguments.seed)
    finally:
        shutil.rmtree(folder)
    sys.stdout.write(
        json.dumps({**found, "inputs": arguments.inputs, "seconds": round(time.monotonic() - start)}) + "\n"
    )


if __name__ == "__main__":
    main()
