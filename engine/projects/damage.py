"""The one exception for content that this program cannot have written; `ProjectFile` makes a sentence of it."""

from __future__ import annotations


class DamageError(Exception):
    """Something in a project file cannot be right. The text says what, for the log; users read `damaged`'s sentence."""
