"""JSON in a project file: what may go in, and how text from a file that anyone may have written is read."""

from __future__ import annotations

import json
from typing import Any

from engine.projects.damage import DamageError


def write(value: Any) -> str:
    """One line of JSON. Numbers that are not finite become NaN and Infinity, as Python reads them back.

    Raises `TypeError` for values that JSON has no form for.
    """
    return json.dumps(value, separators=(",", ":"))


def read(text: str | bytes) -> Any:
    """The value; raises `DamageError` for anything that is not JSON, text nested without end included."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DamageError("not JSON") from error


def read_table(text: str | bytes) -> dict[str, Any]:
    """A JSON object, or `DamageError`."""
    value = read(text)
    if not isinstance(value, dict):
        raise DamageError("not a JSON object")
    return value


def read_texts(text: str | bytes) -> tuple[str, ...]:
    """A JSON list of strings, or `DamageError`."""
    value = read(text)
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise DamageError("not a list of texts")
    return tuple(value)
