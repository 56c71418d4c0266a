"""What a feature means: so far, what it does to the output."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.evidence.effects import LogitEffects

if TYPE_CHECKING:
    from engine.evidence.logit_lens import logit_effects

__all__ = ["LogitEffects", "logit_effects"]


def __getattr__(name: str) -> object:
    """Load what needs torch only when it is asked for."""
    if name == "logit_effects":
        from engine.evidence.logit_lens import logit_effects

        return logit_effects
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
