"""Where prepared models are kept, how files get there whole or not at all, and what the machine's refusals mean."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from engine.errors import MachineError
from engine.sizes import byte_words
from engine.whole_files import written_whole

CACHE_VARIABLE = "CIRCUIT_LOUPE_CACHE"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_PARTIAL = ".partial"
_STALE_SECONDS = 24 * 3600


def cache_root() -> Path:
    """The folder for everything that can be made again; CIRCUIT_LOUPE_CACHE overrides the user's own."""
    override = os.environ.get(CACHE_VARIABLE)
    if override:
        return Path(override).expanduser().absolute()
    import platformdirs

    return Path(platformdirs.user_cache_dir("circuit-loupe", appauthor=False))


def models_folder() -> Path:
    """Where prepared models lie, one folder each."""
    return cache_root() / "models"


@contextlib.contextmanager
def machine_errors(path: Path, needed: int = 0) -> Iterator[None]:
    """Turn what the operating system says about writing `path` into one sentence.

    `needed`: bytes that the work wants in all, for the sentence about a full disk.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            amount = f"about {byte_words(needed)} are needed" if needed else "more space is needed"
            sentence = f"The disk that holds {path} is full: {amount}; free some space or set {CACHE_VARIABLE}."
        else:
            reason = error.strerror or type(error).__name__
            sentence = f"{path} cannot be written ({reason}); mend that or set {CACHE_VARIABLE} to another folder."
        raise MachineError(sentence) from error


def require_space(path: Path, needed: int) -> None:
    """Raise `MachineError` unless `needed` bytes are free on the disk of the existing folder `path`."""
    free = shutil.disk_usage(path).free
    if free < needed:
        raise MachineError(
            f"The disk that holds {path} has {byte_words(free)} free and about {byte_words(needed)} are needed; "
            f"free some space or set {CACHE_VARIABLE} to a folder on another disk."
        )


@contextlib.contextmanager
def temporary_folder(target: Path) -> Iterator[Path]:
    """An empty folder beside `target`, on the same disk, that is gone afterwards."""
    target.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(target.parent)
    partial = target.parent / f".{target.name}.{secrets.token_hex(6)}{_PARTIAL}"
    partial.mkdir()
    try:
        yield partial
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@contextlib.contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """Give an empty folder beside `target`; when the block ends well it takes `target`'s place, else it is gone.

    What stood at `target` before is replaced. Where another process is quicker, the last one to finish is kept.
    """
    with temporary_folder(target) as partial:
        yield partial
        _put_in_place(partial, target)


def _put_in_place(partial: Path, target: Path) -> None:
    for attempt in range(5):
        old = target.parent / f".{target.name}.{secrets.token_hex(6)}{_PARTIAL}"
        with contextlib.suppress(FileNotFoundError):
            target.rename(old)
            shutil.rmtree(old, ignore_errors=True)
        try:
            partial.rename(target)
            return
        except OSError:  # another process was quicker: move its folder aside and try again
            if attempt == 4 or not target.exists():
                raise


def _remove_leftovers(folder: Path) -> None:
    """Remove what a killed process left behind; what is younger than a day may be another's work."""
    for leftover in folder.glob(f".*{_PARTIAL}"):
        with contextlib.suppress(OSError):
            if time.time() - leftover.stat().st_mtime > _STALE_SECONDS:
                shutil.rmtree(leftover, ignore_errors=True)


def read_json(path: Path, largest: int = 1 << 26) -> Any:
    """The value of a JSON file; ValueError where it is none or has more than `largest` bytes, OSError as it comes."""
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_size > largest:
            raise ValueError(f"{path.name} is too large")
        data = file.read()
    try:
        return json.loads(data)
    except RecursionError as error:
        raise ValueError(f"{path.name} is nested too deeply") from error


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file whole or not at all; raises as `written_whole` does."""
    with written_whole(path) as file:
        file.write((json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode())
