"""A language model as the tracer sees it: the weights of its linear parts, by role. References wherever layouts allow.

Shapes: d residual width, m MLP width, H query heads, K key/value heads, h head width, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor, nn

Activation = Literal["silu", "gelu", "gelu_tanh", "relu"]


@dataclass(frozen=True)
class NormWeights:
    """A norm: y = gain * (x - mean, if `centred`) / sigma + shift."""

    gain: Tensor  # (d,) what really multiplies: 1 + weight in Gemma
    shift: Tensor | None  # (d,) beta of a LayerNorm
    eps: float
    centred: bool = False  # LayerNorm subtracts the mean


@dataclass(frozen=True)
class AttentionWeights:
    """The value and output half of an attention block; the pattern comes from the recording."""

    w_v: Tensor  # (K*h, d)
    w_o: Tensor  # (d, H*h)
    b_v: Tensor | None  # (K*h,)
    b_o: Tensor | None  # (d,)
    n_heads: int
    n_kv_heads: int
    d_head: int


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
class LayerModules:
    """Where a block's values can be recorded with hooks."""

    block: nn.Module  # input: the residual stream
    attention: nn.Module  # output: (before any post-norm, pattern)
    mlp: nn.Module  # input: after its norm; output: before any post-norm


@dataclass(frozen=True)
class ModelWeights:
    """The whole model by role.

    `unembed` is (V, d). `final_softcap` bounds the logits by cap * tanh(logit / cap), or is None.
    """

    family: str
    layers: tuple[LayerWeights, ...]
    modules: tuple[LayerModules, ...]
    body: nn.Module  # ids -> hidden states, without the unembedding
    final_norm_module: nn.Module
    final_norm: NormWeights
    unembed: Tensor
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

    @cached_property
    def unembed_mean(self) -> Tensor:
        """(d,) mean row of the unembedding; logits are traced against the mean logit (Ameisen et al. 2025)."""
        return self.unembed.mean(dim=0, dtype=torch.promote_types(self.unembed.dtype, torch.float32))
