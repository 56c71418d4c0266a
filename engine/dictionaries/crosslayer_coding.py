"""crosslayer-coding's cross-layer transcoders: cfg.json beside model.safetensors or clt_checkpoint_*.safetensors.

Tensors, all layers' in one file: encoder_module.encoders.{l}.weight (n, d) and bias_param (n,);
decoder_module.decoders.{s}->{t}.weight (d, n) and bias_param (d,), or decoders.{l} where they are tied by source or by
target (`decoder_tying`); theta_manager.log_threshold (L, n), of which JumpReLU takes the exponential;
feature_offset.{t} and feature_scale.{t} (n,), an active value a being written as (a + offset) scale; skip_weights
(d, d) with y += W x. With inputs (x_s - m_s) / r_s,

    y_t = sigma_t * sum over s <= t of (W_st ((a_s + offset_t [a_s > 0]) scale_t) + bias_st) + mu_t

Means and deviations are those of norm_stats.json (`mean_std`), or r = 1 / sqrt(d) and sigma the same (`sqrt_d_model`).
All of that is folded into the weights. The library keeps values equal to their threshold, this program those above it.
Format: crosslayer-coding at commit 9499108.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from engine.dictionaries.hooks import read_site, write_site
from engine.dictionaries.layer_files import assemble, holds, weight_files
from engine.dictionaries.matrices import Matrix, ScaledMatrix, StackedMatrix, in_memory
from engine.dictionaries.settings_files import Settings, read_json
from engine.dictionaries.tensor_files import Placement, TensorFile
from engine.dictionaries.tensor_headers import label
from engine.dictionaries.transcoder_set import TranscoderFeatures
from engine.dictionaries.transcoders import ReadSite, Transcoder, WriteSite
from engine.errors import RequestError
from engine.models.weights import ModelWeights
from engine.progress import Progress, checkpoint, part

LARGEST_STATISTICS = 64 << 20
_ENCODER, _DECODER = "encoder_module.encoders", "decoder_module.decoders"
_THRESHOLDS = ("theta_manager.log_threshold", "log_threshold")
_STATISTICS = "norm_stats.json"
_EPS = 1e-6  # what the library adds to every deviation
_OLD_NORMALISATIONS = {
    "auto": "mean_std",
    "estimated_mean_std": "mean_std",
    "auto_sqrt_d_model": "sqrt_d_model",
    "estimated_mean_std_sqrt_d_model": "sqrt_d_model",
}


@dataclass(frozen=True)
class _Affine:
    """A normalisation of vectors (d,): (x - mean) / deviation on the way in, and back on the way out."""

    mean: Tensor
    deviation: Tensor


@dataclass(frozen=True)
class _Set:
    """One file and what its config says."""

    file: TensorFile
    n: int
    d: int
    n_layers: int
    tying: str
    skips: bool
    enabled: tuple[str, ...]  # which of feature_offset and feature_scale there must be
    thresholds: Tensor | None  # (L, n)
    inputs: list[_Affine]
    outputs: list[_Affine]
    reads: ReadSite
    writes: WriteSite
    placement: Placement
    origin: str

    def decoder_name(self, source: int, target: int) -> str:
        """The module that decodes a source's features at a target."""
        where = {"none": f"{source}->{target}", "per_source": str(source), "per_target": str(target)}[self.tying]
        return f"{_DECODER}.{where}"

    def vector(self, name: str, length: int) -> Tensor:
        """A vector that has to be there."""
        self.file.require((name,), "a cross-layer transcoder")
        return self.file.tensor(name, (length,), self.placement, self.origin)


def matches(path: Path) -> bool:
    """Whether a safetensors file there holds such encoders and decoders."""
    return holds(path, ".safetensors", (f"{_ENCODER}.0.weight",))


def read(path: Path, weights: ModelWeights, progress: Progress, cancel: threading.Event | None) -> TranscoderFeatures:
    """Read a set for a model; `RequestError` with what does not fit, and for what cannot be folded."""
    file = TensorFile(_newest(path))
    beside = (file.path.with_name("cfg.json"), file.path.parent.parent / "cfg.json")
    config = read_json(next((one for one in beside if one.exists()), beside[0]))
    whole = _set(file, config, weights)
    transcoders = {}
    for layer in range(weights.n_layers):
        checkpoint(cancel)
        progress(f"Reading the dictionary, layer {layer}", 0.5 * layer / weights.n_layers)
        transcoders[layer] = _transcoder(whole, layer)
    statistics = config.path.with_name(_STATISTICS)
    files = [file.path, *([statistics] if statistics.exists() else [])]
    settings = sorted((key, repr(value)) for key, value in config.values.items())
    return assemble(path, transcoders, files, settings, weights, part(progress, 0.5, 1.0), cancel)


