"""Weights that may lie in memory or still in their file: rows are read when they are asked for.

A dictionary of many gigabytes holds a few thousand active features on one prompt; only their rows are ever needed,
and encoders only one layer at a time.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from engine.errors import RequestError

# safetensors' names: how NumPy holds the bytes, and what torch calls them.
_KINDS: dict[str, tuple[Any, torch.dtype]] = {
    "F64": (np.float64, torch.float64),
    "F32": (np.float32, torch.float32),
    "F16": (np.float16, torch.float16),
    "BF16": (np.int16, torch.bfloat16),  # NumPy has no bfloat16: the same two bytes under another name
}
LARGEST_HEADER = 100 * 2**20


@dataclass(frozen=True)
class FileMatrix:
    """A tensor of a safetensors file, mapped and not read. `select` fixes a place on the second axis (of three)."""

    path: Path
    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    mapped: np.ndarray
    device: torch.device
    target: torch.dtype
    transposed: bool = False

    def rows(self, index: Tensor, place: int | None = None) -> Tensor:
        """(k, ...) rows of the first axis; with `place`, only that entry of the second axis is read."""
        numbers = index.cpu().numpy()
        if self.transposed:
            picked = np.ascontiguousarray(self.mapped[:, numbers].T)
        else:
            picked = self.mapped[numbers] if place is None else self.mapped[numbers, place]
        return self._ready(picked)

    def whole(self) -> Tensor:
        """The tensor itself; let it go again soon."""
        return self._ready(np.array(self.mapped.T if self.transposed else self.mapped))

    def _ready(self, values: np.ndarray) -> Tensor:
        tensor = torch.from_numpy(np.ascontiguousarray(values))
        if self.dtype is torch.bfloat16:
            tensor = tensor.view(torch.bfloat16)
        if not torch.isfinite(tensor).all():
            raise RequestError(
                f"{self.name} of {self.path.name} holds numbers that are not finite; get the dictionary again."
            )
        return tensor.to(device=self.device, dtype=self.target)


Matrix = Tensor | FileMatrix


def take_rows(matrix: Matrix, index: Tensor, place: int | None = None) -> Tensor:
    """Rows of a matrix wherever it lies."""
    if isinstance(matrix, FileMatrix):
        return matrix.rows(index, place)
    return matrix[index] if place is None else matrix[index, place]


def in_memory(matrix: Matrix) -> Tensor:
    """The whole matrix wherever it lies."""
    return matrix.whole() if isinstance(matrix, FileMatrix) else matrix


@dataclass(frozen=True)
class TensorPlace:
    """Where a tensor lies in a safetensors file."""

    kind: str
    shape: tuple[int, ...]
    start: int
    end: int


def read_header(path: Path) -> dict[str, TensorPlace]:
    """The tensors of a safetensors file, checked against its size; `RequestError` where it is damaged or cut short."""
    damaged = RequestError(f"{path} is damaged or cut short; get the dictionary again.")
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= min(LARGEST_HEADER, size - 8):
                raise damaged
            header = json.loads(file.read(length))
    except (OSError, ValueError, RecursionError) as error:
        raise damaged from error
    if not isinstance(header, dict):
        raise damaged
    places = {}
    for name, entry in header.items():
        if name != "__metadata__":
            places[str(name)] = _place(entry, 8 + length, size, damaged)
    return places


def _place(entry: Any, base: int, size: int, damaged: RequestError) -> TensorPlace:
    try:
        kind, shape = str(entry["dtype"]), tuple(int(one) for one in entry["shape"])
        start, end = (base + int(one) for one in entry["data_offsets"])
    except (KeyError, TypeError, ValueError) as error:
        raise damaged from error
    width = np.dtype(_KINDS[kind][0]).itemsize if kind in _KINDS else None
    count = int(np.prod([max(one, 0) for one in shape], dtype=object)) if shape else 1
    if (
        not base <= start <= end <= size
        or (width is not None and end - start != count * width)
        or min(shape, default=0) < 0
    ):
        raise damaged
    return TensorPlace(kind, shape, start, end)


def map_tensor(
    path: Path, name: str, place: TensorPlace, device: torch.device, dtype: torch.dtype, *, transposed: bool = False
) -> FileMatrix:
    """Map a tensor of a checked header; rows come out on `device` in `dtype`. `transposed` swaps its two axes."""
    if place.kind not in _KINDS:
        raise RequestError(f"{name} of {path.name} holds {place.kind} numbers; floating-point weights are needed.")
    raw, kind = _KINDS[place.kind]
    mapped = np.memmap(path, dtype=raw, mode="r", offset=place.start, shape=place.shape)
    shape = place.shape[::-1] if transposed else place.shape
    return FileMatrix(path, name, shape, kind, mapped, device, dtype, transposed)
