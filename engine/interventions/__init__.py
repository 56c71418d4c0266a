"""Change features, error nodes, embeddings and heads of a recorded prompt, and run the model again.

What each mode holds constant, and what is compared with what: docs/interventions.md.
"""

from __future__ import annotations

from engine.interventions.changes import Change, Elsewhere, Outcome, Settings, Watched, read_change
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
