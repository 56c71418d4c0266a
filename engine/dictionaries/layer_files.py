"""Which weight files a folder holds, and which layer each of them is for."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import torch

from engine.dictionaries.npz_files import open_npz
from engine.dictionaries.settings_files import Settings
from engine.dictionaries.tensor_files import TensorFile, fingerprint_of
from engine.dictionaries.tensor_headers import printable
from engine.dictionaries.transcoder_set import TranscoderFeatures
from engine.dictionaries.transcoders import Transcoder
from engine.errors import RequestError
from engine.models.weights import ModelWeights
from engine.progress import Progress

ENDINGS = (".safetensors", ".npz")
MOST_FILES = 20_000
# How many files are opened to find out what a folder holds: one may be damaged, or belong to something else.
_SAMPLE = 3
_LAYER = re.compile(r"(?:^|[^a-z0-9])layer[_-]?([0-9]{1,4})(?![0-9])", re.IGNORECASE)


def weight_files(path: Path, ending: str | None = None) -> list[Path]:
    """Weight files at or below a path, in order of their names; links to folders are not followed."""
    endings = (ending,) if ending else ENDINGS
    if path.is_file():
        return [path] if path.suffix in endings else []
    found: list[Path] = []
    for folder, folders, names in os.walk(path):
        folders.sort()
        found += [Path(folder) / name for name in sorted(names) if name.endswith(endings)]
        if len(found) > MOST_FILES:
            raise RequestError(f"{path} holds more weight files than a dictionary; open the dictionary's own folder.")
    return found


def open_weights(path: Path) -> TensorFile:
    """A weight file with its header checked."""
    return open_npz(path) if path.suffix == ".npz" else TensorFile(path)


def sample(path: Path, ending: str) -> Iterator[TensorFile]:
    """The first readable weight files below a path, to tell a format by."""
    for file in weight_files(path, ending)[:_SAMPLE]:
        try:
            yield open_weights(file)
        except RequestError:
            continue


def holds(path: Path, ending: str, names: Sequence[str]) -> bool:
    """Whether one of the first files has all of these tensors."""
    return any(all(name in file.places for name in names) for file in sample(path, ending))


def layer_in(path: Path, root: Path) -> int | None:
    """The layer that a file's name, or a folder between it and the root or the root's own name, gives."""
    parts = [root.name, *path.relative_to(root).parts] if path != root else [root.parent.name, root.name]
    for part in reversed(parts):
        if found := _LAYER.findall(part):
            return int(found[-1])
    return None


def files_by_layer(path: Path, ending: str, config: Settings, n_layers: int) -> dict[int, Path]:
    """A file for each layer: from config.yaml's list where it has one, else by the layers in the files' names."""
    root = path if path.is_dir() else path.parent
    listed = config.texts("transcoders") if path.is_dir() else []
    listed = [one for one in listed if one.split("?")[0].endswith(ENDINGS)]
    if listed:
        return checked_layers(((at, _local(root, one)) for at, one in enumerate(listed)), n_layers, config.path.name)
    named = [(layer_in(file, path), file) for file in weight_files(path, ending)]
    for layer, file in named:
        if layer is None:
            raise RequestError(f"{file} does not say which layer it is for; its name or its folder's must, as layer_0.")
    return checked_layers(((layer, file) for layer, file in named if layer is not None), n_layers, path.name)


def checked_layers(pairs: Iterable[tuple[int, Path]], n_layers: int, name: str, origin: str = "") -> dict[int, Path]:
    """Files by layer; `RequestError` for a layer the model lacks, and for two dictionaries of one layer."""
    found: dict[int, Path] = {}
    for layer, file in pairs:
        if layer in found:
            raise RequestError(
                f"{name} holds more than one dictionary for layer {layer} ({_short(found[layer])} and {_short(file)}); "
                "keep one a layer in a folder of its own, or list one a layer in config.yaml."
            )
        if layer >= n_layers:
            raise RequestError(
                f"This dictionary has a file for layer {layer}, but the model has {n_layers} layers; open the "
                f"dictionary with the model it was made for{f' ({origin})' if origin else ''}."
            )
        found[layer] = file
    if not found:
        raise RequestError(f"{name} holds no weight files; get the dictionary again.")
    return dict(sorted(found.items()))


def assemble(
    path: Path,
    transcoders: Mapping[int, Transcoder],
    files: Sequence[Path],
    settings: object,
    weights: ModelWeights,
    progress: Progress,
    cancel: threading.Event | None,
) -> TranscoderFeatures:
    """A set out of its layers; where a layer has none, what its MLP writes is error."""
    for layer, one in transcoders.items():
        for name in ("b_enc", "b_dec", "w_skip", "offset"):
            folded = getattr(one, name)
            if folded is not None and not torch.isfinite(folded).all():
                raise RequestError(
                    f"{name} of layer {layer} in {path.name} is not finite once norms and scales are folded into it; "
                    "get the dictionary again."
                )
    fingerprint = fingerprint_of(files, (settings, sorted(transcoders)), progress, cancel)
    layers = [transcoders.get(layer) for layer in range(weights.n_layers)]
    return TranscoderFeatures(path.name, fingerprint, layers, [layer.mlp_gain for layer in weights.layers])


def _short(file: Path) -> str:
    return printable("/".join(file.parts[-3:]), 120)


def _local(root: Path, entry: str) -> Path:
    """Where a listed file lies: its path inside its repository, taken below the folder; never outside of it."""
    inside = entry.split("?")[0]
    if inside.startswith("hf://"):
        inside = "/".join(inside.removeprefix("hf://").split("/")[2:])
    parts = [part for part in inside.replace("\\", "/").split("/") if part not in ("", ".")]
    if ".." in parts or not parts or Path(inside).is_absolute():
        raise RequestError(f"config.yaml lists {printable(entry)}, which is no file of its folder; correct it.")
    file = root.joinpath(*parts)
    if not file.is_file():
        raise RequestError(f"config.yaml lists {printable('/'.join(parts), 120)}, which {root.name} lacks; get it too.")
    return file
