"""SAELens' transcoders: a folder a layer with cfg.json and sae_weights.safetensors.

Tensors: W_enc (d, n), W_dec (n, d), b_enc (n,), b_dec (d,), optionally threshold (n,) and W_skip (d, d) with
y += W_skip x. Architectures transcoder, skip_transcoder, jumprelu_transcoder and jumprelu_skip_transcoder; JumpReLU is
ReLU(z) where z > threshold. The hooks are in cfg.json, in `metadata` since version 6. Format: SAELens 6.18.
"""

from __future__ import annotations

import threading
from pathlib import Path

from engine.dictionaries.hooks import layer_of_hook, read_site, write_site
from engine.dictionaries.layer_files import assemble, checked_layers, holds, layer_in, weight_files
from engine.dictionaries.settings_files import Settings, read_json
from engine.dictionaries.tensor_files import Placement, TensorFile
from engine.dictionaries.transcoder_set import TranscoderFeatures
from engine.dictionaries.transcoders import ReadSite, Transcoder, WriteSite
from engine.errors import RequestError
from engine.models.weights import ModelWeights
from engine.progress import Progress, checkpoint, part

CONFIG_NAME = "cfg.json"
_TENSORS = ("W_enc", "W_dec", "b_enc", "b_dec")
_JUMP = ("jumprelu_transcoder", "jumprelu_skip_transcoder")
_SKIP = ("skip_transcoder", "jumprelu_skip_transcoder")
_ARCHITECTURES = ("transcoder", *_SKIP, "jumprelu_transcoder")


def is_saelens_folder(path: Path) -> bool:
    """Whether a config of SAELens lies beside one of the first weight files."""
    for file in weight_files(path, ".safetensors")[:3]:
        config = file.with_name(CONFIG_NAME)
        try:
            if config.exists() and "architecture" in read_json(config):
                return True
        except RequestError:
            continue
    return False


def matches(path: Path) -> bool:
    """Whether weights there are a transcoder's, and the config beside them is SAELens'."""
    return holds(path, ".safetensors", _TENSORS) and is_saelens_folder(path if path.is_dir() else path.parent)


def read(path: Path, weights: ModelWeights, progress: Progress, cancel: threading.Event | None) -> TranscoderFeatures:
    """Read a set for a model; `RequestError` with what does not fit."""
    configs = {file: _config(file.with_name(CONFIG_NAME)) for file in weight_files(path, ".safetensors")}
    layers = checked_layers(
        ((_layer(config, file, path), file) for file, config in configs.items()),
        weights.n_layers,
        path.name,
        next((_hooked(config, "model_name") for config in configs.values()), ""),
    )
    files = {layer: TensorFile(file) for layer, file in layers.items()}
    placement = Placement.for_files(files.values(), weights.unembed)
    transcoders = {}
    for layer, file in files.items():
        checkpoint(cancel)
        progress(f"Reading the dictionary, layer {layer}", 0.5 * layer / weights.n_layers)
        transcoders[layer] = _transcoder(file, configs[file.path], weights.d_model, placement)
    settings = [(one.reads, one.writes, one.top_k) for one in transcoders.values()]
    return assemble(path, transcoders, list(layers.values()), settings, weights, part(progress, 0.5, 1.0), cancel)


def _config(path: Path) -> Settings:
    """A config, refused where it says what cannot be linear in the features."""
    if not path.exists():
        raise RequestError(f"{path.parent.name} has weights without a {CONFIG_NAME}; get the dictionary again.")
    config = read_json(path)
    architecture = config.text("architecture")
    if architecture not in _ARCHITECTURES:
        config.refuse("architecture", f"is {architecture or 'missing'}; known are {', '.join(_ARCHITECTURES)}")
    normalise = config.text("normalize_activations", "none") or "none"
    if normalise == "expected_average_only_in":
        config.refuse(
            "normalize_activations",
            f"is {normalise}, whose scaling factor is not in the file; fold it with SAELens' "
            "fold_activation_norm_scaling_factor and save again",
        )
    if normalise != "none":
        config.refuse("normalize_activations", f"is {normalise}, which is not linear and is not read")
    if config.flag("apply_b_dec_to_input"):
        config.refuse("apply_b_dec_to_input", "is true, which a transcoder cannot be: its b_dec belongs to the output")
    if config.text("reshape_activations", "none") not in ("none", ""):
        config.refuse("reshape_activations", "is set, so that it is not an MLP's transcoder")
    return config


def _hooked(config: Settings, key: str) -> str:
    """A setting that moved into `metadata` with version 6."""
    return config.inner("metadata").text(key) or config.text(key)


def _layer(config: Settings, file: Path, root: Path) -> int:
    layer = layer_of_hook(_hooked(config, "hook_name"))
    layer = layer_in(file, root) if layer is None else layer
    if layer is None:
        config.refuse("hook_name", "does not say which layer it is for")
    return layer


def _transcoder(file: TensorFile, config: Settings, d: int, placement: Placement) -> Transcoder:
    architecture, origin, n = config.text("architecture"), _hooked(config, "model_name"), file.length("b_enc")
    extra = (["threshold"] if architecture in _JUMP else []) + (["W_skip"] if architecture in _SKIP else [])
    file.require([*_TENSORS, *extra], f"a {architecture}")
    return Transcoder(
        w_enc=file.matrix("W_enc", (n, d), placement, origin, transposed=True),
        b_enc=file.tensor("b_enc", (n,), placement, origin),
        w_dec=file.matrix("W_dec", (n, d), placement, origin),
        b_dec=file.tensor("b_dec", (d,), placement, origin),
        threshold=file.thresholds("threshold", n, placement).clamp_min(0) if architecture in _JUMP else None,
        top_k=_top_k(config),
        w_skip=file.tensor("W_skip", (d, d), placement, origin) if architecture in _SKIP else None,
        reads=_reads(config),
        writes=_writes(config),
    )


def _top_k(config: Settings) -> int | None:
    """The k where the activation is TopK (versions before 6); other activations than ReLU are refused."""
    for key in ("activation_fn", "activation_fn_str"):
        name = config.text(key, "relu")
        if name == "topk":
            return config.inner("activation_fn_kwargs").count("k")
        if name != "relu":
            config.refuse(key, f"is {name}; known are relu and topk")
    return None


def _reads(config: Settings) -> ReadSite:
    name = _hooked(config, "hook_name")
    found = read_site(name) if name else "mlp_input"
    if found is None:
        config.refuse("hook_name", f"is {name}, at which no MLP reads")
    return found


def _writes(config: Settings) -> WriteSite:
    name = _hooked(config, "hook_name_out")
    found = write_site(name) if name else "branch_output"
    if found is None:
        config.refuse("hook_name_out", f"is {name}, which is not what an MLP writes")
    return found