def _newest(path: Path) -> Path:
    """The model's file; of several checkpoints the one called latest, else the one with the highest step."""
    named = {file.stem: file for file in weight_files(path, ".safetensors")}
    for name in ("model", "clt_checkpoint_latest"):
        if name in named:
            return named[name]
    return named[max(named, key=lambda name: (len(name), name))]


def _set(file: TensorFile, config: Settings, weights: ModelWeights) -> _Set:
    activation, tying = config.text("activation_fn", "jumprelu"), config.text("decoder_tying", "none")
    if activation not in ("relu", "jumprelu"):
        config.refuse(
            "activation_fn",
            f"is {activation}, which chooses features over layers or prompts together; convert it to jumprelu with the "
            "library's script convert_batchtopk_to_jumprelu first",
        )
    if tying not in ("none", "per_source", "per_target"):
        config.refuse("decoder_tying", f"is {tying}; none, per_source and per_target are read")
    n, n_layers, d = file.length(f"{_ENCODER}.0.bias_param"), weights.n_layers, weights.d_model
    if (layers := config.count("num_layers", n_layers)) != n_layers or f"{_ENCODER}.{n_layers}.weight" in file.places:
        raise RequestError(
            f"This dictionary is for {layers} layers, but the model has {n_layers}; open it with the model it was made "
            "for."
        )
    placement = Placement.for_files([file], weights.unembed).wide()
    inputs, outputs = _normalisation(config, n_layers, d, placement)
    return _Set(
        file=file,
        n=n,
        d=d,
        n_layers=n_layers,
        tying=tying,
        skips=config.flag("skip_connection"),
        enabled=tuple(one for one in ("feature_offset", "feature_scale") if config.flag(f"enable_{one}")),
        thresholds=_thresholds(file, (n_layers, n), placement) if activation == "jumprelu" else None,
        inputs=inputs,
        outputs=outputs,
        reads=_reads(config),
        writes=_writes(config),
        placement=placement,
        origin=config.text("model_name"),
    )


def _thresholds(file: TensorFile, shape: tuple[int, int], placement: Placement) -> Tensor:
    name = next((one for one in _THRESHOLDS if one in file.places), _THRESHOLDS[0])
    file.require((name,), "a transcoder with JumpReLU")
    return file.tensor(name, shape, placement).exp()


def _reads(config: Settings) -> ReadSite:
    for key in ("mlp_input_template", "tl_input_template"):
        if key in config:
            found = read_site(config.text(key))
            if found is None:
                config.refuse(key, f"is {config.text(key)}, at which no MLP reads")
            return found
    return "mlp_input"


def _writes(config: Settings) -> WriteSite:
    for key in ("mlp_output_template", "tl_output_template"):
        if key in config:
            found = write_site(config.text(key))
            if found is None:
                config.refuse(key, f"is {config.text(key)}, which is not what an MLP writes")
            return found
    return "mlp_output"


def _normalisation(
    config: Settings, n_layers: int, d: int, placement: Placement
) -> tuple[list[_Affine], list[_Affine]]:
    """What was done to inputs and outputs of every layer in training."""
    method = config.text("normalization_method", "none")
    method = "sqrt_d_model" if config.flag("sqrt_d_model_normalize") else _OLD_NORMALISATIONS.get(method, method)

    def vector(values: list[float]) -> Tensor:
        return torch.tensor(values, dtype=torch.float64).to(device=placement.device, dtype=placement.dtype)

    if method in ("none", "sqrt_d_model"):
        deviation = 1.0 if method == "none" else d**-0.5
        same = [_Affine(vector([0.0] * d), vector([deviation] * d))] * n_layers
        return same, same
    if method != "mean_std":
        config.refuse("normalization_method", f"is {method}; none, mean_std and sqrt_d_model are read")
    path = config.path.with_name(_STATISTICS)
    if not path.exists():
        config.refuse("normalization_method", "is mean_std, but norm_stats.json with the means is not beside it")
    statistics = read_json(path, LARGEST_STATISTICS)
    read_in: list[_Affine] = []
    read_out: list[_Affine] = []
    for layer in range(n_layers):
        for key, found in (("inputs", read_in), ("targets", read_out)):
            part_ = statistics.inner(str(layer)).inner(key)
            deviation_ = vector(part_.numbers("std", d)) + _EPS
            if not bool((deviation_ > 0).all()):
                statistics.refuse(f"{layer}.{key}.std", "is not positive")
            found.append(_Affine(vector(part_.numbers("mean", d)), deviation_))
    return read_in, read_out


