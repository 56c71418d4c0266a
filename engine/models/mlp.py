"""The MLP of a block: gated or plain."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import Tensor
from torch.nn import functional

from engine.models.weights import Activation, MlpWeights

_PHI: dict[Activation, Callable[[Tensor], Tensor]] = {
    "silu": functional.silu,
    "gelu": functional.gelu,
    "gelu_tanh": partial(functional.gelu, approximate="tanh"),
    "relu": functional.relu,
}


def neurons(w: MlpWeights, x: Tensor) -> Tensor:
    """(..., m) what goes into the down projection for x (..., d)."""
    phi = _PHI[w.activation]
    up = functional.linear(x, w.w_up, w.b_up)
    return phi(up) if w.w_gate is None else phi(functional.linear(x, w.w_gate, w.b_gate)) * up


def written_by(w: MlpWeights, hidden: Tensor) -> Tensor:
    """(..., d) what the MLP writes for its neurons (..., m), before any post-norm."""
    return functional.linear(hidden, w.w_down, w.b_down)


def mlp(w: MlpWeights, x: Tensor) -> Tensor:
    """(..., d) what the MLP writes for x (..., d), before any post-norm."""
    return written_by(w, neurons(w, x))
