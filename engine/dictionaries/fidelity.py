"""Does a dictionary describe this model? The fraction of variance unexplained, measured before it is trusted.

FVU of a layer = sum |y - y_hat|^2 / sum |y - mean y|^2 over tokens, special positions left out. Above 1 the dictionary
is worse than a constant: transposed, hooked at another place, or made for another model.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from importlib import resources
from typing import TYPE_CHECKING, get_args

import torch
from torch import Tensor

from engine.dictionaries.matrices import take_rows
from engine.dictionaries.transcoder_set import TranscoderFeatures
from engine.dictionaries.transcoders import ReadSite, WriteSite, site_input, site_output
from engine.errors import RequestError
from engine.models.prompt import Prompt
from engine.models.recording import Recording, record
from engine.progress import Progress, checkpoint

if TYPE_CHECKING:
    from engine.models.language_model import LanguageModel

WORST_FVU = 1.0
# How each tensor that a transcoder may have been hooked to is named in circuit-tracer's config.
_READ_NAMES = {"mlp_input": "mlp.hook_in", "normalised": "ln2.hook_normalized", "residual": "hook_resid_mid"}
_WRITE_NAMES = {"mlp_output": "mlp.hook_out", "branch_output": "hook_mlp_out"}


def built_in_recording(model: LanguageModel, cancel: threading.Event | None = None) -> Recording:
    """The model run over the built-in text (our own, somewhat over 500 tokens)."""
    text = (resources.files("resources") / "fidelity_text.txt").read_text(encoding="utf-8")
    ids = model.tokenizer.encode(Prompt(text))
    first = 1 if model.tokenizer.is_special(ids[0]) else 0
    return record(model.hf, model.weights, ids, first_position=first, cancel=cancel)


def reconstructions(features: TranscoderFeatures, recording: Recording) -> Iterator[tuple[int, Tensor]]:
    """Layer by layer, (T, d) at the write site: what features (left out nowhere), bias and skip give together."""
    active: list[tuple[Tensor, Tensor] | None] = []  # numbers of the features used anywhere, and (T, used) activations
    for layer, (transcoder, record_) in enumerate(zip(features.transcoders, recording.layers, strict=True)):
        if transcoder is None:
            active.append(None)
            continue
        x = site_input(record_, features.gains[layer], transcoder.reads)
        values = transcoder.activations(x)
        used = (values != 0).any(0).nonzero()[:, 0]
        active.append((used, values[:, used]))
        total = transcoder.b_dec.to(x.dtype).expand_as(x)
        if transcoder.w_skip is not None:
            total = total + x @ transcoder.w_skip.to(x.dtype).T
        for source, (writer, found) in enumerate(zip(features.transcoders, active, strict=False)):
            if writer is None or found is None or layer >= source + writer.layers_written:
                continue
            place = layer - source if len(writer.w_dec.shape) == 3 else None
            total = total + found[1] @ take_rows(writer.w_dec, found[0], place).to(x.dtype)
        yield layer, total


def unexplained(features: TranscoderFeatures, recording: Recording) -> Iterator[tuple[int, float]]:
    """FVU of every layer that has a transcoder."""
    start = recording.first_position
    for layer, guess in reconstructions(features, recording):
        transcoder = features.transcoders[layer]
        assert transcoder is not None
        y = site_output(recording.layers[layer], transcoder.writes)[start:].double()
        spread = (y - y.mean(0)).pow(2).sum()
        yield layer, float((y - guess[start:].double()).pow(2).sum() / spread.clamp_min(1e-30))


def require_fidelity(
    features: TranscoderFeatures, model: LanguageModel, progress: Progress, cancel: threading.Event | None
) -> dict[int, float]:
    """FVU of every layer; `RequestError` above 1, with the hook that would fit where one does."""
    stage = "Checking the dictionary against the model"
    progress(stage, 0.0)
    measured: dict[int, float] = {}
    with torch.no_grad():
        recording = built_in_recording(model, cancel)
        for layer, fvu in unexplained(features, recording):
            checkpoint(cancel)
            progress(stage, layer / len(features.transcoders))
            measured[layer] = fvu
            if not fvu <= WORST_FVU:
                raise RequestError(
                    f"This dictionary does not describe {model.name}: layer {layer} leaves {fvu:.2f} of the variance "
                    f"unexplained, worse than a constant.{_better_hook(features, recording, layer)} Open it with the "
                    "model it was made for, or insist with --trust-features."
                )
    return measured


def _better_hook(features: TranscoderFeatures, recording: Recording, layer: int) -> str:
    """A sentence naming the hooks with which the layer fits, if any do."""
    trials: list[tuple[float, ReadSite, WriteSite]] = []
    for reads in get_args(ReadSite):
        for writes in get_args(WriteSite):
            other = TranscoderFeatures(
                features.name,
                features.fingerprint,
                [one and replace(one, reads=reads, writes=writes) for one in features.transcoders],
                features.gains,
            )
            fvu = next(fvu for at, fvu in unexplained(other, recording) if at == layer)
            trials.append((fvu, reads, writes))
    best, reads, writes = min(trials)
    if not best <= WORST_FVU:
        return ""
    return f" With {_READ_NAMES[reads]} and {_WRITE_NAMES[writes]} it would fit ({best:.2f}): correct its config.yaml."
