"""Does a dictionary describe this model? The fraction of variance unexplained, measured before it is trusted.

FVU of a layer = sum |y - y_hat|^2 / sum |y - mean y|^2 over tokens, special positions left out. Above 1 the dictionary
is worse than a constant: transposed, hooked at another place, or made for another model.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from importlib import resources
from itertools import product
from typing import TYPE_CHECKING, get_args

import torch
from torch import Tensor

from engine.dictionaries.hooks import READ_NAMES, WRITE_NAMES
from engine.dictionaries.matrices import take_rows, transposed
from engine.dictionaries.transcoder_set import TranscoderFeatures
from engine.dictionaries.transcoders import ReadSite, Transcoder, WriteSite, site_input, site_output
from engine.errors import RequestError
from engine.models.prompt import Prompt
from engine.models.recording import Recording, record
from engine.progress import Progress, checkpoint

if TYPE_CHECKING:
    from engine.models.language_model import LanguageModel

WORST_FVU = 1.0


def built_in_recording(model: LanguageModel, cancel: threading.Event | None = None) -> Recording:
    """The model run over the built-in text (our own, somewhat over 500 tokens)."""
    text = (resources.files("resources") / "fidelity_text.txt").read_text(encoding="utf-8")
    ids = model.tokenizer.encode(Prompt(text))
    first = 1 if model.tokenizer.is_special(ids[0]) else 0
    return record(model.weights, ids, first_position=first, cancel=cancel)


# Of one source: the features used anywhere, (U,), and their activations, (T, U).
_Active = tuple[Tensor, Tensor]


class Reconstructions:
    """What a dictionary makes of a recording, layer by layer; each source's activations are found once."""

    def __init__(self, features: TranscoderFeatures, recording: Recording) -> None:
        self.features, self.recording = features, recording
        self._active: dict[int, _Active] = {}

    def __call__(self, layer: int) -> Tensor:
        """(T, d) at a layer's write site: what features (left out nowhere), bias and skip give together."""
        here = self.features.transcoders[layer]
        assert here is not None
        x = self._input(layer, here)
        total = here.b_dec.to(x.dtype).expand_as(x)
        if here.w_skip is not None:
            total = total + x @ here.w_skip.to(x.dtype).T
        for source, writer in enumerate(self.features.transcoders[: layer + 1]):
            if writer is None or layer >= source + writer.layers_written:
                continue
            used, values = self._active_at(source, writer)
            if writer.offset is not None:
                values = values + writer.offset[layer - source, used].to(x.dtype) * (values != 0)
            place = layer - source if len(writer.w_dec.shape) == 3 else None
            total = total + values @ take_rows(writer.w_dec, used, place).to(x.dtype)
        return total

    def unexplained(self, layer: int) -> float:
        """FVU of a layer that has a transcoder."""
        start, here = self.recording.first_position, self.features.transcoders[layer]
        assert here is not None
        y = site_output(self.recording.layers[layer], here.writes)[start:].double()
        rest = y - self(layer)[start:].double()
        return float(rest.pow(2).sum() / (y - y.mean(0)).pow(2).sum().clamp_min(1e-30))

    def changed(self, change: Change, last: int) -> Reconstructions:
        """The same with layers up to `last` read in another way; activations are kept where they stay the same."""
        changed = [one and change.apply(one) for one in self.features.transcoders[: last + 1]]
        gains = self.features.gains[: last + 1]
        other = Reconstructions(
            TranscoderFeatures(self.features.name, self.features.fingerprint, changed, gains), self.recording
        )
        for source, (before, after) in enumerate(zip(self.features.transcoders, changed, strict=False)):
            if before and after and before.reads == after.reads and before.w_enc is after.w_enc:
                other._active |= {source: self._active[source]} if source in self._active else {}
        return other

    def _input(self, layer: int, transcoder: Transcoder) -> Tensor:
        return site_input(self.recording.layers[layer], self.features.gains[layer], transcoder.reads)

    def _active_at(self, source: int, writer: Transcoder) -> _Active:
        if source not in self._active:
            values = writer.activations(self._input(source, writer))
            used = (values != 0).any(0).nonzero()[:, 0]
            self._active[source] = used, values[:, used]
        return self._active[source]


def require_fidelity(
    features: TranscoderFeatures, model: LanguageModel, progress: Progress, cancel: threading.Event | None
) -> dict[int, float]:
    """FVU of every layer; `RequestError` above 1, with the hook that would fit where one does."""
    stage = "Checking the dictionary against the model"
    progress(stage, 0.0)
    measured: dict[int, float] = {}
    with torch.no_grad():
        made = Reconstructions(features, built_in_recording(model, cancel))
        for layer in range(len(features.transcoders)):
            checkpoint(cancel)
            progress(stage, layer / len(features.transcoders))
            if features.transcoders[layer] is None:
                continue
            measured[layer] = fvu = made.unexplained(layer)
            if not fvu <= WORST_FVU:
                raise RequestError(
                    f"This dictionary does not describe {model.name}: layer {layer} leaves {fvu:.2f} of the variance "
                    f"unexplained, worse than a constant.{_what_fits(made, layer, cancel)} Open it with the "
                    "model it was made for, or insist with --trust-features."
                )
    return measured


@dataclass(frozen=True)
class Change:
    """Another way to read a dictionary: other hooks, or tensors the other way round."""

    reads: ReadSite
    writes: WriteSite
    encoder: bool = False
    decoder: bool = False
    skip: bool = False

    def apply(self, one: Transcoder) -> Transcoder:
        """A transcoder read in this way."""
        return replace(
            one,
            reads=self.reads,
            writes=self.writes,
            w_enc=transposed(one.w_enc) if self.encoder else one.w_enc,
            w_dec=transposed(one.w_dec) if self.decoder else one.w_dec,
            w_skip=one.w_skip.T if self.skip and one.w_skip is not None else one.w_skip,
        )

    def describe(self, now: Transcoder) -> str:
        """What is different from now, as part of a sentence."""
        turned = {"its encoder": self.encoder, "its decoder": self.decoder, "its skip connection": self.skip}
        said = [f"{name} transposed" for name, is_turned in turned.items() if is_turned]
        if self.reads != now.reads or self.writes != now.writes:
            said.append(f"hooks {READ_NAMES[self.reads]} and {WRITE_NAMES[self.writes]}")
        return " and ".join(said)


def _what_fits(made: Reconstructions, layer: int, cancel: threading.Event | None) -> str:
    """A sentence naming the hooks and the tensors' orientation with which the layer fits, if any do."""
    now = made.features.transcoders[layer]
    assert now is not None
    square = (False, True) if now.width == made.recording.final.shape[1] else (False,)
    skips = (False,) if now.w_skip is None else (False, True)
    # The hooks it names now come first: where others fit as well, they are not blamed.
    sources: list[ReadSite] = sorted(get_args(ReadSite), key=lambda one: one != now.reads)
    ends: list[WriteSite] = sorted(get_args(WriteSite), key=lambda one: one != now.writes)
    best, fitting = WORST_FVU, None
    for reads, encoder in product(sources, square):
        inner = made.changed(Change(reads, now.writes, encoder), layer)
        inner(layer)  # finds the activations once for all ways to write
        for writes, decoder, skip in product(ends, square, skips):
            checkpoint(cancel)
            fvu = inner.changed(Change(reads, writes, False, decoder, skip), layer).unexplained(layer)
            if fvu < best:
                best, fitting = fvu, Change(reads, writes, encoder, decoder, skip)
    if fitting is None:
        return ""
    return f" With {fitting.describe(now)} it would fit ({best:.2f}): correct its config."
