"""A language model as the forward pass and the tracer see it: its weights by role. References wherever layouts allow.

Shapes: d residual width, m MLP width, H query heads, K key/value heads, h head width, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from engine.models.rotary import Rotary

Activation = Literal["silu", "gelu", "gelu_tanh", "relu"]


@dataclass(frozen=True)
class NormWeights:
    """A norm: y = gain * (x - mean, if `centred`) / sigma + shift. In float32 or wider whatever the model is."""

    gain: Tensor  # (d,) what really multiplies: 1 + weight in Gemma
    shift: Tensor | None  # (d,) beta of a LayerNorm
    eps: float
    centred: bool = False  # LayerNorm subtracts the mean


@dataclass(frozen=True)
class AttentionWeights:
    """An attention block. Scores are scale * q.k, bounded by `softcap`, over at most `window` keys back.

    `q_norm`, `k_norm`: over each head where their gain is (h,), over the whole projection where it is longer.
    """

    w_q: Tensor  # (H*h, d)
    w_k: Tensor  # (K*h, d)
    w_v: Tensor  # (K*h, d)
    w_o: Tensor  # (d, H*h)
    b_q: Tensor | None  # (H*h,)
    b_k: Tensor | None  # (K*h,)
    b_v: Tensor | None  # (K*h,)
    b_o: Tensor | None  # (d,)
    n_heads: int
    n_kv_heads: int
    d_head: int
    scale: float
    rotary: Rotary | None = None
    q_norm: NormWeights | None = None
    k_norm: NormWeights | None = None
    window: int | None = None  # a query sees itself and the window - 1 keys before it
    softcap: float | None = None  # scores become cap * tanh(score / cap)


@dataclass(frozen=True)
class MlpWeights:
    """An MLP. Gated: down(phi(gate x) * up x). Plain: down(phi(up x)), `w_gate` is None."""

    activation: Activation
    w_gate: Tensor | None  # (m, d)
    w_up: Tensor  # (m, d)
    w_down: Tensor  # (d, m)
    b_gate: Tensor | None = None  # (m,)
    b_up: Tensor | None = None  # (m,)
    b_down: Tensor | None = None  # (d,)

    @property
    def width(self) -> int:
        """Number of neurons, m."""
        return int(self.w_down.shape[1])


@dataclass(frozen=True)
class LayerWeights:
    """One block: x + post(attention(norm(x))), then + post(mlp(norm(.))). A norm that is None is the identity.

    `parallel`: the MLP reads the same x as attention, and both are added to it together (GPT-NeoX).
    """

    attention_norm: NormWeights | None
    attention: AttentionWeights
    attention_post_norm: NormWeights | None
    mlp_norm: NormWeights | None
    mlp: MlpWeights
    mlp_post_norm: NormWeights | None
    parallel: bool = False

    @property
    def mlp_gain(self) -> Tensor:
        """(d,) what the norm before the MLP multiplies by."""
        w_o = self.attention.w_o
        return w_o.new_ones(w_o.shape[0]) if self.mlp_norm is None else self.mlp_norm.gain


@dataclass(frozen=True)
class ModelWeights:
    """The whole model by role.

    `embed` and `unembed` are (V, d), one tensor where they are tied. `context`: the most tokens the model reads.
    `final_softcap` bounds the logits by cap * tanh(logit / cap), or is None.
    """

    family: str
    embed: Tensor
    layers: tuple[LayerWeights, ...]
    final_norm: NormWeights
    unembed: Tensor
    context: int
    embed_scale: float = 1.0
    position_embedding: Tensor | None = None  # (positions, d), added to the token embedding
    final_softcap: float | None = None

    @property
    def n_layers(self) -> int:
        """Number of blocks."""
        return len(self.layers)

    @property
    def d_model(self) -> int:
        """Width of the residual stream."""
        return int(self.unembed.shape[1])

    @property
    def vocab_size(self) -> int:
        """Number of logits."""
        return int(self.unembed.shape[0])

    @property
    def device(self) -> torch.device:
        """Where the weights lie."""
        return self.unembed.device

    @property
    def dtype(self) -> torch.dtype:
        """The format that products are computed in; the residual stream and the norms are in float32 or wider."""
        return self.unembed.dtype

    @cached_property
    def unembed_mean(self) -> Tensor:
        """(d,) mean row of the unembedding; logits are traced against the mean logit (Ameisen et al. 2025)."""
        return self.unembed.mean(dim=0, dtype=wide(self.unembed.dtype))


def wide(dtype: torch.dtype) -> torch.dtype:
    """The format for sums, norms, softmax and the residual stream of a model in `dtype`: float32 or wider."""
    return torch.promote_types(dtype, torch.float32)
