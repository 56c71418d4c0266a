"""Change features, errors, embeddings and heads of a recorded prompt, and run the model again: many sets at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.dictionaries.features import Features
from engine.errors import MachineError
from engine.interventions.changes import Change, Outcome, Settings, Watched
from engine.interventions.checks import check_active, check_sets, check_settings, check_watched, limits_of
from engine.interventions.elsewhere import Others
from engine.interventions.layers import ChangedRuns, Held
from engine.interventions.plan import Plan, Subject, lay_out, too_large, watched_at
from engine.interventions.sites import recorded_reading, sites_of
from engine.models.forward import unembed
from engine.models.memory import available_bytes
from engine.models.recording import Recording
from engine.models.weights import ModelWeights
from engine.progress import Progress, checkpoint, silent
from engine.sizes import byte_words
from engine.tracing.read_features import read_features

if TYPE_CHECKING:
    from engine.models.language_model import LanguageModel

# on_logits([3, 7], logits (2, P, V)): which sets, and theirs.
OnLogits = Callable[[Sequence[int], NDArray[np.float32]], None]
# Products that a layer of one batch may take, so that a cancel is heard in time, and rows that make a batch worth it.
LAYER_PRODUCTS = 5e9
LEAST_ROWS, MOST_ROWS = 64, 2048
LOGIT_BYTES = 64 << 20
CONSTRAINED = Settings()


def intervene(
    model: LanguageModel,
    recording: Recording,
    features: Features,
    sets: Sequence[Sequence[Change]],
    settings: Settings = CONSTRAINED,
    *,
    positions: Sequence[int] | None = None,
    watched: Sequence[Watched] = (),
    on_logits: OnLogits | None = None,
    progress: Progress = silent,
    cancel: threading.Event | None = None,
) -> Outcome:
    """Run every set of changes of one recorded prompt; an empty set is the recorded run itself.

    Only layers from the first that a set touches and positions from the first that is touched are run. `positions` are
    those whose logits are asked for, by default the last. With `on_logits` they are handed over as they come, in any
    order, and not kept: a thousand sets times a vocabulary may be gigabytes.

    Raises
    ------
    RequestError
        Nodes or positions that do not exist, contradictory settings, a dose that is too large.
    MachineError
        The logits would not fit into memory.
    Cancelled
        Within one layer of being told to stop.
    """
    weights, n = model.weights, recording.n_positions
    positions = [n - 1] if positions is None else [one + n if one < 0 else one for one in positions]
    with torch.no_grad():
        subject = subject_of(weights, recording, features, sets, cancel)
        check(sets, settings, features, subject, watched, positions)
        if on_logits is None:
            _require_room(weights, len(sets) * len(positions))
        others = Others(weights, features, lambda ids: record_other(model, ids, cancel), cancel)
        plan = lay_out(subject, sets, settings, others, cancel)
        recorded = recorded_answers(subject, watched)
        base = unembed(weights, recording.final[list(positions)]).float().cpu().numpy()
        kept = np.zeros((0 if on_logits else len(sets), *base.shape), np.float32)
        linear, activation = (np.zeros((len(sets), len(watched))) for _ in range(2))
        done = 0
        for batch in batches(weights, plan, n):
            checkpoint(cancel)
            progress("Running the changed model", done / len(sets))
            runs = ChangedRuns(subject, plan, batch, held_of(settings, weights.n_layers), watched, recorded)
            answers = runs.run(cancel)
            linear[batch], activation[batch] = answers.linear.cpu().numpy(), answers.activation.cpu().numpy()
            for some, logits in _logits(runs, answers.final, batch, positions, weights.vocab_size, cancel):
                _require_numbers(logits, some, sets)
                if on_logits is None:
                    kept[some] = logits
                else:
                    on_logits(some, logits)
            done += len(batch)
        progress("Running the changed model", 1.0)
        one, two = (part.cpu().double().numpy() for part in recorded)
        return Outcome(tuple(positions), base, kept, one, two, linear, activation)


def check(
    sets: Sequence[Sequence[Change]],
    settings: Settings,
    features: Features,
    subject: Subject,
    watched: Sequence[Watched] = (),
    positions: Sequence[int] = (),
) -> None:
    """Refuse what does not exist or contradicts itself."""
    limits = limits_of(features, subject)
    check_settings(settings, limits.n_layers)
    check_sets(sets, settings, limits)
    check_watched(watched, positions, limits)


def require_runnable(
    model: LanguageModel,
    recording: Recording,
    features: Features,
    changes: Sequence[Change],
    settings: Settings,
    watched: Sequence[tuple[int, int, int]] = (),
) -> None:
    """Refuse one set as `intervene` would, and multiples of features that are not active, which would change nothing.

    `watched` are (layer, position, feature).
    """
    subject = subject_of(model.weights, recording, features, [changes], None)
    check([changes], settings, features, subject, [Watched(*one) for one in watched])
    with torch.no_grad():
        check_active(changes, subject)


def subject_of(
    weights: ModelWeights,
    recording: Recording,
    features: Features,
    sets: Sequence[Sequence[Change]],
    cancel: threading.Event | None,
) -> Subject:
    """What is changed; the errors are read where a change names one."""
    errors: dict[int, Tensor] = {}
    if features.has_errors and any(one.kind == "error" for changes in sets for one in changes):
        layers = read_features(features, recording, silent, cancel, keep=True)
        errors = {number: layer.error for number, layer in enumerate(layers) if layer.error is not None}
    return Subject(weights, recording, sites_of(features, weights, recording), errors)


def held_of(settings: Settings, n_layers: int) -> Held:
    """Frozen attention; frozen norms too where every layer is asked to be held, so that all that is left is linear."""
    frozen = settings.attention == "frozen"
    return Held(frozen, frozen and (settings.mode == "direct" or settings.layers == (0, n_layers - 1)))


def record_other(model: LanguageModel, ids: Sequence[int], cancel: threading.Event | None) -> Recording:
    """Another prompt's run, kept for the next time."""
    first = 1 if model.tokenizer.is_special(ids[0]) else 0
    return model.recordings.record(model.weights, ids, first_position=first, cancel=cancel)


