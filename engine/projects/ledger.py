"""Where edits meet the file: each is committed with its step of history, and typing in one place is one step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import sqlite_utils

from engine.projects import history
from engine.projects.history import Edit, EditDone
from engine.projects.project_file import ProjectFile
from engine.projects.rows import RowChange

WorkOut = Callable[[sqlite_utils.Database], Edit]


class Ledger:
    """Commits edits of one open project, and takes them back. Edits belong to one thread."""

    def __init__(self, file: ProjectFile) -> None:
        self.file = file
        # What an edit must be to join the last one of this session (merge key, trace, table), and its history row.
        self._joinable: tuple[tuple[str, int | None, str], int] | None = None

    @contextmanager
    def reading(self) -> Iterator[sqlite_utils.Database]:
        """The database, for one reader at a time."""
        with self.file.reading() as db:
            yield db

    def commit(self, work_out: WorkOut, merge: str | None = None) -> EditDone | None:
        """Work an edit out and make it, in one transaction; None if it changes nothing.

        Edits with the same `merge` key, trace and first table, one after the other, are one step of undo.
        """
        last = self._joinable
        with self.file.writing() as db:
            edit = work_out(db)
            edit = replace(edit, changes=[change for change in edit.changes if change.before != change.after])
            if edit.changes:
                kind = None if merge is None else (merge, edit.trace, edit.changes[0].table)
                number = history.apply_edit(db, edit, join=last[1] if last is not None and last[0] == kind else None)
                last = None if kind is None or number is None else (kind, number)
        self._joinable = last
        return EditDone(edit.title, edit.trace) if edit.changes else None

    def continued(self, db: sqlite_utils.Database, merge: str | None, trace: int | None, table: str) -> list[RowChange]:
        """What the step that an edit with this key would join has changed so far."""
        last = self._joinable
        if merge is None or last is None or last[0] != (merge, trace, table):
            return []
        return history.changes_of_last(db, last[1])

    def take_back(self, merge: str) -> EditDone | None:
        """Take the last step of this session back if it was typed under this key, as if it had not been made."""
        last, self._joinable = self._joinable, None
        if last is None or last[0][0] != merge:
            return None
        with self.file.writing() as db:
            return history.forget(db, last[1])

    def undo(self) -> EditDone | None:
        """Take the last edit back; None if there is none."""
        self._joinable = None
        with self.file.writing() as db:
            return history.undo(db)

    def redo(self) -> EditDone | None:
        """Make the edit again that was undone last; None if there is none."""
        self._joinable = None
        with self.file.writing() as db:
            return history.redo(db)
