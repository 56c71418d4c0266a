"""A project that is open: the one object through which the rest of the program reads and writes a `.loupe` file."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import sqlite_utils

from engine.errors import RequestError
from engine.graphs.graph import AttributionGraph
from engine.progress import Progress, silent
from engine.projects import encoding, history, search, snapshots, traces
from engine.projects.annotations import Annotations, PlaceKey, TraceEdits, read_annotations
from engine.projects.asked import read_asked
from engine.projects.brought import Brought, write_brought
from engine.projects.experiments import Experiments
from engine.projects.feature_labels import FeatureLabels
from engine.projects.groups import GroupEdits
from engine.projects.history import Edit, EditDone
from engine.projects.label_rows import LabelKey, LabelVersion, label_changes, versions
from engine.projects.ledger import Ledger
from engine.projects.merging import Merged, merge
from engine.projects.opening import make_file
from engine.projects.ownership import Owner, has, read_owner
from engine.projects.packages import make_package
from engine.projects.project_file import ProjectFile
from engine.projects.rows import RowChange, index_text, read_row
from engine.projects.search import SearchHit
from engine.projects.snapshots import SnapshotRow
from engine.projects.suggestions import Suggestions
from engine.projects.texts import MAX_NAME, clean_text, short
from engine.projects.traces import Asked, TraceRow
from engine.projects.tree import Tree

# The ending of a project's file.
SUFFIX = ".loupe"


class Project:
    """An open project file. Every edit is committed before its method returns, or has changed nothing.

    Edits belong to one thread; `add_trace` and reading may come from any. Whatever goes wrong is a `RequestError` or a
    `MachineError` with one sentence.
    """

    def __init__(self, file: ProjectFile) -> None:
        self._file = file
        self._ledger = Ledger(file)
        self.tree = Tree(self._ledger)
        self.feature_labels = FeatureLabels(self._ledger)
        self.suggestions = Suggestions(self._ledger)
        self.experiments = Experiments(self._ledger)
        self._names: dict[int, list[str]] = {}  # of nodes, by trace

    # Opening and closing

    @classmethod
    def create(cls, path: Path | str, *, name: str | None = None, overwrite: bool = False) -> Self:
        """Make a new project and open it. A file that is already there is refused unless `overwrite`."""
        path = Path(path)
        make_file(path, clean_text(name or path.stem, MAX_NAME, "A name"), overwrite=overwrite)
        return cls.open(path)

    @classmethod
    def open(cls, path: Path | str, *, read_only: bool = False) -> Self:
        """Open a project; read-only if asked, if another program has it, or if it cannot be written.

        Raises `RequestError` for a file that is no project, damaged, or of a newer major version.
        """
        return cls(ProjectFile(Path(path), read_only=read_only))

    def close(self) -> None:
        """Give the file back. Nothing is lost by not calling it: there is no unsaved state."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def path(self) -> Path:
        """Where the file is."""
        return self._file.path

    @property
    def read_only(self) -> bool:
        """Whether edits are refused."""
        return self._file.read_only_reason is not None

    @property
    def read_only_reason(self) -> str | None:
        """Why edits are refused, one sentence; None while the project may be edited."""
        return self._file.read_only_reason

    def require_writable(self) -> None:
        """Refuse work whose result this project could not keep.

        Raises `RequestError` where another program has the file or wrote it in a newer format, `MachineError` where the
        drive or the folder cannot be written.
        """
        self._file.require_writable()

    @property
    def owner(self) -> Owner | None:
        """The program that has the project open for writing, if it is another one."""
        return self._file.owner

    def is_free(self) -> bool:
        """Whether the program that had the project when this one opened it has let go: opening it again takes it."""
        owner = self._file.owner
        if owner is None:
            return False
        with self._file.reading() as db:
            now = read_owner(db)
        return now is None or not has(now, self.path)

    def changed_elsewhere(self) -> bool:
        """Whether another program has written to the file since this was last asked (the first time, no): what was
        read then may be out of date. A project that is read from a private copy (of another format) stays as it was.
        """
        return self._file.changed_elsewhere()

    @property
    def warning(self) -> str | None:
        """What a person should know of the drive the project is on (a network drive), one sentence; or None."""
        return self._file.warning

    @property
    def backup(self) -> Path | None:
        """Where the file is kept as it was, if this opening brought it along from an older version."""
        return self._file.backup

    @property
    def name(self) -> str:
        """What a person calls the project."""
        with self._file.reading() as db:
            return str(db.conn.execute("SELECT name FROM project").fetchone()[0])

    def heartbeat(self) -> None:
        """Tell other machines that this program is alive, and look whether the file is still there.

        Call it from a timer as often as is handy. Raises `RequestError` if another program took the project over (it is
        then read-only here) or the file was deleted or replaced, `MachineError` if its drive is gone; saving a copy
        still works then.
        """
        self._file.heartbeat()

    def save_copy(self, path: Path | str, *, overwrite: bool = False) -> None:
        """Write the whole project, history included, to another file, which nobody has open.

        Works for a read-only project, and for one whose file was deleted.
        """
        self._file.save_copy(Path(path), overwrite=overwrite)

    def save_package(self, path: Path | str, *, overwrite: bool = False) -> None:
        """Write the project to another file as one gives it away: no absolute paths, no names of people or machines, no
        history, nothing that was deleted. Prompts stay as they are.
        """
        with self._file.reading() as db:
            make_package(db, self.name, Path(path), overwrite=overwrite)

    def take_in(self, path: Path | str, progress: Progress = silent, cancel: threading.Event | None = None) -> Merged:
        """Take another project's traces, notes, experiments and labels in, in a folder of its own, as one edit."""
        return merge(self._ledger, Path(path), progress, cancel)

    # Traces

    def add_trace(
        self,
        trace_report: dict[str, Any],
        graph: AttributionGraph,
        *,
        title: str,
        brought: Brought | None = None,
        asked: Asked | None = None,
    ) -> int:
        """Keep a trace, with what an imported graph brought along, all or nothing; its number. From any thread.

        `asked` is what was asked for: with it the trace can be run again even where the report only names a length.
        Not a step of undo: nobody wants to take back a job that ended between two edits; `delete_trace` is for that.
        """
        packed = traces.pack_trace(trace_report, graph, clean_text(title, MAX_NAME, "A title"), asked)
        with self._file.writing() as db:
            number = traces.store_trace(db, packed)
            index_text(db, "trace", {"id": number, "title": packed.row["title"]})
            if brought is not None:
                write_brought(db, number, brought)
        return number

    def traces(self) -> list[TraceRow]:
        """The traces of the project, oldest first."""
        with self._file.reading() as db:
            return traces.list_traces(db)

    def load_graph(self, trace_id: int) -> AttributionGraph:
        """The graph of a trace as it was saved; its arrays are read-only."""
        with self._file.reading() as db:
            return traces.read_graph(db, trace_id)

    def report(self, trace_id: int) -> dict[str, Any]:
        """The report of a trace: provenance, settings, scores and timings."""
        with self._file.reading() as db:
            return traces.read_report(db, trace_id)

    def asked(self, trace_id: int) -> Asked:
        """What was asked of a trace; `RequestError` where that is not known, as for an imported graph."""
        with self._file.reading() as db:
            return read_asked(db, trace_id)

    # What a person adds

    def annotations(self, trace_id: int) -> Annotations:
        """Pins, labels (of the trace, and those that hold everywhere), supernodes, note and positions of a trace."""
        with self._file.reading() as db:
            return read_annotations(db, trace_id).with_everywhere(self.feature_labels.of_trace(trace_id))

    def pin(self, trace_id: int, nodes: Sequence[int]) -> EditDone | None:
        """Pin nodes, after those already pinned. Like every edit: None if nothing changed."""
        return self._edit(trace_id, lambda edits: edits.pin(nodes))

    def unpin(self, trace_id: int, nodes: Sequence[int]) -> EditDone | None:
        """Take pins away."""
        return self._edit(trace_id, lambda edits: edits.unpin(nodes))

    def leave_circuit(self, trace_id: int, nodes: Sequence[int]) -> EditDone | None:
        """Take nodes out of the circuit: their pins, and their places in supernodes; one left empty goes."""
        return self._edit(trace_id, lambda edits: edits.leave(nodes))

    def set_label(
        self, trace_id: int, node: int, text: str, *, source: str = "person", merge: str | None = None
    ) -> EditDone | None:
        """Name a node in this trace; an empty text takes the name away.

        Labels of one trace with the same `merge` key, one edit after the other, are one step of undo.
        """

        def work_out(edits: TraceEdits) -> Edit:
            so_far = self._ledger.continued(edits.db, merge, trace_id, "label")
            return edits.label(node, text, self._node_name(trace_id, node), source, so_far)

        return self._edit(trace_id, work_out, merge)

    def label_everywhere(
        self, trace_id: int, node: int, text: str, *, source: str = "person", merge: str | None = None
    ) -> EditDone | None:
        """Name the feature of a node in every trace, and take the label away that it has in this one only; `merge` as
        in `set_label`.

        Raises `RequestError` for a node that is no feature of a dictionary that can be told from others.
        """
        key = self.feature_labels.key_of(trace_id, node)
        if key is None:
            raise RequestError("Only features of a known dictionary have a name everywhere; name it in this trace.")
        text = clean_text(text, MAX_NAME, "A label")

        def work_out(edits: TraceEdits) -> Edit:
            so_far = self._ledger.continued(edits.db, merge, trace_id, "feature_label")
            own = edits.label(node, "", self._node_name(trace_id, node), source, so_far)
            what = "Label" if text.strip() else "Remove the label of"
            title = f"{what} {short(self._node_name(trace_id, node) or f'node {node}')} everywhere"
            return Edit(title, trace_id, [*label_changes(edits.db, key, text, source, so_far), *own.changes])

        return self._edit(trace_id, work_out, merge)

    def give_labels(self, trace_id: int, texts: Mapping[int, str], *, source: str) -> EditDone | None:
        """Name many nodes of a trace in one step, but none that a person or a file named, here or everywhere."""
        present = self.annotations(trace_id)
        free = {
            node: text
            for node, text in texts.items()
            if node not in present.labels or present.sources.get(node, "person") == source
        }
        return self._edit(trace_id, lambda edits: edits.give_labels(free, source))

    def label_versions(self, trace_id: int, node: int) -> list[LabelVersion]:
        """Every label a node was given, in this trace or everywhere, oldest first, with who gave it and when."""
        with self._file.reading() as db:
            everywhere = self.feature_labels.key_of(trace_id, node)
            return versions(db, LabelKey(trace_id, node), *([] if everywhere is None else [everywhere]))

    def set_note(self, trace_id: int, text: str, *, merge: str | None = None) -> EditDone | None:
        """Write the trace's note; `merge` as in `set_label`."""
        return self._edit(trace_id, lambda edits: edits.note(text), merge)

    def set_position(
        self, trace_id: int, key: PlaceKey, x: float, y: float, *, merge: str | None = None
    ) -> EditDone | None:
        """Put a node (its number) or anything else (a text) somewhere in the circuit; `merge` as in `set_label`."""
        return self._edit(trace_id, lambda edits: edits.place(key, x, y), merge)

    def add_group(
        self, trace_id: int, name: str, nodes: Sequence[int], *, parent: int | None = None, colour: str = ""
    ) -> int:
        """Make a supernode; its number, which is never given again. Nodes that were in another supernode leave it."""
        numbers: list[int] = []

        def work_out(groups: GroupEdits) -> Edit:
            edit, number = groups.add(name, nodes, parent, colour)
            numbers.append(number)
            return edit

        self._group_edit(trace_id, work_out)
        return numbers[0]

    def rename_group(self, trace_id: int, group: int, name: str) -> EditDone | None:
        """Give a supernode another name."""
        return self._group_edit(trace_id, lambda groups: groups.rename(group, name))

    def recolour_group(self, trace_id: int, group: int, colour: str) -> EditDone | None:
        """Give a supernode another colour, "#rrggbb" or a name of the theme; "" lets the theme choose."""
        return self._group_edit(trace_id, lambda groups: groups.recolour(group, colour))

    def collapse_group(self, trace_id: int, group: int, collapsed: bool) -> EditDone | None:
        """Draw a supernode as one node, or open it."""
        return self.collapse_groups(trace_id, [group], collapsed)

    def collapse_groups(self, trace_id: int, groups: Sequence[int], collapsed: bool) -> EditDone | None:
        """The same of several supernodes, in one step."""
        return self._group_edit(trace_id, lambda edits: edits.collapse(groups, collapsed))

    def set_group_note(self, trace_id: int, group: int, text: str, *, merge: str | None = None) -> EditDone | None:
        """Write on a supernode what one thinks of it; `merge` as in `set_label`."""
        merge = None if merge is None else f"{merge}/group {group}"
        return self._group_edit(trace_id, lambda groups: groups.note(group, text), merge)

    def nest_group(self, trace_id: int, group: int, parent: int | None) -> EditDone | None:
        """Put a supernode into another, or (None) out of all."""
        return self._group_edit(trace_id, lambda groups: groups.nest(group, parent))

    def put_into_group(
        self, trace_id: int, parent: int, nodes: Sequence[int], groups: Sequence[int] = ()
    ) -> EditDone | None:
        """Put nodes and supernodes into a supernode, in one step."""
        return self._group_edit(trace_id, lambda edits: edits.put_into(parent, nodes, groups))

    def take_out_of_group(self, trace_id: int, group: int, node: int) -> EditDone | None:
        """Take a node out of its supernode; it is pinned, so that it stays in the circuit."""
        return self._edit(trace_id, lambda edits: edits.take_out(group, node))

    def set_group_nodes(self, trace_id: int, group: int, nodes: Sequence[int]) -> EditDone | None:
        """Replace the nodes of a supernode; without any it is removed."""
        return self._group_edit(trace_id, lambda groups: groups.set_nodes(group, nodes))

    def remove_group(self, trace_id: int, group: int) -> EditDone | None:
        """Take a supernode apart; its nodes are pinned, and supernodes in it move to the one around it."""
        return self._edit(trace_id, lambda edits: edits.ungroup(group))

    def rename_trace(self, trace_id: int, title: str) -> EditDone | None:
        """Give a trace another title."""
        return self._edit(trace_id, lambda edits: edits.rename(title))

    def delete_trace(self, trace_id: int) -> EditDone | None:
        """Take a trace out of the project; undo brings it back with everything on it."""
        return self._edit(trace_id, lambda edits: edits.delete())

    def rename(self, name: str) -> EditDone | None:
        """Give the project another name; the file keeps its own."""
        name = clean_text(name, MAX_NAME, "A name")

        def work_out(db: sqlite_utils.Database) -> Edit:
            row = read_row(db, "project", {"id": 1})
            return Edit("Rename the project", None, [RowChange("project", {"id": 1}, row, {"id": 1, "name": name})])

        return self._ledger.commit(work_out)

    # History

    def undo(self) -> EditDone | None:
        """Take the last edit back; None if there is none. Reaches back across a restart."""
        return self._ledger.undo()

    def redo(self) -> EditDone | None:
        """Make the edit again that was undone last; None if there is none."""
        return self._ledger.redo()

    def take_back(self, merge: str) -> EditDone | None:
        """Take back what was typed under a `merge` key, leaving no step; None where it was not done last."""
        return self._ledger.take_back(merge)

    @property
    def undo_title(self) -> str | None:
        """The title of the edit that `undo` would take back."""
        with self._file.reading() as db:
            return history.next_title(db, undone=0)

    @property
    def redo_title(self) -> str | None:
        """The title of the edit that `redo` would make again."""
        with self._file.reading() as db:
            return history.next_title(db, undone=1)

    def snapshots(self) -> list[SnapshotRow]:
        """The states kept from earlier openings of this project, newest first."""
        with self._file.reading() as db:
            return snapshots.list_snapshots(db)

    def restore_snapshot(self, snapshot_id: int) -> EditDone | None:
        """Go back to a kept state, as one edit that can be undone."""
        return self._ledger.commit(lambda db: snapshots.restoring(db, snapshot_id))

    def search(self, words: str) -> list[SearchHit]:
        """Labels, notes, supernodes and traces that hold every word or its beginning."""
        with self._file.reading() as db:
            return search.find(db, words)

    # Kept without history

    def set_view(self, trace_id: int, value: dict[str, Any]) -> None:
        """Keep how a trace is shown (thresholds, zoom): not an edit, never undone."""
        text = encoding.write(value)
        with self._file.writing() as db:
            db.conn.execute("INSERT OR REPLACE INTO view (trace, value) VALUES (?, ?)", (trace_id, text))

    def view(self, trace_id: int) -> dict[str, Any]:
        """How a trace was last shown; empty if nobody kept it."""
        with self._file.reading() as db:
            row = db.conn.execute("SELECT value FROM view WHERE trace = ?", (trace_id,)).fetchone()
            return {} if row is None else encoding.read_table(row[0])

    def save_effects(self, key: str | int, value: Any) -> None:
        """Keep what a feature does to the logits, so that it can be shown without the model."""
        self._keep("effect", str(key), value)

    def effects(self, key: str | int) -> Any:
        """What was kept under a key, or None."""
        return self._kept("effect", str(key))

    def set_setting(self, key: str, value: Any) -> None:
        """Keep a setting of this project, such as the draft in the prompt bar: not an edit, never undone."""
        self._keep("setting", key, value)

    def setting(self, key: str, default: Any = None) -> Any:
        """A setting, or `default`."""
        found = self._kept("setting", key)
        return default if found is None else found

    def _keep(self, table: str, key: str, value: Any) -> None:
        text = encoding.write(value)
        with self._file.writing() as db:
            db.conn.execute(
                f"INSERT OR REPLACE INTO {table} (key, value) VALUES (?, ?)", (encoding.encodable(key), text)
            )

    def _kept(self, table: str, key: str) -> Any:
        with self._file.reading() as db:
            row = db.conn.execute(f"SELECT value FROM {table} WHERE key = ?", (encoding.encodable(key),)).fetchone()
            return None if row is None else encoding.read(row[0])

    # How everything above reads and writes

    def _edit(self, trace_id: int, work_out: Callable[[TraceEdits], Edit], merge: str | None = None) -> EditDone | None:
        return self._ledger.commit(lambda db: work_out(TraceEdits(db, trace_id)), merge)

    def _group_edit(
        self, trace_id: int, work_out: Callable[[GroupEdits], Edit], merge: str | None = None
    ) -> EditDone | None:
        return self._ledger.commit(lambda db: work_out(GroupEdits(db, trace_id)), merge)

    def _node_name(self, trace_id: int, node: int) -> str | None:
        if trace_id not in self._names:
            with self._file.reading() as db:
                self._names[trace_id] = traces.node_names(db, trace_id)
        names = self._names[trace_id]
        return names[node] if 0 <= node < len(names) else None
