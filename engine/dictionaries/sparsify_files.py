"""EleutherAI sparsify's transcoders: a folder a hookpoint with cfg.json and sae.safetensors.

Tensors: encoder.weight (n, d), encoder.bias (n,), W_dec (n, d), b_dec (d,), optionally W_skip (d, d) with
y += W_skip x. The k largest of ReLU(z) are active, or the largest of each of k groups (`groupmax`), k in cfg.json; a
transcoder's input is not centred. Both hooks are those of the module that the folder is named after, which reads its
input and writes its output. Its fork clt-training
adds

    norms        x sqrt(d) / in_norm at the input, y out_norm / sqrt(d) at the output,
    post_enc     an active value a is written as (a + post_enc) post_enc_scale,
    targets      cross-layer sets: each layer's file has n_targets decoders (`sparsify_cross_layer`),

and says in config.json which modules' inputs were read (hookpoints_in). Norms and scales are folded into the weights.
Format: sparsify 1.3 and clt-training at commit cf9821f.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path

from engine.dictionaries.hooks import layer_of_hook, read_site, write_site
from engine.dictionaries.layer_files import assemble, checked_layers, holds, weight_files
from engine.dictionaries.settings_files import Settings, read_json
from engine.dictionaries.sparsify_cross_layer import Sites, SparseCoder, cross_layer
from engine.dictionaries.tensor_files import Placement, TensorFile
from engine.dictionaries.transcoder_set import TranscoderFeatures
from engine.dictionaries.transcoders import Transcoder
from engine.errors import RequestError
from engine.models.weights import ModelWeights
from engine.progress import Progress, checkpoint, part

_TENSORS = ("encoder.weight", "encoder.bias")


def matches(path: Path) -> bool:
    """Whether safetensors files there hold such an encoder."""
    return holds(path, ".safetensors", _TENSORS)


def read(path: Path, weights: ModelWeights, progress: Progress, cancel: threading.Event | None) -> TranscoderFeatures:
    """Read a per-layer or cross-layer set for a model; `RequestError` with what does not fit."""
    root = path if path.is_dir() else path.parent
    inputs = _inputs(root)
    named = {file: _hookpoint(file, root) for file in weight_files(path, ".safetensors")}
    layers = checked_layers(
        ((_layer(hookpoint, file), file) for file, hookpoint in named.items()), weights.n_layers, path.name
    )
    files = {layer: TensorFile(file) for layer, file in layers.items()}
    placement = Placement.for_files(files.values(), weights.unembed).wide()
    coders: dict[int, SparseCoder] = {}
    for layer, file in files.items():
        checkpoint(cancel)
        progress(f"Reading the dictionary, layer {layer}", 0.5 * layer / weights.n_layers)
        sites = _sites(named[file.path], inputs)
        config = _config(file.path.with_name("cfg.json"))
        file.require(_TENSORS, "a sparse coder")
        coders[layer] = SparseCoder(file, config, sites, weights.d_model, placement)
    transcoders = _transcoders(coders, weights.n_layers)
    settings = [(one.reads, one.writes, one.top_k, one.choice, one.layers_written) for one in transcoders.values()]
    return assemble(path, transcoders, list(layers.values()), settings, weights, part(progress, 0.5, 1.0), cancel)


def _transcoders(coders: Mapping[int, SparseCoder], n_layers: int) -> dict[int, Transcoder]:
    if any(coder.n_targets for coder in coders.values()):
        return cross_layer(coders, n_layers)
    return {layer: coder.alone() for layer, coder in coders.items()}


def _config(path: Path) -> Settings:
    if not path.exists():
        raise RequestError(f"{path.parent.name} has weights without a cfg.json; get the dictionary again.")
    config = read_json(path)
    if not config.flag("transcode"):
        config.refuse("transcode", "is not true: this is an autoencoder, and circuits are traced through transcoders")
    return config


def _inputs(root: Path) -> dict[str, str]:
    """The module whose input each hookpoint's coder read, where the run's config.json names other ones."""
    path = root / "config.json"
    if not path.exists():
        return {}
    config = read_json(path)
    return dict(zip(config.texts("hookpoints"), config.texts("hookpoints_in"), strict=False))


def _hookpoint(file: Path, root: Path) -> str:
    """A file's hookpoint: the folder it lies in, or a folder above that where it was trained with several seeds."""
    relative = file.relative_to(root).parts[:-1]
    for name in reversed([root.parent.name, root.name, *relative]):
        if layer_of_hook(name) is not None:
            return name
    return relative[-1] if relative else root.name


def _layer(hookpoint: str, file: Path) -> int:
    layer = layer_of_hook(hookpoint)
    if layer is None:
        raise RequestError(
            f"{file.parent.name} does not name a layer's module; folders must be named after hookpoints, as "
            "layers.0.mlp."
        )
    return layer


def _sites(hookpoint: str, inputs: Mapping[str, str]) -> Sites:
    reads, writes = read_site(inputs.get(hookpoint, hookpoint)), write_site(hookpoint)
    if writes is None:
        raise RequestError(f"{hookpoint} is not an MLP, whose transcoders are needed; choose another hookpoint's set.")
    if reads is None:
        raise RequestError(f"{inputs.get(hookpoint, hookpoint)} in hookpoints_in of config.json is no MLP's input.")
    return Sites(reads, writes)
