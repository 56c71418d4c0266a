"""Opening a dictionary's weight files: shapes checked before anything is read, large sets left in their files."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from engine.dictionaries.matrices import FileMatrix, Matrix, map_tensor
from engine.dictionaries.quantised import SCALE, QuantisedMatrix, map_quantised
from engine.dictionaries.tensor_headers import TensorPlace, label, printable, read_header
from engine.errors import RequestError
from engine.models.fingerprint import remembered_sha256
from engine.models.memory import available_bytes
from engine.progress import Progress, part
from engine.sizes import byte_words

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
        held, free, width = list(files), available_bytes(like.device), like.element_size()
        # What is packed cannot be read row by row: it is unpacked, or the set cannot be read.
        if (packed := sum(file.packed_bytes for file in held)) > RESIDENT_SHARE * free:
            raise RequestError(
                f"The arrays of {label(held[0].path)} are compressed and need {byte_words(packed)} unpacked; save the "
                "files again with numpy.savez, uncompressed, so that rows can be read as needed."
            )
        return Placement(like.device, like.dtype, sum(file.count for file in held) * width <= RESIDENT_SHARE * free)

    def wide(self) -> Placement:
        """The same in float32 or wider: what folds scales into weights keeps their digits."""
        return replace(self, dtype=torch.promote_types(self.dtype, torch.float32))


class TensorFile:
    """One weight file whose header has been read and checked: safetensors, or what gives `places` and `unpack`."""

    def __init__(
        self,
        path: Path,
        places: dict[str, TensorPlace] | None = None,
        unpack: Callable[[str], np.ndarray] | None = None,
    ) -> None:
        self.path = path
        self.places = read_header(path) if places is None else places
        self._unpack = unpack

    @property
    def count(self) -> int:
        """Numbers in all tensors together; a byte holds two of 4 bits."""
        return sum(place.count * (2 if place.kind == "U8" else 1) for place in self.places.values())

    @property
    def packed_bytes(self) -> int:
        """Bytes that tensors which have to be unpacked will take."""
        return sum(place.end - place.start for place in self.places.values() if place.start < 0)

    def shape(self, name: str) -> tuple[int, ...]:
        """A tensor's shape as it is stored, () where there is none."""
        return self.places[name].shape if name in self.places else ()

    def length(self, name: str) -> int:
        """Length of a vector, as which the number of features is found; 0 where it is none."""
        shape = self.shape(name)
        return shape[0] if len(shape) == 1 else 0

    def require(self, names: Sequence[str], of: str) -> None:
        """`RequestError` where one of the tensors is missing."""
        if missing := [name for name in names if name not in self.places]:
            held = ", ".join(printable(name) for name in sorted(self.places)[:12])[:200]
            raise RequestError(
                f"{label(self.path)} lacks {', '.join(missing)}, which {of} needs; it holds {held or 'nothing'}."
            )

    def matrix(
        self, name: str, shape: Sequence[int], placement: Placement, origin: str = "", *, transposed: bool = False
    ) -> Matrix:
        """A tensor of the expected shape, read or mapped; `transposed` says that the layout stores it (d, n).

        Which way round it lies is found from its shape; the layout decides only where both ways fit. FVU then tells.
        """
        stored, expected = self.shape(name), tuple(shape)
        if name + SCALE in self.places:
            quantised = self._quantised(name, expected, placement)
            return quantised.whole() if placement.resident else quantised
        if len(expected) == 2 and expected[0] != expected[1] and stored in (expected, expected[::-1]):
            transposed = stored != expected
        mapped = self.mapped(name, expected, placement, origin, transposed=transposed)
        return mapped.whole() if placement.resident else mapped

    def tensor(self, name: str, shape: Sequence[int], placement: Placement, origin: str = "") -> Tensor:
        """A small tensor of the expected shape, read at once."""
        if name + SCALE in self.places:
            return self._quantised(name, shape, placement).whole()
        return self.mapped(name, shape, placement, origin).whole()

    def thresholds(self, name: str, n: int, placement: Placement) -> Tensor:
        """JumpReLU's thresholds (n,), of which some files hold one for all."""
        place = self.places[name]
        if place.count not in (1, n):
            raise RequestError(
                f"{name} of {label(self.path)} is {place.shape}, but it has {n} features; get the dictionary again."
            )
        return self.tensor(name, place.shape, placement).reshape(-1).expand(n)

    def _quantised(self, name: str, shape: Sequence[int], placement: Placement) -> QuantisedMatrix:
        """A matrix of whole numbers with its scales, mapped."""
        self.require([name], "a scale")
        scales = self.mapped(name + SCALE, shape[:1], placement.wide()).whole()
        place = self.places[name]
        return map_quantised(self.path, name, place, scales, shape, placement.device, placement.dtype)

    def mapped(
        self, name: str, shape: Sequence[int], placement: Placement, origin: str = "", *, transposed: bool = False
    ) -> FileMatrix:
        """A tensor of the expected shape, mapped; `RequestError` where it has another."""
        stored = self.shape(name)
        if stored != (tuple(shape)[::-1] if transposed else tuple(shape)):
            raise RequestError(
                f"{printable(name)} of {label(self.path)} is {stored}, but this model needs "
                f"{tuple(shape)[::-1] if transposed else tuple(shape)}; open the dictionary with the model it was made "
                f"for{f' ({origin})' if origin else ''}."
            )
        return map_tensor(
            self.path,
            name,
            self.places[name],
            placement.device,
            placement.dtype,
            transposed=transposed,
            unpack=self._unpack,
        )


def fingerprint_of(files: Sequence[Path], settings: object, progress: Progress, cancel: threading.Event | None) -> str:
    """sha256 over a set's files and how they are read; a file's own checksum is remembered until it changes."""
    digest = hashlib.sha256(repr(settings).encode())
    for number, file in enumerate(files):
        step = part(progress, number / len(files), (number + 1) / len(files))
        digest.update(f"{file.name}:{remembered_sha256(file, step, cancel)}\n".encode())
    return digest.hexdigest()
