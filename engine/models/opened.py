"""The models and dictionaries a person opened from a path, so that window and terminal list them alike.

Only a convenience: a list that cannot be read is empty, and one that cannot be written stays as it was.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Literal

from engine.errors import LoupeError
from engine.models.cache import read_json, write_json
from engine.places import opened_file
from engine.preferences import listed_folders, read_preferences

What = Literal["models", "dictionaries"]

MOST = 10  # of each
_LARGEST = 1 << 20  # bytes


def opened(what: What) -> list[Path]:
    """What was opened lately and is still there, newest first; of models also what lies in the settings' folders."""
    found = [path for entry in _read()[what] if (path := Path(entry)).exists()]
    if what == "models":
        found += [path for path in listed_folders(read_preferences()) if path not in found]
    return found


def remember_opened(what: What, path: Path) -> None:
    """Put a path at the top of the list."""
    entries, entry = _read(), str(path.expanduser().absolute())
    entries[what] = [entry, *[old for old in entries[what] if old != entry]][:MOST]
    with contextlib.suppress(OSError, LoupeError):
        opened_file().parent.mkdir(parents=True, exist_ok=True)
        write_json(opened_file(), entries)


def _read() -> dict[str, list[str]]:
    try:
        found = read_json(opened_file(), largest=_LARGEST)
    except (OSError, ValueError):
        found = None
    found = found if isinstance(found, dict) else {}
    lists = {what: found.get(what) for what in ("models", "dictionaries")}
    return {
        what: [entry for entry in entries if isinstance(entry, str) and "\0" not in entry]
        if isinstance(entries, list)
        else []
        for what, entries in lists.items()
    }
