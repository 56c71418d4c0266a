"""A prompt continued with its changes and without them, side by side: greedily, or sampled with seeds that are kept.

With ten seeds or more, how many of the texts hold the watched token is counted: a single sampled text is a lucky one.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from engine.errors import RequestError
from engine.interventions.case import Case
from engine.interventions.changes import Change, Settings, read_change
from engine.interventions.continuation import Continuation, Sampling, continue_changed
from engine.interventions.experiment import read_settings
from engine.interventions.kept import Record, plain
from engine.interventions.run import CONSTRAINED
from engine.interventions.said import said_settings
from engine.interventions.statistics import Interval, bootstrap_interval
from engine.progress import Progress, part, silent

# Of fewer seeds a share says nothing, nor does a range of resamples.
FEWEST_SEEDS = 10


@dataclass(frozen=True)
class ContinuedSpec:
    """What is changed, and how many tokens follow. No `seeds`: greedily, one text."""

    changes: tuple[Change, ...]
    settings: Settings = CONSTRAINED
    tokens: int = 20
    seeds: tuple[int, ...] = ()
    temperature: float = 1.0

    def plain(self) -> dict[str, Any]:
        """Plain JSON values: `read_continued` gives the same again."""
        return dict(plain(self))


def read_continued(values: dict[str, Any]) -> ContinuedSpec:
    """The spec that `plain` wrote; raises `ValueError` for anything else."""
    try:
        return ContinuedSpec(
            tuple(read_change(one) for one in values["changes"]),
            read_settings(values["settings"]),
            int(values["tokens"]),
            tuple(int(one) for one in values["seeds"]),
            float(values["temperature"]),
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"no continuation ({error})") from error


@dataclass(frozen=True)
class Text:
    """One text: its tokens, the model's own probability of each, and the seed; greedy ones have none."""

    seed: int | None
    ids: tuple[int, ...]
    tokens: tuple[str, ...]
    probability: tuple[float, ...]


@dataclass(frozen=True)
class Pair:
    """The same prompt and seed, without the changes and with them. `same`: how many tokens agree from the start."""

    without: Text
    changed: Text
    same: int


@dataclass(frozen=True)
class Naming:
    """In how many of the texts the watched token comes, without the changes and with them.

    `difference`: of the two shares (-1 to 1), with the range of 95 % of 2,000 resamples of the seeds.
    """

    token: str
    without: int
    changed: int
    difference: Interval


@dataclass(frozen=True)
class ContinuedResult:
    """One pair a seed. `naming` is there with ten seeds or more."""

    pairs: tuple[Pair, ...]
    settings: str
    sentence: str
    evidence: str
    provenance: dict[str, Any]
    naming: Naming | None = None

    def plain(self) -> dict[str, Any]:
        """Plain JSON values."""
        return dict(plain(self))


def continue_both(
    case: Case, spec: ContinuedSpec, progress: Progress = silent, cancel: threading.Event | None = None
) -> ContinuedResult:
    """Continue the prompt without the changes, then with them.

    Raises what `continue_changed` raises, and `RequestError` for a spec that changes nothing.
    """
    if not spec.changes:
        raise RequestError("The experiment changes nothing; choose a feature and a dose.")
    sampling = Sampling(spec.seeds, spec.temperature) if spec.seeds else None
    both = [
        continue_changed(
            case.model,
            case.recording,
            case.features,
            changes,
            spec.settings,
            max_new_tokens=spec.tokens,
            sampling=sampling,
            progress=part(progress, *share),
            cancel=cancel,
        )
        for changes, share in (((), (0, 0.5)), (spec.changes, (0.5, 1)))
    ]
    pairs = tuple(_pair(_text(one), _text(other)) for one, other in zip(*both, strict=True))
    said = said_settings(spec.settings, spec.changes, case.frozen.n_layers)
    later = "for the prompt; in what is generated nothing is held and attention is live"
    naming = _naming(case, pairs)
    sentence = _sentence(pairs) if naming is None else f"{_sentence(pairs)} {_said_naming(naming)}"
    return ContinuedResult(pairs, f"{said}, {later}", sentence, "untested", case.provenance, naming)


def record_continued(case: Case, spec: ContinuedSpec, result: ContinuedResult, features: str, title: str) -> Record:
    """The two texts as a project keeps them."""
    settings = {"trace": case.spec.plain(), "features": features, "experiment": spec.plain()}
    return Record("text", title, settings, result.plain())


def _text(one: Continuation) -> Text:
    tokens = one.tokens
    return Text(
        one.seed,
        tuple(token.id for token in tokens),
        tuple(token.text for token in tokens),
        tuple(token.probability for token in tokens),
    )


def _pair(without: Text, changed: Text) -> Pair:
    same = 0
    for one, other in zip(without.ids, changed.ids, strict=False):
        if one != other:
            break
        same += 1
    return Pair(without, changed, same)


def _naming(case: Case, pairs: Sequence[Pair]) -> Naming | None:
    """A seed counts once; it gives the same draws without the changes and with them, so that its texts are a pair."""
    by_seed = {pair.without.seed: pair for pair in pairs if pair.without.seed is not None}
    if len(by_seed) < FEWEST_SEEDS:
        return None
    token = case.metric.tokens[0]
    without, changed = (
        [token in one.ids for one in side]
        for side in zip(*((pair.without, pair.changed) for pair in by_seed.values()), strict=True)
    )
    difference = bootstrap_interval([int(b) - int(a) for a, b in zip(without, changed, strict=True)])
    return Naming(case.model.tokenizer.token_text(token), sum(without), sum(changed), difference)


def _said_naming(found: Naming) -> str:
    by = found.difference
    return (
        f"{found.token!r} comes in {found.without} of {by.n} without them and in {found.changed} with them: "
        f"{by.mean:+.0%} of the texts (95 % of resampled seeds: {by.low:+.0%} to {by.high:+.0%})."
    )


def _sentence(pairs: Sequence[Pair]) -> str:
    other = [pair for pair in pairs if pair.without.ids != pair.changed.ids]
    if not other:
        return "The text is the same with the changes as without them."
    if len(pairs) > 1:
        return f"{len(other)} of {len(pairs)} texts are another with the changes."
    if not pairs[0].same:
        return "The text is another from the first token on."
    return f"The first {pairs[0].same} tokens are the same with the changes as without them; then the text is another."
