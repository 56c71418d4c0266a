"""Writing a file whole or not at all: into a temporary name beside it, then renamed."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from engine.errors import LoupeError, MachineError, RequestError


@contextmanager
def written_whole(path: Path) -> Iterator[IO[bytes]]:
    """Open a binary file that appears under `path` only when it is complete.

    Raises `RequestError` for a folder that does not exist and `MachineError` for a full disk or one that is not
    writable; in both cases whatever stood at `path` before is untouched.
    """
    if not path.parent.is_dir():
        raise RequestError(f"There is no folder {path.parent}; make it first or choose another place for {path.name}.")
    temporary = ""
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            temporary = file.name
            yield file
            file.flush()
            os.fsync(file.fileno())
        mode = os.umask(0)
        os.umask(mode)
        Path(temporary).chmod(0o666 & ~mode)
        Path(temporary).replace(path)
        temporary = ""
    except OSError as error:
        raise _sentence(error, path) from error
    finally:
        if temporary:
            Path(temporary).unlink(missing_ok=True)


def _sentence(error: OSError, path: Path) -> LoupeError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return MachineError(f"The disk is full: {path.name} was not written; free some space and try again.")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return MachineError(f"{path.parent} is not writable: choose another folder for {path.name}.")
    return MachineError(f"{path} could not be written ({error.strerror}); choose another place.")
