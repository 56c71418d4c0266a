"""Attention with its pattern held: values mixed as they were in the recorded run, and what single heads put out.

Shapes: b runs, T' positions from `start` on, K groups of G query heads, H = K G, h head width.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from engine.models.norms import normalise
from engine.models.recording import LayerRecord
from engine.models.weights import AttentionWeights


class HeldAttention:
    """One layer's recorded pattern for the queries from `start` on, and the recorded values before `start`."""

    def __init__(self, w: AttentionWeights, record: LayerRecord, start: int) -> None:
        self._w = w
        pattern = record.pattern[:, start:].to(w.w_v.dtype)  # (H, T', T)
        length = pattern.shape[1]
        pattern = pattern.reshape(w.n_kv_heads, -1, *pattern.shape[1:])  # (K, G, T', T)
        self._shape = (w.n_kv_heads, pattern.shape[1], length, w.d_head)
        self._within = pattern[..., start:].flatten(1, 2)  # (K, G*T', T')
        self._before: Tensor | None = None
        if start:
            read = normalise(record.weights.attention_norm, record.pre[:start]).to(w.w_v.dtype)
            before = _values(w, read[None])[0]  # (K, start, h)
            self._before = pattern[..., :start].flatten(1, 2) @ before  # (K, G*T', h)

    def __call__(self, read: Tensor) -> Tensor:
        """(b, T', H, h) what every head puts out, for what attention reads (b, T', d)."""
        values = _values(self._w, read)  # (b, K, T', h)
        mixed = self._within @ values
        if self._before is not None:
            mixed = mixed + self._before
        return mixed.view(len(read), *self._shape).permute(0, 3, 1, 2, 4).flatten(2, 3)


def _values(w: AttentionWeights, read: Tensor) -> Tensor:
    """(b, K, T', h)."""
    values = functional.linear(read, w.w_v, w.b_v)
    return values.view(*values.shape[:-1], w.n_kv_heads, w.d_head).transpose(1, 2)


def recorded_heads(w: AttentionWeights, record: LayerRecord) -> Tensor:
    """(T, H, h) what every head put out in the recorded run, in float32 or wider."""
    with torch.no_grad():
        read = normalise(record.weights.attention_norm, record.pre).to(w.w_v.dtype)
        return HeldAttention(w, record, 0)(read[None])[0].to(record.pre.dtype)
