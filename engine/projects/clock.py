"""Time as project files write it."""

from __future__ import annotations

from datetime import UTC, datetime


def now() -> str:
    """The present moment, UTC, ISO 8601 to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
