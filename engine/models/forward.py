"""The forward pass, of our own: from token ids to the residual stream and the logits, block by block.

Nothing is hooked: each block gives the values it computed. Several runs of one length go through at once, with or
without a cache of keys and values. Shapes: B runs, T new positions, d residual width, V vocabulary.

The residual stream and the norms are in float32 or wider; weights are multiplied in the model's own format. In bfloat16
the residual stream is then exactly the sum of what was written into it, and a norm's output exactly its linear form.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from engine.models.attention import LayerCache, attend
from engine.models.mlp import neurons, written_by
from engine.models.norms import normalise
from engine.models.weights import LayerWeights, ModelWeights, NormWeights, wide
from engine.progress import checkpoint


@dataclass(frozen=True)
class BlockValues:
    """What one block computed, (B, T, d) each, in float32 or wider, but for the neurons."""

    pre: Tensor  # residual stream before the block
    attention: Tensor  # what attention writes, before any post-norm
    pattern: Tensor | None  # (B, H, T, S)
    mid: Tensor  # residual stream that the MLP reads: after attention, or `pre` where both run in parallel
    mlp_input: Tensor  # after the norm, before it is rounded to the model's format
    neurons: Tensor  # (B, T, m) what goes into the down projection, in the model's own format
    mlp_output: Tensor  # before any post-norm
    post: Tensor  # residual stream after the block


class KeyValueCache:
    """Keys and values of every layer for the positions read so far."""

    def __init__(self, n_layers: int) -> None:
        self.layers = tuple(LayerCache() for _ in range(n_layers))

    @property
    def length(self) -> int:
        """Positions read so far."""
        return self.layers[0].length if self.layers else 0

    def repeat(self, runs: int) -> None:
        """Of one run that was read make several that go on from there."""
        for layer in self.layers:
            layer.repeat(runs)


def embed(weights: ModelWeights, ids: Tensor, start: int = 0) -> Tensor:
    """(B, T, d) what enters the first block for ids (B, T) at positions from `start`."""
    x = functional.embedding(ids, weights.embed)
    if weights.embed_scale != 1:
        # Rounded to float32 and to the model's format, as the models were trained.
        x = x * torch.tensor(weights.embed_scale, dtype=torch.float32).to(x.device, x.dtype)
    x = x.to(wide(x.dtype))
    if weights.position_embedding is not None:
        x = x + weights.position_embedding[start : start + ids.shape[1]].to(x.dtype)
    return x


def run_block(
    layer: LayerWeights,
    x: Tensor,
    *,
    cache: LayerCache | None = None,
    keep_pattern: bool = False,
    cancel: threading.Event | None = None,
) -> BlockValues:
    """One block for the residual stream x (B, T, d). `Cancelled` before attention, inside it, and before the MLP."""
    dtype = layer.attention.w_o.dtype
    checkpoint(cancel)
    read = normalise(layer.attention_norm, x).to(dtype)
    attention, pattern = attend(layer.attention, read, cache=cache, keep_pattern=keep_pattern, cancel=cancel)
    attention = attention.to(x.dtype)
    after = x + _joined(attention, layer.attention_post_norm)
    mid = x if layer.parallel else after
    checkpoint(cancel)
    mlp_input = normalise(layer.mlp_norm, mid)
    hidden = neurons(layer.mlp, mlp_input.to(dtype))
    mlp_output = written_by(layer.mlp, hidden).to(x.dtype)
    post = after + _joined(mlp_output, layer.mlp_post_norm)
    return BlockValues(x, attention, pattern, mid, mlp_input, hidden, mlp_output, post)


def run(
    weights: ModelWeights,
    ids: Tensor,
    *,
    cache: KeyValueCache | None = None,
    keep_patterns: bool = False,
    each: Callable[[int, BlockValues], None] | None = None,
    cancel: threading.Event | None = None,
) -> Tensor:
    """The residual stream (B, T, d) before the final norm, for ids (B, T) that follow what the cache holds.

    `each` is given every block's values as they come.
    """
    with torch.no_grad():
        x = embed(weights, ids, 0 if cache is None else cache.length)
        for number, layer in enumerate(weights.layers):
            held = None if cache is None else cache.layers[number]
            values = run_block(layer, x, cache=held, keep_pattern=keep_patterns, cancel=cancel)
            if each is not None:
                each(number, values)
            x = values.post
        return x


def unembed(weights: ModelWeights, x: Tensor) -> Tensor:
    """(n, V) logits, in float32 or wider, for rows x (n, d) of the residual stream after the last block.

    Flat rows: in bfloat16 on a processor, torch's linear takes thirty times as long on the left-over strides of a
    slice of three dimensions, 0.75 s instead of 0.02 s for Gemma's 262,144 rows (torch 2.13).
    """
    with torch.no_grad():
        return unembed_normed(weights, normalise(weights.final_norm, x))


def unembed_normed(weights: ModelWeights, normed: Tensor) -> Tensor:
    """(n, V) logits for flat rows (n, d) that the final norm has been applied to."""
    with torch.no_grad():
        logits = functional.linear(normed.to(weights.unembed.dtype), weights.unembed).to(wide(weights.unembed.dtype))
        cap = weights.final_softcap
        return logits if cap is None else logits.div_(cap).tanh_().mul_(cap)


def _joined(branch: Tensor, post: NormWeights | None) -> Tensor:
    """What a branch adds to the residual stream, behind its post-norm if it has one."""
    return branch if post is None else normalise(post, branch)
