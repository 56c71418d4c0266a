"""The local replacement model's linear part: what lies between the MLPs once patterns and norm scales are constant.

Ameisen et al. 2025, "Attribution graphs": the residual stream plus attention's value and output maps with the recorded
pattern. Vector-Jacobian products are written out by hand; autograd is only the tests' reference.

Everything constant is folded once, so that a step is three matrix products and nothing else: gains of the norms (and a
LayerNorm's centring) into W_O and W_V, the norms' 1/sigma, one number a position, into the pattern.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from engine.models.memory import available_bytes
from engine.models.recording import FrozenNorm, LayerRecord, Recording
from engine.models.weights import LayerWeights, ModelWeights, NormWeights
from engine.tracing.products import linear_for

# Folded weights and patterns are kept while all layers' together stay below this or a quarter of what is free; beyond,
# each is made when needed, for each batch anew.
KEPT_BYTES = 512 * 2**20
# From so many positions on, the half of the pattern that lies in a query's future is left out, in bands of keys.
KEY_BAND = 64


@dataclass(frozen=True)
class FoldedWeights:
    """Attention's output and value maps by head, constants folded in."""

    out: Tensor  # (H, h, d): W_O^T behind the post-norm's gain
    value: Tensor  # (K, h, d): W_V times the gain of the norm before attention


_folded: WeakKeyDictionary[LayerWeights, FoldedWeights] = WeakKeyDictionary()


