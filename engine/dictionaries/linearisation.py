"""phi(z) / z for the nonlinearities, computed analytically and never by a division, which fails near zero.

The linearisation is RelP's (Jafari et al. 2025, arXiv 2508.21258), which descends from layer-wise relevance
propagation: an activation passes its input times phi(z)/z, a product gives half to each factor.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from engine.models.weights import Activation

_TANH_SCALE = math.sqrt(2 / math.pi)


def value_and_derivative(z: Tensor, activation: Activation) -> tuple[Tensor, Tensor]:
    """phi(z) and phi'(z), elementwise: what a neuron does, and what it would do to a small change."""
    slope = slope_through_origin(z, activation)
    if activation == "silu":
        return z * slope, slope * (1 + z * (1 - slope))
    if activation == "gelu":
        return z * slope, slope + z * torch.exp(-0.5 * z.pow(2)) / math.sqrt(2 * math.pi)
    if activation == "gelu_tanh":
        tanh = 2 * slope - 1
        inner = _TANH_SCALE * (1 + 3 * 0.044715 * z.pow(2))
        return z * slope, slope + 0.5 * z * (1 - tanh.pow(2)) * inner
    return z * slope, slope


def slope_through_origin(z: Tensor, activation: Activation) -> Tensor:
    """phi(z) / z, elementwise: sigmoid for SiLU, the normal CDF for GELU, its tanh form, a step for ReLU."""
    if activation == "silu":
        return torch.sigmoid(z)
    if activation == "gelu":
        return 0.5 * (1 + torch.erf(z / math.sqrt(2)))
    if activation == "gelu_tanh":
        return 0.5 * (1 + torch.tanh(_TANH_SCALE * (z + 0.044715 * z.pow(3))))
    return (z > 0).to(z.dtype)