def recorded_answers(subject: Subject, watched: Sequence[Watched]) -> tuple[Tensor, Tensor]:
    """(W,) pre-activations and (W,) activations in the recorded run."""
    like = subject.recording.final
    linear, activation = like.new_zeros(len(watched)), like.new_zeros(len(watched))
    for layer in sorted({one.layer for one in watched}):
        site = subject.sites[layer]
        assert site is not None
        places = [place for place, one in enumerate(watched) if one.layer == layer]
        here = torch.tensor([[0, watched[p].position, watched[p].feature] for p in places], device=like.device).T
        reading = recorded_reading(site, subject.recording, layer)
        divided = torch.tensor([watched[place].divided for place in places], device=like.device)
        linear[places], activation[places] = watched_at(site, reading, here[0], here[1], here[2], divided)
    return linear, activation


def batches(weights: ModelWeights, plan: Plan, n_positions: int) -> Iterator[list[int]]:
    """Sets that go through together: those that begin at like positions, no more than a layer computes soon."""
    layer = weights.layers[0]
    numbers = sum(w.numel() for w in (layer.attention.w_v, layer.attention.w_o, layer.mlp.w_up, layer.mlp.w_down))
    most = int(min(max(LAYER_PRODUCTS / numbers, LEAST_ROWS), MOST_ROWS))
    order = sorted(range(len(plan.first_layer)), key=lambda one: (plan.first_position[one], plan.first_layer[one]))
    batch: list[int] = []
    for one in order:
        if batch and _new_batch(plan, batch, one, n_positions, most):
            yield batch
            batch = []
        batch.append(one)
    if batch:
        yield batch


def _new_batch(plan: Plan, batch: list[int], one: int, n_positions: int, most: int) -> bool:
    """Whether the next set begins a batch: the last is full, or positions would be run again in vain."""
    first = plan.first_position[batch[0]]
    rows = n_positions - first
    in_vain = plan.first_position[one] - first
    return (len(batch) + 1) * rows > most or (in_vain > 0 and len(batch) * rows >= LEAST_ROWS)


def _logits(
    runs: ChangedRuns,
    final: Tensor,
    batch: Sequence[int],
    positions: Sequence[int],
    vocab_size: int,
    cancel: threading.Event | None,
) -> Iterator[tuple[list[int], NDArray[np.float32]]]:
    step = max(LOGIT_BYTES // (4 * vocab_size * max(len(positions), 1)), 1)
    for start in range(0, len(batch), step):
        checkpoint(cancel)
        some = slice(start, start + step)
        logits: NDArray[np.float32] = runs.logits(final[some], positions).float().cpu().numpy()
        yield list(batch[some]), logits


def _require_numbers(logits: NDArray[np.float32], some: Sequence[int], sets: Sequence[Sequence[Change]]) -> None:
    finite = np.isfinite(logits).all(axis=(1, 2))
    if not finite.all():
        raise too_large(sets[some[int(np.argmin(finite))]])


def _require_room(weights: ModelWeights, rows: int) -> None:
    needed, free = rows * weights.vocab_size * 4, available_bytes()
    if needed > free:
        raise MachineError(
            f"The logits of so many sets of changes need about {byte_words(needed)} of memory and "
            f"{byte_words(free)} are free; run fewer at a time, or close other programs."
        )
