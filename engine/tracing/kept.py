"""Traces made before, kept in the cache: the same model, dictionary, prompt and program give the same graph."""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
from dataclasses import asdict, replace
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.dictionaries.features import Features
from engine.errors import LoupeError
from engine.graphs.formats.arrays import load_npz, save_npz
from engine.models.cache import cache_root
from engine.progress import Progress, silent
from engine.tracing.run import Trace, trace, versions
from engine.tracing.spec import TraceSpec

if TYPE_CHECKING:
    from engine.models.language_model import LanguageModel

# Oldest first, traces go when the folder holds more than this.
KEPT_BYTES = 512 * 2**20
_ROOMS = ("models", "dictionaries", "tracing", "graphs")


def trace_or_recall(
    model: LanguageModel,
    features: Features,
    spec: TraceSpec,
    progress: Progress = silent,
    cancel: threading.Event | None = None,
    *,
    recall: bool = True,
) -> Trace:
    """Trace, or give back the same trace made before (its report says `recalled`).

    `recall=False` always traces, and runs the model from the prompt's start.
    """
    path = cache_root() / "traces" / f"{key(model, features, spec)}.npz"
    if recall and path.is_file():
        # A damaged copy is no reason to fail: trace again.
        with contextlib.suppress(LoupeError):
            graph = load_npz(path)
            path.touch()
            report = {**graph.meta, "recalled": True}
            progress("Done", 1.0)
            return Trace(replace(graph, meta=report), report, spec)
    made = trace(model, features, spec, progress, cancel, reuse=recall)
    # The trace itself is done; a cache that cannot be written is no reason to lose it.
    with contextlib.suppress(LoupeError, OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        save_npz(made.graph, path)
        _thin(path.parent)
    return made


def key(model: LanguageModel, features: Features, spec: TraceSpec) -> str:
    """sha256 over everything a graph depends on, the program's own code included."""
    parts: dict[str, Any] = {
        "model": model.fingerprint,
        "features": features.fingerprint,
        "spec": asdict(spec),
        "device": str(model.device),
        "dtype": str(model.dtype),
        "versions": versions(),
        "code": _code_digest(),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


@cache
def _code_digest() -> str:
    digest = hashlib.sha256()
    for room in _ROOMS:
        folder = resources.files("engine") / room
        if isinstance(folder, Path):
            for file in sorted(folder.rglob("*.py")):
                digest.update(file.read_bytes())
    return digest.hexdigest()


def _thin(folder: Path) -> None:
    files = sorted(folder.glob("*.npz"), key=lambda file: file.stat().st_mtime)
    size = sum(file.stat().st_size for file in files)
    for file in files[:-1]:
        if size <= KEPT_BYTES:
            break
        size -= file.stat().st_size
        file.unlink(missing_ok=True)
