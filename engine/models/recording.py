"""One run of the real model over a prompt, and everything that the tracer then holds constant.

Shapes: T positions, d residual width, H heads. The recorded values are the model's own; norm scales are recomputed
from the recorded residual with the model's epsilon.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from engine.models.cancellation import cancellable
from engine.models.weights import ModelWeights, NormWeights


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
    pattern: Tensor  # (H, T, T) attention of query (second axis) to key (third)
    attention_norm: FrozenNorm
    attention_post_norm: FrozenNorm | None
    mlp_norm: FrozenNorm
    mlp_input: Tensor  # after the norm, as the MLP reads it
    mlp_output: Tensor  # before any post-norm
    mlp_post_norm: FrozenNorm | None


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
    hf: Any,
    weights: ModelWeights,
    token_ids: Sequence[int],
    *,
    first_position: int = 0,
    cancel: threading.Event | None = None,
) -> Recording:
    """Run the model once over `token_ids` and keep what the tracer needs.

    Raises `Cancelled` within one layer of being told to stop. The arithmetic is the model's own dtype; the recorded
    tensors are in float32 or wider.
    """
    caught: list[dict[str, Tensor]] = [{} for _ in weights.layers]
    final: dict[str, Tensor] = {}
    with ExitStack() as hooks, torch.no_grad():
        hooks.enter_context(cancellable(hf, cancel))
        for store, modules in zip(caught, weights.modules, strict=True):
            for handle in _record_block(store, modules):
                hooks.callback(handle.remove)
        handle = weights.final_norm_module.register_forward_pre_hook(_catch_input(final, "final"))
        hooks.callback(handle.remove)
        ids = torch.tensor([list(token_ids)], device=weights.unembed.device)
        weights.body(input_ids=ids, use_cache=False)
        layers = tuple(_layer_record(store, layer) for store, layer in zip(caught, weights.layers, strict=True))
        return Recording(
            tuple(token_ids), layers, final["final"], freeze_norm(weights.final_norm, final["final"]), first_position
        )


def _wide(x: Tensor) -> Tensor:
    """The batch's only row, in float32 or wider, so that a bfloat16 model is traced with float32 sums."""
    return x[0].to(torch.promote_types(x.dtype, torch.float32))


def _catch_input(store: dict[str, Tensor], name: str) -> Any:
    def hook(module: Any, args: tuple[Any, ...]) -> None:
        store[name] = _wide(args[0])

    return hook


def _record_block(store: dict[str, Tensor], modules: Any) -> list[Any]:
    def attention(module: Any, args: Any, output: tuple[Tensor, Tensor]) -> None:
        store["attention"], store["pattern"] = _wide(output[0]), _wide(output[1])

    def mlp(module: Any, args: tuple[Any, ...], output: Tensor) -> None:
        store["mlp_input"], store["mlp_output"] = _wide(args[0]), _wide(output)

    return [
        modules.block.register_forward_pre_hook(_catch_input(store, "pre")),
        modules.attention.register_forward_hook(attention),
        modules.mlp.register_forward_hook(mlp),
    ]


def _joined(branch: Tensor, post: FrozenNorm | None) -> Tensor:
    """What a branch adds to the residual stream, behind its post-norm if it has one."""
    if post is None:
        return branch
    return post.apply(branch) if post.shift is None else post.apply(branch) + post.shift


def _layer_record(store: dict[str, Tensor], layer: Any) -> LayerRecord:
    pre, branch = store["pre"], store["attention"]
    attention_post = None if layer.attention_post_norm is None else freeze_norm(layer.attention_post_norm, branch)
    mid = pre if layer.parallel else pre + _joined(branch, attention_post)
    mlp_output = store["mlp_output"]
    return LayerRecord(
        pre=pre,
        mid=mid,
        pattern=store["pattern"],
        attention_norm=freeze_norm(layer.attention_norm, pre),
        attention_post_norm=attention_post,
        mlp_norm=freeze_norm(layer.mlp_norm, mid),
        mlp_input=store["mlp_input"],
        mlp_output=mlp_output,
        mlp_post_norm=None if layer.mlp_post_norm is None else freeze_norm(layer.mlp_post_norm, mlp_output),
    )
