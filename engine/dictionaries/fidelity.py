"""Does a dictionary describe this model? The fraction of variance unexplained, measured before it is trusted.

FVU of a layer = sum |y - y_hat|^2 / sum |y - mean y|^2 over tokens, special positions left out. Above 1 the dictionary
is worse than a constant: transposed, hooked at another place, or made for another model.
"""

from __future__ import annotations

import threading
from dataclasses import replace
from importlib import resources
from typing import TYPE_CHECKING, get_args

import torch

from engine.dictionaries.transcoders import (
    ReadSite,
    Transcoder,
    TranscoderFeatures,
    WriteSite,
    site_input,
    site_output,
)
from engine.errors import RequestError
from engine.models.prompt import Prompt
from engine.models.recording import Recording, record
from engine.progress import Progress

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


def unexplained(transcoder: Transcoder, recording: Recording, layer: int, gain: torch.Tensor) -> float:
    """FVU of one layer on a recording."""
    here, start = recording.layers[layer], recording.first_position
    y = site_output(here, transcoder.writes)[start:].double()
    guess = transcoder.output(site_input(here, gain, transcoder.reads))[start:].double()
    spread = (y - y.mean(0)).pow(2).sum()
    return float((y - guess).pow(2).sum() / spread.clamp_min(1e-30))


def require_fidelity(
    features: TranscoderFeatures, model: LanguageModel, progress: Progress, cancel: threading.Event | None
) -> dict[int, float]:
    """FVU of every layer; `RequestError` above 1, with the hook that would fit where one does."""
    progress("Checking the dictionary against the model", 0.0)
    measured: dict[int, float] = {}
    with torch.no_grad():
        recording = built_in_recording(model, cancel)
        for layer, transcoder in enumerate(features.transcoders):
            if transcoder is None:
                continue
            progress("Checking the dictionary against the model", layer / len(features.transcoders))
            gain = model.weights.layers[layer].mlp_gain
            measured[layer] = unexplained(transcoder, recording, layer, gain)
            if not measured[layer] <= WORST_FVU:
                hint = _better_hook(transcoder, recording, layer, gain)
                raise RequestError(
                    f"This dictionary does not describe {model.name}: layer {layer} leaves {measured[layer]:.2f} of "
                    f"the variance unexplained, worse than a constant.{hint} Open it with the model it was made for, "
                    "or insist with --trust-features."
                )
    return measured


def _better_hook(transcoder: Transcoder, recording: Recording, layer: int, gain: torch.Tensor) -> str:
    """A sentence naming the hooks with which the layer fits, if any do."""
    trials: list[tuple[float, ReadSite, WriteSite]] = []
    for reads in get_args(ReadSite):
        for writes in get_args(WriteSite):
            other = replace(transcoder, reads=reads, writes=writes)
            trials.append((unexplained(other, recording, layer, gain), reads, writes))
    best, reads, writes = min(trials)
    if not best <= WORST_FVU:
        return ""
    return f" With {_READ_NAMES[reads]} and {_WRITE_NAMES[writes]} it would fit ({best:.2f}): correct its config.yaml."
