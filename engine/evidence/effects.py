"""A feature's strongest effects on the output, as plain values."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LogitEffects:
    """Token texts with the change of their logit against the mean logit, largest first (top) and lowest first (bottom).

    Units: logits for each unit of the residual stream's root mean square before the final norm.
    """

    top: tuple[tuple[str, float], ...]
    bottom: tuple[tuple[str, float], ...]
