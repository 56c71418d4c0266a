"""Looks at a Hugging Face model folder before anything is loaded: is it whole, safe, of a known kind, and how large?

Only safetensors are read: other weight files are pickles, which can run code. Nothing here needs torch.
"""

from __future__ import annotations

import json
import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.errors import MachineError, RequestError
from engine.models.cache import read_json
from engine.models.text_part import text_config, text_names

_LARGEST_HEADER = 32 << 20  # bytes; a file of a thousand layers has a tenth of that
_INDEX = "model.safetensors.index.json"
_SINGLE = "model.safetensors"
_ITEM_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
_PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")


@dataclass(frozen=True)
class ModelFolder:
    """What a model folder says of its text model. `shapes`: tensor name -> shape, from the weight files' headers."""

    path: Path
    config: dict[str, Any]
    model_type: str
    weight_files: tuple[Path, ...]
    weight_bytes: int
    shapes: dict[str, tuple[int, ...]]
    stored_names: dict[str, str]  # the same tensors' names in the files

    @property
    def n_parameters(self) -> int:
        """Numbers in all tensors together."""
        return sum(math.prod(shape) for shape in self.shapes.values())

    @property
    def fingerprinted_files(self) -> tuple[Path, ...]:
        """The files that make the numbers."""
        return (*self.weight_files, self.path / "config.json", self.path / "tokenizer.json")


def read_config(path: Path) -> dict[str, Any]:
    """config.json of a model folder; of one with a vision part, the config of its text model.

    Raises
    ------
    RequestError
        There is none, or it is damaged.
    """
    return _read_config(path)[1]


def _read_config(path: Path) -> tuple[str, dict[str, Any]]:
    """The `model_type` of the whole, and the config of its text model."""
    try:
        config = read_json(path / "config.json", largest=16 << 20)
    except FileNotFoundError as error:
        raise RequestError(
            f"{path} holds no config.json, so it is no model folder; choose the folder that holds config.json and "
            "model.safetensors."
        ) from error
    except ValueError as error:
        raise RequestError(f"{path / 'config.json'} is damaged; fetch the model again.") from error
    except OSError as error:
        raise _unreadable(path / "config.json", error) from error
    if not isinstance(config, dict) or not isinstance(config.get("model_type"), str):
        raise RequestError(f"{path / 'config.json'} does not say which model it is for; fetch the model again.")
    try:
        return config["model_type"], text_config(config)
    except ValueError as error:
        raise RequestError(
            f"{path / 'config.json'} does not describe the text model in it; fetch the model again."
        ) from error


def read_folder(path: Path) -> ModelFolder:
    """Check a model folder from its config and the headers of its weights.

    Raises
    ------
    RequestError
        A file is missing or damaged, or the weights are of a kind that is not read: pickled, quantised.
    MachineError
        A file is there but cannot be read.
    """
    if not path.is_dir():
        raise RequestError(f"There is no folder {path}; check the path.")
    stored_type, config = _read_config(path)
    if config.get("quantization_config"):
        raise RequestError(
            f"The weights in {path} are quantised, and tracing needs plain ones; fetch the model's unquantised edition."
        )
    if not (path / "tokenizer.json").is_file():
        raise RequestError(f"{path} holds no tokenizer.json; fetch the model again with all of its files.")
    files = _weight_files(path)
    shapes: dict[str, tuple[int, ...]] = {}
    for file in files:
        try:
            found = _read_header(file)
        except OSError as error:
            raise _unreadable(file, error) from error
        if shapes.keys() & found.keys():
            raise RequestError(f"{file} repeats a tensor of another file; fetch the model again.")
        shapes |= found
    try:
        names = text_names(shapes, stored_type)
    except ValueError as error:
        raise RequestError(f"{path} holds a tensor under two names ({error}); fetch the model again.") from error
    texts = {name: shapes[stored] for name, stored in names.items()}
    size = sum(file.stat().st_size for file in files)
    return ModelFolder(path, config, config["model_type"], files, size, texts, names)


def _weight_files(path: Path) -> tuple[Path, ...]:
    if (path / _SINGLE).is_file():
        return (path / _SINGLE,)
    if not (path / _INDEX).is_file():
        if any(file for pattern in _PICKLED for file in path.glob(pattern)):
            raise RequestError(
                f"The weights in {path} are pickled, and such files can run code when they are opened; fetch the "
                "model's safetensors edition."
            )
        raise RequestError(f"{path} holds no weights; it needs model.safetensors.")
    try:
        index = read_json(path / _INDEX)
        names = sorted(set(index["weight_map"].values()))
    except OSError as error:
        raise _unreadable(path / _INDEX, error) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RequestError(f"{path / _INDEX} is damaged; fetch the model again.") from error
    for name in names:
        # A name may come from anyone: only files of this very folder are opened.
        if not isinstance(name, str) or Path(name).name != name or not name.endswith(".safetensors"):
            raise RequestError(f"{path / _INDEX} names a file that is not beside it; fetch the model again.")
        if not (path / name).is_file():
            raise RequestError(f"{name} is missing in {path}; fetch the model again with all of its files.")
    if not names:
        raise RequestError(f"{path / _INDEX} is damaged; fetch the model again.")
    return tuple(path / name for name in names)


def _read_header(file: Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes in a safetensors file whose bytes are all there."""
    size = file.stat().st_size
    with file.open("rb") as stream:
        start = stream.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        if not 2 <= length <= min(size - 8, _LARGEST_HEADER):
            raise _damaged(file)
        text = stream.read(length)
    try:
        header = json.loads(text)
        entries = {name: _entry(value) for name, value in header.items() if name != "__metadata__"}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _damaged(file) from error
    # The tensors fill the rest of the file without gaps or overlaps: a file that was cut short shows here.
    at = 0
    for begin, end, _ in sorted(entries.values()):
        if begin != at:
            raise _damaged(file)
        at = end
    if at != size - 8 - length:
        raise _damaged(file)
    return {name: shape for name, (_, _, shape) in entries.items()}


def _entry(value: dict[str, Any]) -> tuple[int, int, tuple[int, ...]]:
    shape = tuple(value["shape"])
    begin, end = value["data_offsets"]
    if not all(isinstance(number, int) and number >= 0 for number in (*shape, begin, end)):
        raise ValueError("not a whole number")
    if end - begin != math.prod(shape) * _ITEM_BYTES[value["dtype"]]:
        raise ValueError("size and shape differ")
    return begin, end, shape


def _damaged(file: Path) -> RequestError:
    return RequestError(f"{file} is damaged or cut short, or its numbers are not plain ones; fetch the model again.")


def _unreadable(file: Path, error: OSError) -> MachineError:
    return MachineError(f"{file} cannot be read ({error.strerror}); check that you may read it.")
