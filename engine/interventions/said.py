"""Settings in words: what was held and what was left free is always stated."""

from __future__ import annotations

from collections.abc import Sequence

from engine.interventions.changes import Change, Settings


def said_settings(settings: Settings, changes: Sequence[Change], n_layers: int) -> str:
    """One clause that says what answered to the changes."""
    attention = f"attention {settings.attention}"
    if settings.mode == "direct":
        return "direct effects: MLPs, attention patterns and norms held as recorded"
    if settings.mode == "iterative":
        return f"values kept while everything after them answers, {attention}"
    held = settings.range_for(changes, n_layers)
    if not len(held):
        return f"no MLP clamped, {attention}"
    return f"MLPs clamped in layers {held.start} to {held.stop - 1} and free above, {attention}"
