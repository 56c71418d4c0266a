"""Transcoders: sparse features that read the MLP's input and write an approximation of its output.

a = activation(W_enc x + b_enc), y_m ~ sum over l <= m of a_l W_dec[l -> m] + b_dec_m (+ W_skip x_m). Per-layer
transcoders write at their own layer only, cross-layer ones at every layer from theirs up (Ameisen et al. 2025).
JumpReLU keeps a pre-activation above its threshold, ReLU a positive one, TopK the k largest of a position, or the
largest of each of k groups, or k a position of the whole prompt together. Some sets
add an offset to an active value before it is written, (a + offset) W_dec: a feature then writes that when it is
active, and nothing when it is not, so that the offset belongs to what the feature writes and not to the bias.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from engine.dictionaries.matrices import Matrix, in_memory
from engine.models.recording import LayerRecord

# Where a transcoder's input was taken: after the MLP's norm, after the norm but before its gain, before the norm.
ReadSite = Literal["mlp_input", "normalised", "residual"]
# Where its output belongs: the MLP's own output, or that output after a post-norm (the same where there is none).
WriteSite = Literal["mlp_output", "branch_output"]
# Among which pre-activations TopK chooses: a position's; one in each of k groups of features that lie side by side
# (GroupMax); or those of all positions, k times as many, at most 4 k of each (BatchTopK, the prompt being the batch).
Choice = Literal["position", "group", "prompt"]
# sparsify's BatchTopK looks at no more than so many times k of a position.
BATCH_REACH = 4


@dataclass(frozen=True)
class Transcoder:
    """One layer's weights; n features, residual width d. Matrices may still lie in their file.

    `w_dec` is (n, d); of a cross-layer transcoder (n, layers written, d), the first its own layer.
    """

    w_enc: Matrix  # (n, d)
    b_enc: Tensor  # (n,)
    w_dec: Matrix  # (n, d) or (n, W, d)
    b_dec: Tensor  # (d,)
    threshold: Tensor | None = None  # (n,) of JumpReLU
    top_k: int | None = None
    choice: Choice = "position"  # what the k largest are taken of
    w_skip: Tensor | None = None  # (d, d): y += W_skip x
    reads: ReadSite = "mlp_input"
    writes: WriteSite = "branch_output"
    offset: Tensor | None = None  # (layers written, n): added to an active value before it is written there

    @property
    def width(self) -> int:
        """Number of features."""
        return int(self.w_enc.shape[0])

    @property
    def layers_written(self) -> int:
        """Number of layers it writes to, its own included."""
        return int(self.w_dec.shape[1]) if len(self.w_dec.shape) == 3 else 1

    def pre_activations(self, x: Tensor) -> Tensor:
        """(T, n) for inputs x (T, d)."""
        return x @ in_memory(self.w_enc).to(x.dtype).T + self.b_enc.to(x.dtype)

    def gate(self, pre: Tensor) -> Tensor:
        """(T, n) bool: which features are active."""
        if self.top_k is not None:
            return _largest(pre, self.top_k, self.choice) & (pre > 0)
        return pre > (0 if self.threshold is None else self.threshold.to(pre.dtype))

    def written_share(self, feature: Tensor, value: Tensor, place: int) -> Tensor | None:
        """(S,) what a unit of the active values (S,) counts for where it is written, 1 + offset / a; None without."""
        if self.offset is None:
            return None
        # An activation is positive; the bound keeps the quotient finite where one is next to nothing.
        return 1 + self.offset[place, feature].to(value.dtype) / value.clamp_min(torch.finfo(value.dtype).tiny ** 0.5)

    def activations(self, x: Tensor) -> Tensor:
        """(T, n) for inputs x (T, d), zero where not active."""
        pre = self.pre_activations(x)
        return torch.where(self.gate(pre), pre, 0)


def _largest(pre: Tensor, k: int, choice: Choice) -> Tensor:
    """(T, n) bool: the pre-activations that TopK keeps, negative ones among them."""
    n = pre.shape[-1]
    if choice == "group":
        kept = pre.view(len(pre), k, -1).argmax(-1) + torch.arange(0, n, n // k, device=pre.device)
    else:
        kept = pre.topk(min(k * BATCH_REACH if choice == "prompt" else k, n), dim=-1).indices
    mask = torch.zeros_like(pre, dtype=torch.bool).scatter_(-1, kept, True)
    if choice == "prompt" and (candidates := pre[mask]).numel() > k * len(pre):
        mask &= pre >= candidates.topk(k * len(pre)).values[-1]
    return mask


def site_input(record: LayerRecord, gain: Tensor, reads: ReadSite) -> Tensor:
    """(T, d) what a transcoder reads at this layer."""
    return read_at(record.mid, record.mlp_input, record.mlp_norm.shift, gain, reads)


def read_at(mid: Tensor, mlp_input: Tensor, shift: Tensor | None, gain: Tensor, reads: ReadSite) -> Tensor:
    """(..., d) what a transcoder reads where the residual stream is `mid` and the MLP's norm gives `mlp_input`."""
    if reads == "residual":
        return mid
    if reads == "normalised":
        return (mlp_input if shift is None else mlp_input - shift) / gain
    return mlp_input


def site_output(record: LayerRecord, writes: WriteSite) -> Tensor:
    """(T, d) what a transcoder approximates at this layer."""
    return record.mlp_output if writes == "mlp_output" else branch_output(record)


def branch_output(record: LayerRecord) -> Tensor:
    """(T, d) what the MLP's branch adds to the residual stream."""
    post = record.mlp_post_norm
    if post is None:
        return record.mlp_output
    out = post.apply(record.mlp_output)
    return out if post.shift is None else out + post.shift


def to_residual(written: Tensor, record: LayerRecord, writes: WriteSite, positions: Tensor | None = None) -> Tensor:
    """Vectors at a layer's write site as they reach its residual stream: times the frozen post-norm, if one follows.

    `positions` (k,) says where each of the vectors (k, d) is written; without it they are (T, d), one a position.
    """
    post = record.mlp_post_norm
    if post is None or writes == "branch_output":
        return written
    if positions is None:
        return post.apply(written)
    centred = written - written.mean(-1, keepdim=True) if post.centred else written
    return centred * post.scale[positions]
