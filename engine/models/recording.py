"""One run of the real model over a prompt, and everything that the tracer then holds constant.

Shapes: T positions, d residual width, H heads. The recorded values are the model's own; norm scales are recomputed
from the recorded residual with the model's epsilon.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.errors import RequestError
from engine.models.attention import attention_pattern
from engine.models.forward import BlockValues, run
from engine.models.norms import normalise
from engine.models.weights import LayerWeights, ModelWeights, NormWeights, wide
from engine.progress import Progress, silent

# Attention patterns are kept up to this; beyond it each is computed anew when asked for.
PATTERN_BYTES = 1 << 30


@dataclass(frozen=True)
class FrozenNorm:
    """A norm with its denominator held at the recorded value: linear in x, plus a constant shift."""

    scale: Tensor  # (T, d): gain / sigma
    shift: Tensor | None  # (d,)
    centred: bool

    def pull(self, gradient: Tensor) -> Tensor:
        """Pull a gradient (T', n, d) at the norm's output back to its input."""
        scaled = gradient * self.scale[: gradient.shape[0], None, :]
        return scaled - scaled.mean(dim=-1, keepdim=True) if self.centred else scaled

    def pull_at(self, vectors: Tensor, positions: Tensor) -> Tensor:
        """Pull vectors (n, d), each at its own position (n,), back to the norm's input."""
        scaled = vectors * self.scale[positions]
        return scaled - scaled.mean(dim=-1, keepdim=True) if self.centred else scaled

    def apply(self, x: Tensor) -> Tensor:
        """The norm's output for x (T, d), without the shift."""
        return (x - x.mean(dim=-1, keepdim=True) if self.centred else x) * self.scale[: x.shape[0]]


def freeze_norm(norm: NormWeights | None, x: Tensor) -> FrozenNorm:
    """Hold a norm's denominator at what it is for x (T, d); no norm is a scale of 1."""
    if norm is None:
        return FrozenNorm(torch.ones_like(x), None, centred=False)
    spread = x - x.mean(dim=-1, keepdim=True) if norm.centred else x
    sigma = (spread.pow(2).mean(dim=-1, keepdim=True) + norm.eps).sqrt()
    return FrozenNorm(norm.gain.to(x.dtype) / sigma, norm.shift, norm.centred)


@dataclass(frozen=True)
class LayerRecord:
    """One block of the recorded run. Residual vectors are (T, d)."""

    pre: Tensor  # residual stream before attention
    mid: Tensor  # residual stream that the MLP reads: after attention, or `pre` where both run in parallel
    attention_norm: FrozenNorm
    attention_post_norm: FrozenNorm | None
    mlp_norm: FrozenNorm
    mlp_input: Tensor  # after the norm, before it is rounded to the model's format
    mlp_output: Tensor  # before any post-norm
    mlp_post_norm: FrozenNorm | None
    weights: LayerWeights
    kept_pattern: Tensor | None  # (H, T, T), or None where all layers' would take too much room

    @property
    def pattern(self) -> Tensor:
        """(H, T, T) attention of query (second axis) to key (third), in float32 or wider.

        Where it was not kept it is computed anew from `pre`, at each call: the same numbers, for about the cost of
        attention's own forward pass. Who needs it several times in a row holds it.
        """
        if self.kept_pattern is not None:
            return self.kept_pattern
        with torch.no_grad():
            attention = self.weights.attention
            read = normalise(self.weights.attention_norm, self.pre).to(attention.w_o.dtype)
            return attention_pattern(attention, read)


@dataclass(frozen=True)
class Recording:
    """A prompt run once. `final` is the residual stream before the final norm, (T, d)."""

    token_ids: tuple[int, ...]
    layers: tuple[LayerRecord, ...]
    final: Tensor
    final_norm: FrozenNorm
    # First position whose features take part in a graph: 1 where the prompt begins with a special token, else 0.
    first_position: int

    @property
    def n_positions(self) -> int:
        """T."""
        return len(self.token_ids)


def record(
    weights: ModelWeights,
    token_ids: Sequence[int],
    *,
    first_position: int = 0,
    pattern_bytes: int = PATTERN_BYTES,
    progress: Progress = silent,
    cancel: threading.Event | None = None,
) -> Recording:
    """Run the model once over `token_ids` and keep what the tracer needs.

    Patterns are kept where all layers' together take at most `pattern_bytes`. The arithmetic is the model's own; the
    recorded tensors are in float32 or wider.

    Raises
    ------
    RequestError
        More tokens than the model has learned positions for.
    Cancelled
        Within one layer of being told to stop.
    """
    check_length(weights, len(token_ids))
    layers: list[LayerRecord] = []

    def keep(number: int, values: BlockValues) -> None:
        layers.append(layer_record(weights.layers[number], values))
        progress("Running the model", len(layers) / weights.n_layers)

    ids = torch.tensor([list(token_ids)], device=weights.device)
    fits = pattern_room(weights, len(token_ids)) <= pattern_bytes
    final = run(weights, ids, keep_patterns=fits, each=keep, cancel=cancel)[0]
    return Recording(tuple(token_ids), tuple(layers), final, freeze_norm(weights.final_norm, final), first_position)


def check_length(weights: ModelWeights, n_positions: int) -> None:
    """Refuse a prompt that is longer than the model's learned positions."""
    if weights.position_embedding is not None and n_positions > len(weights.position_embedding):
        raise RequestError(
            f"The prompt has {n_positions:,} tokens and the model reads at most {weights.context:,}; shorten it."
        )


def pattern_room(weights: ModelWeights, n_positions: int) -> int:
    """Bytes that the patterns of all layers take together for a prompt of that length."""
    heads = sum(layer.attention.n_heads for layer in weights.layers)
    return heads * n_positions**2 * wide(weights.dtype).itemsize


def layer_record(layer: LayerWeights, values: BlockValues) -> LayerRecord:
    """The values of the batch's only run, and the norms held at what they were in it."""
    pre, mid, attention, mlp_output = values.pre[0], values.mid[0], values.attention[0], values.mlp_output[0]
    return LayerRecord(
        pre=pre,
        mid=mid,
        attention_norm=freeze_norm(layer.attention_norm, pre),
        attention_post_norm=_freeze_post(layer.attention_post_norm, attention),
        mlp_norm=freeze_norm(layer.mlp_norm, mid),
        mlp_input=values.mlp_input[0],
        mlp_output=mlp_output,
        mlp_post_norm=_freeze_post(layer.mlp_post_norm, mlp_output),
        weights=layer,
        kept_pattern=None if values.pattern is None else values.pattern[0],
    )


def _freeze_post(norm: NormWeights | None, x: Tensor) -> FrozenNorm | None:
    return None if norm is None else freeze_norm(norm, x)
