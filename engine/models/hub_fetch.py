"""One content from the hub into its cache: continued where it stopped, checked whole, then given its name."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

import filelock

from engine.errors import Cancelled, MachineError, RequestError
from engine.models import hub_store
from engine.models.hub_client import ConnectionLostError, Hub, Listing, RemoteFile
from engine.progress import checkpoint

if TYPE_CHECKING:
    from _hashlib import HASH

# Seconds before each new try after a connection broke; a try that brought bytes starts the count anew.
WAITS = (1.0, 2.0, 4.0, 8.0)
_CHUNK = 1 << 20
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_Found = TypeVar("_Found")
# report(n): of the file that comes now, n bytes are here.
Report = Callable[[int], None]


def persistently(ask: Callable[[], _Found], cancel: threading.Event | None) -> _Found:
    """What `ask` gives, asked again when the connection breaks; `MachineError` when it keeps breaking."""
    for wait in (*WAITS, None):
        try:
            return ask()
        except ConnectionLostError as error:
            _wait_or_give_up(error, wait, cancel)
    raise AssertionError("the last try either returns or raises")


def fetch(hub: Hub, listing: Listing, file: RemoteFile, report: Report, cancel: threading.Event | None) -> None:
    """Bring a content into the cache, whole and checked.

    Raises
    ------
    MachineError
        The network or the disk fails; what came stays and is continued by the next call.
    RequestError
        What came is not what the hub lists: it is thrown away.
    Cancelled
        The user asked to stop; what came stays.
    """
    target = hub_store.blob(listing.repository, file.digest)
    with _written_errors(target.parent), _locked(listing.repository, file.digest, cancel):
        if _is_whole(target, file):
            report(file.size)
            return
        partial = hub_store.partial(listing.repository, file.digest)
        partial.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("a+b") as out:
            digest = _read_back(out, file, report, cancel)
            failures = 0
            while out.tell() < file.size:
                before = out.tell()
                try:
                    digest = _continue(hub, listing, file, out, digest, report)
                except ConnectionLostError as error:
                    failures = 1 if out.tell() > before else failures + 1
                    _wait_or_give_up(error, WAITS[failures - 1] if failures <= len(WAITS) else None, cancel)
            out.flush()
            os.fsync(out.fileno())
        if digest.hexdigest() != file.digest:
            partial.unlink()
            raise RequestError(
                f"{file.name} of {listing.repository} did not arrive as the hub describes it (its checksum differs) "
                "and was thrown away; start the download again."
            )
        partial.replace(target)


def read_small(hub: Hub, listing: Listing, name: str, largest: int, cancel: threading.Event | None) -> bytes:
    """A small file's content, checked; nothing is written."""
    file = listing.files.get(name)
    if file is None or file.size > largest:
        raise RequestError(f"{listing.repository} holds no readable {name}; look at its page.")

    def ask() -> bytes:
        content = bytearray()
        with hub.content(listing, name, 0) as (_, chunks):
            for chunk in chunks:
                content += chunk
                if len(content) > file.size:
                    break
        return bytes(content)

    content = persistently(ask, cancel)
    digest = _new_digest(file)
    digest.update(content)
    if digest.hexdigest() != file.digest:
        raise RequestError(f"{name} of {listing.repository} did not arrive whole; start the download again.")
    return content


def _is_whole(target: Path, file: RemoteFile) -> bool:
    with contextlib.suppress(OSError):
        return target.stat().st_size == file.size
    return False


def _new_digest(file: RemoteFile) -> HASH:
    if file.is_sha256:
        return hashlib.sha256()
    digest = hashlib.sha1(usedforsecurity=False)  # as git names a content
    digest.update(f"blob {file.size}\0".encode())
    return digest


def _read_back(out: IO[bytes], file: RemoteFile, report: Report, cancel: threading.Event | None) -> HASH:
    """The checksum of what a stopped download left; the file stands at its end afterwards."""
    digest = _new_digest(file)
    out.seek(0, os.SEEK_END)
    if out.tell() > file.size:
        out.truncate(0)
    out.seek(0)
    while chunk := out.read(_CHUNK):
        checkpoint(cancel)
        digest.update(chunk)
        report(out.tell())
    return digest


def _continue(hub: Hub, listing: Listing, file: RemoteFile, out: IO[bytes], digest: HASH, report: Report) -> HASH:
    """Append what the hub sends; gives the checksum of all that is in the file then."""
    have = out.tell()
    with hub.content(listing, file.name, have) as (start, chunks):
        if start != have:
            # The hub cannot continue in the middle: from the beginning.
            out.seek(0)
            out.truncate(0)
            digest, have = _new_digest(file), 0
            if start != 0:
                raise ConnectionLostError("The hub sent another piece of a file than was asked for; try again later.")
        for chunk in chunks:
            if have + len(chunk) > file.size:
                raise RequestError(
                    f"{file.name} of {listing.repository} is longer than the hub lists; start the download again."
                )
            out.write(chunk)
            digest.update(chunk)
            have += len(chunk)
            report(have)
    if have < file.size:
        raise ConnectionLostError(
            f"The connection ended in the middle of {file.name}; start the download again: it goes on where it stopped."
        )
    return digest


def _wait_or_give_up(error: ConnectionLostError, wait: float | None, cancel: threading.Event | None) -> None:
    if wait is None:
        raise MachineError(error.sentence) from error
    if (cancel or threading.Event()).wait(max(wait, error.wait)):
        raise Cancelled


@contextlib.contextmanager
def _locked(repository: str, digest: str, cancel: threading.Event | None) -> Iterator[None]:
    """Alone with a content: other programs that fetch it into the same cache wait, or are waited for."""
    path = hub_store.lock_file(repository, digest)
    path.parent.mkdir(parents=True, exist_ok=True)
    lock: Any = filelock.FileLock(path, mode=0o664)
    while True:
        checkpoint(cancel)
        try:
            lock.acquire(timeout=0.2)
            break
        except filelock.Timeout:
            continue
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def _written_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise MachineError(
                f"The disk that holds {folder} is full; free some space, or set HF_HUB_CACHE to a folder on another "
                "disk, and start the download again: it goes on where it stopped."
            ) from error
        raise MachineError(
            f"{folder} cannot be written ({error.strerror or type(error).__name__}); mend that, or set HF_HUB_CACHE "
            "to another folder."
        ) from error
