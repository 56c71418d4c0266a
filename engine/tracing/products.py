"""Which of torch's ways to a float32 matrix product is the fastest on this processor, measured once a process.

torch's default is MKL, which on processors of other makers can run well below oneDNN, which torch carries too. Both
sum in float32. Nothing here is a kernel of ours.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor

Linear = Callable[[Tensor, Tensor], Tensor]
# The faster way must win by this much: near a tie every run should choose, and so round, alike.
MARGIN = 1.1
ROWS, INNER, OUTER, TRIES = 512, 576, 64, 7


def linear_for(like: Tensor) -> Linear:
    """X (N, d), weight (k, d) -> x weight^T (N, k), for tensors like this one."""
    if like.device.type == "cpu" and like.dtype is torch.float32:
        return _fastest_on_this_processor()
    return torch.nn.functional.linear


def _onednn(x: Tensor, weight: Tensor) -> Tensor:
    product: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, None, "none", [], "")
    return product


@cache
def _fastest_on_this_processor() -> Linear:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(ROWS, INNER, generator=generator)
    weight = torch.randn(OUTER, INNER, generator=generator)
    default = torch.nn.functional.linear
    try:
        usable = bool(torch.allclose(_onednn(x, weight), default(x, weight), rtol=1e-3, atol=1e-3))
    except (RuntimeError, NotImplementedError, AttributeError):
        usable = False  # torch was built without it
    if not usable:
        return default
    return _onednn if _seconds(default, x, weight) > MARGIN * _seconds(_onednn, x, weight) else default


def _seconds(way: Linear, x: Tensor, weight: Tensor) -> float:
    best = float("inf")
    for _ in range(TRIES):
        started = time.perf_counter()
        way(x, weight)
        best = min(best, time.perf_counter() - started)
    return best
