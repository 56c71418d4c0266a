"""Norms as the model computes them: RMSNorm and LayerNorm, in float32 or wider whatever the model is."""

from __future__ import annotations

from torch import Tensor

from engine.models.weights import NormWeights, wide


def normalise(norm: NormWeights | None, x: Tensor) -> Tensor:
    """The norm's output for x (..., d), in float32 or wider; no norm is the identity."""
    x = x.to(wide(x.dtype))
    if norm is None:
        return x
    if norm.centred:
        x = x - x.mean(dim=-1, keepdim=True)
    scaled = x * (x.pow(2).mean(dim=-1, keepdim=True) + norm.eps).rsqrt() * norm.gain
    return scaled if norm.shift is None else scaled + norm.shift
