"""JSON that anyone may have written: its cost is bounded before it is parsed, and every number in it is finite."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from engine.errors import MachineError, RequestError
from engine.sizes import byte_words

# Neuronpedia takes files of up to 100 MB.
LARGEST_FILE = 512 * 2**20
# Nested deeper than any known file; deeper ones could not be written again.
DEEPEST = 60


class NotFinite:
    """Stands where a NaN or an infinite number stood, until its place is named."""

    def __init__(self, text: str) -> None:
        self.text = text


def read_json(path: Path) -> Any:
    """The value; raises `RequestError` for what is not JSON, is too large or holds NaN or Infinity (the key is named).

    Raises `MachineError` where it would not fit into memory.
    """
    size = path.stat().st_size
    if size > LARGEST_FILE:
        raise RequestError(
            f"{path.name} has {size / 2**20:,.0f} MB and at most {LARGEST_FILE >> 20} are read; "
            "prune the graph more before it is written."
        )
    return parse_json(path.read_bytes(), path.name)


def parse_json(data: bytes, name: str) -> Any:
    """The same from bytes (UTF-8, UTF-16 or UTF-32, with or without a mark)."""
    not_finite: list[NotFinite] = []

    def number(text: str) -> Any:
        value = float(text)
        return value if math.isfinite(value) else mark(text)

    def mark(text: str) -> NotFinite:
        found = NotFinite(text)
        not_finite.append(found)
        return found

    try:
        text = data.decode(json.detect_encoding(data))
        _require_memory(text, name)
        value = json.loads(text.removeprefix("\ufeff"), parse_float=number, parse_constant=mark)
    except (ValueError, RecursionError) as error:
        where = f" (line {error.lineno})" if isinstance(error, json.JSONDecodeError) else ""
        raise RequestError(
            f"{name} is not JSON, or it is cut short{where}; open a copy of it that is whole."
        ) from error
    if not_finite:
        place = _place_of(value)
        raise RequestError(
            f"{name} has {not_finite[0].text[:20]} at {place}, which is no number; write the file again without it."
        )
    return value


def require_shallow(value: Any, name: str, place: str) -> None:
    """Raise `RequestError` for a value nested deeper than `DEEPEST`."""
    level = [value]
    for _ in range(DEEPEST):
        level = [inner for outer in level for inner in _inside(outer)]
        if not level:
            return
    raise RequestError(f"{name} is nested more than {DEEPEST} deep at {place}; no graph file is.")


def _inside(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [one for one in value.values() if isinstance(one, dict | list)]
    return [one for one in value if isinstance(one, dict | list)] if isinstance(value, list) else []


def _require_memory(text: str, name: str) -> None:
    """Refuse what would not fit once parsed: an upper estimate from the signs that make objects."""
    import psutil

    needed = 2 * len(text) + 240 * text.count("{") + 90 * text.count("[") + 110 * text.count(",")
    free = int(psutil.virtual_memory().available)
    if needed > free:
        raise MachineError(
            f"{name} needs up to {byte_words(needed)} of memory to be read and {byte_words(free)} are free; "
            "close other programs, or prune the graph more before it is written."
        )


def _place_of(value: Any) -> str:
    """Where the first number that is not finite stands, such as links[3].weight."""
    waiting: list[tuple[str, Any]] = [("", value)]
    while waiting:
        place, one = waiting.pop()
        if isinstance(one, NotFinite):
            return place or "its top"
        if isinstance(one, dict):
            waiting += [(f"{place}.{key[:40]}" if place else key[:40], inner) for key, inner in one.items()][::-1]
        elif isinstance(one, list):
            waiting += [(f"{place}[{i}]", inner) for i, inner in enumerate(one)][::-1]
    return "its top"
