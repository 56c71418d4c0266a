"""Reading per-layer transcoders in circuit-tracer's layout: config.yaml beside layer_{i}.safetensors.

Tensors: W_enc (n, d), b_enc (n,), W_dec (n, d), b_dec (d,), optionally W_skip (d, d) with y += W_skip x, and
activation_function.threshold (n,) of JumpReLU; TopK's k is in the config. Files are opened by safetensors, which can
run no code; the config is read by YAML's safe loader. Format: reference/circuit-tracer.md, sections 3.1 and 3.2.
"""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors import SafetensorError, safe_open
from torch import Tensor

from engine.dictionaries.transcoders import ReadSite, Transcoder, TranscoderFeatures, WriteSite
from engine.errors import RequestError
from engine.models.weights import ModelWeights
from engine.progress import Progress, checkpoint

CONFIG_NAME = "config.yaml"
CONFIG_BYTES = 1 << 20
READ_SITES: dict[str, ReadSite] = {
    "mlp.hook_in": "mlp_input",
    "hook_mlp_in": "residual",
    "hook_resid_mid": "residual",
    "ln2.hook_normalized": "normalised",
}
WRITE_SITES: dict[str, WriteSite] = {"mlp.hook_out": "mlp_output", "hook_mlp_out": "branch_output"}
_TENSORS = {"W_enc", "b_enc", "W_dec", "b_dec", "W_skip", "activation_function.threshold", "threshold"}


@dataclass(frozen=True)
class TranscoderConfig:
    """What config.yaml says, checked."""

    model_name: str
    reads: ReadSite
    writes: WriteSite
    top_k: int | None


def is_transcoder_folder(path: Path) -> bool:
    """Whether a folder holds per-layer transcoders: by its files, not by its name."""
    return path.is_dir() and any(path.glob("layer_*.safetensors"))


def read_folder(
    path: Path, weights: ModelWeights, progress: Progress, cancel: threading.Event | None
) -> TranscoderFeatures:
    """Read a set for a model; `RequestError` with what does not fit."""
    config = read_config(path / CONFIG_NAME)
    files = {_layer_number(file): file for file in sorted(path.glob("layer_*.safetensors"))}
    beyond = [layer for layer in files if layer >= weights.n_layers]
    if beyond:
        raise RequestError(
            f"This dictionary has a file for layer {max(beyond)}, but the model has {weights.n_layers} layers; "
            f"open the dictionary with the model it was made for{_named(config.model_name)}."
        )
    transcoders: list[Transcoder | None] = []
    digest = hashlib.sha256()
    dtype = weights.unembed.dtype
    for layer in range(weights.n_layers):
        checkpoint(cancel)
        progress(f"Reading the dictionary, layer {layer}", layer / weights.n_layers)
        if layer not in files:
            transcoders.append(None)
            continue
        tensors = _read_tensors(files[layer])
        transcoders.append(_transcoder(tensors, files[layer], config, weights, dtype))
        _fold_hash(digest, layer, tensors)
    gains = [layer.mlp_gain for layer in weights.layers]
    return TranscoderFeatures(path.name, digest.hexdigest(), transcoders, gains)


def read_config(path: Path) -> TranscoderConfig:
    """Check config.yaml; missing keys mean the layout's defaults."""
    raw: Any = {}
    if path.exists():
        if path.stat().st_size > CONFIG_BYTES:
            raise RequestError(f"{path.name} is larger than a dictionary's config can be; choose the folder again.")
        try:
            raw = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise RequestError(f"{path} is not a readable YAML file; get the dictionary again.") from error
    if not isinstance(raw, dict):
        raise RequestError(f"{path} does not describe a dictionary; get the dictionary again.")
    if raw.get("model_kind", "transcoder_set") != "transcoder_set":
        raise RequestError(
            f"This dictionary is of the kind {str(raw['model_kind'])[:60]!r}; per-layer transcoders ('transcoder_set') "
            "can be opened."
        )
    is_top_k = str(raw.get("activation", "")).lower() == "topk"
    top_k = raw.get("k") if is_top_k else None
    if is_top_k and (not isinstance(top_k, int) or top_k < 1):
        raise RequestError("The dictionary's config names TopK without a whole number k above 0; correct config.yaml.")
    return TranscoderConfig(
        model_name=str(raw.get("model_name", ""))[:200],
        reads=_site(raw, "feature_input_hook", "mlp.hook_in", READ_SITES),
        writes=_site(raw, "feature_output_hook", "hook_mlp_out", WRITE_SITES),
        top_k=top_k,
    )


