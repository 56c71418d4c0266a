"""Cross-layer transcoders in circuit-tracer's layout: W_enc_{i}.safetensors and W_dec_{i}.safetensors for each layer.

Tensors: W_enc_i (n, d), b_enc_i (n,), b_dec_i (d,), optionally threshold_i (n,) and W_skip_i (d, d) with y += x W_skip;
W_dec_i (n, L - i, d), its second axis the layers written from i up. Format: circuit-tracer v0.5.0.
"""

from __future__ import annotations

import re
import threading
from pathlib import Path

from engine.dictionaries.circuit_tracer_config import CONFIG_NAME, CROSS_LAYER, TranscoderConfig, read_config
from engine.dictionaries.layer_files import sample
from engine.dictionaries.tensor_files import Placement, TensorFile, fingerprint_of
from engine.dictionaries.transcoder_set import TranscoderFeatures
from engine.dictionaries.transcoders import Transcoder
from engine.errors import RequestError
from engine.models.weights import ModelWeights
from engine.progress import Progress, checkpoint, part

_ENCODER = re.compile("W_(enc|dec)_[0-9]+")


def matches(path: Path) -> bool:
    """Whether a folder holds such a set: by its tensors, numbered as its files are."""
    return path.is_dir() and any(
        _ENCODER.fullmatch(name) for file in sample(path, ".safetensors") for name in file.places
    )


def read(path: Path, weights: ModelWeights, progress: Progress, cancel: threading.Event | None) -> TranscoderFeatures:
    """Read a set for a model; `RequestError` with what does not fit."""
    config = read_config(path / CONFIG_NAME, CROSS_LAYER)
    pairs = [(path / f"W_enc_{i}.safetensors", path / f"W_dec_{i}.safetensors") for i in range(weights.n_layers)]
    count = len(list(path.glob("W_enc_*.safetensors")))
    if count != weights.n_layers or not all(file.exists() for pair in pairs for file in pair):
        raise RequestError(
            f"This dictionary has encoders for {count} layers, but the model has {weights.n_layers}; a cross-layer set "
            f"needs both files of every layer{f' of {config.model_name}' if config.model_name else ''}."
        )
    files = [(TensorFile(encoder), TensorFile(decoder)) for encoder, decoder in pairs]
    placement = Placement.for_files([file for pair in files for file in pair], weights.unembed)
    transcoders = []
    for layer, (encoder, decoder) in enumerate(files):
        checkpoint(cancel)
        progress(f"Reading the dictionary, layer {layer}", 0.5 * layer / weights.n_layers)
        transcoders.append(_transcoder(layer, encoder, decoder, config, weights, placement))
    every = [file for pair in pairs for file in pair]
    fingerprint = fingerprint_of(every, config, part(progress, 0.5, 1.0), cancel)
    return TranscoderFeatures(path.name, fingerprint, transcoders, [layer.mlp_gain for layer in weights.layers])


def _transcoder(
    layer: int,
    encoder: TensorFile,
    decoder: TensorFile,
    config: TranscoderConfig,
    weights: ModelWeights,
    placement: Placement,
) -> Transcoder:
    encoder.require((f"W_enc_{layer}", f"b_enc_{layer}", f"b_dec_{layer}"), "a cross-layer transcoder")
    decoder.require((f"W_dec_{layer}",), "a cross-layer transcoder")
    d, origin = weights.d_model, config.model_name
    n, skip, threshold = encoder.length(f"b_enc_{layer}"), f"W_skip_{layer}", f"threshold_{layer}"
    return Transcoder(
        w_enc=encoder.matrix(f"W_enc_{layer}", (n, d), placement, origin),
        b_enc=encoder.tensor(f"b_enc_{layer}", (n,), placement, origin),
        w_dec=decoder.matrix(f"W_dec_{layer}", (n, weights.n_layers - layer, d), placement, origin),
        b_dec=encoder.tensor(f"b_dec_{layer}", (d,), placement, origin),
        threshold=encoder.thresholds(threshold, n, placement) if threshold in encoder.places else None,
        top_k=config.top_k,
        # Stored for x W_skip; held as y += W_skip x.
        w_skip=encoder.tensor(skip, (d, d), placement, origin).T if skip in encoder.places else None,
        reads=config.reads,
        writes=config.writes,
    )
