"""The catalogue: models and dictionaries that others have published, and how each stands on this machine.

Read from resources/catalogue.json; nothing here goes to the network.
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from engine.errors import LoupeError, RequestError
from engine.models import hub_store
from engine.models.cache import cache_root, read_json
from engine.models.hf_folder import read_folder
from engine.models.hub_cache import cached_snapshot
from engine.models.memory import estimate_bytes, total_bytes

What = Literal["model", "dictionary"]
Kind = Literal["model", "per-layer", "cross-layer"]
# In a folder that was put together from several repositories: the names of its files.
FILES = "files.json"
_BYTES = {"float32": 4, "bfloat16": 2}


@dataclass(frozen=True)
class PublishedEntry:
    """A published model or dictionary.

    `id`: what `load_model` or `load_features` takes once it is here. `model`: the id of the model that a dictionary is
    for (a model's own; "" where nobody says). `files`: names below `folder` of the repository; "*" stands for any part
    of a name. `follows`: repositories whose files the dictionary's config.yaml may name. `size_bytes`: about right,
    None where unknown; `download_size` asks for the exact one. `parameters`: numbers in all tensors, None where
    unknown. `obstacle`: why this program cannot open it yet, None where it can. `gated`: terms have to be accepted on
    its page. `path`: where it lies on this machine, whole. `partial_bytes`: of a download that was stopped.
    """

    id: str
    title: str
    what: What
    kind: Kind
    format: str
    model: str
    repository: str
    revision: str | None
    folder: str
    files: tuple[str, ...]
    follows: tuple[str, ...]
    size_bytes: int | None
    parameters: int | None
    layers: int | None
    width: int | None
    licence: str
    gated: bool
    chat: bool
    note: str
    obstacle: str | None
    path: Path | None = None
    partial_bytes: int = 0

    @property
    def downloadable(self) -> bool:
        """Whether its files are ones that this program fetches."""
        return bool(self.files)

    @property
    def page(self) -> str:
        """Where its licence and its description are."""
        return f"https://huggingface.co/{self.repository}"

    def memory_bytes(self, dtype: str = "float32") -> int | None:
        """Bytes to hold it whole in main memory in "float32" or "bfloat16", a dictionary together with its model.

        None where the one or the other is not known.
        """
        if self.parameters is None:
            return None
        if self.what == "model":
            return estimate_bytes(self.parameters, dtype)
        model = _catalogue()[self.model].memory_bytes(dtype) if self.model else None
        return None if model is None else model + self.parameters * _BYTES[dtype]

    def fits(self, dtype: str = "float32") -> bool | None:
        """Whether this machine has that much memory; None where it is not known how much that is."""
        needed = self.memory_bytes(dtype)
        return None if needed is None else needed <= total_bytes()


def published() -> list[PublishedEntry]:
    """Every entry of the catalogue, models first, with what of it is on this machine."""
    return [_on_this_machine(entry) for entry in _catalogue().values()]


def find_published(entry_id: str) -> PublishedEntry:
    """One entry, by its id in any case; `RequestError` where there is none."""
    entries = _catalogue()
    found = entries.get(entry_id) or next((one for one in entries.values() if one.id.lower() == entry_id.lower()), None)
    if found is None:
        raise RequestError(
            f"There is no {entry_id[:80]!r} in the catalogue; `circuit-loupe models` lists what there is."
        )
    return _on_this_machine(found)


def known_model(repository: str) -> PublishedEntry | None:
    """What the catalogue says about a model, whether it is here or not; None for one that it does not list."""
    entry = _catalogue().get(repository)
    return entry if entry is not None and entry.what == "model" else None


def downloaded_dictionary(entry_id: str) -> Path | None:
    """The folder of a published dictionary that is on this machine, whole; None where it is not, or no such id."""
    entry = _catalogue().get(entry_id)
    return None if entry is None or entry.what != "dictionary" else _dictionary_folder(entry)


def joined_folder(entry: PublishedEntry) -> Path:
    """Where a dictionary whose files lie in several repositories is put together."""
    return cache_root() / "dictionaries" / entry.id.replace("/", "--")


def state_file(entry: PublishedEntry) -> Path:
    """Where a download notes what belongs to it, so that a stopped one is known again."""
    return cache_root() / "downloads" / f"{entry.id.replace('/', '--')}.json"


def _on_this_machine(entry: PublishedEntry) -> PublishedEntry:
    path = _dictionary_folder(entry) if entry.what == "dictionary" else _model_folder(entry)
    return replace(entry, path=path, partial_bytes=_partial_bytes(entry) if path is None else 0)


def _model_folder(entry: PublishedEntry) -> Path | None:
    folder = cached_snapshot(entry.repository)
    if folder is None:
        return None
    try:
        return read_folder(folder).path
    except (LoupeError, OSError):
        return None


def _dictionary_folder(entry: PublishedEntry) -> Path | None:
    if entry.follows:
        folder: Path | None = joined_folder(entry)
        names: tuple[str, ...] = ()
        try:
            names = tuple(read_json(joined_folder(entry) / FILES))
        except (OSError, ValueError, TypeError):
            return None
    else:
        folder = hub_store.snapshot(entry.repository, entry.revision)
        folder, names = None if folder is None else folder / entry.folder, entry.files
    if folder is None or not names:
        return None
    return folder if all((folder / name).is_file() for name in names) else None


def _partial_bytes(entry: PublishedEntry) -> int:
    try:
        noted = read_json(state_file(entry), largest=1 << 22)
        return sum(hub_store.bytes_here(str(repository), map(str, digests)) for repository, digests in noted.items())
    except (OSError, ValueError, AttributeError, TypeError):
        return 0


@functools.cache
def _catalogue() -> dict[str, PublishedEntry]:
    text = (resources.files("resources") / "catalogue.json").read_text(encoding="utf-8")
    return read_catalogue(json.loads(text))


def read_catalogue(raw: dict[str, Any]) -> dict[str, PublishedEntry]:
    """The entries of a catalogue by id; ValueError or KeyError where it is not well made."""
    if raw["format"] != 1:
        raise ValueError("unknown format of the catalogue")
    entries: dict[str, PublishedEntry] = {}
    models = [_model(one, tuple(raw["model_files"])) for one in raw["models"]]
    known = {one.id: one for one in models}
    for entry in (*models, *(_dictionary(one, raw["formats"], known) for one in raw["dictionaries"])):
        if entry.id in entries:
            raise ValueError(f"{entry.id} is there twice")
        entries[entry.id] = entry
    return entries


def _model(raw: dict[str, Any], files: tuple[str, ...]) -> PublishedEntry:
    return PublishedEntry(
        id=raw["id"],
        title=raw["title"],
        what="model",
        kind="model",
        format=raw["model_type"],
        model=raw["id"],
        repository=raw["id"],
        revision=raw.get("revision"),
        folder="",
        files=files,
        follows=(),
        size_bytes=raw["size_bytes"],
        parameters=raw["parameters"],
        layers=None,
        width=None,
        licence=raw["licence"],
        gated=raw["gated"],
        chat=raw["chat"],
        note=raw.get("note", ""),
        obstacle=raw.get("obstacle"),
    )


def _dictionary(raw: dict[str, Any], formats: dict[str, Any], models: dict[str, PublishedEntry]) -> PublishedEntry:
    model = models[raw["model"]] if raw["model"] is not None else None
    obstacle = raw.get("obstacle") or formats[raw["format"]].get("obstacle")
    if obstacle is None and model is not None and model.obstacle is not None:
        obstacle = f"its model, {model.title}, cannot be opened: {model.obstacle}"
    files: list[str] = []
    for name in raw["files"]:
        files += [name.format(layer=layer) for layer in range(raw["layers"])] if "{layer}" in name else [name]
    return PublishedEntry(
        id=raw["id"],
        title=raw["title"],
        what="dictionary",
        kind=raw["kind"],
        format=formats[raw["format"]]["title"],
        model=model.id if model else "",
        repository=raw["repository"],
        revision=raw.get("revision"),
        folder=raw["folder"],
        files=tuple(files),
        follows=tuple(raw.get("follows", ())),
        size_bytes=raw["size_bytes"],
        parameters=_dictionary_parameters(raw),
        layers=raw["layers"],
        width=raw["width"],
        licence=raw["licence"],
        gated=raw["gated"],
        chat=False,
        note=raw.get("note") or "",
        obstacle=obstacle,
    )


def _dictionary_parameters(raw: dict[str, Any]) -> int | None:
    """Numbers in encoders, decoders and skips; biases and thresholds are too few to matter."""
    layers, width, d_model = raw["layers"], raw["width"], raw["d_model"]
    if layers is None or width is None or d_model is None:
        return None
    writes = layers if raw["kind"] == "per-layer" else layers * (layers + 1) // 2
    return int((layers + writes) * width * d_model + (layers * d_model * d_model if raw["skip"] else 0))
