"""Per-layer transcoders in circuit-tracer's layout: config.yaml beside layer_{i}.safetensors.

Tensors: W_enc (n, d), b_enc (n,), W_dec (n, d), b_dec (d,), optionally W_skip (d, d) with y += W_skip x, and
activation_function.threshold (n,) of JumpReLU; TopK's k is in the config. Format: circuit-tracer v0.5.0.
"""

from __future__ import annotations

import threading
from pathlib import Path

from engine.dictionaries.circuit_tracer_config import CONFIG_NAME, PER_LAYER, TranscoderConfig, read_config
from engine.dictionaries.layer_files import assemble, checked_layers, holds, layer_in
from engine.dictionaries.saelens_files import is_saelens_folder
from engine.dictionaries.tensor_files import Placement, TensorFile
from engine.dictionaries.transcoder_set import TranscoderFeatures
from engine.dictionaries.transcoders import Transcoder
from engine.errors import RequestError
from engine.models.weights import ModelWeights
from engine.progress import Progress, checkpoint, part

_TENSORS = ("W_enc", "b_enc", "W_dec", "b_dec")


def matches(path: Path) -> bool:
    """Whether a folder holds such a set: by its tensors. SAELens names them alike and says so in its cfg.json."""
    return path.is_dir() and holds(path, ".safetensors", _TENSORS) and not is_saelens_folder(path)


def read(path: Path, weights: ModelWeights, progress: Progress, cancel: threading.Event | None) -> TranscoderFeatures:
    """Read a set for a model; `RequestError` with what does not fit."""
    config = read_config(path / CONFIG_NAME, PER_LAYER)
    layers = checked_layers(
        ((_layer_number(file), file) for file in sorted(path.glob("*.safetensors"))),
        weights.n_layers,
        path.name,
        config.model_name,
    )
    files = {layer: TensorFile(file) for layer, file in layers.items()}
    placement = Placement.for_files(files.values(), weights.unembed)
    transcoders: dict[int, Transcoder] = {}
    for layer, file in files.items():
        checkpoint(cancel)
        progress(f"Reading the dictionary, layer {layer}", 0.5 * layer / weights.n_layers)
        transcoders[layer] = _transcoder(file, config, weights.d_model, placement)
    return assemble(path, transcoders, list(layers.values()), config, weights, part(progress, 0.5, 1.0), cancel)


def _layer_number(file: Path) -> int:
    number = layer_in(file, file.parent) if file.stem.startswith("layer_") else None
    if number is None:
        raise RequestError(f"{file.name} is not named after a layer; files must be layer_0.safetensors and so on.")
    return number


def _transcoder(file: TensorFile, config: TranscoderConfig, d: int, placement: Placement) -> Transcoder:
    file.require(_TENSORS, "a transcoder")
    origin, n = config.model_name, file.length("b_enc")
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
