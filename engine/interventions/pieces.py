"""Entries a few thousand at a time: each gathers a row as wide as the residual stream."""

from __future__ import annotations

from collections.abc import Iterator

# Entries whose rows are gathered at once.
GATHERED = 8192


def pieces(count: int) -> Iterator[slice]:
    """Slices of so many entries that are gathered at once."""
    for start in range(0, count, GATHERED):
        yield slice(start, min(start + GATHERED, count))
