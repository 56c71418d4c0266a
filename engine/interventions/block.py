"""One block of a changed run: the order in which its parts are computed, whatever answers to the changes in them."""

from __future__ import annotations

import threading
from typing import Literal, Protocol

from torch import Tensor

from engine.models.weights import LayerWeights
from engine.progress import checkpoint

NormName = Literal["attention_norm", "attention_post_norm", "mlp_norm", "mlp_post_norm"]


class Parts(Protocol):
    """The parts of every block, for runs (b, T', d) in float32 or wider."""

    def norm(self, number: int, name: NormName, x: Tensor) -> Tensor:
        """A norm of a layer; where there is none, x."""

    def attention(self, number: int, read: Tensor, cancel: threading.Event | None) -> Tensor:
        """What attention writes, before any post-norm."""

    def mlp(self, number: int, mlp_input: Tensor) -> Tensor:
        """What the MLP writes, before any post-norm; may be changed in place."""

    def features(self, number: int, mid: Tensor, mlp_input: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """What changed features write more: before the norm after the MLP, and after it."""


def run_block(parts: Parts, number: int, layer: LayerWeights, x: Tensor, cancel: threading.Event | None) -> Tensor:
    """The residual stream after a block."""
    checkpoint(cancel)
    attention = parts.attention(number, parts.norm(number, "attention_norm", x), cancel)
    after = x + parts.norm(number, "attention_post_norm", attention)
    mid = x if layer.parallel else after
    checkpoint(cancel)
    mlp_input = parts.norm(number, "mlp_norm", mid)
    written = parts.mlp(number, mlp_input)
    before, behind = parts.features(number, mid, mlp_input)
    if before is not None:
        written += before
    out = after + parts.norm(number, "mlp_post_norm", written)
    return out if behind is None else out + behind
