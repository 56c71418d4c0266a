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


def find_index(dictionary: str | None, model: str | None) -> FeatureIndex | None:
    """The index of a dictionary for a model (fingerprint; None: any), the person's own before one that ships, the
    newest first; None where there is none.
    """
    if dictionary is None:
        return None
    for index in _indexes():
        if index.belongs_to(dictionary) and model in (None, index.head.model):
            return index
        index.close()
    return None


def why_no_index(dictionary: str | None, model: str | None, name: str) -> str | None:
    """What to say where an index is there that nearly fits: of this dictionary with another model, or of one of this
    name that has changed since. None where there is none.
    """
    for index in _indexes():
        try:
            same_name = (index.head.model, index.head.dictionary_name) == (model, name)
            if model is not None and (same_name or index.belongs_to(dictionary)):
                index.require(model, dictionary)
        except RequestError as error:
            return error.sentence
        finally:
            index.close()
    return None


def _indexes() -> Iterator[FeatureIndex]:
    for path in _paths():
        try:
            yield FeatureIndex(path)
        except RequestError:
            continue  # Said where that file is asked for by name.


def _paths() -> Iterator[Path]:
    for folder in (indexes_folder(), shipped_folder()):
        found = folder.glob(f"*{ENDING}") if folder.is_dir() else []
        yield from sorted(found, key=lambda path: -path.stat().st_mtime)
