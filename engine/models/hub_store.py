"""Writes into the hub's own cache, in huggingface_hub's layout, so that other programs find what was fetched here.

models--owner--name/blobs/DIGEST holds contents, snapshots/COMMIT/NAME points at them, refs/main names a commit.
A content that is still coming is blobs/DIGEST.incomplete; nothing points at it before it is whole and checked.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

from engine.errors import RequestError
from engine.models.hub_cache import hub_folder

# All that is ever fetched: nothing that runs code when it is opened.
SAFE_SUFFIXES = frozenset({".safetensors", ".npz", ".json", ".yaml", ".yml", ".txt", ".jinja"})
_COMMIT = re.compile(r"[0-9a-f]{40}")
_REVISION = re.compile(r"[\w.-]{1,100}", re.ASCII)
# Names that stand for devices on Windows, whatever follows the dot.
_DEVICES = {"CON", "PRN", "AUX", "NUL", *(f"{port}{number}" for port in ("COM", "LPT") for number in range(1, 10))}
_SEGMENT = re.compile(r"[^\x00-\x1f\x7f<>:\"/\\|?*]{1,200}")


def storage(repository: str) -> Path:
    """The folder of a repository in the hub's cache."""
    return hub_folder() / ("models--" + repository.replace("/", "--"))


def safe_name(name: str) -> str:
    """`name` if a file of that name stays inside its folder, on every system; `RequestError` where it would not."""
    parts = name.split("/")
    for part in parts:
        device = part.partition(".")[0].upper() in _DEVICES
        if not _SEGMENT.fullmatch(part) or part.startswith(" ") or part.endswith((" ", ".")) or device:
            raise RequestError(
                f"The repository names a file {name[:80]!r}, which is no safe name; nothing was fetched."
            )
    if PurePosixPath(name).suffix.lower() not in SAFE_SUFFIXES:
        raise RequestError(f"The repository's {name[:80]!r} is of a kind that is not fetched; nothing was fetched.")
    return name


def snapshot(repository: str, revision: str | None = None) -> Path | None:
    """The folder of a downloaded version: of a commit, or of what `revision` (else main) stood for when it came."""
    folder = storage(repository)
    commit = revision or ""
    if not _COMMIT.fullmatch(commit):
        name = revision or "main"
        if not _REVISION.fullmatch(name):
            return None
        try:
            commit = (folder / "refs" / name).read_text(encoding="ascii").strip()
        except (OSError, ValueError):
            return None
    if not _COMMIT.fullmatch(commit) or not (folder / "snapshots" / commit).is_dir():
        return None
    return folder / "snapshots" / commit


def blob(repository: str, digest: str) -> Path:
    """Where a content lies when it is whole."""
    return storage(repository) / "blobs" / digest


def partial(repository: str, digest: str) -> Path:
    """Where a content lies while it comes."""
    return storage(repository) / "blobs" / f"{digest}.incomplete"


def lock_file(repository: str, digest: str) -> Path:
    """The file that huggingface_hub locks while it fetches the same content."""
    return hub_folder() / ".locks" / storage(repository).name / f"{digest}.lock"


def publish(repository: str, commit: str, revision: str | None, digests: Mapping[str, str]) -> Path:
    """Make a version's files visible under their names, all of them whole; gives the version's folder.

    A new version appears at once; in one that other programs have begun, a config comes after all else.
    """
    folder = storage(repository)
    target = folder / "snapshots" / commit
    if not target.exists():
        building = folder / f".{commit}.{secrets.token_hex(6)}"
        try:
            _place_all(folder, building, target, digests)
            target.parent.mkdir(parents=True, exist_ok=True)
            building.rename(target)
        except OSError:
            if not target.exists():  # else another program was quicker
                raise
        finally:
            shutil.rmtree(building, ignore_errors=True)
    _place_all(folder, target, target, digests)
    if not _COMMIT.fullmatch(revision or ""):
        refs = folder / "refs"
        refs.mkdir(parents=True, exist_ok=True)
        written = refs / f".{secrets.token_hex(6)}"
        written.write_text(commit, encoding="ascii")
        written.replace(refs / (revision or "main"))
    return target


def _place_all(folder: Path, root: Path, target: Path, digests: Mapping[str, str]) -> None:
    for name in sorted(digests, key=lambda one: (PurePosixPath(one).name.startswith("config."), one)):
        content = folder / "blobs" / digests[name]
        place(root / name, content, os.path.relpath(content, (target / name).parent))


def place(path: Path, content: Path, link: str | None = None) -> None:
    """Make `path` stand for the file `content`: a link where the system has links, else a copy. What is there stays.

    `link`: what a symbolic link says, where that is not the path of `content`.
    """
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)  # a link that leads nowhere
    with contextlib.suppress(OSError, NotImplementedError):
        path.symlink_to(link or content)
        return
    with contextlib.suppress(OSError, NotImplementedError):
        os.link(content, path)
        return
    copy = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    try:
        shutil.copyfile(content, copy)
        copy.replace(path)
    finally:
        copy.unlink(missing_ok=True)


def bytes_here(repository: str, digests: Iterable[str]) -> int:
    """Bytes of these contents that lie in the cache, whole or in part."""
    total = 0
    for digest in digests:
        for path in (blob(repository, digest), partial(repository, digest)):
            with contextlib.suppress(OSError):
                total += path.stat().st_size
                break
    return total
