"""The models found on this machine, without loading any of them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from engine.errors import LoupeError
from engine.models import prepared, published
from engine.models.cache import models_folder, read_json
from engine.models.family_names import FAMILY_NAMES
from engine.models.gguf_file import GgufFile
from engine.models.gguf_tokenizer import chat_template
from engine.models.gguf_weights import plan_conversion
from engine.models.hf_folder import read_folder
from engine.models.hub_cache import cached_models
from engine.models.memory import estimate_bytes, total_bytes
from engine.models.starters import STARTERS, Starter, starter_folder, starter_parts

Kind = Literal["starter", "folder", "gguf", "hub-cache"]


@dataclass(frozen=True)
class ModelEntry:
    """A model that `load_model(entry.id)` loads.

    `size_bytes`: weights on disk. `memory_bytes`: estimate to run it in float32. `fits`: this machine has that much
    memory in all; `fits_bfloat16`: as much as it takes in bfloat16. `prepared`: it loads at once, without being
    converted first.
    """

    id: str
    title: str
    family: str
    kind: Kind
    path: Path | None
    prepared: bool
    size_bytes: int
    memory_bytes: int
    licence: str
    fits: bool
    chat: bool
    fits_bfloat16: bool = False


def find_models(extra: Sequence[Path] = ()) -> list[ModelEntry]:
    """Starters, prepared models, what the user opened (`extra`), and what the local hub cache holds, in that order.

    What cannot be read, or is of a family that cannot be traced, is left out: opening it says why.
    """
    entries: dict[str, ModelEntry] = {}
    opened = {str(path.resolve()) for path in extra}
    for entry in (*_starters(), *_prepared(opened), *_opened(extra), *_downloaded()):
        entries.setdefault(entry.id, entry)
    return list(entries.values())


def _starters() -> Iterable[ModelEntry]:
    for starter in STARTERS:
        whole = prepared.damage(starter_folder(starter), checksums="never") is None
        parts = starter_parts(starter)
        if whole or parts:
            yield _starter_entry(starter, whole)


def _starter_entry(starter: Starter, whole: bool) -> ModelEntry:
    return ModelEntry(
        id=starter.id,
        title=starter.title,
        family=starter.family,
        kind="starter",
        path=starter_folder(starter) if whole else None,
        prepared=whole,
        size_bytes=2 * starter.n_parameters if whole else starter.size,
        **_memory(starter.n_parameters),
        licence=starter.licence,
        chat=starter.chat,
    )


def _prepared_folders() -> dict[str, Path]:
    """Folders of the cache that were made from a user's GGUF file, by the path of that file."""
    starters = {starter.id for starter in STARTERS}
    try:
        folders = sorted(path for path in models_folder().iterdir() if not path.name.startswith("."))
    except OSError:
        return {}
    manifests = {folder: prepared.read_manifest(folder) for folder in folders if folder.name not in starters}
    return {str(manifest["source"]): folder for folder, manifest in manifests.items() if manifest is not None}


def _prepared(opened: set[str]) -> Iterable[ModelEntry]:
    """What was made from GGUF files, those left out that are listed as files (`opened`)."""
    for source, folder in _prepared_folders().items():
        if source in opened:
            continue
        entry = _folder_entry(folder.name, folder, "gguf")
        manifest = prepared.read_manifest(folder)
        if entry is not None and manifest is not None:
            yield replace(entry, title=str(manifest.get("title", "")), licence=str(manifest.get("licence", "")))


def _opened(extra: Sequence[Path]) -> Iterable[ModelEntry]:
    for path in extra:
        entry = _folder_entry(str(path), path, "folder") if path.is_dir() else _gguf_entry(path)
        if entry is not None:
            yield entry


def _downloaded() -> Iterable[ModelEntry]:
    for name, folder in cached_models():
        entry = _folder_entry(name, folder, "hub-cache")
        if entry is not None:
            known = published.known_model(name)
            title, licence = (known.title, known.licence) if known else (name, entry.licence)
            yield replace(entry, title=title, licence=licence)


def _folder_entry(name: str, path: Path, kind: Kind) -> ModelEntry | None:
    try:
        folder = read_folder(path)
    except (LoupeError, OSError):
        return None
    if folder.model_type not in FAMILY_NAMES:
        return None
    return ModelEntry(
        id=name,
        title=path.name,
        family=FAMILY_NAMES[folder.model_type],
        kind=kind,
        path=path,
        prepared=True,
        size_bytes=folder.weight_bytes,
        **_memory(folder.n_parameters),
        licence="see the model's page",
        chat=_has_chat_template(path),
    )


def _memory(n_parameters: int) -> dict[str, Any]:
    """What a model of so many parameters needs, and whether it fits."""
    needed, total = estimate_bytes(n_parameters), total_bytes()
    fits_bfloat16 = estimate_bytes(n_parameters, "bfloat16") <= total
    return {"memory_bytes": needed, "fits": needed <= total, "fits_bfloat16": fits_bfloat16}


def _has_chat_template(path: Path) -> bool:
    """As the loader looks for it: a file of its own, or in the tokenizer's settings."""
    if (path / "chat_template.jinja").is_file():
        return True
    with contextlib.suppress(OSError, ValueError, AttributeError):
        return bool(read_json(path / "tokenizer_config.json").get("chat_template"))
    return False


def _gguf_entry(path: Path) -> ModelEntry | None:
    try:
        with GgufFile(path) as file:
            conversion = plan_conversion(file)
            template = chat_template(file)
            licence = file.metadata.get("general.license")
    except LoupeError:
        return None
    return ModelEntry(
        id=str(path),
        title=path.stem,
        family=FAMILY_NAMES[conversion.config["model_type"]],
        kind="gguf",
        path=path,
        prepared=str(path.resolve()) in _prepared_folders(),
        size_bytes=path.stat().st_size,
        **_memory(conversion.n_parameters),
        licence=licence[:60] if isinstance(licence, str) else "see the model's page",
        chat=template is not None,
    )
