"""Models that the Hugging Face hub's own cache already holds. Only looked at: nothing here goes to the network."""

from __future__ import annotations

import re
from pathlib import Path

_REPOSITORY = re.compile(r"[\w.-]+(/[\w.-]+)?", re.ASCII)
_PREFIX = "models--"


def hub_folder() -> Path:
    """Where huggingface_hub keeps its downloads (HF_HUB_CACHE and HF_HOME are heeded)."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def cached_snapshot(repository: str) -> Path | None:
    """The folder of a downloaded model, by its hub id such as "google/gemma-3-270m"; None where it is not there."""
    if not _REPOSITORY.fullmatch(repository) or ".." in repository or "--" in repository:
        return None
    return _snapshot(hub_folder() / (_PREFIX + repository.replace("/", "--")))


def cached_models() -> list[tuple[str, Path]]:
    """Every downloaded model that has a config and safetensors: (hub id, folder), sorted by id."""
    found = []
    try:
        folders = sorted(hub_folder().glob(_PREFIX + "*"))
    except OSError:
        return []
    for folder in folders:
        snapshot = _snapshot(folder)
        if snapshot is not None and any(snapshot.glob("*.safetensors")):
            found.append((folder.name.removeprefix(_PREFIX).replace("--", "/", 1), snapshot))
    return found


def _snapshot(folder: Path) -> Path | None:
    """The snapshot that `main` stands for, or the only one."""
    try:
        snapshots = [path for path in (folder / "snapshots").iterdir() if (path / "config.json").is_file()]
    except OSError:
        return None
    try:
        main = (folder / "refs" / "main").read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        main = ""
    chosen = [path for path in snapshots if path.name == main]
    if chosen:
        return chosen[0]
    return snapshots[0] if len(snapshots) == 1 else None
