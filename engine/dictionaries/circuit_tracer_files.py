"""Per-layer transcoders in circuit-tracer's layout: config.yaml beside layer_{i}.safetensors.

Tensors: W_enc (n, d), b_enc (n,), W_dec (n, d), b_dec (d,), optionally W_skip (d, d) with y += W_skip x, and
activation_function.threshold (n,) of JumpReLU; TopK's k is in the config. Format: circuit-tracer v0.5.0.
"""

from __future__ import annotations

import threading
from pathlib import Path

from engine.dictionaries.circuit_tracer_config import CONFIG_NAME, PER_LAYER, TranscoderConfig, read_config
from engine.dictionaries.tensor_files import Placement, TensorFile, fingerprint_of
from engine.dictionaries.transcoder_set import TranscoderFeatures
from engine.dictionaries.transcoders import Transcoder
from engine.errors import RequestError
from engine.models.weights import ModelWeights
from engine.progress import Progress, checkpoint, part


def matches(path: Path) -> bool:
    """Whether a folder holds such a set: by its files, not by its name."""
    return path.is_dir() and any(path.glob("layer_*.safetensors"))


def read(path: Path, weights: ModelWeights, progress: Progress, cancel: threading.Event | None) -> TranscoderFeatures:
    """Read a set for a model; `RequestError` with what does not fit."""
    config = read_config(path / CONFIG_NAME, PER_LAYER)
    files = {_layer_number(file): TensorFile(file) for file in sorted(path.glob("layer_*.safetensors"))}
    if (highest := max(files)) >= weights.n_layers:
        raise RequestError(
            f"This dictionary has a file for layer {highest}, but the model has {weights.n_layers} layers; open the "
            f"dictionary with the model it was made for{f' ({config.model_name})' if config.model_name else ''}."
        )
    placement = Placement.for_files(files.values(), weights.unembed)
    transcoders: list[Transcoder | None] = []
    for layer in range(weights.n_layers):
        checkpoint(cancel)
        progress(f"Reading the dictionary, layer {layer}", 0.5 * layer / weights.n_layers)
        transcoders.append(_transcoder(files[layer], config, weights.d_model, placement) if layer in files else None)
    fingerprint = fingerprint_of([file.path for file in files.values()], config, part(progress, 0.5, 1.0), cancel)
    return TranscoderFeatures(path.name, fingerprint, transcoders, [layer.mlp_gain for layer in weights.layers])


def _layer_number(file: Path) -> int:
    number = file.stem.removeprefix("layer_")
    if not number.isdigit():
        raise RequestError(f"{file.name} is not named after a layer; files must be layer_0.safetensors and so on.")
    return int(number)


def _transcoder(file: TensorFile, config: TranscoderConfig, d: int, placement: Placement) -> Transcoder:
    file.require(("W_enc", "b_enc", "W_dec", "b_dec"), "a transcoder")
    origin, n = config.model_name, file.places["b_enc"].shape[0] if file.places["b_enc"].shape else 0
    threshold = next((name for name in ("activation_function.threshold", "threshold") if name in file.places), None)
    return Transcoder(
        w_enc=file.matrix("W_enc", (n, d), placement, origin),
        b_enc=file.tensor("b_enc", (n,), placement, origin),
        w_dec=file.matrix("W_dec", (n, d), placement, origin),
        b_dec=file.tensor("b_dec", (d,), placement, origin),
        threshold=None if threshold is None else file.thresholds(threshold, n, placement),
        top_k=config.top_k,
        w_skip=file.tensor("W_skip", (d, d), placement, origin) if "W_skip" in file.places else None,
        reads=config.reads,
        writes=config.writes,
    )
