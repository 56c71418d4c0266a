"""Where a layer's training starts: centred and scaled inputs and outputs, a ridge-fitted skip, features from neurons.

A gated neuron is about gate times up, which is large and positive along gate + up and negative along gate - up: each
of the strongest neurons becomes such a pair of features, reading those directions and writing its down column, once
with each sign. A plain neuron becomes one feature (docs/training.md says what each of these is worth).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from engine.models.mlp import neurons
from engine.models.weights import LayerWeights
from engine.training.sparse_code import SparseCode

# Ridge penalty of the skip, as a share of the inputs' mean square: so much, and more where positions are few.
RIDGE = 1e-3
# What a model parks at an early token of a text is hundreds of times as large as what it writes elsewhere, says nothing
# about the text, and would be nearly all that is learnt: positions with an output so many times the usual are left out.
PARKED = 30.0
# Positions that neurons are ranked by, and the scale of their decoders fitted on.
_FITTED_ON = 4096


@dataclass(frozen=True)
class Scales:
    """What centres and scales a layer: x_hat = (x - x_mean) / x_scale, so too y; means are (d,)."""

    x_mean: Tensor
    x_scale: float
    y_mean: Tensor
    y_scale: float

    def x_hat(self, x: Tensor) -> Tensor:
        """Inputs (B, d) as training sees them, in float32."""
        return (x.float() - self.x_mean) / self.x_scale

    def y_hat(self, y: Tensor) -> Tensor:
        """Outputs (B, d) as training sees them, in float32."""
        return (y.float() - self.y_mean) / self.y_scale

    @staticmethod
    def usual(y_hat: Tensor) -> Tensor:
        """(B,) which positions are trained on: whose scaled output (B, d) is no more than PARKED times the usual."""
        return y_hat.pow(2).mean(-1) <= PARKED**2


@dataclass(frozen=True)
class LayerStart:
    """A layer's first parameters, in scaled units."""

    scales: Scales
    w_enc: Tensor  # (n, d)
    b_enc: Tensor  # (n,)
    w_dec: Tensor  # (n, d)
    w_skip: Tensor | None  # (d, d)


def scales_of(x: Tensor, y: Tensor) -> Scales:
    """Means, and root mean squares of what is left, of inputs and outputs (T, d); of usual positions alone."""
    x, y = x.float(), y.float()
    size = y.norm(dim=-1)
    usual = size <= PARKED * size.median()
    if bool(usual.any()):
        x, y = x[usual], y[usual]
    x_mean, y_mean = x.mean(0), y.mean(0)
    floor = 1e-12
    return Scales(
        x_mean,
        float((x - x_mean).pow(2).mean().clamp_min(floor).sqrt()),
        y_mean,
        float((y - y_mean).pow(2).mean().clamp_min(floor).sqrt()),
    )


def ridge(x: Tensor, y: Tensor) -> Tensor:
    """(d, d) the linear map W, y ~ W x, with the least squared error and a small penalty; x, y (T, d) centred."""
    x, y = x.double(), y.double()
    gram = x.T @ x / len(x)
    gram.diagonal().add_((RIDGE + 0.5 * x.shape[1] / len(x)) * gram.diagonal().mean())
    solved: Tensor = torch.linalg.solve(gram, x.T @ y / len(x))
    return solved.T.float()


def layer_start(
    layer: LayerWeights, x: Tensor, y: Tensor, width: int, k: int, skip: bool, generator: torch.Generator
) -> LayerStart:
    """A layer's start, from recorded inputs and outputs (T, d) of its MLP."""
    scales = scales_of(x, y)
    usual = scales.usual(scales.y_hat(y))
    x, y = x[usual], y[usual]
    x_hat, y_hat = scales.x_hat(x), scales.y_hat(y)
    w_skip = ridge(x_hat, y_hat) if skip else None
    rest = y_hat if w_skip is None else y_hat - x_hat @ w_skip.T
    some = torch.randperm(len(x), generator=generator)[:_FITTED_ON].to(x.device)
    reads, b_enc, writes = _from_neurons(layer, x[some].float(), width, scales, generator)
    pre = torch.addmm(b_enc, x_hat[some], reads.T)
    code = SparseCode.largest(pre, k)
    values = pre[code.position, code.feature].relu()
    made = code.decode(values, writes)
    # One factor for all decoders: the least-squares fit to what the skip leaves.
    factor = (made * rest[some]).sum() / made.pow(2).sum().clamp_min(1e-12)
    return LayerStart(scales, reads, b_enc, writes * factor, w_skip)


def _from_neurons(
    layer: LayerWeights, x: Tensor, width: int, scales: Scales, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Encoder rows (n, d) of unit length, biases (n,) and decoder rows (n, d) out of the strongest neurons."""
    mlp = layer.mlp
    down = mlp.w_down.float().T
    if layer.mlp_post_norm is not None:
        down = down * layer.mlp_post_norm.gain.float()
    strength = neurons(mlp, x.to(mlp.w_down.dtype)).float().var(0) * down.pow(2).sum(-1)
    order = strength.argsort(descending=True)
    if mlp.w_gate is None:
        kept = order[:width]
        rows, writes = mlp.w_up.float()[kept], down[kept]
    else:
        kept = order[: (width + 1) // 2]
        gate, up = mlp.w_gate.float()[kept], mlp.w_up.float()[kept]
        rows = torch.stack([gate + up, gate - up], dim=1).flatten(0, 1)[:width]
        writes = torch.stack([down[kept], -down[kept]], dim=1).flatten(0, 1)[:width]
    missing = width - len(rows)
    if missing > 0:  # wider than the neurons reach: random directions for the rest
        random = torch.randn(missing, 2, rows.shape[1], generator=generator).to(rows.device)
        rows = torch.cat([rows, random[:, 0]])
        writes = torch.cat([writes, functional.normalize(random[:, 1], dim=-1) * writes.norm(dim=-1).mean()])
    length = rows.norm(dim=-1, keepdim=True).clamp_min(1e-12)
    # Read from x itself, which a neuron does, and not from what is left without its mean.
    b_enc = (rows / length) @ scales.x_mean / scales.x_scale
    return rows / length, b_enc, writes / scales.y_scale
