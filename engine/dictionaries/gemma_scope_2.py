"""Gemma Scope 2's transcoders for Gemma 3: params.safetensors in a folder a layer, or params_layer_{i}.safetensors.

Tensors: w_enc (d, n), w_dec (n, d), b_enc (n,), b_dec (d,), threshold (n,), optionally affine_skip_connection (d, d)
with y += x affine_skip_connection; JumpReLU, ReLU(z) where z > threshold. A cross-layer set has w_dec (n, L, d) in
every layer's file, its second axis the layers written, 0 to L - 1, with zeros below its own; files that count from
their own layer up, (n, L - i, d) or with the zeros at the end, are told by their shape or by where the zeros are.
A config.json beside names the modules that were hooked (hf_hook_point_in, hf_hook_point_out). Format: Gemma Scope 2's
published files, and circuit-tracer v0.5.0's loaders (which drop the last layer of a cross-layer set).
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from engine.dictionaries.circuit_tracer_config import CONFIG_NAME, site
from engine.dictionaries.hooks import READ_SITES, WRITE_SITES, read_site, write_site
from engine.dictionaries.layer_files import assemble, files_by_layer, holds, open_weights
from engine.dictionaries.matrices import FileMatrix, Matrix
from engine.dictionaries.settings_files import Settings, read_json, read_yaml
from engine.dictionaries.tensor_files import Placement, TensorFile
from engine.dictionaries.transcoder_set import TranscoderFeatures
from engine.dictionaries.transcoders import ReadSite, Transcoder, WriteSite
from engine.errors import RequestError
from engine.models.weights import ModelWeights
from engine.progress import Progress, checkpoint, part

_TENSORS = ("w_enc", "w_dec", "b_enc", "b_dec", "threshold")
_SKIP = "affine_skip_connection"
# Features whose decoders are looked at to tell from which layer on a cross-layer file counts.
_LOOKED_AT = 64


@dataclass(frozen=True)
class _Hooks:
    reads: ReadSite
    writes: WriteSite


def matches(path: Path) -> bool:
    """Whether safetensors files there hold such tensors."""
    return holds(path, ".safetensors", _TENSORS)


def read(path: Path, weights: ModelWeights, progress: Progress, cancel: threading.Event | None) -> TranscoderFeatures:
    """Read a per-layer or cross-layer set for a model; `RequestError` with what does not fit."""
    config = read_yaml((path if path.is_dir() else path.parent) / CONFIG_NAME)
    layers = files_by_layer(path, ".safetensors", config, weights.n_layers)
    files = {layer: open_weights(file) for layer, file in layers.items()}
    placement = Placement.for_files(files.values(), weights.unembed)
    transcoders, hooks = {}, {}
    for layer, file in files.items():
        checkpoint(cancel)
        progress(f"Reading the dictionary, layer {layer}", 0.5 * layer / weights.n_layers)
        file.require(_TENSORS, "a Gemma Scope 2 transcoder")
        hooks[layer] = _hooks(config, file.path.with_name("config.json"))
        transcoders[layer] = _transcoder(layer, file, hooks[layer], weights, placement)
    _require_one_kind(files, weights.n_layers, path)
    return assemble(path, transcoders, list(layers.values()), hooks, weights, part(progress, 0.5, 1.0), cancel)


def _hooks(config: Settings, beside: Path) -> _Hooks:
    own = read_json(beside) if beside.exists() else Settings(beside, {})
    reads, writes = own.text("hf_hook_point_in"), own.text("hf_hook_point_out")
    reads_at = read_site(reads) if reads else site(config, "feature_input_hook", "mlp.hook_in", READ_SITES)
    writes_at = write_site(writes) if writes else site(config, "feature_output_hook", "hook_mlp_out", WRITE_SITES)
    if reads_at is None:
        own.refuse("hf_hook_point_in", f"is {reads}, at which no MLP reads")
    if writes_at is None:
        own.refuse("hf_hook_point_out", f"is {writes}, which is not what an MLP writes")
    return _Hooks(reads_at, writes_at)


def _transcoder(layer: int, file: TensorFile, hooks: _Hooks, weights: ModelWeights, placement: Placement) -> Transcoder:
    d, n, origin = weights.d_model, file.length("b_enc"), "a Gemma 3 model"
    is_cross = len(file.shape("w_dec")) == 3
    return Transcoder(
        w_enc=file.matrix("w_enc", (n, d), placement, origin, transposed=True),
        b_enc=file.tensor("b_enc", (n,), placement, origin),
        w_dec=_cross_decoder(layer, file, (n, weights.n_layers, d), placement)
        if is_cross
        else file.matrix("w_dec", (n, d), placement, origin),
        b_dec=file.tensor("b_dec", (d,), placement, origin),
        threshold=file.thresholds("threshold", n, placement).clamp_min(0),
        # Stored for x W; held as y += W x.
        w_skip=file.tensor(_SKIP, (d, d), placement, origin).T if _SKIP in file.places else None,
        reads=hooks.reads,
        writes=hooks.writes,
    )


def _cross_decoder(layer: int, file: TensorFile, shape: tuple[int, int, int], placement: Placement) -> Matrix:
    """(n, L - layer, d) of a file that counts layers from 0, or from its own up."""
    n, n_layers, d = shape
    written = n_layers - layer
    stored = file.shape("w_dec")
    if stored == (n, written, d):
        part_ = file.mapped("w_dec", stored, placement)
    else:
        whole = file.mapped("w_dec", shape, placement, "a Gemma 3 model")
        start = 0 if _counts_from_own(whole, layer) else layer
        part_ = whole.from_second(start, start + written)
    return part_.whole() if placement.resident else part_


def _counts_from_own(whole: FileMatrix, layer: int) -> bool:
    """Whether the zeros of a layer's decoder are at the end; circuit-tracer expects them at the start."""
    n, n_layers, _ = whole.shape
    looked = whole.rows(torch.linspace(0, n - 1, min(n, _LOOKED_AT)).long())
    before, after = looked[:, :layer], looked[:, n_layers - layer :]
    return bool(before.count_nonzero()) and not bool(after.count_nonzero())


def _require_one_kind(files: Mapping[int, TensorFile], n_layers: int, path: Path) -> None:
    cross = {len(file.shape("w_dec")) == 3 for file in files.values()}
    if cross == {True, False}:
        raise RequestError(f"{path.name} mixes per-layer and cross-layer files; keep each set in a folder of its own.")
    if True in cross and len(files) < n_layers:
        missing = min(set(range(n_layers)) - set(files))
        raise RequestError(
            f"This cross-layer dictionary lacks the file of layer {missing}; a cross-layer set needs every layer's."
        )
