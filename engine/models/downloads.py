"""Downloads of the catalogue's models and dictionaries: started by the user, the size known before, stopped at will.

Models and dictionaries go into the hub's own cache, where `find_models` and other programs find them. This is the only
part of the program that goes to the network, and only inside `download_size` and `download`.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from engine.errors import MachineError, RequestError
from engine.models import hub_store
from engine.models.cache import machine_errors, new_folder, write_json
from engine.models.hub_cache import hub_folder
from engine.models.published import (
    FILES,
    PublishedEntry,
    downloaded_dictionary,
    find_published,
    joined_folder,
    state_file,
)
from engine.progress import Progress, checkpoint, silent
from engine.sizes import byte_words

if TYPE_CHECKING:
    from engine.models.hub_client import Hub, Listing, RemoteFile

__all__ = ["DownloadSize", "download", "download_size", "downloaded_dictionary"]

_SPARE = 64 << 20  # bytes that stay free
_CONFIG, _CONFIG_BYTES = "config.yaml", 1 << 20
_MOST_NAMED = 1000
_WEIGHTS = (".safetensors", ".npz")
_REVISION = re.compile(r"[\w.-]{1,100}", re.ASCII)


@dataclass(frozen=True)
class DownloadSize:
    """What a download would bring. `missing_bytes`: not here yet. `free_bytes`: on the disk where it would go."""

    total_bytes: int
    missing_bytes: int
    free_bytes: int
    files: int


@dataclass(frozen=True)
class _Source:
    """Files of one version of one repository.

    `revision`: as it was asked for, None for main. `root`: the folder of theirs that is the dictionary's own.
    """

    listing: Listing
    revision: str | None
    files: tuple[RemoteFile, ...]
    root: str = ""

    @property
    def digests(self) -> dict[str, str]:
        return {file.name: file.digest for file in self.files}


def download_size(
    entry_id: str,
    endpoint: str | None = None,
    *,
    token: str | None = None,
    cancel: threading.Event | None = None,
) -> DownloadSize:
    """Ask the hub how large an entry of the catalogue is. Goes to the network; writes nothing.

    Raises what `download` raises.
    """
    entry = _downloadable(entry_id)
    return _size(_plan(entry, _hub(endpoint, token, cancel), cancel))


def download(
    entry_id: str,
    progress: Progress = silent,
    cancel: threading.Event | None = None,
    *,
    endpoint: str | None = None,
    token: str | None = None,
) -> Path:
    """Bring a published model or dictionary onto this machine; gives its folder.

    Parameters
    ----------
    entry_id:
        An id of the catalogue (`published`).
    progress, cancel:
        See engine/progress.py. A cancel is obeyed within a second; what came by then is kept and continued next time.
    endpoint, token:
        Another hub's address and its access token. By default the hub that HF_ENDPOINT names and the token of
        `hf auth login` or HF_TOKEN, which is never sent to an `endpoint` that is given here.

    Raises
    ------
    RequestError
        No such entry, terms that have to be accepted first, a wrong token, files that differ from their checksums.
    MachineError
        No network, too little room on the disk, a folder that cannot be written.
    Cancelled
        The user asked to stop.
    """
    from engine.models.hub_fetch import fetch

    entry = _downloadable(entry_id)
    progress("Asking the hub", 0.0)
    hub = _hub(endpoint, token, cancel)
    sources = _plan(entry, hub, cancel)
    size = _size(sources)
    _require_room(size)
    with machine_errors(state_file(entry)):
        _note(entry, sources)
    done, total = 0, max(size.total_bytes, 1)
    for source, file in [(one, file) for one in sources for file in one.files]:

        def report(here: int, stage: str = f"Downloading {file.name}", start: int = done) -> None:
            progress(stage, (start + here) / total)

        checkpoint(cancel)
        report(0)
        fetch(hub, source.listing, file, report, cancel)
        done += file.size
    checkpoint(cancel)
    with machine_errors(hub_folder()):
        folder = _publish(entry, sources)
    with contextlib.suppress(OSError):
        state_file(entry).unlink()
    progress("Downloaded", 1.0)
    return folder


def _downloadable(entry_id: str) -> PublishedEntry:
    entry = find_published(entry_id)
    if not entry.downloadable:
        raise RequestError(f"{entry.id} cannot be downloaded: {entry.obstacle}.")
    return entry


def _hub(endpoint: str | None, token: str | None, cancel: threading.Event | None) -> Hub:
    # Late: a program that downloads nothing never loads what speaks to networks.
    import huggingface_hub

    from engine.models.hub_client import Hub

    if endpoint is None and token is None and not huggingface_hub.constants.HF_HUB_DISABLE_IMPLICIT_TOKEN:
        try:
            token = huggingface_hub.get_token()
        except (OSError, RuntimeError, ValueError) as error:
            raise RequestError(
                "The saved access token of the hub cannot be used; sign in again with `hf auth login`."
            ) from error
    return Hub(endpoint or huggingface_hub.constants.ENDPOINT, token, cancel)


def _plan(entry: PublishedEntry, hub: Hub, cancel: threading.Event | None) -> list[_Source]:
    """What to fetch, the entry's own repository first."""
    own = _listing(hub, entry.repository, entry.revision, cancel)
    prefix = f"{entry.folder}/" if entry.folder else ""
    names = _chosen(own, [prefix + name for name in entry.files])
    sources = [_source(own, entry.revision, names, prefix)]
    if entry.follows and prefix + _CONFIG in names:
        sources += _followed(entry, hub, own, prefix + _CONFIG, cancel)
    missing = [name for name in entry.files if "*" not in name and prefix + name not in names]
    if entry.what == "model":
        missing = [name for name in missing if name in ("config.json", "tokenizer.json")]
    if missing or not _holds_weights(sources):
        raise RequestError(
            f"{entry.repository} does not hold {missing[0] if missing else 'weights as safetensors or npz'}, which "
            f"{entry.title} needs; it may have been changed: look at {entry.page}."
        )
    return sources


