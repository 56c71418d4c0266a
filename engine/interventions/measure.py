"""Many sets of changes measured: the watched number of each, and, where asked for, everything the model then says."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from engine.interventions.case import Case
from engine.interventions.changes import Change, Settings, Watched
from engine.interventions.outcomes import kl_divergence, ranks_of, token_probabilities
from engine.interventions.run import intervene
from engine.progress import Progress, silent

Array = NDArray[np.float64]
FeatureAt = tuple[int, int, int]


@dataclass(frozen=True)
class Measured:
    """S sets of changes at the traced position. k tokens, W watched features.

    `recorded` and `metric` (S,) are the watched number; `kl` (S,), `probability`, `logit` and `rank` (S, k) are there
    where tokens were named. `linear` (S, W) and `activation` (S, W) beside `recorded_linear` and `recorded_activation`.
    """

    recorded: float
    metric: Array
    kl: Array
    probability: Array
    logit: Array
    rank: NDArray[np.int64]
    recorded_linear: Array
    recorded_activation: Array
    linear: Array
    activation: Array

    @property
    def change(self) -> Array:
        """(S,) how far the watched number moved."""
        return self.metric - self.recorded


def measure(
    case: Case,
    sets: Sequence[Sequence[Change]],
    settings: Settings,
    *,
    tokens: Sequence[int] = (),
    watched: Sequence[FeatureAt] = (),
    divided: bool = False,
    progress: Progress = silent,
    cancel: threading.Event | None = None,
) -> Measured:
    """Run all sets and keep what is said of them; with `tokens` also KL and these tokens' outcomes; with `divided` the
    linear forms of watched neurons that edges divide.

    Raises what `intervene` raises.
    """
    n, k = len(sets), len(tokens)
    metric, kl = np.zeros(n), np.full(n, np.nan)
    probability, logit, rank = np.zeros((n, k)), np.zeros((n, k)), np.zeros((n, k), dtype=np.int64)
    before = case.prediction.logits.float().cpu()

    def take(some: Sequence[int], logits: NDArray[np.float32]) -> None:
        rows, at = logits[:, 0], list(some)
        metric[at] = case.metric.of(rows)
        if k:
            after = torch.from_numpy(rows)
            kl[at] = kl_divergence(before, after)
            probability[at], rank[at] = token_probabilities(after, list(tokens)), ranks_of(after, list(tokens))
            logit[at] = rows[:, list(tokens)]

    outcome = intervene(
        case.model,
        case.recording,
        case.features,
        sets,
        settings,
        watched=[Watched(*one, divided) for one in watched],
        on_logits=take,
        progress=progress,
        cancel=cancel,
    )
    recorded = float(case.metric.of(outcome.recorded_logits)[0])
    return Measured(
        recorded,
        metric,
        kl,
        probability,
        logit,
        rank,
        outcome.recorded_linear,
        outcome.recorded_activation,
        outcome.linear,
        outcome.activation,
    )
