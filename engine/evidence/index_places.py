"""Where indexes lie: those a person made, those that ship, and how the one of a dictionary is found."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

from engine.errors import RequestError
from engine.evidence.feature_index import ENDING, FeatureIndex
from engine.places import indexes_folder

WORK_ENDING = ".part"


def index_path(dictionary: str, name: str) -> Path:
    """Where the index of a dictionary is written unless somebody says otherwise."""
    readable = re.sub(r"[^A-Za-z0-9.-]+", "-", name).strip("-.")[:60] or "features"
    return indexes_folder() / f"{readable}-{hashlib.sha256(dictionary.encode()).hexdigest()[:12]}{ENDING}"


def work_folder(path: Path) -> Path:
    """Where an index lies while it is made."""
    return path.with_name(path.name + WORK_ENDING)


def shipped_folder() -> Path:
    """The indexes that come with the program."""
    return Path(str(resources.files("resources") / "indexes"))


def find_index(dictionary: str | None) -> FeatureIndex | None:
    """The index of a dictionary, the person's own before one that ships, the newest first; None where there is none."""
    if dictionary is None:
        return None
    for path in _paths():
        try:
            index = FeatureIndex(path)
        except RequestError:
            continue  # Said where that file is asked for by name.
        if index.belongs_to(dictionary):
            return index
        index.close()
    return None


def _paths() -> Iterator[Path]:
    for folder in (indexes_folder(), shipped_folder()):
        found = folder.glob(f"*{ENDING}") if folder.is_dir() else []
        yield from sorted(found, key=lambda path: -path.stat().st_mtime)
