"""An open file: its connection behind one lock, reading and writing in transactions, and who may write."""

from __future__ import annotations

import sqlite3
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import sqlite_utils

from engine.errors import MachineError, RequestError
from engine.projects import ownership, snapshots
from engine.projects.connection import connect, transaction
from engine.projects.drives import file_id, require_same, warning
from engine.projects.faults import FileLostError, plainly
from engine.projects.header import Header, read_header
from engine.projects.migration import back_up, bring_along, brought_along_copy
from engine.projects.newer import known_part
from engine.projects.opening import open_file
from engine.projects.ownership import Owner
from engine.projects.placing import placed

_ASKED = "This project was opened for reading only."
_NEWER = "A newer Circuit Loupe wrote this project, so it is open for reading only; update to edit it."
_NEWER_MAJOR = (
    "A newer Circuit Loupe wrote this project in a format of its own, so it is open for reading only, without what is "
    "new in it; update to edit it."
)
_TAKEN = "Another program took this project over while this one was asleep, so it is open for reading only."


class ProjectFile:
    """One connection to one project file, safe to use from several threads.

    `read_only_reason` is one sentence, or None while the file may be written; `owner` is the other program that has it.
    """

    def __init__(self, path: Path, *, read_only: bool) -> None:
        self.path = path
        self.owner: Owner | None = None
        self.read_only_reason: str | None = None
        self._machine_cannot = False  # it is the drive or the folder that cannot be written, not somebody else's file
        # Where the file is as it was, if this opening brought it along from an older version.
        self.backup: Path | None = None
        self._token = ""
        self._lock = threading.RLock()
        self._closed = False
        self._last_beat = time.monotonic()
        self._db = self._open(_ASKED if read_only else None)
        self._opened = file_id(path)
        self._seen: int | None = None  # what SQLite counts of the writes of others, when it was last asked
        self.warning = warning(path)
        # A project that is dropped without close() must not keep this process from opening it again.
        weakref.finalize(self, ownership.forget, self._token)

    def _open(self, reason: str | None) -> sqlite_utils.Database:
        if reason is None:
            db, reason = self._open_for_writing()
            if db is not None:
                return db
        self.read_only_reason = reason
        db, header = open_file(self.path, "ro")
        if not (header.older or header.newer_major):
            return db
        try:
            with plainly(self.path.name):
                return known_part(db, self.path.name) if header.newer_major else brought_along_copy(db, header)
        finally:
            db.conn.close()

    def _open_for_writing(self) -> tuple[sqlite_utils.Database | None, str]:
        """The connection, or None and why there is none."""
        # SQLite would take a half-made transaction back, in a file that is not ours to write.
        if read_header(self.path).newer_major:
            return None, _NEWER_MAJOR
        try:
            db, header = open_file(self.path, "rw")
        except MachineError as error:
            self._machine_cannot = True
            return None, error.sentence
        reason, kept = _NEWER, False
        try:
            if header.newer_major:  # the bytes said another version, and SQLite has gone back to this one
                reason = _NEWER_MAJOR
            elif not header.newer_minor:
                with plainly(self.path.name):
                    kept = self._take(db, header)
                if self.owner is not None:
                    reason = f"{self.owner.sentence[:-1]}, so it is open here for reading only."
        except MachineError as error:
            self._machine_cannot, reason = True, error.sentence
        finally:
            if not kept:
                self._token = ""
                db.conn.close()
        return (db if kept else None), reason

    def _take(self, db: sqlite_utils.Database, header: Header) -> bool:
        """Become the owner, bring an older file along, and keep the state it is in; False if another program has it."""
        with transaction(db):
            self._token, self.owner = ownership.claim(db, self.path)
        if self.owner is not None:
            return False
        try:
            if header.older:
                self.backup = back_up(db, self.path, header)
                bring_along(db, header)
            with transaction(db):
                snapshots.take_snapshot(db)
        except BaseException:
            with suppress(sqlite3.Error), transaction(db):
                ownership.release(db, self._token)
            raise
        ownership.remember(self._token)
        return True

    def require_writable(self) -> None:
        """Raise the sentence that says why edits are refused, if they are, as what it is."""
        if self.read_only_reason is not None:
            raise (MachineError if self._machine_cannot else RequestError)(self.read_only_reason)

    def close(self) -> None:
        """Give the file back to other programs."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            try:
                if self.read_only_reason is None:
                    with transaction(self._db):
                        ownership.release(self._db, self._token)
            except sqlite3.Error:
                pass  # a claim goes stale by itself: neither a full disk nor a vanished file keeps a window open
            finally:
                ownership.forget(self._token)
                self._db.conn.close()

    @contextmanager
    def reading(self) -> Iterator[sqlite_utils.Database]:
        """The connection, for one reader at a time; what goes wrong becomes one sentence."""
        with self._lock:
            if self._closed:
                raise RequestError("The project is closed; open it again.")
            with plainly(self.path.name):
                yield self._db

    @contextmanager
    def writing(self) -> Iterator[sqlite_utils.Database]:
        """One transaction: committed at the end of the block, or nothing has changed."""
        with self.reading() as db:
            if self.read_only_reason is not None:
                raise RequestError(f"{self.read_only_reason} Save a copy to edit it.")
            require_same(self.path, self._opened)
            # SQLite compares the inode at the path with the one it opened before it writes (SQLITE_READONLY_DBMOVED).
            with transaction(db):
                if not ownership.still_owns(db, self._token):
                    self.owner, self.read_only_reason = ownership.read_owner(db), _TAKEN
                    raise FileLostError(f"{_TAKEN} Save a copy to edit it.")
                # Undo brings rows back in the order they went; references are checked when all of them are there.
                db.conn.execute("PRAGMA defer_foreign_keys=ON")
                yield db

    def changed_elsewhere(self) -> bool:
        """Whether another connection has written to the file since this was last asked; no, the first time."""
        before = self._seen
        with self.reading() as db:
            self._seen = int(db.conn.execute("PRAGMA data_version").fetchone()[0])
        return before not in (None, self._seen)

    def heartbeat(self) -> None:
        """Say that this program is alive, if it is time to.

        Raises `RequestError` if another one took the file over, or if the file was deleted or replaced, which is looked
        at every time; `MachineError` if its drive is gone.
        """
        if not self._lock.acquire(blocking=False):
            return  # a long read or write goes on; the window that asks must not wait for it
        try:
            self._beat()
        finally:
            self._lock.release()

    def _beat(self) -> None:
        if not self._closed:
            require_same(self.path, self._opened)
        if self.read_only_reason is not None or time.monotonic() - self._last_beat < ownership.HEARTBEAT_SECONDS:
            return
        try:
            with self.writing() as db:
                ownership.beat(db, self._token)
        except MachineError:
            return  # a full disk now may have room at the next beat; an edit says so in its own words
        self._last_beat = time.monotonic()

    def save_copy(self, path: Path, *, overwrite: bool) -> None:
        """Write the whole file to another path, which then nobody has open."""
        if path.exists() and self.path.exists() and path.samefile(self.path):
            raise RequestError(f"{path.name} is this project itself; choose another name for the copy.")
        with self.reading() as db, placed(path, overwrite=overwrite) as temporary, plainly(path.name):
            copy = connect(temporary, "rwc")
            try:
                db.conn.backup(copy.conn)
                copy.conn.execute("PRAGMA journal_mode=DELETE")
                copy.conn.execute("DELETE FROM owner")
            finally:
                copy.conn.close()
