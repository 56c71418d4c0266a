"""Weights as whole numbers of 8 or 4 bits with a scale a row: how they are stored, and how training prepares for it.

Reading is engine/dictionaries/quantised.py. A row's largest number sets the scale in 8 bits; in 4 bits numbers beyond
2.7 times the row's root mean square are clipped, where the rounding saves more than the clipping costs.
"""

from __future__ import annotations

import torch
from torch import Tensor

from engine.training.settings import Storage

_LARGEST = {"int8": 127, "int4": 7}
_CLIP = {"int8": torch.inf, "int4": 2.7}


def row_scales(weight: Tensor, storage: Storage) -> Tensor:
    """(n, 1) what one unit of each row of a matrix (n, d) stands for."""
    widest = torch.minimum(
        weight.abs().amax(-1, keepdim=True), _CLIP[storage] * weight.pow(2).mean(-1, keepdim=True).sqrt()
    )
    return (widest / _LARGEST[storage]).clamp_min(1e-12)


def whole_numbers(weight: Tensor, scales: Tensor, storage: Storage) -> Tensor:
    """(n, d) the numbers of units, in int8."""
    return (weight / scales).round_().clamp_(-_LARGEST[storage], _LARGEST[storage]).to(torch.int8)


def trained_as(weight: Tensor, storage: Storage) -> Tensor:
    """The matrix as it will be read back from 4 bits; other storages keep enough of it to train as it is."""
    if storage != "int4":
        return weight
    scales = row_scales(weight, storage)
    limit = _LARGEST[storage]
    return (weight / scales).round_().clamp_(-limit, limit).mul_(scales)


def packed(numbers: Tensor) -> Tensor:
    """(n, d / 2) uint8: two numbers of 4 bits, each plus 8, in a byte, the first in its lower half; (n, d) int8."""
    shifted = (numbers + 8).to(torch.uint8)
    return shifted[:, 0::2] | (shifted[:, 1::2] << 4)
