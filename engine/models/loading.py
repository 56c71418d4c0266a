"""`load_model`: from what a user names (nothing, an id, a folder, a file) to a ready model. Never the network."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path

from engine.errors import MachineError, RequestError
from engine.models import prepared
from engine.models.cache import models_folder
from engine.models.devices import choose_device, choose_dtype
from engine.models.family_names import FAMILY_NAMES
from engine.models.fingerprint import folder_fingerprint, remembered_sha256
from engine.models.hf_folder import ModelFolder, read_config, read_folder
from engine.models.hub_cache import cached_snapshot
from engine.models.language_model import LanguageModel
from engine.models.memory import require_memory
from engine.models.starters import STARTER_ID, STARTERS, Starter, find_starter, prepare_starter, starter_folder
from engine.progress import Progress, checkpoint, part, silent


@dataclass(frozen=True)
class _Located:
    """A model folder that is there, under the name a user knows. `prepared`: one of ours, with a manifest."""

    name: str
    folder: Path
    prepared: bool


def load_model(
    source: str | Path | None = None,
    *,
    device: str = "auto",
    dtype: str = "float32",
    progress: Progress = silent,
    cancel: threading.Event | None = None,
) -> LanguageModel:
    """Load a language model.

    Parameters
    ----------
    source:
        None: the starter. Else the id of a starter or of a model prepared before, a Hugging Face folder, a GGUF file
        (prepared into the cache on the first call), or a hub id that the local hub cache holds.
    device:
        "auto" (cuda, then mps, then cpu), "cpu", "cuda", "cuda:1", "mps".
    dtype:
        "float32" or "bfloat16": what the model computes in.
    progress, cancel:
        See engine/progress.py.

    Raises
    ------
    RequestError
        No such model, damaged files, or a family that is not known.
    MachineError
        Too little memory, no such device, disk full or not writable.
    Cancelled
        The user asked to stop.
    """
    torch_device, torch_dtype = choose_device(device), choose_dtype(dtype)
    located = _locate(source, part(progress, 0.0, 0.7), cancel)
    checkpoint(cancel)
    _require_known_family(read_config(located.folder), located.name)
    folder = read_folder(located.folder)
    require_memory(located.name, folder.n_parameters, dtype, torch_device)
    fingerprint = _fingerprint(located, folder, part(progress, 0.7, 0.8), cancel)
    # Late: these bring torch, which a wrong request never needs.
    from engine.models.tokenizer_files import load_tokenizer
    from engine.models.weight_files import read_weights

    weights = read_weights(folder, torch_dtype, torch_device, part(progress, 0.8, 0.95), cancel)
    checkpoint(cancel)
    progress("Loading the tokenizer", 0.95)
    tokenizer = load_tokenizer(folder, weights.vocab_size)
    progress("Loaded", 1.0)
    return LanguageModel(
        weights,
        tokenizer,
        name=located.name,
        source=STARTER_ID if source is None else str(source),
        fingerprint=fingerprint,
    )


def _locate(source: str | Path | None, progress: Progress, cancel: threading.Event | None) -> _Located:
    name = STARTER_ID if source is None else str(source)
    starter = find_starter(name)
    if starter is not None:
        return _starter(starter, progress, cancel)
    path = Path(name).expanduser()
    if path.is_dir():
        return _from_folder(path.resolve(), progress, cancel)
    if path.is_file():
        return _from_file(path, progress, cancel)
    if isinstance(source, str):
        if Path(name).name == name and (models_folder() / name).is_dir():
            return _from_folder(models_folder() / name, progress, cancel)
        snapshot = cached_snapshot(name)
        if snapshot is not None:
            return _Located(name, snapshot, False)
    raise RequestError(
        f"No model {name!r} was found on this machine; give {STARTER_ID}, a model folder, a .gguf file, or a hub id "
        "that was downloaded before."
    )


def _starter(starter: Starter, progress: Progress, cancel: threading.Event | None) -> _Located:
    return _Located(starter.id, prepare_starter(starter.id, progress, cancel), True)


def _from_folder(path: Path, progress: Progress, cancel: threading.Event | None) -> _Located:
    """A model folder; one of the cache's own is made again where it is damaged and its file is still there."""
    ours = path.parent == models_folder().resolve()
    starter = find_starter(path.name) if ours else None
    if starter is not None:
        return _starter(starter, progress, cancel)
    manifest = prepared.read_manifest(path)
    if manifest is None:
        if ours:
            raise RequestError(f"The prepared model {path.name} is damaged; open its GGUF file again.")
        return _Located(path.name, path, False)
    what = prepared.damage(path, cancel=cancel)
    if what is None:
        return _Located(str(manifest.get("title", path.name)), path, True)
    origin = Path(str(manifest.get("source", "")))
    if ours and origin.is_file():
        return _from_file(origin, progress, cancel)
    raise RequestError(f"The prepared model in {path} is damaged ({what}); open its GGUF file again.")


def _from_file(path: Path, progress: Progress, cancel: threading.Event | None) -> _Located:
    """A GGUF file: prepared under its checksum, so that the same file is prepared once wherever it lies."""
    if path.suffix == ".safetensors":
        raise RequestError(f"{path.name} is one file of a model; choose the folder that holds it and config.json.")
    if not _starts_as_gguf(path):
        raise RequestError(f"{path.name} is not a GGUF file; choose a file that ends in .gguf, or a model folder.")
    digest = remembered_sha256(path, part(progress, 0.0, 0.1), cancel)
    for starter in STARTERS:
        if digest == starter.sha256 and prepared.damage(starter_folder(starter), cancel=cancel) is None:
            return _Located(starter.id, starter_folder(starter), True)
    folder = models_folder() / f"{path.stem}-{digest[:12]}"
    if prepared.damage(folder, cancel=cancel) is not None:
        origin = prepared.Origin(path.stem, str(path.resolve()), digest, "see the model's page", {})
        prepared.prepare_gguf(path, folder, origin, part(progress, 0.1, 1.0), cancel)
    return _Located(path.stem, folder, True)


def _starts_as_gguf(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(4) == b"GGUF"
    except OSError as error:
        raise MachineError(f"{path} cannot be read ({error.strerror}); check that you may read it.") from error


def _fingerprint(located: _Located, folder: ModelFolder, progress: Progress, cancel: threading.Event | None) -> str:
    if located.prepared:
        return prepared.prepared_fingerprint(located.folder)
    return folder_fingerprint(folder.fingerprinted_files, progress, cancel)


def _require_known_family(config: dict[str, object], name: str) -> None:
    if config["model_type"] not in FAMILY_NAMES:
        raise RequestError(
            f"{name} is of the family {str(config['model_type'])[:40]!r}, which cannot be traced yet; "
            f"open one of: {', '.join(sorted(FAMILY_NAMES))}."
        )
