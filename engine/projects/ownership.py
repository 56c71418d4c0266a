"""Who has a project open for writing: one row, so that a second program opens the file read-only."""

from __future__ import annotations

import os
import secrets
import socket
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
import sqlite_utils

from engine.projects.drives import FileId, file_id, network_drive

# How often an open project writes that its program lives; an owner silent for much longer is gone.
HEARTBEAT_SECONDS = 60.0
# On another machine only the heartbeat tells whether a program is alive; asleep for five minutes, it has lost the file.
STALE_SECONDS = 300.0
_SAME_START = 2.0  # seconds: process start times are read from a clock that ticks

# Tokens of the projects that this process has open for writing.
_ours: set[str] = set()
_ours_lock = threading.Lock()


@dataclass(frozen=True)
class Owner:
    """A program that has a project open for writing."""

    token: str
    process: int
    started: float  # seconds since 1970, from the system's process table
    host: str
    heartbeat: float  # seconds since 1970

    @property
    def sentence(self) -> str:
        """Says who has the project."""
        if self.process == os.getpid() and self.host == socket.gethostname():
            return "This project is already open in this program."
        host = " ".join(self.host.split())[:60]
        return f"This project is open in another program (process {self.process} on {host})."

    @property
    def file(self) -> FileId | None:
        """Which file it took, as its token says; None where that does not."""
        _, *parts = self.token.split("-")
        try:
            device, number = (int(part, 16) for part in parts)
        except ValueError:
            return None
        return device, number


def read_owner(db: sqlite_utils.Database) -> Owner | None:
    """Who the file says has it open, alive or not."""
    row = db.conn.execute("SELECT token, process, started, host, heartbeat FROM owner").fetchone()
    return None if row is None else Owner(*row)


def is_alive(owner: Owner) -> bool:
    """Whether the program that claimed a project still runs, as far as this machine can tell."""
    # A heartbeat from the future is a clock that was wrong, not a sign of life.
    beats = abs(time.time() - owner.heartbeat) < STALE_SECONDS
    if owner.host != socket.gethostname():
        return beats
    if owner.process == os.getpid():
        with _ours_lock:
            return owner.token in _ours
    try:
        process = psutil.Process(owner.process)
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        # Another start time is another process with the same number, unless the clock was set: then the heart beats.
        return abs(process.create_time() - owner.started) < _SAME_START or beats
    except (psutil.NoSuchProcess, ValueError, OverflowError):
        return False
    except psutil.AccessDenied:
        return True


def has(owner: Owner, path: Path) -> bool:
    """Whether a program has this very file open: it is alive, and the file is no copy that was made meanwhile.

    A copy holds the row that says who has the original. On another host, or on a network drive, device and number of a
    file may be others for the same file, so that they say nothing there.
    """
    if not is_alive(owner):
        return False
    if owner.file is None or owner.host != socket.gethostname():
        return True
    try:
        return owner.file == file_id(path) or network_drive(path) is not None
    except OSError:
        return True  # what becomes of the file is said by whoever reads it


def claim(db: sqlite_utils.Database, path: Path) -> tuple[str, Owner | None]:
    """Become the owner inside the caller's transaction, unless a living one is there, who is returned instead.

    The token is random, and says which file was taken.
    """
    owner = read_owner(db)
    if owner is not None and has(owner, path):
        return "", owner
    device, number = file_id(path)
    token = f"{secrets.token_hex(16)}-{device:x}-{number:x}"
    db.conn.execute("DELETE FROM owner")
    db.conn.execute(
        "INSERT INTO owner (id, token, process, started, host, heartbeat) VALUES (1, ?, ?, ?, ?, ?)",
        (token, os.getpid(), psutil.Process().create_time(), socket.gethostname(), time.time()),
    )
    return token, None


def remember(token: str) -> None:
    """Keep the token of a project this process has opened, once its claim is committed."""
    with _ours_lock:
        _ours.add(token)


def forget(token: str) -> None:
    """The project with this token is closed."""
    with _ours_lock:
        _ours.discard(token)


def still_owns(db: sqlite_utils.Database, token: str) -> bool:
    """Whether nobody took the project over, as happens after a long sleep of this machine."""
    row = db.conn.execute("SELECT token FROM owner").fetchone()
    return row is not None and row[0] == token


def beat(db: sqlite_utils.Database, token: str) -> None:
    """Say that the owner is alive, inside the caller's transaction."""
    db.conn.execute("UPDATE owner SET heartbeat = ? WHERE token = ?", (time.time(), token))


def release(db: sqlite_utils.Database, token: str) -> None:
    """Give the project back, inside the caller's transaction."""
    db.conn.execute("DELETE FROM owner WHERE token = ?", (token,))