def _site(raw: dict[str, Any], key: str, default: str, known: dict[str, Any]) -> Any:
    name = str(raw.get(key, default))
    if name not in known:
        raise RequestError(f"The dictionary's {key} is {name[:60]!r}; known are {', '.join(known)}.")
    return known[name]


def _layer_number(file: Path) -> int:
    number = file.stem.removeprefix("layer_")
    if not number.isdigit():
        raise RequestError(f"{file.name} is not named after a layer; files must be layer_0.safetensors and so on.")
    return int(number)


def _read_tensors(file: Path) -> dict[str, Tensor]:
    try:
        with safe_open(file, framework="pt") as tensors:
            names = set(tensors.keys())
            if not {"W_enc", "b_enc", "W_dec", "b_dec"} <= names:
                raise RequestError(
                    f"{file.name} holds {', '.join(sorted(names))[:200]}; it needs W_enc, b_enc, W_dec, b_dec."
                )
            return {name: tensors.get_tensor(name) for name in sorted(names & _TENSORS)}
    except (SafetensorError, OSError) as error:
        raise RequestError(f"{file} is damaged or cut short; get the dictionary again.") from error


def _transcoder(
    tensors: dict[str, Tensor], file: Path, config: TranscoderConfig, weights: ModelWeights, dtype: torch.dtype
) -> Transcoder:
    d = weights.d_model
    n = tensors["b_enc"].shape[0] if tensors["b_enc"].ndim == 1 else -1
    shapes = {"W_enc": (n, d), "W_dec": (n, d), "b_enc": (n,), "b_dec": (d,), "W_skip": (d, d)}
    threshold = tensors.get("activation_function.threshold", tensors.get("threshold"))
    if threshold is not None:
        threshold = threshold.reshape(-1) if threshold.numel() != 1 else threshold.reshape(1).expand(max(n, 0))
    for name, shape in shapes.items():
        if name in tensors and tuple(tensors[name].shape) != shape:
            raise RequestError(
                f"{name} of {file.name} is {tuple(tensors[name].shape)}, but this model needs {shape}; open the "
                f"dictionary with the model it was made for{_named(config.model_name)}."
            )
    if threshold is not None and threshold.shape != (n,):
        raise RequestError(f"The thresholds of {file.name} do not match its {n} features; get the dictionary again.")

    def ready(tensor: Tensor) -> Tensor:
        return tensor.to(dtype=dtype, device=weights.unembed.device)

    return Transcoder(
        ready(tensors["W_enc"]),
        ready(tensors["b_enc"]),
        ready(tensors["W_dec"]),
        ready(tensors["b_dec"]),
        threshold=None if threshold is None else ready(threshold),
        top_k=config.top_k,
        w_skip=ready(tensors["W_skip"]) if "W_skip" in tensors else None,
        reads=config.reads,
        writes=config.writes,
    )


def _fold_hash(digest: Any, layer: int, tensors: dict[str, Tensor]) -> None:
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{layer}/{name}/{tuple(tensor.shape)}/{tensor.dtype}".encode())
        digest.update(tensor.contiguous().view(torch.uint8).numpy().data)


def _named(model_name: str) -> str:
    return f" ({model_name})" if model_name else ""
