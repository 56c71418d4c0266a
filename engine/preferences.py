"""What a person chose in the settings that the engine itself obeys, from the window and from a terminal alike.

One small JSON file, read when it matters: a choice made in the window holds from the next call on.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from engine.errors import MachineError
from engine.places import preferences_file
from engine.whole_files import written_whole

DEVICE_CHOICES = ("auto", "cpu", "cuda", "mps")
GIGABYTE = 1 << 30
_LARGEST = 1 << 20  # bytes of the file


@dataclass(frozen=True)
class Preferences:
    """The choices and their defaults.

    `device`: where the window loads models ("auto", "cpu", "cuda", "mps"). `memory_limit`: GiB of main memory that this
    program may use in all, 0 for what the machine has. `model_folders`: folders whose models are listed. `network`:
    whether a download may be started at all.
    """

    device: str = "auto"
    memory_limit: float = 0.0
    model_folders: tuple[str, ...] = ()
    network: bool = True

    @property
    def memory_bytes(self) -> int | None:
        """The memory limit in bytes, or None."""
        return round(self.memory_limit * GIGABYTE) if self.memory_limit > 0 else None


def read_preferences() -> Preferences:
    """What was chosen; a file that cannot be read, or a value that makes no sense, counts as not chosen."""
    path = preferences_file()
    try:
        if path.stat().st_size > _LARGEST:
            return Preferences()
        stored = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return Preferences()
    return _checked(stored if isinstance(stored, dict) else {})


def _checked(stored: dict[str, Any]) -> Preferences:
    device, limit, folders = (stored.get(name) for name in ("device", "memory_limit", "model_folders"))
    number = isinstance(limit, int | float) and not isinstance(limit, bool) and math.isfinite(limit) and limit > 0
    return Preferences(
        device=device if device in DEVICE_CHOICES else Preferences.device,
        memory_limit=float(limit) if number and limit is not None else Preferences.memory_limit,
        model_folders=tuple(one for one in folders if isinstance(one, str) and one and "\0" not in one)
        if isinstance(folders, list)
        else (),
        # What cannot be understood must not open the network that a person closed.
        network=stored.get("network", True) is True,
    )


def write_preferences(preferences: Preferences) -> None:
    """Keep the choices; `MachineError` where the file cannot be written."""
    path = preferences_file()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(path) as file:
            file.write(json.dumps(asdict(preferences), indent=2).encode())
    except OSError as error:
        raise MachineError(f"The settings cannot be written to {path} ({error.strerror}); mend that.") from error


def listed_folders(preferences: Preferences) -> list[Path]:
    """What lies in the chosen model folders: each folder itself and everything directly in it, GGUF files included."""
    found: list[Path] = []
    for name in preferences.model_folders:
        folder = Path(name).expanduser()
        try:
            inside = sorted(folder.iterdir())
        except OSError:
            continue  # It may be on a disk that is not there now.
        found += [
            path
            for path in (folder, *inside)
            if (path / "config.json").is_file() or (path.suffix.lower() == ".gguf" and path.is_file())
        ]
    return found
