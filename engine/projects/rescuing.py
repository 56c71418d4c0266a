"""Saving what can be saved of a damaged project, and saying what could not.

The damaged file is never written: it is copied aside, and what can be read of the copy goes into a new project.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import sqlite_utils

from engine.errors import LoupeError, RequestError
from engine.projects import traces
from engine.projects.annotations import read_annotations
from engine.projects.connection import connect, transaction
from engine.projects.faults import DamageError, plainly
from engine.projects.opening import make_file, open_file
from engine.projects.placing import placed
from engine.projects.schema import USER_VERSION
from engine.projects.texts import MAX_NAME, MAX_NOTE
from engine.projects.tolerant_copying import COPIED, copy_name, copy_table, drop_without_reference, index_all
from engine.projects.tolerant_reading import READING_ERRORS
from engine.projects.tree_rows import TOP, last_rank
from engine.projects.working_copies import candidates, copy_journal, copy_what_can_be_read

_STEPS = ("history", "snapshot")
_ON_TRACE = ("pin", "label", "note", "place", "view", "suggestion")
_WORDS = {
    "array": "parts of graphs",
    "trace": "traces",
    "graph_column": "parts of graphs",
    "pin": "pins",
    "label": "labels",
    "supernode": "supernodes",
    "member": "nodes of supernodes",
    "note": "notes",
    "place": "positions",
    "view": "views",
    "effect": "effects of features",
    "setting": "settings",
    "feature_label": "labels of features",
    "label_version": "earlier labels",
    "item": "folders, prompts, notes and circuits",
    "tag": "tags",
    "suggestion": "suggestions",
    "experiment": "experiments",
}


@dataclass(frozen=True)
class Rescue:
    """What was saved of a damaged project, and what was not."""

    project: Path  # the new project
    damaged: Path  # the damaged file, copied aside
    saved: dict[str, int]  # how many, by table
    lost: tuple[str, ...]  # one sentence each; empty where everything was saved


@dataclass
class _Losses:
    tables: Counter[str] = field(default_factory=Counter)  # places that could not be read, and rows refused
    graphs: list[str] = field(default_factory=list)
    older: bool = False  # of a version whose steps have other columns

    def sentences(self) -> list[str]:
        found = [
            f"Of the trace {title!r} the graph is lost; what was written on it is in a note." for title in self.graphs
        ]
        found += [f"Some {words} are lost." for words in dict.fromkeys(_WORDS[name] for name in sorted(self.tables))]
        return found

    @property
    def weight(self) -> int:
        return 1000 * len(self.graphs) + sum(self.tables.values())


def rescue(path: Path | str, to: Path | str | None = None) -> Rescue:
    """Save what can be saved of a damaged project into a new one beside it, or at `to`.

    Raises `RequestError` if nothing can be saved or something is at `to`, `MachineError` if it cannot be written.
    """
    path = Path(path)
    if not path.is_file():
        raise RequestError(f"There is no file {path}; choose the damaged project.")
    target = _free(path, "rescued") if to is None else Path(to)
    aside = _free(path, "damaged")
    with placed(aside, overwrite=False) as temporary:
        unread = copy_what_can_be_read(path, temporary)
    copy_journal(path, aside)
    with tempfile.TemporaryDirectory(dir=target.absolute().parent, prefix=".rescue-") as folder:
        made = _best(path, aside, Path(folder))
        if made is None:
            raise RequestError(
                f"Nothing of {path.name} could be saved; it was copied to {aside.name}, look for an older copy."
            )
        new, saved, losses = made
        with placed(target, overwrite=False) as temporary:
            new.replace(temporary)
    lost = losses.sentences()
    if lost or losses.older:
        lost.append("The steps that could be undone, and the earlier states, are lost.")
    if unread:
        lost.insert(0, f"The drive could not read {unread:,} bytes of the file.")
    return Rescue(target, aside, saved, tuple(lost))


def _best(path: Path, aside: Path, folder: Path) -> tuple[Path, dict[str, int], _Losses] | None:
    """The new file with the least lost, of all ways to read the damaged one."""
    fresh = folder / "fresh.loupe"
    make_file(fresh, path.stem[:MAX_NAME], overwrite=False)
    best: tuple[Path, dict[str, int], _Losses] | None = None
    for number, candidate in enumerate(candidates(aside, fresh, folder)):
        new = folder / f"new {number}.loupe"
        try:
            saved, losses = _save(candidate, new, path.stem[:MAX_NAME])
        except (LoupeError, *READING_ERRORS):
            continue
        if not any(saved.get(table) for table in ("trace", "item", "feature_label", "experiment")):
            continue
        if not losses.weight:
            return new, saved, losses
        if best is None or _worth(saved, losses) > _worth(best[1], best[2]):
            best = (new, saved, losses)
    return best


def _worth(saved: dict[str, int], losses: _Losses) -> tuple[int, int]:
    return (saved.get("trace", 0) - len(losses.graphs), sum(saved.values()) - losses.weight)


def _save(candidate: Path, new: Path, name: str) -> tuple[dict[str, int], _Losses]:
    losses = _Losses()
    make_file(new, name, overwrite=False)
    source = connect(candidate, "rw")  # a copy of ours: a half-made transaction in it is taken back
    target = connect(new, "rw")
    try:
        target.conn.execute("PRAGMA foreign_keys=OFF")
        with plainly(new.name), transaction(target):
            copy_name(source, target)
            for table in COPIED:
                copy_table(source, target, table, losses.tables)
            drop_without_reference(target, losses.tables)
            _drop_without_graph(target, losses)
            losses.older = source.conn.execute("PRAGMA user_version").fetchone()[0] != USER_VERSION
            if not losses.weight and not losses.older:
                for table in _STEPS:
                    copy_table(source, target, table, losses.tables, count_gaps=False)
            if losses.weight:
                for table in _STEPS:
                    target.conn.execute(f"DELETE FROM {table}")
            index_all(target)
        saved = {table: int(target.conn.execute(f"SELECT count(*) FROM {table}").fetchone()[0]) for table in COPIED}
    finally:
        source.conn.close()
        target.conn.close()
    open_file(new, "ro")[0].conn.close()
    return saved, losses


def _drop_without_graph(db: sqlite_utils.Database, losses: _Losses) -> None:
    for number, title, deleted in db.conn.execute("SELECT id, title, deleted FROM trace ORDER BY id").fetchall():
        if deleted:
            db.conn.execute("UPDATE trace SET deleted = 0 WHERE id = ?", (number,))
        try:
            traces.read_graph(db, number)
            read_annotations(db, number)
        except (DamageError, LoupeError, OverflowError, MemoryError):
            if not deleted:
                losses.graphs.append(str(title)[:60])
                _keep_words(db, number, str(title))
            _remove_trace(db, number)
        else:
            db.conn.execute("UPDATE trace SET deleted = ? WHERE id = ?", (int(bool(deleted)), number))


def _keep_words(db: sqlite_utils.Database, trace: int, title: str) -> None:
    """A note with what a person wrote on a trace, and what is needed to trace it again."""
    (prompt, target, spec) = db.conn.execute("SELECT prompt, target, spec FROM trace WHERE id = ?", (trace,)).fetchone()
    lines = [f"Prompt: {prompt}", f"Target: {target}"]
    lines += [f"Settings: {spec}"] if spec else []
    for (text,) in db.conn.execute("SELECT text FROM note WHERE trace = ?", (trace,)):
        lines += ["Note:", text]
    for node, text in db.conn.execute("SELECT node, text FROM label WHERE trace = ? ORDER BY node", (trace,)):
        lines.append(f"Label of node {node}: {text}")
    for name, note in db.conn.execute("SELECT name, note FROM supernode WHERE trace = ? ORDER BY id", (trace,)):
        lines.append(f"Supernode: {name} {note}".rstrip())
    db.conn.execute(
        "INSERT INTO item (parent, rank, kind, title, trace, text, content) VALUES (0, ?, 'note', ?, 0, ?, '{}')",
        (last_rank(db, TOP) + 1, f"Rescued from {title}"[:MAX_NAME], "\n".join(lines)[:MAX_NOTE]),
    )


def _remove_trace(db: sqlite_utils.Database, trace: int) -> None:
    db.conn.execute("DELETE FROM member WHERE supernode IN (SELECT id FROM supernode WHERE trace = ?)", (trace,))
    for table in ("supernode", "graph_column", *_ON_TRACE):
        db.conn.execute(f"DELETE FROM {table} WHERE trace = ?", (trace,))
    db.conn.execute("DELETE FROM trace WHERE id = ?", (trace,))


def _free(path: Path, what: str) -> Path:
    for number in range(1, 1000):
        found = path.with_name(f"{path.stem} ({what}{'' if number == 1 else f' {number}'}){path.suffix or '.loupe'}")
        if not found.exists():
            return found
    raise RequestError(f"{path.parent} holds a thousand files like this; move some away.")
