"""What a safetensors file says it holds, checked before anything of it is read."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from engine.errors import RequestError

# safetensors' names: how NumPy holds the bytes, and what torch calls them.
KINDS: dict[str, tuple[Any, torch.dtype]] = {
    "F64": (np.float64, torch.float64),
    "F32": (np.float32, torch.float32),
    "F16": (np.float16, torch.float16),
    "BF16": (np.int16, torch.bfloat16),  # NumPy has no bfloat16: the same two bytes under another name
}
# Whole numbers, which stand for weights together with a scale a row (quantised.py).
WHOLE_KINDS: dict[str, Any] = {"I8": np.int8, "U8": np.uint8}
# A set of a hundred layers with every decoder apart names some five thousand tensors, in about a megabyte.
LARGEST_HEADER = 16 * 2**20
MOST_AXES = 4
_LAYER_IN_NAME = re.compile(r"(?:layers?|blocks|h)[._-]?[0-9]", re.IGNORECASE)


@dataclass(frozen=True)
class TensorPlace:
    """Where a tensor lies in its file; `start` is -1 where it has to be unpacked first."""

    kind: str
    shape: tuple[int, ...]
    start: int
    end: int

    @property
    def count(self) -> int:
        """How many numbers it has."""
        return count_of(self.shape)


def count_of(shape: tuple[int, ...]) -> int:
    """Numbers in a tensor of this shape."""
    count = 1
    for one in shape:
        count *= one
    return count


def printable(name: str, longest: int = 60) -> str:
    """A name out of a file as a sentence can hold it."""
    return "".join(one if one.isprintable() else "?" for one in name[:longest])


def label(path: Path) -> str:
    """A file's name in a sentence, with its folders up to the one that says which layer it is for."""
    parts = path.parts
    for length in range(1, min(len(parts), 5)):
        if _LAYER_IN_NAME.search(parts[-length]):
            return printable("/".join(parts[-length:]), 120)
    return printable(path.name, 120)


def read_header(path: Path) -> dict[str, TensorPlace]:
    """The tensors of a safetensors file, checked against its size; `RequestError` where it is damaged or cut short."""
    damaged = RequestError(f"{path} is damaged or cut short; get the dictionary again.")
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= size - 8:
                raise damaged
            if length > LARGEST_HEADER:
                raise RequestError(
                    f"The header of {path} claims {length / 1e6:.0f} MB, more than a dictionary's can be; "
                    "get the dictionary again."
                )
            header = json.loads(file.read(length))
    except (OSError, ValueError, RecursionError) as error:
        raise damaged from error
    if not isinstance(header, dict):
        raise damaged
    return {name: _place(entry, 8 + length, size, damaged) for name, entry in header.items() if name != "__metadata__"}


def _place(entry: Any, base: int, size: int, damaged: RequestError) -> TensorPlace:
    if not isinstance(entry, dict):
        raise damaged
    kind, shape, offsets = entry.get("dtype"), _sizes(entry.get("shape")), _sizes(entry.get("data_offsets"))
    if not isinstance(kind, str) or shape is None or offsets is None or len(offsets) != 2:
        raise damaged
    place = TensorPlace(kind, shape, base + offsets[0], base + offsets[1])
    width = np.dtype(KINDS[kind][0]).itemsize if kind in KINDS else 1 if kind in WHOLE_KINDS else None
    if not base <= place.start <= place.end <= size:
        raise damaged
    if width is not None and place.end - place.start != place.count * width:
        raise damaged
    return place


def _sizes(values: Any) -> tuple[int, ...] | None:
    """A short list of sizes, None where it is none."""
    if not isinstance(values, list) or len(values) > MOST_AXES:
        return None
    if not all(isinstance(one, int) and not isinstance(one, bool) and 0 <= one < 2**62 for one in values):
        return None
    return tuple(values)