def _holds_weights(sources: Iterable[_Source]) -> bool:
    return any(file.name.endswith(_WEIGHTS) for source in sources for file in source.files)


def _listing(hub: Hub, repository: str, revision: str | None, cancel: threading.Event | None) -> Listing:
    from engine.models.hub_fetch import persistently

    return persistently(lambda: hub.listing(repository, revision or "main"), cancel)


def _chosen(listing: Listing, patterns: Iterable[str]) -> list[str]:
    """Names that fit a pattern part by part, so that "*" never reaches into another folder."""
    wanted = [pattern.split("/") for pattern in patterns]
    exact = {pattern for pattern in map("/".join, wanted) if "*" not in pattern}
    loose = [parts for parts in wanted if any("*" in one for one in parts)]

    def fits(name: str) -> bool:
        parts = name.split("/")
        return name in exact or any(len(parts) == len(one) and all(map(fnmatchcase, parts, one)) for one in loose)

    return sorted(name for name in listing.files if fits(name))


def _source(listing: Listing, revision: str | None, names: Iterable[str], root: str = "") -> _Source:
    return _Source(listing, revision, tuple(listing.files[hub_store.safe_name(name)] for name in names), root)


def _followed(
    entry: PublishedEntry, hub: Hub, own: Listing, config: str, cancel: threading.Event | None
) -> Iterator[_Source]:
    """The files that a dictionary's config.yaml names in other repositories."""
    from engine.models.hub_fetch import read_small

    named: dict[tuple[str, str | None], list[str]] = {}
    for repository, revision, name in _references(read_small(hub, own, config, _CONFIG_BYTES, cancel), entry):
        named.setdefault((repository, revision), []).append(name)
    for (repository, revision), names in named.items():
        listing = _listing(hub, repository, revision, cancel)
        gone = [name for name in names if name not in listing.files]
        if gone:
            raise RequestError(f"{repository} does not hold {gone[0][:80]!r}, which {entry.title} needs.")
        yield _source(listing, revision, names)


def _references(text: bytes, entry: PublishedEntry) -> Iterator[tuple[str, str | None, str]]:
    """(repository, revision, name) of each hf:// address under `transcoders` in a config.yaml; none without that key.

    Form: circuit-tracer's config.yaml.
    """
    from engine.models.plain_yaml import parse_yaml

    try:
        addresses = parse_yaml(text.decode()).get("transcoders", [])
    except (ValueError, AttributeError) as error:
        raise RequestError(f"{_CONFIG} of {entry.repository} cannot be read; look at {entry.page}.") from error
    if not isinstance(addresses, list) or len(addresses) > _MOST_NAMED:
        raise RequestError(f"{_CONFIG} of {entry.repository} cannot be read; look at {entry.page}.")
    for address in addresses:
        url = urlsplit(str(address))
        owner_name, _, name = url.path.lstrip("/").partition("/")
        repository = f"{url.netloc}/{owner_name}"
        revision = parse_qs(url.query).get("revision", [None])[0]
        if url.scheme != "hf" or repository not in entry.follows or not _REVISION.fullmatch(revision or "main"):
            raise RequestError(
                f"{_CONFIG} of {entry.repository} names {str(address)[:80]!r}, which does not belong to this "
                "dictionary; nothing was fetched."
            )
        yield repository, revision, name


def _size(sources: list[_Source]) -> DownloadSize:
    total = sum(file.size for source in sources for file in source.files)
    here = sum(hub_store.bytes_here(source.listing.repository, source.digests.values()) for source in sources)
    folder = hub_folder().absolute()
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    return DownloadSize(
        total_bytes=total,
        missing_bytes=max(total - here, 0),
        free_bytes=shutil.disk_usage(folder).free,
        files=sum(len(source.files) for source in sources),
    )


def _require_room(size: DownloadSize) -> None:
    if size.missing_bytes + _SPARE > size.free_bytes:
        raise MachineError(
            f"The disk that holds {hub_folder()} has {byte_words(size.free_bytes)} free and the download needs "
            f"{byte_words(size.missing_bytes)}; free some space or set HF_HUB_CACHE to a folder on another disk."
        )


def _note(entry: PublishedEntry, sources: list[_Source]) -> None:
    noted: dict[str, list[str]] = {}
    for source in sources:
        noted.setdefault(source.listing.repository, []).extend(source.digests.values())
    path = state_file(entry)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, noted)


def _publish(entry: PublishedEntry, sources: list[_Source]) -> Path:
    folders = [
        hub_store.publish(source.listing.repository, source.listing.commit, source.revision, source.digests)
        for source in sources
    ]
    if not entry.follows:
        return folders[0] / entry.folder
    joined = joined_folder(entry)
    with new_folder(joined) as new:
        names = []
        for source, file in [(one, file) for one in sources for file in one.files]:
            # A file that config.yaml names has its path inside its repository; the config itself is at the top.
            name = file.name.removeprefix(source.root)
            if (new / name).exists():
                raise RequestError(f"{entry.repository} names two files {name!r}; nothing was put together.")
            hub_store.place(new / name, hub_store.blob(source.listing.repository, file.digest))
            names.append(name)
        (new / FILES).write_text(json.dumps(names), encoding="utf-8")
    return joined
