"""Continue a changed prompt: greedily, or sampled with seeds that give the same text again."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from engine.dictionaries.features import Features
from engine.errors import RequestError
from engine.interventions.changes import Change, Settings
from engine.interventions.elsewhere import Others
from engine.interventions.layers import ChangedRuns
from engine.interventions.plan import lay_out, too_large
from engine.interventions.run import CONSTRAINED, check, held_of, record_other, subject_of
from engine.interventions.steps import NextPositions
from engine.models.forward import KeyValueCache
from engine.models.generation import probabilities
from engine.models.recording import Recording, check_length
from engine.models.tokens import GeneratedToken
from engine.progress import Progress, checkpoint, silent

if TYPE_CHECKING:
    from engine.models.language_model import LanguageModel

# on_token(1, token): of which run, and its next one.
OnToken = Callable[[int, GeneratedToken], None]


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn: one run a seed, from the `most` likeliest tokens, logits divided by `temperature`."""

    seeds: tuple[int, ...] = (0,)
    temperature: float = 1.0
    most: int | None = None


@dataclass(frozen=True)
class Continuation:
    """One run: its tokens with the model's own probability of each, and the logits (n, V) that gave them."""

    tokens: tuple[GeneratedToken, ...]
    seed: int | None  # None: greedy
    logits: NDArray[np.float32]


@dataclass
class _Run:
    """A run that is growing."""

    seed: int | None
    generator: np.random.Generator | None
    tokens: list[GeneratedToken] = field(default_factory=list)
    logits: list[NDArray[np.float32]] = field(default_factory=list)
    done: bool = False


def continue_changed(
    model: LanguageModel,
    recording: Recording,
    features: Features,
    changes: Sequence[Change],
    settings: Settings = CONSTRAINED,
    *,
    max_new_tokens: int,
    sampling: Sampling | None = None,
    keep_logits: bool = False,
    on_token: OnToken | None = None,
    progress: Progress = silent,
    cancel: threading.Event | None = None,
) -> list[Continuation]:
    """Continue a prompt under a set of changes; without `sampling` greedily, one run.

    The settings hold for the prompt and so for the first new token, as in circuit-tracer; from then on attention is
    live, nothing is held, and open-ended changes go on at every new position. A run ends with an end-of-sequence token,
    which is part of it, after `max_new_tokens`, or where the model's context is full.

    Raises
    ------
    RequestError
        As `intervene`; also a temperature that is not above 0.
    Cancelled
        Within one layer of being told to stop; `on_token` has given what was found.
    """
    weights, runs = model.weights, _runs(sampling)
    count = min(max_new_tokens, model.context - recording.n_positions + 1)  # the last token is never read
    with torch.no_grad():
        subject = subject_of(weights, recording, features, [changes], cancel)
        check([changes], settings, features, subject)
        check_length(weights, recording.n_positions + count - 1)
        others = Others(weights, features, lambda ids: record_other(model, ids, cancel), cancel)
        plan = lay_out(subject, [changes], settings, others, cancel)
        nothing = (recording.final.new_zeros(0), recording.final.new_zeros(0))
        cache = KeyValueCache(weights.n_layers)
        first = ChangedRuns(subject, plan, [0], held_of(settings, weights.n_layers), (), nothing, cache)
        progress("Running the changed model", 0.0)
        logits = first.logits(first.run(cancel).final, [recording.n_positions - 1])[:, 0]
        logits = logits.expand(len(runs), -1)
        cache.repeat(len(runs))
        steps = NextPositions(subject, changes, others, cache)
        for step in range(count):
            checkpoint(cancel)
            progress("Generating", step / count)
            rows: NDArray[np.float32] = logits.float().cpu().numpy()
            if not np.isfinite(rows).all():
                raise too_large(changes)
            for number, run in enumerate(runs):
                if not run.done:
                    _choose(model, run, rows[number], sampling, keep_logits)
                    if on_token is not None:
                        on_token(number, run.tokens[-1])
            if step == count - 1 or all(run.done for run in runs):
                break
            logits = steps.read([run.tokens[-1].id for run in runs], cancel)
        progress("Generating", 1.0)
    width = weights.vocab_size
    kept = [np.stack(run.logits) if run.logits else np.zeros((0, width), np.float32) for run in runs]
    return [Continuation(tuple(run.tokens), run.seed, logits) for run, logits in zip(runs, kept, strict=True)]


def _runs(sampling: Sampling | None) -> list[_Run]:
    if sampling is None:
        return [_Run(None, None)]
    if not sampling.temperature > 0 or not np.isfinite(sampling.temperature):
        raise RequestError(
            f"A temperature of {sampling.temperature:g} gives no probabilities; choose one above 0, or generate "
            "greedily."
        )
    if not sampling.seeds or any(seed < 0 for seed in sampling.seeds):
        raise RequestError("Sampling needs seeds, whole numbers from 0 on; give at least one.")
    if sampling.most is not None and sampling.most < 1:
        raise RequestError(f"Nothing can be drawn from the {sampling.most} likeliest tokens; give 1 or more.")
    return [_Run(seed, np.random.default_rng(seed)) for seed in sampling.seeds]


def _choose(
    model: LanguageModel, run: _Run, logits: NDArray[np.float32], sampling: Sampling | None, keep_logits: bool
) -> None:
    """The next token of a run; one draw a token, so that a seed gives the same text beside whichever others."""
    shares = probabilities(logits)
    if run.generator is None or sampling is None:
        token = int(logits.argmax())
    else:
        token = _drawn(logits, run.generator.random(), sampling)
    run.tokens.append(GeneratedToken(token, model.tokenizer.token_text(token), float(shares[token])))
    if keep_logits:
        run.logits.append(logits.copy())
    run.done = token in model.tokenizer.eos_ids


def _drawn(logits: NDArray[np.float32], number: float, sampling: Sampling) -> int:
    """The token that a number in [0, 1) falls on, likeliest first."""
    order = np.argsort(-logits, kind="stable")[: sampling.most]
    scaled = logits[order].astype(np.float64) / sampling.temperature
    shares = np.exp(scaled - scaled[0])
    ends = np.cumsum(shares)
    return int(order[min(int(np.searchsorted(ends, number * ends[-1], side="right")), len(order) - 1)])
