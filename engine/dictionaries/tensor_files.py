"""Opening a dictionary's safetensors files: shapes checked before anything is read, large sets left in their files."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from engine.dictionaries.matrices import FileMatrix, Matrix, TensorPlace, map_tensor, read_header
from engine.errors import RequestError
from engine.models.fingerprint import remembered_sha256
from engine.models.memory import available_bytes
from engine.progress import Progress, part

# A set is held in memory where it takes no more than this share of what is free; else rows are read as needed.
RESIDENT_SHARE = 1 / 3


@dataclass(frozen=True)
class Placement:
    """Where and how weights are held: device, number format, and whether matrices are read whole at once."""

    device: torch.device
    dtype: torch.dtype
    resident: bool

    @staticmethod
    def for_files(files: Iterable[TensorFile], like: Tensor) -> Placement:
        """In memory where the whole set fits well, for a model whose weights are like `like`."""
        width = torch.empty(0, dtype=like.dtype).element_size()
        needed = sum(file.count * width for file in files)
        resident = needed <= RESIDENT_SHARE * available_bytes(like.device)
        return Placement(like.device, like.dtype, resident)


class TensorFile:
    """One safetensors file whose header has been read and checked."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.places: dict[str, TensorPlace] = read_header(path)

    @property
    def count(self) -> int:
        """Numbers in all tensors together."""
        return sum(_count(place.shape) for place in self.places.values())

    def require(self, names: Sequence[str], of: str) -> None:
        """`RequestError` where one of the tensors is missing."""
        if missing := [name for name in names if name not in self.places]:
            held = ", ".join(sorted(self.places))[:200]
            raise RequestError(
                f"{self.path.name} lacks {', '.join(missing)}, which {of} needs; it holds {held or 'nothing'}."
            )

    def matrix(
        self, name: str, shape: Sequence[int], placement: Placement, origin: str = "", *, transposed: bool = False
    ) -> Matrix:
        """A tensor of the expected shape (after swapping its two axes, if `transposed`), read or mapped."""
        mapped = self._mapped(name, shape, placement, origin, transposed=transposed)
        return mapped.whole() if placement.resident else mapped

    def tensor(self, name: str, shape: Sequence[int], placement: Placement, origin: str = "") -> Tensor:
        """A small tensor of the expected shape, read at once."""
        return self._mapped(name, shape, placement, origin, transposed=False).whole()

    def thresholds(self, name: str, n: int, placement: Placement) -> Tensor:
        """JumpReLU's thresholds (n,), of which some files hold one for all."""
        place = self.places[name]
        if _count(place.shape) not in (1, n):
            raise RequestError(
                f"{name} of {self.path.name} is {place.shape}, but it has {n} features; get the dictionary again."
            )
        return self.tensor(name, place.shape, placement).reshape(-1).expand(n)

    def _mapped(
        self, name: str, shape: Sequence[int], placement: Placement, origin: str, *, transposed: bool
    ) -> FileMatrix:
        mapped = map_tensor(
            self.path, name, self.places[name], placement.device, placement.dtype, transposed=transposed
        )
        if mapped.shape != tuple(shape):
            raise RequestError(
                f"{name} of {self.path.name} is {self.places[name].shape}, but this model needs "
                f"{tuple(shape)[::-1] if transposed else tuple(shape)}; open the dictionary with the model it was made "
                f"for{f' ({origin})' if origin else ''}."
            )
        return mapped


def fingerprint_of(files: Sequence[Path], settings: object, progress: Progress, cancel: threading.Event | None) -> str:
    """sha256 over a set's files and how they are read; a file's own checksum is remembered until it changes."""
    digest = hashlib.sha256(repr(settings).encode())
    for number, file in enumerate(files):
        step = part(progress, number / len(files), (number + 1) / len(files))
        digest.update(f"{file.name}:{remembered_sha256(file, step, cancel)}\n".encode())
    return digest.hexdigest()


def _count(shape: Sequence[int]) -> int:
    count = 1
    for one in shape:
        count *= one
    return count
