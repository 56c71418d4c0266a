"""Files as circuit-tracer saves them, made with torch and stand-ins for its classes; and zips of any pickle."""

from __future__ import annotations

import sys
import types
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, make_dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

N_LAYERS, N_POS = 3, 2


class LogitTarget(NamedTuple):
    """circuit-tracer's record of a target."""

    token_str: str
    vocab_idx: int


@dataclass
class UnifiedConfig:
    """circuit-tracer's configuration."""

    n_layers: int = N_LAYERS
    d_model: int = 8
    d_vocab: int = 50
    model_name: str = "tiny"
    tokenizer_name: str = "org/tiny"
    dtype: Any = torch.float32


HookedTransformerConfig = make_dataclass(
    "HookedTransformerConfig", [("n_layers", int), ("attn_scale", Any), ("dtype", Any), ("device", Any), ("seed", Any)]
)
_PLACES = {
    UnifiedConfig: "circuit_tracer.utils.tl_nnsight_mapping",
    LogitTarget: "circuit_tracer.attribution.targets",
    HookedTransformerConfig: "transformer_lens.HookedTransformerConfig",
}


@contextmanager
def as_if_installed() -> Iterator[None]:
    """Let pickle find the stand-ins where the real classes are."""
    made = {}
    for one, place in _PLACES.items():
        one.__module__ = place
        module = types.ModuleType(place)
        setattr(module, one.__name__, one)
        made[place] = module
        made.setdefault(place.split(".")[0], types.ModuleType(place.split(".")[0]))
    before = {name: sys.modules.get(name) for name in made}
    sys.modules.update(made)
    try:
        yield
    finally:
        for name, module in before.items():
            if module is None:
                sys.modules.pop(name, None)
            else:
                sys.modules[name] = module


def graph_values(seed: int = 0) -> dict[str, Any]:
    """The dictionary of a small graph: 5 active features of which 4 are selected, 6 errors, 2 tokens, 2 logits."""
    generator = torch.Generator().manual_seed(seed)
    active = torch.tensor([[0, 0, 7], [0, 1, 3], [1, 1, 9], [2, 0, 4], [2, 1, 11]])
    selected = torch.tensor([0, 1, 2, 4])
    count = 4 + N_LAYERS * N_POS + N_POS + 2
    height = layers().float()
    up = height[None, :] < height[:, None]
    fed = torch.zeros(count, dtype=torch.bool)
    fed[:4] = fed[-2:] = True
    matrix = torch.randn(count, count, generator=generator) * (up & fed[:, None])
    matrix[0, 0] = 0
    return {
        "input_string": "ab",
        "adjacency_matrix": matrix,
        "cfg": UnifiedConfig(),
        "active_features": active,
        "logit_targets": [LogitTarget(" x", 5), LogitTarget("x−y", 51)],
        "logit_probabilities": torch.tensor([0.5, 0.25]),
        "vocab_size": 50,
        "input_tokens": torch.tensor([1, 2]),
        "selected_features": selected,
        "activation_values": torch.tensor([1.5, 2.5, 3.5, 4.5, 5.5]),
        "scan": "org/transcoders",
    }


def layers() -> torch.Tensor:
    """The layer of every node, in the file's order; tokens -1, logits above all."""
    errors = [layer for layer in range(N_LAYERS) for _ in range(N_POS)]
    return torch.tensor([0, 0, 1, 2, *errors, -1, -1, N_LAYERS, N_LAYERS])


def save(path: Path, values: Any) -> Path:
    """Write with torch.save."""
    with as_if_installed():
        torch.save(values, path)
    return path


def repacked(path: Path, change: Any, method: int = zipfile.ZIP_STORED) -> Path:
    """The same zip after `change(entries)`."""
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    change(entries)
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return path


def zip_of(path: Path, pickled: bytes, storages: dict[str, bytes] | None = None) -> Path:
    """A zip in torch's form around any pickle."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickled)
        archive.writestr("archive/byteorder", "little")
        archive.writestr("archive/version", "3\n")
        for name, data in (storages or {}).items():
            archive.writestr(f"archive/data/{name}", data)
    return path


def dense(graph: Any) -> np.ndarray[Any, Any]:
    """The adjacency matrix of a graph again, rows targets."""
    matrix = np.zeros((graph.n_nodes, graph.n_nodes), np.float32)
    matrix[graph.target, graph.source] = graph.weight
    return matrix
