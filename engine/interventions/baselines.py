"""What a feature is ablated to: nothing, its mean over a text, or what it is on another prompt.

Results depend on the choice (Miller et al. 2024), so it is always stated.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from engine.dictionaries.features import LayerFeatures
from engine.dictionaries.fidelity import built_in_recording
from engine.errors import RequestError
from engine.interventions.case import Case
from engine.interventions.changes import Change
from engine.interventions.controls import FeatureAt, FeaturePools
from engine.interventions.run import record_other
from engine.progress import silent
from engine.tracing.read_features import read_features

Ablation = Literal["zero", "mean", "counterfactual"]
ABLATIONS: tuple[Ablation, ...] = ("zero", "mean", "counterfactual")


@dataclass(frozen=True)
class Baseline:
    """What every active feature of a case becomes when it is ablated: `values[layer]` (S,), in the features' order."""

    name: Ablation
    sentence: str
    values: tuple[NDArray[np.float32], ...]
    pools: FeaturePools

    def ablated(self, features: Sequence[FeatureAt]) -> tuple[Change, ...]:
        """The changes that ablate these features; `RequestError` for one that is not active."""
        if self.name == "zero":
            return tuple(Change("feature", layer, position, feature, "ablate") for layer, position, feature in features)
        return tuple(
            Change("feature", one[0], one[1], one[2], "set", float(self.values[one[0]][self.pools.number(one)]))
            for one in features
        )


def baseline_of(
    case: Case,
    name: Ablation,
    other: Sequence[int] | None = None,
    cancel: threading.Event | None = None,
) -> Baseline:
    """The baseline of a case. `other`: the tokens of the counterfactual prompt, as many as the prompt has.

    Raises `RequestError` for a counterfactual prompt that is missing or of another length.
    """
    if name not in ABLATIONS:
        raise RequestError(f"{name!r} is no ablation; choose one of {', '.join(ABLATIONS)}.")
    with torch.no_grad():
        if name == "zero":
            values = [np.zeros(len(layer.position), np.float32) for layer in case.layers]
            sentence = "set to zero"
        elif name == "mean":
            values, sentence = _means(case, cancel), "set to their mean over the built-in text"
        else:
            values = _elsewhere(case, other, cancel)
            text = "".join(case.model.tokenizer.texts(other or ()))
            sentence = f"set to what they are on {text!r}"
    pools = FeaturePools(case.layers, case.recording.first_position, values)
    return Baseline(name, sentence, tuple(values), pools)


def _means(case: Case, cancel: threading.Event | None) -> list[NDArray[np.float32]]:
    """Each active feature's mean activation over the built-in text, special positions left out."""
    recording = built_in_recording(case.model, cancel)
    count = recording.n_positions - recording.first_position
    read = case.features.read(recording, silent, cancel)
    return [
        _sums(there, recording.first_position)[_known(here, there)] / np.float32(count)
        if len(there.position)
        else _none(here)
        for here, there in zip(case.layers, read, strict=True)
    ]


def _sums(layer: LayerFeatures, first: int) -> NDArray[np.float32]:
    """(features + 1,) sum of each feature's activations from a position on; the last, for unknown ones, is 0."""
    some = layer.position >= first
    total = torch.zeros(int(layer.feature.max()) + 2, dtype=torch.float64, device=layer.activation.device)
    total.index_add_(0, layer.feature[some], layer.activation[some].double())
    found: NDArray[np.float32] = total.float().cpu().numpy()
    return found


def _known(here: LayerFeatures, there: LayerFeatures) -> NDArray[np.int64]:
    last = int(there.feature.max()) + 1
    found: NDArray[np.int64] = here.feature.clamp_max(last).cpu().numpy()
    return found


def _none(here: LayerFeatures) -> NDArray[np.float32]:
    return np.zeros(len(here.position), np.float32)


def _elsewhere(case: Case, other: Sequence[int] | None, cancel: threading.Event | None) -> list[NDArray[np.float32]]:
    n = case.recording.n_positions
    if not other:
        raise RequestError("A counterfactual ablation needs another prompt; give one of as many tokens.")
    if len(other) != n:
        raise RequestError(
            f"The counterfactual prompt has {len(other)} tokens and this one {n}; give one of as many tokens, so that "
            "positions stand for each other."
        )
    recording = record_other(case.model, tuple(other), cancel)
    read = read_features(case.features, recording, silent, cancel, keep=True)
    return [_matched(here, there) for here, there in zip(case.layers, read, strict=True)]


def _matched(here: LayerFeatures, there: LayerFeatures) -> NDArray[np.float32]:
    """Activations there of the features that are active here, 0 where they are not."""
    if not len(there.position):
        return _none(here)
    width = (
        int(torch.stack([here.feature.max() if len(here.feature) else there.feature.max(), there.feature.max()]).max())
        + 1
    )
    wanted, known = (layer.position * width + layer.feature for layer in (here, there))
    at = torch.searchsorted(known, wanted).clamp_max(len(known) - 1)
    found: NDArray[np.float32] = torch.where(known[at] == wanted, there.activation[at], 0).float().cpu().numpy()
    return found
