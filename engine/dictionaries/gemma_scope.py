"""Gemma Scope's transcoders for Gemma 2: layer_{i}/width_*/average_l0_*/params.npz, one a layer.

Arrays: W_enc (d, n), W_dec (n, d), b_enc (n,), b_dec (d,), threshold (n,); JumpReLU, ReLU(z) where z > threshold. They
read the norm's output before its gain (ln2.hook_normalized) and write what the MLP's branch adds to the residual
stream, after the post-norm (hook_mlp_out). A config.yaml of circuit-tracer beside them may list one file a layer and
name other hooks. Format: Lieberum et al. 2024, and circuit-tracer v0.5.0's loader.
"""

from __future__ import annotations

import threading
from pathlib import Path

from engine.dictionaries.circuit_tracer_config import CONFIG_NAME, site
from engine.dictionaries.hooks import READ_SITES, WRITE_SITES
from engine.dictionaries.layer_files import assemble, files_by_layer, holds, open_weights
from engine.dictionaries.settings_files import read_yaml
from engine.dictionaries.tensor_files import Placement
from engine.dictionaries.transcoder_set import TranscoderFeatures
from engine.dictionaries.transcoders import Transcoder
from engine.models.weights import ModelWeights
from engine.progress import Progress, checkpoint, part

_ARRAYS = ("W_enc", "W_dec", "b_enc", "b_dec", "threshold")


def matches(path: Path) -> bool:
    """Whether .npz files there hold such arrays."""
    return holds(path, ".npz", _ARRAYS)


def read(path: Path, weights: ModelWeights, progress: Progress, cancel: threading.Event | None) -> TranscoderFeatures:
    """Read a set for a model; `RequestError` with what does not fit."""
    config = read_yaml((path if path.is_dir() else path.parent) / CONFIG_NAME)
    reads = site(config, "feature_input_hook", "ln2.hook_normalized", READ_SITES)
    writes = site(config, "feature_output_hook", "hook_mlp_out", WRITE_SITES)
    layers = files_by_layer(path, ".npz", config, weights.n_layers)
    files = {layer: open_weights(file) for layer, file in layers.items()}
    placement = Placement.for_files(files.values(), weights.unembed)
    d, origin = weights.d_model, config.text("model_name", "a Gemma 2 model")
    transcoders = {}
    for layer, file in files.items():
        checkpoint(cancel)
        progress(f"Reading the dictionary, layer {layer}", 0.5 * layer / weights.n_layers)
        file.require(_ARRAYS, "a Gemma Scope transcoder")
        n = file.length("b_enc")
        transcoders[layer] = Transcoder(
            w_enc=file.matrix("W_enc", (n, d), placement, origin, transposed=True),
            b_enc=file.tensor("b_enc", (n,), placement, origin),
            w_dec=file.matrix("W_dec", (n, d), placement, origin),
            b_dec=file.tensor("b_dec", (d,), placement, origin),
            # ReLU first: below zero nothing is active, whatever the threshold.
            threshold=file.thresholds("threshold", n, placement).clamp_min(0),
            reads=reads,
            writes=writes,
        )
    settings = (reads, writes)
    return assemble(path, transcoders, list(layers.values()), settings, weights, part(progress, 0.5, 1.0), cancel)
