"""Interventions on a model in which everything nonlinear is held at what it was: the change of a target is an edge.

No gradient and nothing of the engine's sweep: the model's own forward pass runs again with a vector added where a
source writes, with the attention patterns, norm denominators and MLP outputs of the first run (plus the change of a
linear skip).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from engine.dictionaries.transcoders import Transcoder
from tests.engine.tracing.tiny_models import TinyModel


@dataclass
class Run:
    """What a run left behind, (T, d) each."""

    mid: list[Tensor] = field(default_factory=list)
    mlp_input: list[Tensor] = field(default_factory=list)
    mlp_output: list[Tensor] = field(default_factory=list)
    branch_output: list[Tensor] = field(default_factory=list)
    embedding: Tensor = field(default_factory=lambda: torch.zeros(0))
    logits: Tensor = field(default_factory=lambda: torch.zeros(0))


@dataclass(frozen=True)
class Addition:
    """A vector added at a position: "embedding", or a layer's "mlp" (before its post-norm) or "branch" (after it)."""

    place: str
    layer: int
    position: int
    vector: Tensor


def run(  # noqa: C901 - one hook a place, read top to bottom
    model: TinyModel,
    ids: Sequence[int],
    base: Run | None = None,
    additions: Sequence[Addition] = (),
    skips: Sequence[Transcoder | None] | None = None,
) -> Run:
    """Run the model; with `base`, MLP outputs are those of that run."""
    out, handles, places = Run(), [], model.places
    has_post = places.branch_end != "mlp"

    def added(place: str, layer: int, value: Tensor) -> Tensor:
        for one in additions:
            if (one.place, one.layer) == (place, layer):
                value = value.clone()
                value[0, one.position] += one.vector
        return value

    def embed(module: Any, args: Any, kwargs: Any) -> Any:
        out.embedding = added("embedding", -1, args[0])[0]
        return (out.embedding[None], *args[1:]), kwargs

    def hooks(layer: int, block: Any) -> list[Any]:
        transcoder = None if skips is None else skips[layer]

        def skip(x: Tensor, writes: str) -> Tensor:
            if base is None or transcoder is None or transcoder.w_skip is None or transcoder.writes != writes:
                return torch.zeros_like(x)
            return (x - base.mlp_input[layer][None]) @ transcoder.w_skip.T

        def mlp(module: Any, args: Any, output: Tensor) -> Tensor:
            out.mlp_input.append(args[0][0])
            output = output if base is None else base.mlp_output[layer][None]
            out.mlp_output.append(output[0])
            output = added("mlp", layer, output + skip(args[0], "mlp_output"))
            return output if has_post else branch(module, args, output)

        def branch(module: Any, args: Any, output: Tensor) -> Tensor:
            out.branch_output.append(output[0])
            return added("branch", layer, output + skip(out.mlp_input[layer][None], "branch_output"))

        def mid(module: Any, args: Any) -> None:
            out.mid.append(args[0][0])

        found = [block.mlp.register_forward_hook(mlp)]
        found.append(places.in_block(block, "mlp_reads").register_forward_pre_hook(mid))
        if has_post:
            found.append(places.in_block(block, "branch_end").register_forward_hook(branch))
        return found

    handles.append(model.blocks[0].register_forward_pre_hook(embed, with_kwargs=True))
    for layer, block in enumerate(model.blocks):
        handles += hooks(layer, block)
    try:
        with torch.no_grad():
            out.logits = model.hf(input_ids=torch.tensor([list(ids)]), use_cache=False).logits[0]
    finally:
        for handle in handles:
            handle.remove()
    return out


@contextmanager
def everything_held(model: TinyModel) -> Iterator[None]:
    """Hold attention patterns and norm denominators at what the last run saw."""
    modules = [module for module in model.hf.modules() if hasattr(module, "seen")]
    for module in modules:
        module.held = module.seen
    try:
        yield
    finally:
        for module in modules:
            module.held = None
