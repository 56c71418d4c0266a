"""A training as it stands, written whole: parameters, optimiser, counters, what was measured. Continued from there."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from engine.errors import RequestError
from engine.training.group import Layer, LayerGroup, layer_of
from engine.training.settings import TrainSettings
from engine.training.start import Scales
from engine.whole_files import written_whole

CHECKPOINT_NAME = "checkpoint.safetensors"
_FORMAT = 2


@dataclass
class Progressed:
    """How far a training has come."""

    steps: int = 0  # of each layer
    pieces: int = 0  # of the text that were read
    positions: int = 0  # that were read
    seconds: float = 0.0
    history: list[dict[str, Any]] = field(default_factory=list)  # what was measured after each round


def write_checkpoint(
    folder: Path,
    settings: TrainSettings,
    made_from: dict[str, str],
    groups: list[LayerGroup],
    state: Progressed,
) -> None:
    """Write the checkpoint; the one before stays until the new one is whole. `MachineError` for a full disk.

    `made_from`: the model's fingerprint and the text's digest.
    """
    tensors: dict[str, Tensor] = {}
    layers: list[dict[str, Any]] = []
    for group in groups:
        for at, layer in enumerate(group.layers):
            name = f"{group.first + at}"
            for number, parameter in enumerate(layer.parameters()):
                tensors[f"{name}.{number}"] = parameter.data
                for moment, value in group.optimiser.state[parameter].items():
                    tensors[f"{name}.{number}.{moment}"] = value
            tensors |= {f"{name}.x_mean": layer.scales.x_mean, f"{name}.y_mean": layer.scales.y_mean}
            tensors[f"{name}.idle"] = layer.idle
            layers.append(
                {"x_scale": layer.scales.x_scale, "y_scale": layer.scales.y_scale, "threshold": layer.threshold}
            )
    about = {
        "format": _FORMAT,
        "settings": asdict(settings),
        "made_from": made_from,
        "layers": layers,
        "state": asdict(state),
    }
    with written_whole(folder / CHECKPOINT_NAME) as file:
        file.write(save({name: one.contiguous() for name, one in tensors.items()}, {"training": json.dumps(about)}))


def read_checkpoint(
    folder: Path, settings: TrainSettings, made_from: dict[str, str], device: torch.device, compute: torch.dtype
) -> tuple[list[LayerGroup], Progressed] | None:
    """The training that a folder holds, None where there is none.

    Raises
    ------
    RequestError
        It is damaged, or was made with other settings, another model or another text.
    """
    path = folder / CHECKPOINT_NAME
    if not path.exists():
        return None
    damaged = RequestError(f"{path} is damaged; delete it to train from the beginning.")
    try:
        with safe_open(path, framework="pt", device=str(device)) as file:
            about = json.loads((file.metadata() or {})["training"])
            if about["format"] != _FORMAT:
                raise RequestError(f"{path} is of another version of this program; delete it to train again.")
            _require_same(path, about, settings, made_from)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
            layers = [_layer(tensors, number, held) for number, held in enumerate(about["layers"])]
            groups = _groups(layers, tensors, settings, compute)
            return groups, Progressed(**about["state"])
    except (SafetensorError, KeyError, TypeError, ValueError, OSError) as error:
        raise damaged from error


def _require_same(path: Path, about: dict[str, Any], settings: TrainSettings, made_from: dict[str, str]) -> None:
    """What may change between two runs: how long to go on, and how the result is stored."""
    free = ("minutes", "storage", "keep", "buffer_gb")
    now = asdict(settings)
    other = [name for name, value in about["settings"].items() if name not in free and now.get(name) != value]
    other = [name for name, value in made_from.items() if about["made_from"][name] != value] + other
    if other:
        raise RequestError(
            f"{path.parent} holds a training with another {', '.join(other)}; give the same again, or another folder."
        )


def _layer(tensors: dict[str, Tensor], number: int, held: dict[str, float]) -> Layer:
    scales = Scales(tensors[f"{number}.x_mean"], held["x_scale"], tensors[f"{number}.y_mean"], held["y_scale"])
    parameters: list[Tensor] = []
    while f"{number}.{len(parameters)}" in tensors:
        parameters.append(tensors[f"{number}.{len(parameters)}"])
    return layer_of(parameters, scales, tensors[f"{number}.idle"], held["threshold"])


def _groups(
    layers: list[Layer], tensors: dict[str, Tensor], settings: TrainSettings, compute: torch.dtype
) -> list[LayerGroup]:
    parts = [layers] if settings.cross_layer else [[layer] for layer in layers]
    groups, first = [], 0
    for part in parts:
        group = LayerGroup(first, part, settings, compute)
        for at, layer in enumerate(part):
            for number, parameter in enumerate(layer.parameters()):
                name = f"{first + at}.{number}"
                moments = {key: tensors[f"{name}.{key}"] for key in ("step", "exp_avg", "exp_avg_sq")}
                group.optimiser.state[parameter] = moments
        groups.append(group)
        first += len(part)
    return groups
