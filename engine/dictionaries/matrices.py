"""Weights that may lie in memory or still in their file: rows are read when they are asked for.

A dictionary of many gigabytes holds a few thousand active features on one prompt; only their rows are ever needed,
and encoders only one layer at a time. Matrices are (n, d), a row a feature; decoders of features that write to W layers
(n, W, d).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from engine.dictionaries.tensor_headers import KINDS, TensorPlace, label, printable
from engine.errors import RequestError


class LazyMatrix(Protocol):
    """A matrix that gives rows when they are asked for."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, d) or (n, W, d)."""

    def rows(self, index: Tensor, place: int | None = None) -> Tensor:
        """(k, ...) rows of the first axis; with `place`, only that entry of the second axis (of three) is read."""

    def whole(self) -> Tensor:
        """All of it; let it go again soon."""


Matrix = Tensor | LazyMatrix


@dataclass(frozen=True)
class FileMatrix:
    """A tensor of a file, mapped and not read until its rows are needed."""

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
            return self._ready(np.ascontiguousarray(self.mapped[:, numbers].T))
        return self._ready(self.mapped[numbers] if place is None else self.mapped[numbers, place])

    def whole(self) -> Tensor:
        """The tensor itself; let it go again soon."""
        return self._ready(np.array(self.mapped.T if self.transposed else self.mapped, order="C"))

    def from_second(self, start: int, stop: int) -> FileMatrix:
        """Only the entries [start, stop) of the second axis (of three)."""
        shape = (self.shape[0], stop - start, self.shape[2])
        part = self.mapped[:, start:stop]
        return FileMatrix(self.path, self.name, shape, self.dtype, part, self.device, self.target)

    def from_first(self, start: int, stop: int) -> FileMatrix:
        """Only the rows [start, stop)."""
        part = self.mapped[:, start:stop] if self.transposed else self.mapped[start:stop]
        shape = (stop - start, *self.shape[1:])
        return FileMatrix(self.path, self.name, shape, self.dtype, part, self.device, self.target, self.transposed)

    def _ready(self, values: np.ndarray) -> Tensor:
        tensor = torch.from_numpy(np.ascontiguousarray(values))
        if self.dtype is torch.bfloat16:
            tensor = tensor.view(torch.bfloat16)
        tensor = tensor.to(device=self.device, dtype=self.target)
        # Checked after the conversion: a float64 number may be finite and too large for the model's format.
        if not torch.isfinite(tensor).all():
            raise RequestError(
                f"{printable(self.name)} of {label(self.path)} holds numbers that are not finite; get the dictionary "
                "again."
            )
        return tensor


@dataclass(frozen=True)
class ScaledMatrix:
    """A matrix (n, d) times a factor for each row and each column, as norms and scales are folded into weights."""

    matrix: Matrix
    name: str  # which matrix of which file, for a sentence about it
    by_row: Tensor | None = None  # (n,)
    by_column: Tensor | None = None  # (d,)

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, d)."""
        return tuple(self.matrix.shape)

    def rows(self, index: Tensor, place: int | None = None) -> Tensor:
        """(k, d) rows, scaled."""
        assert place is None
        return self._scaled(take_rows(self.matrix, index), None if self.by_row is None else self.by_row[index])

    def whole(self) -> Tensor:
        """(n, d), scaled."""
        return self._scaled(in_memory(self.matrix), self.by_row)

    def _scaled(self, rows: Tensor, by_row: Tensor | None) -> Tensor:
        if by_row is not None:
            rows = rows * by_row[:, None]
        if self.by_column is not None:
            rows = rows * self.by_column
        if not torch.isfinite(rows).all():
            raise RequestError(
                f"{self.name} times its norms and scales is not finite in {rows.dtype}; get the dictionary again."
            )
        return rows


@dataclass(frozen=True)
class SummedMatrix:
    """The sum of matrices (n, d), as where a feature is written by two decoders at one place."""

    parts: tuple[Matrix, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, d)."""
        return tuple(self.parts[0].shape)

    def rows(self, index: Tensor, place: int | None = None) -> Tensor:
        """(k, d) rows."""
        assert place is None
        return torch.stack([take_rows(part, index) for part in self.parts]).sum(0)

    def whole(self) -> Tensor:
        """(n, d)."""
        return torch.stack([in_memory(part) for part in self.parts]).sum(0)


@dataclass(frozen=True)
class StackedMatrix:
    """(n, W, d) out of W matrices (n, d), one for each layer written, wherever they lie; tied ones lie there once."""

    parts: tuple[Matrix, ...]

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """(n, W, d)."""
        n, d = self.parts[0].shape
        return (int(n), len(self.parts), int(d))

    def rows(self, index: Tensor, place: int | None = None) -> Tensor:
        """(k, W, d) rows, or (k, d) of the place asked for."""
        if place is not None:
            return take_rows(self.parts[place], index)
        return torch.stack([take_rows(part, index) for part in self.parts], dim=1)

    def whole(self) -> Tensor:
        """(n, W, d)."""
        return torch.stack([in_memory(part) for part in self.parts], dim=1)


def take_rows(matrix: Matrix, index: Tensor, place: int | None = None) -> Tensor:
    """Rows of a matrix wherever it lies."""
    if isinstance(matrix, Tensor):
        return matrix[index] if place is None else matrix[index, place]
    return matrix.rows(index, place)


def in_memory(matrix: Matrix) -> Tensor:
    """The whole matrix wherever it lies."""
    return matrix if isinstance(matrix, Tensor) else matrix.whole()


def transposed(matrix: Matrix) -> Tensor:
    """A square matrix, or a stack of square ones, with its rows and columns exchanged."""
    return in_memory(matrix).transpose(0, -1)


def map_tensor(
    path: Path,
    name: str,
    place: TensorPlace,
    device: torch.device,
    dtype: torch.dtype,
    *,
    transposed: bool = False,
    unpack: Callable[[str], np.ndarray] | None = None,
) -> FileMatrix:
    """Map a tensor of a checked header; rows come out on `device` in `dtype`. `transposed` swaps its two axes.

    `unpack` gives the arrays that cannot be mapped.
    """
    if place.kind not in KINDS:
        raise RequestError(
            f"{printable(name)} of {label(path)} holds {printable(place.kind, 20)} numbers; floating-point weights are "
            "needed."
        )
    if not place.count:
        raise RequestError(f"{printable(name)} of {label(path)} is empty; get the dictionary again.")
    raw, kind = KINDS[place.kind]
    if place.start < 0:
        assert unpack is not None
        mapped = unpack(name)
    else:
        mapped = np.memmap(path, dtype=raw, mode="r", offset=place.start, shape=place.shape)
    shape = place.shape[::-1] if transposed else place.shape
    return FileMatrix(path, name, shape, kind, mapped, device, dtype, transposed)