@dataclass(frozen=True)
class HeldAttention:
    """One block's attention as three constant maps. `out` (H, h, d), `value` (K, h, d); `mix` (H, T, T) of key (second
    axis) and query is the pattern with 1/sigma of the norms at both ends.

    Shapes: P positions of a gradient, the first of them position `first` of the prompt; n targets.
    """

    out: Tensor
    value: Tensor
    mix: Tensor

    def mixed(self, gradient: Tensor, first: int) -> Tensor:
        """(K, first + P, n * h) at the values of every key, for a gradient (P, n, d) after attention.

        Heads of one key/value group are summed. With the values' map it costs
        2 P d h (H + K) + H h P^2 multiply-adds a target.
        """
        n_positions, n, d = gradient.shape
        heads, h, _ = self.out.shape
        group, keys = heads // len(self.value), first + n_positions
        mix, flat = self.mix[:, :keys, first:keys], gradient.reshape(n_positions * n, d)
        flat = flat.to(self.out.dtype)
        linear = linear_for(flat)
        mixed = gradient.new_empty(len(self.value), keys, n * h)
        for head in range(heads):
            z = linear(flat, self.out[head]).view(n_positions, n * h).to(mixed.dtype)
            add = head % group > 0
            for start in range(0, keys, KEY_BAND):
                end, query = min(start + KEY_BAND, keys), max(start - first, 0)
                target = mixed[head // group, start:end]
                if add:
                    target.addmm_(mix[head, start:end, query:], z[query:])
                else:
                    torch.mm(mix[head, start:end, query:], z[query:], out=target)
        return mixed

    def mixed_from(self, vectors: Tensor, positions: Tensor, n_positions: int, first: int) -> Tensor:
        """The same for targets that stand at one position each: vectors (n, d) after attention at positions (n,)."""
        kv, h, keys, out = len(self.value), self.out.shape[1], first + n_positions, self.out.flatten(0, 1)
        z = linear_for(out)(vectors.to(out.dtype), out).to(vectors.dtype)
        z = z.view(len(vectors), kv, -1, h)  # (n, K, g, h)
        weight = self.mix[:, :keys, positions].view(kv, -1, keys, len(vectors), 1)  # (K, g, keys, n, 1)
        mixed = weight[:, 0] * z[:, None, :, 0].permute(2, 1, 0, 3)
        for one in range(1, weight.shape[1]):
            mixed.addcmul_(weight[:, one], z[:, None, :, one].permute(2, 1, 0, 3))
        return mixed.view(kv, keys, -1)

    def add_values(self, mixed: Tensor, first: int, onto: Tensor) -> Tensor:
        """Add what `mixed` gives before attention to a gradient (P, n, d), in place."""
        n_positions, n, d = onto.shape
        flat = onto.view(n_positions * n, d)
        for head, value in enumerate(self.value):
            flat.addmm_(mixed[head, first : first + n_positions].view(n_positions * n, -1), value)
        return onto


@dataclass(frozen=True)
class FrozenAttention:
    """One block's attention on a recorded prompt: H query heads, K key/value heads of width h."""

    record: LayerRecord
    layer: LayerWeights
    keep: bool = True  # whether what is folded may stay in memory
    # W_O^T, the largest product, takes bfloat16 operands. With W_V too, edges were off by 1e-2, against 4e-3 now.
    narrow: bool = False

    @property
    def parallel(self) -> bool:
        """Beside the MLP: both read the residual before the block."""
        return self.layer.parallel

    @cached_property
    def _kept_fold(self) -> FoldedWeights:
        # Kept with the model's own weights, so that its next prompt finds them.
        known, dtype = _folded.get(self.layer), self.record.pre.dtype
        if known is None or known.out.dtype != dtype:
            known = _folded[self.layer] = _fold(self.layer, dtype)
        return known

    def _folded(self) -> FoldedWeights:
        return self._kept_fold if self.keep else _fold(self.layer, self.record.pre.dtype)

    @cached_property
    def _narrow_out(self) -> Tensor:
        return self._folded().out.to(torch.bfloat16)

    @cached_property
    def _kept_mix(self) -> Tensor:
        return self._make_mix()

    def _make_mix(self) -> Tensor:
        record = self.record
        before = _inverse_sigma(record.attention_norm, self.layer.attention_norm)
        mix = record.pattern.to(record.pre.dtype).transpose(1, 2) * before[:, None]
        if record.attention_post_norm is not None:
            mix = mix * _inverse_sigma(record.attention_post_norm, self.layer.attention_post_norm)
        return mix.contiguous()

    def hold(self, *, wide: bool = False) -> HeldAttention:
        """Everything a step needs, made once for the step where it is not kept; `wide` whatever `narrow` says."""
        folded = self._folded()
        mix = self._kept_mix if self.keep else self._make_mix()
        return HeldAttention(self._narrow_out if self.narrow and not wide else folded.out, folded.value, mix)

    def pull(self, gradient: Tensor) -> Tensor:
        """Pull (T', n, d) at the residual after attention back to the one before it, the identity path left out."""
        held = self.hold()
        return held.add_values(held.mixed(gradient, 0), 0, torch.zeros_like(gradient))

    def bias(self) -> Tensor | None:
        """(T, d) what attention writes whatever the residual is: b_V and the norm's shift through the values, b_O."""
        w, record = self.layer.attention, self.record
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


def kept_bytes(device: torch.device) -> int:
    """What folded weights and patterns may take in all, to be kept."""
    return max(KEPT_BYTES, available_bytes(device) // 4)


def freeze(weights: ModelWeights, recording: Recording, *, narrow: bool = False) -> tuple[FrozenAttention, ...]:
    """The attention blocks of a recorded prompt, held. `narrow`: with bfloat16 operands, see `FrozenAttention`."""
    size = recording.layers[0].pre.element_size()
    needed = sum(
        size * (layer.attention.w_o.numel() + layer.attention.w_v.numel())
        + size * layer.attention.n_heads * recording.n_positions**2
        for layer in weights.layers
    )
    keep = needed <= kept_bytes(recording.layers[0].pre.device)
    return tuple(
        FrozenAttention(record, layer, keep, narrow)
        for record, layer in zip(recording.layers, weights.layers, strict=True)
    )


def _fold(layer: LayerWeights, dtype: torch.dtype) -> FoldedWeights:
    attention, before, after = layer.attention, layer.attention_norm, layer.attention_post_norm
    out = attention.w_o.to(dtype).T  # (H*h, d)
    if after is not None:
        # A gradient behind the norm meets its gain first and then its centring; a map of it the other way round.
        out = (out - out.mean(-1, keepdim=True) if after.centred else out) * after.gain.to(dtype)
    value = attention.w_v.to(dtype)  # (K*h, d)
    if before is not None:
        value = value * before.gain.to(dtype)
        value = value - value.mean(-1, keepdim=True) if before.centred else value
    shape = (-1, attention.d_head, out.shape[-1])
    return FoldedWeights(out.contiguous().view(shape), value.contiguous().view(shape))


def _inverse_sigma(norm: FrozenNorm, weights: NormWeights | None) -> Tensor:
    """(T,) 1/sigma of a held norm, from its scale = gain / sigma."""
    if weights is None:
        return torch.ones_like(norm.scale[:, 0])
    gain = weights.gain.to(norm.scale.dtype)
    return norm.scale @ gain / (gain @ gain).clamp_min(torch.finfo(gain.dtype).tiny)
