"""What a feature means: so far, what it writes and what that does to the output."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.evidence.effects import LogitEffects

if TYPE_CHECKING:
    from engine.evidence.decoders import decoder_vectors, unit_decoders
    from engine.evidence.logit_lens import logit_effects

__all__ = ["LogitEffects", "decoder_vectors", "logit_effects", "unit_decoders"]


def __getattr__(name: str) -> object:
    """Load what needs torch only when it is asked for."""
    if name == "logit_effects":
        from engine.evidence.logit_lens import logit_effects

        return logit_effects
    if name in ("decoder_vectors", "unit_decoders"):
        from engine.evidence import decoders

        return getattr(decoders, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
