"""Recording + dictionary + target -> attribution graph."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.tracing.spec import Prompt, Target, TraceSpec

if TYPE_CHECKING:
    from engine.tracing.memory import estimate_bytes
    from engine.tracing.run import CONSERVATION_BOUND, Trace, trace
    from engine.tracing.series import trace_series

__all__ = ["CONSERVATION_BOUND", "Prompt", "Target", "Trace", "TraceSpec", "estimate_bytes", "trace", "trace_series"]


def __getattr__(name: str) -> object:
    """Load what needs torch only when it is asked for."""
    if name in {"Trace", "trace", "CONSERVATION_BOUND"}:
        import importlib

        return getattr(importlib.import_module("engine.tracing.run"), name)
    if name == "trace_series":
        from engine.tracing.series import trace_series

        return trace_series
    if name == "estimate_bytes":
        from engine.tracing.memory import estimate_bytes

        return estimate_bytes
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
