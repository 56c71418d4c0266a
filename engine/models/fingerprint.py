"""Which model this is: sha256 over its weights, config and tokenizer, found once and remembered.

A checksum is remembered with the size and the time of its file; when either differs, it is computed again.
"""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from engine.errors import MachineError
from engine.models.cache import cache_root, read_json, write_json
from engine.progress import Progress, checkpoint, silent

_CHUNK = 1 << 22
_REMEMBERED = "checksums.json"
_MOST_REMEMBERED = 2000


def file_sha256(path: Path, progress: Progress = silent, cancel: threading.Event | None = None) -> str:
    """The sha256 of a file in hexadecimal; `Cancelled` between chunks of 4 MB."""
    digest, done, size = hashlib.sha256(), 0, max(path.stat().st_size, 1)
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            checkpoint(cancel)
            digest.update(chunk)
            done += len(chunk)
            progress(f"Checking {path.name}", min(done / size, 1.0))
    return digest.hexdigest()


def remembered_sha256(path: Path, progress: Progress = silent, cancel: threading.Event | None = None) -> str:
    """The same, from the cache where the file has not changed since it was last computed."""
    path = path.resolve()
    stat = path.stat()
    store = cache_root() / _REMEMBERED
    known = _load(store)
    entry = known.get(str(path))
    if isinstance(entry, list) and entry[:2] == [stat.st_size, stat.st_mtime_ns] and isinstance(entry[2], str):
        return entry[2]
    digest = file_sha256(path, progress, cancel)
    known.pop(str(path), None)
    known[str(path)] = [stat.st_size, stat.st_mtime_ns, digest]
    # A cache that cannot be written costs time at the next start, nothing else.
    with contextlib.suppress(OSError, MachineError):
        store.parent.mkdir(parents=True, exist_ok=True)
        write_json(store, dict(list(known.items())[-_MOST_REMEMBERED:]))
    return digest


def _load(store: Path) -> dict[str, Any]:
    try:
        known = read_json(store)
    except (OSError, ValueError):
        return {}
    if not isinstance(known, dict):
        return {}
    return {path: entry for path, entry in known.items() if isinstance(entry, list) and len(entry) == 3}


def combined(checksums: Mapping[str, str]) -> str:
    """One sha256 for a model from the checksums of its files by name.

    Only what makes the numbers counts: the weights, config.json and tokenizer.json.
    """
    lines = [f"{name} {digest}\n" for name, digest in sorted(checksums.items()) if counts(name)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def counts(name: str) -> bool:
    """Whether a file of a model folder belongs to its fingerprint."""
    return name in ("config.json", "tokenizer.json") or name.endswith(".safetensors")


def folder_fingerprint(
    files: Iterable[Path], progress: Progress = silent, cancel: threading.Event | None = None
) -> str:
    """The fingerprint of a model folder from the files that count."""
    paths = sorted(path for path in files if counts(path.name))
    total, done, checksums = max(sum(path.stat().st_size for path in paths), 1), 0, {}
    for path in paths:
        start, size = done, path.stat().st_size

        def report(stage: str, fraction: float, start: int = start, size: int = size) -> None:
            progress(stage, (start + fraction * size) / total)

        checksums[path.name] = remembered_sha256(path, report, cancel)
        done += size
    return combined(checksums)