def _transcoder(whole: _Set, layer: int) -> Transcoder:
    w_enc, b_enc = _encoder(whole, layer)
    skip, skip_bias = _skip(whole, layer)
    bias = _bias(whole, layer)
    offsets = [_feature(whole, "feature_offset", target) for target in range(layer, whole.n_layers)]
    has_offset = any(one is not None and bool(one.count_nonzero()) for one in offsets)
    filled = [torch.zeros_like(b_enc) if one is None else one for one in offsets]
    return Transcoder(
        w_enc=w_enc,
        b_enc=b_enc,
        w_dec=StackedMatrix(tuple(_decoder(whole, layer, target) for target in range(layer, whole.n_layers))),
        b_dec=bias if skip_bias is None else bias + skip_bias,
        threshold=None if whole.thresholds is None else whole.thresholds[layer],
        w_skip=skip,
        reads=whole.reads,
        writes=whole.writes,
        offset=torch.stack(filled) if has_offset else None,
    )


def _encoder(whole: _Set, layer: int) -> tuple[Matrix, Tensor]:
    """(n, d) and (n,) for inputs as they are."""
    name, normal = f"{_ENCODER}.{layer}", whole.inputs[layer]
    whole.file.require((f"{name}.weight", f"{name}.bias_param"), "a cross-layer transcoder")
    matrix = whole.file.matrix(f"{name}.weight", (whole.n, whole.d), whole.placement, whole.origin)
    bias = whole.vector(f"{name}.bias_param", whole.n)
    folded = ScaledMatrix(matrix, f"{name}.weight of {label(whole.file.path)}", by_column=1 / normal.deviation)
    if normal.mean.count_nonzero():
        bias = bias - folded.whole() @ normal.mean
    return in_memory(folded) if isinstance(matrix, Tensor) else folded, bias


def _decoder(whole: _Set, source: int, target: int) -> Matrix:
    """(n, d) of one source at one target, with the feature's scale and the output's deviation."""
    name = f"{whole.decoder_name(source, target)}.weight"
    whole.file.require((name,), "a cross-layer transcoder")
    matrix = whole.file.matrix(name, (whole.n, whole.d), whole.placement, whole.origin, transposed=True)
    scale, deviation = _feature(whole, "feature_scale", target), whole.outputs[target].deviation
    return ScaledMatrix(matrix, f"{name} of {label(whole.file.path)}", scale, deviation)


def _feature(whole: _Set, kind: str, target: int) -> Tensor | None:
    """(n,) offsets or scales of a target; the library has them for tied decoders only."""
    name = f"decoder_module.{kind}.{target}"
    if whole.tying == "none" or (name not in whole.file.places and kind not in whole.enabled):
        return None
    return whole.vector(name, whole.n)


def _bias(whole: _Set, target: int) -> Tensor:
    """(d,): one bias for each source, or one in all where decoders are tied by target."""
    sources = [target] if whole.tying == "per_target" else range(target + 1)
    names = [f"{whole.decoder_name(source, target)}.bias_param" for source in sources]
    total = sum((whole.vector(name, whole.d) for name in names), torch.zeros_like(whole.outputs[target].mean))
    return total * whole.outputs[target].deviation + whole.outputs[target].mean


def _skip(whole: _Set, layer: int) -> tuple[Tensor | None, Tensor | None]:
    """(d, d) for inputs as they are, and the constant (d,) that their mean leaves."""
    if not whole.skips:
        return None, None
    d = whole.d
    if whole.tying == "none":
        for target in range(layer + 1, whole.n_layers):
            crossing = f"decoder_module.skip_weights.{layer}->{target}"
            if crossing in whole.file.places and whole.file.tensor(crossing, (d, d), whole.placement).count_nonzero():
                raise RequestError(
                    f"{crossing} of {label(whole.file.path)} carries a layer's input straight into a later layer, "
                    "which is not traced; choose a set without skip connections, or one with tied decoders."
                )
    name = f"decoder_module.skip_weights.{f'{layer}->{layer}' if whole.tying == 'none' else layer}"
    whole.file.require((name,), "a cross-layer transcoder with skip_connection")
    weight = whole.file.tensor(name, (d, d), whole.placement, whole.origin)
    weight = weight * whole.outputs[layer].deviation[:, None] / whole.inputs[layer].deviation
    return weight, -weight @ whole.inputs[layer].mean
