"""How a finished file takes its place in a folder, so that a crash leaves the old file or the new one, never half."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from engine.errors import MachineError, RequestError


@contextmanager
def placed(path: Path, *, overwrite: bool) -> Iterator[Path]:
    """Give the name of a file to write in the same folder; at the end of the block it becomes the one at `path`.

    Raises `RequestError` if something is there already or the folder is not, `MachineError` if it cannot be written.
    """
    if not path.parent.is_dir():
        raise RequestError(f"There is no folder {path.parent}; choose another one for the project.")
    if path.is_dir() or (path.exists() and not overwrite):
        raise RequestError(f"{path.name} is already there; open it, or choose another name.")
    temporary = path.with_name(f".{path.stem[:40]}.{secrets.token_hex(6)}.unfinished")
    try:
        yield temporary
        _put_in_place(temporary, path)
    except OSError as error:
        reason = error.strerror or "no reason given"
        raise MachineError(
            f"{path} could not be written ({reason}); choose another folder or free some space."
        ) from error
    finally:
        for suffix in ("", "-journal"):
            temporary.with_name(temporary.name + suffix).unlink(missing_ok=True)


def _put_in_place(temporary: Path, path: Path) -> None:
    with temporary.open("rb+") as file:
        os.fsync(file.fileno())
    # A journal that a dead program left here would be taken for the new file's and written over it
    # (https://www.sqlite.org/howtocorrupt.html, section 1.4).
    for suffix in ("-journal", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    temporary.replace(path)
    if os.name == "posix":  # Windows has no way to sync a folder
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
