"""What a layout of files is for the tests, and what their plain forward passes share.

A layout's `write` fills a folder and returns what a person would open and what its forward gives: for inputs x[l]
(T, d) of every layer, activations a[l] (T, n) and outputs y[l] (T, d), in float64.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

LAYERS, D, N = 3, 24, 30
Forward = Callable[[list[Tensor]], tuple[list[Tensor], list[Tensor]]]


@dataclass(frozen=True)
class Written:
    """A set on disk, and what its own library makes of inputs."""

    path: Path
    forward: Forward


@dataclass(frozen=True)
class Layout:
    """One layout: the model's family it is tried on, and where it reads and writes."""

    name: str
    format: str
    family: str
    reads: str
    writes: str
    write: Callable[[Path], Written]


def numbers(seed: int) -> Callable[..., Tensor]:
    """A source of random float64 tensors."""
    generator = torch.Generator().manual_seed(seed)
    return lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64) * 0.4


def jump(pre: Tensor, threshold: Tensor) -> Tensor:
    return torch.where(pre > threshold, pre.relu(), 0)


def top_k(pre: Tensor, k: int) -> Tensor:
    values, indices = pre.relu().topk(k, dim=-1)
    return torch.zeros_like(pre).scatter(-1, indices, values)


def group_max(pre: Tensor, k: int) -> Tensor:
    """The largest of each of k groups of neighbours, as sparsify's encoder."""
    values, inside = pre.relu().unflatten(-1, (k, -1)).max(-1)
    return torch.zeros_like(pre).scatter(-1, torch.arange(0, pre.shape[1], pre.shape[1] // k) + inside, values)


def batch_top_k(pre: Tensor, k: int) -> Tensor:
    """clt-training's encoder: k a row of all rows together, no more than 4 k of one."""
    few = pre.relu().topk(4 * k, dim=-1).values
    smallest = few.flatten().topk(k * len(pre)).values.min()
    values, indices = torch.where(pre.relu() < smallest, 0, pre.relu()).topk(4 * k, dim=-1)
    return torch.zeros_like(pre).scatter(-1, indices, values)


def stored(tensor: Tensor) -> Tensor:
    return tensor.contiguous().clone()


def save(tensors: dict[str, Tensor], file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: stored(tensor) for name, tensor in tensors.items()}, file)
