"""The local replacement model's linear part: what lies between the MLPs once patterns and norm scales are constant.

Ameisen et al. 2025, "Attribution graphs": the residual stream plus attention's value and output maps with the recorded
pattern. Vector-Jacobian products are written out by hand; autograd is only the tests' reference.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from engine.models.recording import LayerRecord, Recording
from engine.models.weights import AttentionWeights, ModelWeights


@dataclass(frozen=True)
class FrozenAttention:
    """One block's attention with the pattern held."""

    record: LayerRecord
    weights: AttentionWeights
    parallel: bool = False  # beside the MLP: both read the residual before the block

    def pull(self, gradient: Tensor) -> Tensor:
        """Pull (T', n, d) at the residual after attention back to the one before it, the identity path left out.

        Post-norm, W_O^T, pattern^T, heads summed into their key/value group, W_V^T, norm scale. It costs
        2 T' d h (H + K) + H h T'^2 multiply-adds a target.
        """
        w, (n_positions, n, _) = self.weights, gradient.shape
        post = self.record.attention_post_norm
        branch = gradient if post is None else post.pull(gradient)
        z = branch @ w.w_o.to(branch.dtype)  # (T', n, H*h)
        group = w.n_heads // w.n_kv_heads
        # (K, group * T', n * h): a group's heads lie next to each other, so that one product sums over them.
        z = z.view(n_positions, n, w.n_kv_heads, group, w.d_head).permute(2, 3, 0, 1, 4)
        z = z.reshape(w.n_kv_heads, group * n_positions, n * w.d_head)
        pattern = self.record.pattern[:, :n_positions, :n_positions]
        pattern = pattern.reshape(w.n_kv_heads, group * n_positions, n_positions).to(z.dtype)
        y = pattern.transpose(1, 2) @ z  # (K, T', n * h)
        y = y.view(w.n_kv_heads, n_positions, n, w.d_head).permute(1, 2, 0, 3)
        values = y.reshape(n_positions, n, w.n_kv_heads * w.d_head) @ w.w_v.to(z.dtype)  # (T', n, d)
        return self.record.attention_norm.pull(values)

    def bias(self) -> Tensor | None:
        """(T, d) what attention writes whatever the residual is: b_V and the norm's shift through the values, b_O."""
        w, record = self.weights, self.record
        post, shift = record.attention_post_norm, record.attention_norm.shift
        constants = [w.b_v, w.b_o, shift, None if post is None else post.shift]
        if all(c is None for c in constants):
            return None
        dtype = record.pre.dtype
        value = torch.zeros(w.n_kv_heads * w.d_head, dtype=dtype, device=record.pre.device)
        if w.b_v is not None:
            value = value + w.b_v.to(dtype)
        if shift is not None:
            value = value + w.w_v.to(dtype) @ shift.to(dtype)
        # Every query sees the same constant value, weighted by the sum of its pattern (1 where there is no sink).
        total = record.pattern.sum(-1).to(dtype)  # (H, T)
        heads = value.view(w.n_kv_heads, w.d_head).repeat_interleave(w.n_heads // w.n_kv_heads, dim=0)  # (H, h)
        mixed = total.T[:, :, None] * heads[None]  # (T, H, h)
        written = mixed.reshape(len(mixed), -1) @ w.w_o.to(dtype).T
        if w.b_o is not None:
            written = written + w.b_o.to(dtype)
        if post is not None:
            written = post.apply(written)
            written = written if post.shift is None else written + post.shift
        return written


def freeze(weights: ModelWeights, recording: Recording) -> tuple[FrozenAttention, ...]:
    """The attention blocks of a recorded prompt, held."""
    return tuple(
        FrozenAttention(record, layer.attention, layer.parallel)
        for record, layer in zip(recording.layers, weights.layers, strict=True)
    )
