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


def slope_through_origin(z: Tensor, activation: Activation) -> Tensor:
    """phi(z) / z, elementwise: sigmoid for SiLU, the normal CDF for GELU, its tanh form, a step for ReLU."""
    if activation == "silu":
        return torch.sigmoid(z)
    if activation == "gelu":
        return 0.5 * (1 + torch.erf(z / math.sqrt(2)))
    if activation == "gelu_tanh":
        return 0.5 * (1 + torch.tanh(_TANH_SCALE * (z + 0.044715 * z.pow(3))))
    return (z > 0).to(z.dtype)
