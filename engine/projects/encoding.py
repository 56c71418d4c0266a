"""How a project file writes values and times as text, and how text that anyone may have written is read."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from engine.projects.faults import DamageError


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


def now() -> str:
    """The present moment, UTC, ISO 8601 to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def encodable(text: str) -> str:
    """The text, with a question mark for every character that UTF-8 has no form for (half a surrogate pair)."""
    return text.encode("utf-8", "replace").decode()
