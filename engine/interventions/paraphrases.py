"""The same change on the prompt and on paraphrases of it: does it hold for what is asked, or for these words only?

On each prompt the same nodes are changed where the same token stands, the same number is watched at the last position,
and random changes that are like it there stand beside it. Over the prompts the mean change has a bootstrap interval,
and so has the excess: how much further the change moves the number than the median of its random changes does.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from engine.errors import RequestError
from engine.interventions.case import Case, open_case
from engine.interventions.changes import Change, Settings, read_change
from engine.interventions.controls import FeatureAt
from engine.interventions.experiment import SUPPORTED_P, read_settings, said_prediction
from engine.interventions.kept import Record, plain
from engine.interventions.matched import LEAST_CONTROLS, controlled, matched_sets
from engine.interventions.measure import measure
from engine.interventions.predicted_changes import predicted_changes
from engine.interventions.run import CONSTRAINED
from engine.interventions.said import said_settings
from engine.interventions.statistics import Interval, bootstrap_interval
from engine.progress import Progress, checkpoint, part, silent
from engine.tracing.spec import Prompt, Target, TraceSpec

# An interval over fewer prompts says nothing.
LEAST_PROMPTS = 3


@dataclass(frozen=True)
class ParaphrasesSpec:
    """What is changed, and the tokens of the other prompts. `controls` 0: no random changes."""

    changes: tuple[Change, ...]
    prompts: tuple[tuple[int, ...], ...]
    settings: Settings = CONSTRAINED
    controls: int = 0
    seed: int = 0

    def plain(self) -> dict[str, Any]:
        """Plain JSON values: `read_paraphrases` gives the same again."""
        return dict(plain(self))


def read_paraphrases(values: dict[str, Any]) -> ParaphrasesSpec:
    """The spec that `plain` wrote; raises `ValueError` for anything else."""
    try:
        return ParaphrasesSpec(
            tuple(read_change(one) for one in values["changes"]),
            tuple(tuple(int(token) for token in one) for one in values["prompts"]),
            read_settings(values["settings"]),
            int(values["controls"]),
            int(values["seed"]),
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"no paraphrases ({error})") from error


@dataclass(frozen=True)
class OnPrompt:
    """One prompt. `active` of the `features` that are changed are active there.

    `median` and `p` are of the random changes; None where none were run. `supported`: p is below 0.05, and the number
    moved the way it does on the first prompt.
    """

    prompt: str
    token_ids: tuple[int, ...]
    where: str
    active: int
    features: int
    recorded: float
    changed: float
    predicted: float
    probability: float  # of the watched token, before
    probability_changed: float
    median: float | None
    p: float | None
    supported: bool

    @property
    def change(self) -> float:
        """Changed minus recorded."""
        return self.changed - self.recorded


@dataclass(frozen=True)
class ParaphrasesResult:
    """What came out; the first of `prompts` is the traced one. `change` and `excess` are over all of them."""

    metric: str
    recorded: float
    changed: float
    prompts: tuple[OnPrompt, ...]
    change: Interval
    excess: Interval | None
    settings: str
    prediction: str
    sentence: str
    evidence: str
    provenance: dict[str, Any]

    def plain(self) -> dict[str, Any]:
        """Plain JSON values."""
        return dict(plain(self))


def on_paraphrases(
    case: Case, spec: ParaphrasesSpec, progress: Progress = silent, cancel: threading.Event | None = None
) -> ParaphrasesResult:
    """Run the changes on the case's prompt and on each of the others.

    Raises what `intervene` raises, and `RequestError` for too few prompts, one that is there twice, or one that lacks
    a token at which something is changed.
    """
    moved = require_prompts(case, spec)
    found: list[OnPrompt] = []
    count = 1 + len(spec.prompts)
    for number, changes in enumerate([spec.changes, *moved]):
        checkpoint(cancel)
        share = part(progress, number / count, (number + 1) / count)
        here = case
        if number:
            here = _other_case(case, spec.prompts[number - 1], part(share, 0, 0.2), cancel)
        direction = np.sign(found[0].change) if found else 0
        found.append(_on_prompt(here, changes, spec, float(direction), part(share, 0.2, 1), cancel))
    changes_of = np.array([one.change for one in found])
    interval = bootstrap_interval(changes_of, seed=spec.seed)
    excess = _excess(found, spec.seed)
    return ParaphrasesResult(
        case.metric.name,
        found[0].recorded,
        found[0].changed,
        tuple(found),
        interval,
        excess,
        said_settings(spec.settings, spec.changes, case.frozen.n_layers),
        said_prediction(case),
        _sentence(case, found, interval, excess),
        evidence_over(excess),
        case.provenance,
    )


def record_paraphrases(
    case: Case, spec: ParaphrasesSpec, result: ParaphrasesResult, features: str, title: str
) -> Record:
    """The experiment as a project keeps it."""
    settings = {"trace": case.spec.plain(), "features": features, "experiment": spec.plain()}
    return Record("paraphrases", title, settings, result.plain())


def evidence_over(excess: Interval | None) -> str:
    """What an excess says: supported where all of its interval lies above nothing, contradicted where none of it."""
    if excess is None:
        return "untested"
    if excess.low > 0:
        return "supported"
    return "contradicted" if excess.high <= 0 else "unclear"


def moved_changes(case: Case, changes: Sequence[Change], ids: Sequence[int]) -> tuple[Change, ...]:
    """The same changes where another prompt has the same tokens.

    The last token stands for the last one, whatever it is; any other for the same token, counted from the end where it
    is there several times. Raises `RequestError` for a prompt without it.
    """
    return tuple(
        replace(
            one,
            position=_place(case, one, one.position, ids),
            last=None if one.last is None else _place(case, one, one.last, ids),
        )
        for one in changes
    )


def _place(case: Case, change: Change, position: int, ids: Sequence[int]) -> int:
    own = case.recording.token_ids
    if position >= len(own) - 1:
        return len(ids) - 1
    token = own[position]
    later = sum(one == token for one in own[position + 1 :])
    places = [at for at, one in enumerate(ids) if one == token]
    if len(places) <= later:
        texts = case.model.tokenizer.texts
        raise RequestError(
            f"{''.join(texts(ids))!r} has no token {texts([token])[0]!r} where {change.name} could be changed; choose "
            "a paraphrase that holds it."
        )
    return places[-1 - later]


def require_prompts(case: Case, spec: ParaphrasesSpec) -> list[tuple[Change, ...]]:
    """The changes of each of the other prompts; refuses, before anything runs, what `on_paraphrases` would refuse."""
    _check(case, spec)
    return [moved_changes(case, spec.changes, ids) for ids in spec.prompts]


def _check(case: Case, spec: ParaphrasesSpec) -> None:
    if not spec.changes:
        raise RequestError("The experiment changes nothing; choose a feature and a dose.")
    if 1 + len(spec.prompts) < LEAST_PROMPTS:
        raise RequestError(
            f"An interval over fewer than {LEAST_PROMPTS} prompts says nothing; give {LEAST_PROMPTS - 1} paraphrases "
            "or more."
        )
    if 0 < spec.controls < LEAST_CONTROLS:
        raise RequestError(
            f"{spec.controls} controls are too few to tell chance from an effect; ask for {LEAST_CONTROLS} or more."
        )
    seen = {case.recording.token_ids}
    for ids in spec.prompts:
        if tuple(ids) in seen:
            text = "".join(case.model.tokenizer.texts(ids))
            raise RequestError(f"{text!r} is there twice; leave one of the two out.")
        seen.add(tuple(ids))


def _other_case(case: Case, ids: tuple[int, ...], progress: Progress, cancel: threading.Event | None) -> Case:
    """Another prompt with the same number watched at its last position."""
    tokens = case.metric.tokens
    if case.spec.target.weighted is not None:
        target = replace(case.spec.target, position=-1)
    else:
        target = Target(token_id=tokens[0], against_id=tokens[1] if len(tokens) > 1 else None)
    other = open_case(
        case.model, case.features, TraceSpec(Prompt(token_ids=ids), target, max_nodes=1), progress, cancel
    )
    return replace(other, metric=case.metric)


def _on_prompt(
    case: Case,
    changes: tuple[Change, ...],
    spec: ParaphrasesSpec,
    direction: float,
    progress: Progress,
    cancel: threading.Event | None,
) -> OnPrompt:
    matched = matched_sets(case, changes, spec.settings, spec.controls, spec.seed) if spec.controls else None
    sets = [changes, *(() if matched is None else matched.sets)]
    found = measure(case, sets, spec.settings, tokens=[case.metric.tokens[0]], progress=progress, cancel=cancel)
    change = float(found.change[0])
    beside = None
    if matched is not None:
        beside = controlled(abs(change), np.abs(found.change[1:]).tolist(), matched, spec.seed)
    texts = case.model.tokenizer.texts(case.recording.token_ids)
    places = dict.fromkeys(position for one in changes for position in one.positions(len(texts)))
    members = _features(changes, len(texts))
    return OnPrompt(
        "".join(texts[case.recording.first_position :]),
        case.recording.token_ids,
        ", ".join(f"{texts[position].strip()} ({position})" for position in places),
        sum(case.pools.holds(one) for one in members),
        len(members),
        found.recorded,
        float(found.metric[0]),
        float(predicted_changes(case, [changes], spec.settings, cancel=cancel)[0][0]),
        float(case.prediction.probability[case.metric.tokens[0]]),
        float(found.probability[0, 0]),
        None if beside is None else beside.median,
        None if beside is None else beside.p,
        beside is not None and beside.p < SUPPORTED_P and change * (direction or change) > 0,
    )


def _features(changes: Sequence[Change], n_positions: int) -> list[FeatureAt]:
    return [
        (one.layer, position, one.index)
        for one in changes
        if one.kind == "feature"
        for position in one.positions(n_positions)
    ]


def _excess(found: Sequence[OnPrompt], seed: int) -> Interval | None:
    """How much further than its random changes, the way it goes on the first prompt; None without random changes."""
    direction = float(np.sign(found[0].change))
    values = [direction * one.change - one.median for one in found if one.median is not None]
    return bootstrap_interval(values, seed=seed) if len(values) == len(found) else None


def _sentence(case: Case, found: Sequence[OnPrompt], change: Interval, excess: Interval | None) -> str:
    moved = (
        f"Over {len(found)} prompts the {case.metric.name} moves by {change.mean:+.2f} (95 % of resamples: "
        f"{change.low:+.2f} to {change.high:+.2f})"
    )
    if excess is None:
        return f"{moved}; without random controls this is not evidence yet."
    return (
        f"{moved}, which is {excess.mean:+.2f} ({excess.low:+.2f} to {excess.high:+.2f}) beyond random changes "
        f"that are like it; on {sum(one.supported for one in found)} of {len(found)} prompts it does so by itself (p < "
        f"{SUPPORTED_P:g})."
    )
