"""A traced prompt that experiments are made on: its recording, its features, and the number that is watched."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from engine.dictionaries.features import Features, LayerFeatures
from engine.errors import RequestError
from engine.interventions.controls import FeaturePools
from engine.models.recording import Recording
from engine.progress import Progress, part, silent
from engine.tracing.frozen_model import FrozenModel
from engine.tracing.read_features import read_features
from engine.tracing.run import hold, prompt_ids, versions
from engine.tracing.spec import Target, TraceSpec
from engine.tracing.targets import NextToken, TargetSet, choose_targets, predict

if TYPE_CHECKING:
    from engine.models.language_model import LanguageModel


@dataclass(frozen=True)
class Metric:
    """What an experiment watches at the traced position: the first target of the trace, read off the model's logits.

    One token: its logit minus the mean logit. Two tokens, or a weighted sum: that sum of logits.
    """

    name: str
    tokens: tuple[int, ...]
    weights: tuple[float, ...]
    minus_mean: bool

    def of(self, logits: NDArray[np.float32]) -> NDArray[np.float64]:
        """(n,) of logits (n, V)."""
        picked = logits[:, list(self.tokens)].astype(np.float64) @ np.asarray(self.weights)
        return np.asarray(picked - logits.mean(axis=-1, dtype=np.float64) if self.minus_mean else picked)


@dataclass(frozen=True)
class Case:
    """One prompt, run once and read with a dictionary; `layers` are its active features."""

    model: LanguageModel
    features: Features
    spec: TraceSpec
    recording: Recording
    layers: Sequence[LayerFeatures]
    frozen: FrozenModel
    prediction: NextToken
    targets: TargetSet
    metric: Metric

    @cached_property
    def pools(self) -> FeaturePools:
        """The active features, ready for controls to be drawn from."""
        return FeaturePools(self.layers, self.recording.first_position)

    @property
    def position(self) -> int:
        """The traced position."""
        return self.recording.n_positions - 1

    @property
    def provenance(self) -> dict[str, Any]:
        """What results depend on, as in a trace's report."""
        return {
            "prompt": "".join(self.model.tokenizer.texts(self.recording.token_ids)),
            "token_ids": list(self.recording.token_ids),
            "model": {
                "name": self.model.name,
                "fingerprint": self.model.fingerprint,
                "source": self.model.source,
            },
            "features": {
                "name": self.features.name,
                "kind": self.features.kind,
                "fingerprint": self.features.fingerprint,
            },
            "machine": {
                "device": str(self.model.device),
                "dtype": str(self.model.dtype).removeprefix("torch."),
            },
            "versions": versions(),
        }


def open_case(
    model: LanguageModel,
    features: Features,
    spec: TraceSpec,
    progress: Progress = silent,
    cancel: threading.Event | None = None,
) -> Case:
    """Run the prompt of a trace and read its features.

    Raises `RequestError` for a target that is no token or sum of tokens: experiments watch logits.
    """
    if spec.target.direction is not None or spec.target.feature is not None:
        raise RequestError("Experiments watch a token's logit; trace the prompt with a token as its target.")
    ids = prompt_ids(model, spec)
    first = 1 if model.tokenizer.is_special(ids[0]) else 0
    with torch.no_grad():
        recording = model.recordings.record(
            model.weights, ids, first_position=first, progress=part(progress, 0, 0.5), cancel=cancel
        )
        layers = read_features(features, recording, part(progress, 0.5, 1.0), cancel, keep=True)
        frozen = hold(model, recording, layers)
        position = recording.n_positions - 1
        prediction = predict(model.weights, recording, position)
        targets = choose_targets(
            spec.target, prediction, model.weights, recording, model.tokenizer, position=position, compatible=False
        )
    metric = _metric(spec.target, targets, prediction, model)
    return Case(model, features, spec, recording, layers, frozen, prediction, targets, metric)


def _metric(target: Target, targets: TargetSet, prediction: NextToken, model: LanguageModel) -> Metric:
    tokenizer = model.tokenizer
    if target.weighted is not None:
        pairs = [(tokenizer.single_token(text), weight) for text, weight in target.weighted]
        return Metric(targets.text[0], tuple(t for t, _ in pairs), tuple(w for _, w in pairs), minus_mean=False)
    against = tokenizer.single_token(target.against) if target.against is not None else target.against_id
    if against is None:
        token = int(targets.token[0])
        return Metric(f"logit of {targets.text[0]!r} above the mean", (token,), (1.0,), minus_mean=True)
    named = tokenizer.single_token(target.token) if target.token is not None else target.token_id
    token = int(prediction.probability.argmax()) if named is None else named
    return Metric(f"logit of {targets.text[0]}", (token, against), (1.0, -1.0), minus_mean=False)
