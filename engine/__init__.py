"""Circuit Loupe's engine: everything that computes. It knows no window and loads nothing heavy until asked.

>>> from engine import load_model, load_features, trace
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.dictionaries import load_features
    from engine.models import load_model
    from engine.projects import Project
    from engine.tracing.run import trace
    from engine.tracing.spec import Prompt, Target, TraceSpec

__all__ = ["Project", "Prompt", "Target", "TraceSpec", "load_features", "load_model", "trace"]

_HOMES = {
    "load_model": "engine.models",
    "load_features": "engine.dictionaries",
    "trace": "engine.tracing.run",
    "Project": "engine.projects",
    "Prompt": "engine.tracing.spec",
    "Target": "engine.tracing.spec",
    "TraceSpec": "engine.tracing.spec",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
