"""Change features, error nodes, embeddings and heads of a recorded prompt, and run the model again.

What each mode holds constant, and what is compared with what: docs/interventions.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.interventions.changes import Change, Elsewhere, Outcome, Settings, Watched, read_change

if TYPE_CHECKING:
    from engine.interventions.continuation import Continuation, Sampling, continue_changed
    from engine.interventions.run import intervene

__all__ = [
    "Change",
    "Continuation",
    "Elsewhere",
    "Outcome",
    "Sampling",
    "Settings",
    "Watched",
    "continue_changed",
    "intervene",
    "read_change",
]


def __getattr__(name: str) -> object:
    """Load what needs torch only when it is asked for."""
    if name == "intervene":
        from engine.interventions.run import intervene

        return intervene
    if name in {"Continuation", "Sampling", "continue_changed"}:
        import importlib

        return getattr(importlib.import_module("engine.interventions.continuation"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
