"""How much memory a model takes and how much there is, asked before anything is loaded."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from engine.errors import MachineError
from engine.preferences import read_preferences
from engine.sizes import byte_words

if TYPE_CHECKING:
    import torch

_BYTES = {"float32": 4, "bfloat16": 2}
# What the libraries and a short prompt take besides the weights, measured: about 350 MB with both starters.
_BASE_BYTES = 350 << 20
_CGROUP = Path("/sys/fs/cgroup")


def estimate_bytes(n_parameters: int, dtype: str = "float32") -> int:
    """Bytes to load and run a model of so many parameters on a short prompt; a trace asks for its own on top."""
    return n_parameters * _BYTES[dtype] + _BASE_BYTES


def total_bytes() -> int:
    """Main memory that this program could use at most: the machine's, its container's, or what a person allowed."""
    import psutil

    limits = (_container_limit(), read_preferences().memory_bytes)
    return min([int(psutil.virtual_memory().total), *(limit for limit in limits if limit is not None)])


def available_bytes(device: torch.device | None = None) -> int:
    """Memory that is free now: the GPU's own on cuda, else main memory."""
    import psutil

    if device is not None and device.type == "cuda":
        import torch

        return int(torch.cuda.mem_get_info(device)[0])
    free = [int(psutil.virtual_memory().available)]
    limit, allowed = _container_limit(), read_preferences().memory_bytes
    if limit is not None:
        free.append(limit - _container_use())
    if allowed is not None:
        free.append(allowed - int(psutil.Process().memory_info().rss))
    return max(0, min(free))


def require_memory(name: str, n_parameters: int, dtype: str, device: torch.device) -> None:
    """Raise `MachineError` if the model cannot be loaded in the memory that is free now."""
    needed = estimate_bytes(n_parameters, dtype)
    smaller = "choose bfloat16 or a smaller model" if dtype == "float32" else "choose a smaller model"
    # On its way to a GPU a model passes through main memory.
    for where, free in (("in memory", available_bytes()), ("on the GPU", available_bytes(device))):
        if needed > free:
            raise MachineError(
                f"{name} needs about {byte_words(needed)} {where} and {byte_words(free)} are free; "
                f"close other programs, or {smaller}.{_allowed()}"
            )


def _allowed() -> str:
    """What to add where it is the settings that allow no more."""
    allowed = read_preferences().memory_bytes
    return "" if allowed is None else f" The settings allow {byte_words(allowed)} in all."


def _container_limit() -> int | None:
    """The memory limit of the Linux container this runs in (cgroup v2), or None."""
    with contextlib.suppress(OSError, ValueError):
        return int((_CGROUP / "memory.max").read_text())
    return None


def _container_use() -> int:
    """Bytes in use in the container, without files that are only cached."""
    with contextlib.suppress(OSError, ValueError):
        used = int((_CGROUP / "memory.current").read_text())
        for line in (_CGROUP / "memory.stat").read_text().splitlines():
            if line.startswith("inactive_file "):
                return used - int(line.split()[1])
        return used
    return 0
