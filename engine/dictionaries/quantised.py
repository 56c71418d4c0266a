"""Matrices stored as whole numbers of 8 or 4 bits with a scale a row, read by rows as others are.

A tensor W (n, d) with a companion `W.scale` (n,) in floats: I8 numbers (n, d), or U8 bytes (n, d / 2) of two 4-bit
numbers each, plus 8, the first in the lower half. W[i, j] = number * scale[i]. This program's own storage; others read
the float ones. Written by engine/training/export.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from engine.dictionaries.tensor_headers import WHOLE_KINDS, TensorPlace, label, printable
from engine.errors import RequestError

SCALE = ".scale"


@dataclass(frozen=True)
class QuantisedMatrix:
    """A mapped matrix of whole numbers; rows come out as floats in `target` on `device`."""

    shape: tuple[int, ...]  # (n, d)
    mapped: np.ndarray  # (n, d) int8, or (n, d / 2) uint8
    scales: Tensor  # (n,) float32 on the processor
    device: torch.device
    target: torch.dtype

    def rows(self, index: Tensor, place: int | None = None) -> Tensor:
        """(k, d) rows."""
        assert place is None
        numbers = index.cpu()
        return self._ready(self.mapped[numbers.numpy()], self.scales[numbers])

    def whole(self) -> Tensor:
        """(n, d)."""
        return self._ready(self.mapped, self.scales)

    def _ready(self, stored: np.ndarray, scales: Tensor) -> Tensor:
        raw = torch.from_numpy(np.array(stored))
        if raw.dtype is torch.uint8:
            numbers = torch.stack([raw & 15, raw >> 4], dim=-1).flatten(-2).float() - 8
        else:
            numbers = raw.float()
        return (numbers * scales[:, None]).to(device=self.device, dtype=self.target)


def map_quantised(
    path: Path,
    name: str,
    place: TensorPlace,
    scales: Tensor,
    shape: Sequence[int],
    device: torch.device,
    dtype: torch.dtype,
) -> QuantisedMatrix:
    """Map a tensor of whole numbers that stands for `shape` (n, d); `RequestError` where it does not."""
    n, d = shape
    stored = (n, d) if place.kind == "I8" else (n, d // 2)
    if place.kind not in WHOLE_KINDS or place.shape != stored or (place.kind == "U8" and d % 2) or not n:
        raise RequestError(
            f"{printable(name)} of {label(path)} has a scale a row, but holds {printable(place.kind, 20)} "
            f"{place.shape}; 8-bit numbers {n, d} or 4-bit pairs {n, d // 2} are needed; get the dictionary again."
        )
    mapped = np.memmap(path, dtype=WHOLE_KINDS[place.kind], mode="r", offset=place.start, shape=stored)
    return QuantisedMatrix((n, d), mapped, scales.float().cpu(), device, dtype)
