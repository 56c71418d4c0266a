"""Norms as the model computes them: RMSNorm and LayerNorm, in float32 or wider whatever the model is."""

from __future__ import annotations

from torch import Tensor

from engine.models.weights import NormWeights, wide


def normalise(norm: NormWeights | None, x: Tensor, like: Tensor | None = None) -> Tensor:
    """The norm's output for x (..., d), in float32 or wider; no norm is the identity.

    With `like` the denominator is that of another x, which broadcasts with it.
    """
    x = x.to(wide(x.dtype))
    if norm is None:
        return x
    if norm.centred:
        x = x - x.mean(dim=-1, keepdim=True)
    spread = x
    if like is not None:
        spread = like.to(x.dtype)
        spread = spread - spread.mean(dim=-1, keepdim=True) if norm.centred else spread
    scaled = x * (spread.pow(2).mean(dim=-1, keepdim=True) + norm.eps).rsqrt() * norm.gain
    return scaled if norm.shift is None else scaled + norm.shift
