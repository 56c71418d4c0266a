"""Projects without a name: where they live until they are saved under one."""

from __future__ import annotations

import datetime
from contextlib import suppress
from pathlib import Path

from engine.places import unsaved_folder


def new_unsaved_path(name: str = "") -> Path:
    """A free file name in the folder of unsaved projects, by default after the time; the folder exists afterwards."""
    folder = unsaved_folder()
    folder.mkdir(parents=True, exist_ok=True)
    stem = name or datetime.datetime.now().strftime("Untitled %Y-%m-%d %H.%M.%S")
    path = folder / f"{stem}.loupe"
    count = 1
    while path.exists():
        count += 1
        path = folder / f"{stem} ({count}).loupe"
    return path


def is_unsaved(path: Path) -> bool:
    """True for a project that was never given a name."""
    return path.resolve().parent == unsaved_folder().resolve()


def unsaved_projects() -> list[Path]:
    """Every project without a name, the one written last first."""
    found: list[tuple[float, Path]] = []
    for path in unsaved_folder().glob("*.loupe"):
        with suppress(OSError):  # gone meanwhile
            found.append((path.stat().st_mtime, path))
    return [path for _, path in sorted(found, reverse=True)]
