"""Taking another project in: its traces with all that is on them, notes, experiments, and labels that hold everywhere.

The other file is read only, and every graph in it is checked before a byte of it is taken. It comes in a folder of its
own, in one step that can be undone.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path

import sqlite_utils

from engine.errors import RequestError
from engine.progress import Progress, checkpoint, silent
from engine.projects.annotations import read_annotations
from engine.projects.copies import copy_experiment, copy_trace
from engine.projects.experiments import EVIDENCE
from engine.projects.faults import DamageError, plainly
from engine.projects.feature_labels import NewLabel, given_changes
from engine.projects.history import Edit
from engine.projects.ledger import Ledger
from engine.projects.project_file import ProjectFile
from engine.projects.rows import RowChange, added, next_number
from engine.projects.texts import short
from engine.projects.traces import read_graph
from engine.projects.tree_rows import TOP, TreeEntry, TreeRef, entries, entry_row, last_rank


@dataclass(frozen=True)
class Merged:
    """What came from another project."""

    folder: TreeRef  # where it is now
    traces: int
    experiments: int
    items: int  # folders, prompts, notes and circuits
    labels: int  # that hold everywhere and are new here
    kept: int  # labels that were not taken, because a person here wrote something else


def merge(ledger: Ledger, path: Path, progress: Progress = silent, cancel: threading.Event | None = None) -> Merged:
    """Take another project in. Raises `RequestError` for this project itself and for one that is damaged."""
    if path.exists() and ledger.file.path.exists() and path.samefile(ledger.file.path):
        raise RequestError(f"{path.name} is this project itself; choose another one.")
    other = ProjectFile(path, read_only=True)
    made: list[Merged] = []
    try:
        with other.reading() as theirs:

            def work_out(db: sqlite_utils.Database) -> Edit:
                taking = _Taking(theirs, db, path.name)
                name = str(theirs.conn.execute("SELECT name FROM project").fetchone()[0])
                changes = taking.everything(name, progress, cancel)
                made.append(taking.merged())
                return Edit(f"Take in {short(name)}", None, changes)

            ledger.commit(work_out)
    finally:
        other.close()
    progress("Done", 1.0)
    return made[0]


class _Taking:
    """Works out what one project becomes in another."""

    def __init__(self, theirs: sqlite_utils.Database, ours: sqlite_utils.Database, name: str) -> None:
        self.theirs, self.ours, self.name = theirs, ours, name
        self.folder = next_number(ours, "item")
        self.folders = {TOP: self.folder}
        self.traces: dict[int, int] = {}
        self.counts = {"trace": 0, "experiment": 0, "item": 0, "labels": 0, "kept": 0}
        self.changes: list[RowChange] = []

    def everything(self, name: str, progress: Progress, cancel: threading.Event | None) -> list[RowChange]:
        rank = last_rank(self.ours, TOP) + 1
        self._add_item({"id": self.folder, "parent": TOP, "rank": rank, "kind": "folder", "title": name})
        with plainly(self.name):  # what is wrong is wrong with the other file
            found = entries(self.theirs)
            for entry in found:
                if entry.kind == "folder":
                    self.folders[entry.ref.number] = next_number(self.ours, "item")
            # Circuits and experiments name traces, which must be there before.
            order = sorted(found, key=lambda entry: entry.ref.table != "trace")
            for done, entry in enumerate(order):
                checkpoint(cancel)
                progress(f"Taking in {short(entry.title)}", done / len(order))
                self._take(entry)
            self._labels()
        return self.changes

    def merged(self) -> Merged:
        count = self.counts
        folder = TreeRef("item", self.folder)
        return Merged(folder, count["trace"], count["experiment"], count["item"], count["labels"], count["kept"])

    def _take(self, entry: TreeEntry) -> None:
        row = entry_row(self.theirs, entry.ref)
        folder, number = self.folders[entry.folder], entry.ref.number
        if entry.ref.table == "trace":
            read_graph(self.theirs, number)
            read_annotations(self.theirs, number)
            changes, new = copy_trace(
                self.theirs, self.ours, number, folder, row["rank"], entry.title, given_by="imported"
            )
            self.traces[number] = new
            self.changes += changes
        elif entry.ref.table == "experiment":
            if row["evidence"] not in EVIDENCE:
                raise DamageError("an outcome of no kind")
            trace = self.traces.get(entry.trace, 0)
            changes, new = copy_experiment(
                self.theirs, self.ours, number, folder, row["rank"], entry.title, trace=trace
            )
            self.changes += changes
        else:
            new = self.folders[number] if entry.kind == "folder" else next_number(self.ours, "item")
            trace = self.traces.get(row["trace"], 0)
            self._add_item({**row, "id": new, "parent": folder, "trace": trace})
        self.counts[entry.ref.table] += 1
        for tag in entry.tags:
            self.changes.append(added("tag", {"kind": entry.ref.table, "number": new, "text": tag}))

    def _add_item(self, row: dict[str, object]) -> None:
        self.changes.append(added("item", {"trace": 0, "text": "", "content": "{}", **row}))

    def _labels(self) -> None:
        wanted = []
        for dictionary, layer, feature, text in self.theirs.conn.execute(
            "SELECT dictionary, layer, feature, text FROM feature_label ORDER BY id"
        ):
            found = self.ours.conn.execute(
                "SELECT text, source FROM feature_label WHERE dictionary = ? AND layer = ? AND feature = ?",
                (dictionary, layer, feature),
            ).fetchone()
            if found is not None and (found[0] == text or found[1] == "person"):
                self.counts["kept"] += found[0] != text
                continue
            wanted.append(NewLabel(dictionary, layer, feature, text, "imported"))
        self.counts["labels"] = len(wanted)
        self.changes += given_changes(self.ours, wanted, over_others=False)
