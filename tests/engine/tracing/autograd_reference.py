"""The same edges by autograd through transformers' own forward pass, knowing nothing of the engine's sweep.

The tiny models hold attention patterns and norm denominators constant for autograd (see `tiny_models`); MLP outputs
are replaced by constants (plus the linear skip), and
probes of zeros with gradients stand where sources write: after the MLP before its post-norm, after it, after attention,
and at the embedding.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from engine.dictionaries.transcoders import Transcoder
from tests.engine.tracing.tiny_models import TinyModel


@dataclass
class Reference:
    """Tensors of one linearised run, all (T, d) or (T, m), in autograd's graph."""

    mlp_input: list[Tensor] = field(default_factory=list)
    mid: list[Tensor] = field(default_factory=list)
    mlp_output: list[Tensor] = field(default_factory=list)
    branch_output: list[Tensor] = field(default_factory=list)
    before_post: list[Tensor] = field(default_factory=list)  # probes
    after_mlp: list[Tensor] = field(default_factory=list)  # probes, where the branch joins the residual
    after_attention: list[Tensor] = field(default_factory=list)  # probes
    embedding: Tensor = field(default_factory=lambda: torch.zeros(0))  # the embedding itself, a leaf
    final_normed: Tensor = field(default_factory=lambda: torch.zeros(0))
    logits: Tensor = field(default_factory=lambda: torch.zeros(0))

    def gradients(self, target: Tensor) -> dict[str, list[Tensor]]:
        """d target / d probe for every probe, zeros where unconnected."""
        named = {
            "before_post": self.before_post,
            "after_mlp": self.after_mlp,
            "after_attention": self.after_attention,
            "embedding": [self.embedding],
        }
        flat = [one for probes in named.values() for one in probes]
        found = iter(torch.autograd.grad(target, flat, retain_graph=True, allow_unused=True, materialize_grads=True))
        return {name: [next(found) for _ in probes] for name, probes in named.items()}


def linearised_run(model: TinyModel, ids: list[int], skips: list[Transcoder | None] | None = None) -> Reference:
    """Run the model with everything nonlinear held and probes in place."""
    out, blocks = Reference(), model.blocks
    n, d = len(ids), model.weights.d_model
    handles = [blocks[0].register_forward_pre_hook(_embedding_leaf(out), with_kwargs=True)]
    for layer, block in enumerate(blocks):
        for probes in (out.before_post, out.after_mlp, out.after_attention):
            probes.append(torch.zeros(n, d, dtype=torch.float64, requires_grad=True))
        handles += _block_hooks(out, model, block, layer, (skips or [None] * len(blocks))[layer])
    final = model.places.in_model(model.hf, "final_norm")
    handles.append(final.register_forward_hook(_keep_final(out)))
    try:
        out.logits = model.hf(input_ids=torch.tensor([ids]), use_cache=False).logits[0]
    finally:
        for handle in handles:
            handle.remove()
    if model.places.branch_end == "mlp":
        out.branch_output = out.mlp_output
    return out


def _embedding_leaf(out: Reference) -> Any:
    def hook(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        out.embedding = args[0][0].detach().requires_grad_()
        return (out.embedding[None], *args[1:]), kwargs

    return hook


def _keep_final(out: Reference) -> Any:
    def hook(module: Any, args: Any, output: Tensor) -> None:
        out.final_normed = output[0]

    return hook


def _block_hooks(out: Reference, model: TinyModel, block: Any, layer: int, transcoder: Transcoder | None) -> list[Any]:
    places = model.places
    has_post = places.branch_end != "mlp"

    def add_attention(module: Any, args: Any, output: Any) -> Any:
        if isinstance(output, tuple):
            return (output[0] + out.after_attention[layer], *output[1:])
        return output + out.after_attention[layer]

    def keep_mid(module: Any, args: Any) -> None:
        out.mid.append(args[0][0])

    def replace_mlp(module: Any, args: Any, output: Tensor) -> Tensor:
        out.mlp_input.append(args[0][0])
        out.mlp_output.append(output[0].detach())
        written = output.detach() + out.before_post[layer]
        if transcoder is not None and transcoder.w_skip is not None and transcoder.writes == "mlp_output":
            change = args[0] @ transcoder.w_skip.T
            written = written + change - change.detach()
        return written if has_post else written + out.after_mlp[layer] + _skip_after(transcoder, args[0])

    def end_branch(module: Any, args: Any, output: Tensor) -> Tensor:
        out.branch_output.append(output[0].detach())
        return output + out.after_mlp[layer] + _skip_after(transcoder, out.mlp_input[layer][None])

    handles = [
        places.in_block(block, "attention_end").register_forward_hook(add_attention),
        places.in_block(block, "mlp_reads").register_forward_pre_hook(keep_mid),
        block.mlp.register_forward_hook(replace_mlp),
    ]
    if has_post:
        handles.append(places.in_block(block, "branch_end").register_forward_hook(end_branch))
    return handles


def _skip_after(transcoder: Transcoder | None, mlp_input: Tensor) -> Tensor:
    """The skip path of a transcoder whose output joins after the post-norm: its value is constant, its slope is not."""
    if transcoder is None or transcoder.w_skip is None or transcoder.writes == "mlp_output":
        return torch.zeros_like(mlp_input)
    change = mlp_input @ transcoder.w_skip.T
    return change - change.detach()
