"""One experiment: change some nodes, predict, run the model, compare with matched random changes."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from engine.errors import RequestError
from engine.interventions.case import Case
from engine.interventions.changes import Change, Settings, Watched, read_change
from engine.interventions.controls import FeatureAt
from engine.interventions.kept import Record, plain
from engine.interventions.matched import Controlled, controlled, matched_sets
from engine.interventions.measure import measure
from engine.interventions.outcomes import TokenOutcome, kl_divergence, token_outcomes
from engine.interventions.predicted_changes import predicted_changes
from engine.interventions.run import CONSTRAINED, intervene
from engine.interventions.said import said_settings
from engine.interventions.statistics import Agreement, agreement
from engine.progress import Progress, part, silent

# A changed feature keeps its new value while everything else answers, attention too: the plainest form of an ablation.
LIVE = Settings("iterative", "live")
# Tokens shown before and after a change.
SHOWN_TOKENS = 10
# Below this an experiment supports its claim; where controls are many and the claim ships, it should be below 0.01.
SUPPORTED_P = 0.05


@dataclass(frozen=True)
class ExperimentSpec:
    """What to change, what answers, and which features to compare the prediction with: usually the pinned ones."""

    changes: tuple[Change, ...]
    settings: Settings = CONSTRAINED
    watched: tuple[FeatureAt, ...] = ()
    controls: int = 0
    seed: int = 0

    def plain(self) -> dict[str, Any]:
        """Plain JSON values: `read_experiment` gives the same again."""
        return dict(plain(self))


def read_settings(values: dict[str, Any]) -> Settings:
    """Settings from plain JSON values."""
    layers = values.get("layers")
    return Settings(**{**values, "layers": None if layers is None else (int(layers[0]), int(layers[1]))})


def read_features_at(values: Any) -> tuple[FeatureAt, ...]:
    """(layer, position, feature) triples from plain JSON values."""
    return tuple((int(layer), int(position), int(feature)) for layer, position, feature in values)


def read_experiment(values: dict[str, Any]) -> ExperimentSpec:
    """The spec that `plain` wrote; raises `ValueError` for anything else."""
    try:
        return ExperimentSpec(
            tuple(read_change(one) for one in values["changes"]),
            read_settings(values["settings"]),
            read_features_at(values["watched"]),
            int(values["controls"]),
            int(values["seed"]),
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"no experiment ({error})") from error


@dataclass(frozen=True)
class Point:
    """One target: what was predicted and what was measured, as changes of its recorded value."""

    kind: str  # "feature" or "target"
    name: str
    layer: int  # the number of layers for a target
    position: int
    feature: int  # the token of a target; -1 for a sum of tokens
    recorded: float
    predicted: float
    measured: float


@dataclass(frozen=True)
class ShownToken:
    """A token's outcome with its text."""

    text: str
    outcome: TokenOutcome


@dataclass(frozen=True)
class ExperimentResult:
    """What came out of one experiment. `change` is how far the watched number (`metric`) moved."""

    metric: str
    recorded: float
    changed: float
    predicted: float
    kl: float  # nats, KL(before || after) over the whole vocabulary
    tokens: tuple[ShownToken, ...]
    points: tuple[Point, ...]
    agreement: Agreement
    controls: Controlled | None
    settings: str
    prediction: str
    sentence: str
    evidence: str
    provenance: dict[str, Any]

    @property
    def change(self) -> float:
        """Changed minus recorded."""
        return self.changed - self.recorded

    def plain(self) -> dict[str, Any]:
        """Plain JSON values."""
        return dict(plain(self))


def run_experiment(
    case: Case, spec: ExperimentSpec, progress: Progress = silent, cancel: threading.Event | None = None
) -> ExperimentResult:
    """Predict, run, compare, and draw controls where they are asked for.

    Raises what `intervene` raises, and `RequestError` for an experiment that changes nothing.
    """
    if not spec.changes:
        raise RequestError("The experiment changes nothing; choose a feature and a dose.")
    watched = _downstream(case, spec)
    outcome = intervene(
        case.model,
        case.recording,
        case.features,
        [spec.changes],
        spec.settings,
        watched=[Watched(*one) for one in watched],
        progress=part(progress, 0, 0.1),
        cancel=cancel,
    )
    predicted = predicted_changes(case, [spec.changes], spec.settings, watched, part(progress, 0.1, 0.2), cancel)[0]
    before, after = outcome.recorded_logits[0], outcome.logits[0, 0]
    points = _points(case, watched, predicted, outcome.recorded_linear, outcome.linear[0], before, after)
    recorded, changed = (float(case.metric.of(one[None])[0]) for one in (before, after))
    controls = None
    if spec.controls:
        controls = _controls(case, spec, changed - recorded, part(progress, 0.2, 1.0), cancel)
    agreed = agreement([one.predicted for one in points], [one.measured for one in points])
    first, last = torch.from_numpy(before), torch.from_numpy(after)
    return ExperimentResult(
        metric=case.metric.name,
        recorded=recorded,
        changed=changed,
        predicted=float(predicted[len(watched)]),
        kl=float(kl_divergence(first, last[None])[0]),
        tokens=_tokens(case, first, last),
        points=points,
        agreement=agreed,
        controls=controls,
        settings=said_settings(spec.settings, spec.changes, case.frozen.n_layers),
        prediction=said_prediction(case),
        sentence=_sentence(case, recorded, changed, controls),
        evidence=evidence_of(controls),
        provenance=case.provenance,
    )


def record_experiment(case: Case, spec: ExperimentSpec, result: ExperimentResult, features: str, title: str) -> Record:
    """The experiment as a project keeps it; `features` is where the dictionary was opened from."""
    settings = {"trace": case.spec.plain(), "features": features, "experiment": spec.plain()}
    return Record("intervention", title, settings, result.plain())


def evidence_of(controls: Controlled | None) -> str:
    """What an effect says of its claim: "untested" without controls, else "supported" or "contradicted"."""
    if controls is None:
        return "untested"
    return "supported" if controls.p < SUPPORTED_P else "contradicted"


def said_prediction(case: Case) -> str:
    """Which of the two linear forms predictions come from."""
    if case.features.kind == "neurons":
        return (
            "neurons' slopes at this prompt (their Jacobian), not the edges, which divide a neuron's value and do not "
            "predict its change"
        )
    return "edges of the graph, and paths through features of layers that are left free"


def _controls(
    case: Case, spec: ExperimentSpec, change: float, progress: Progress, cancel: threading.Event | None
) -> Controlled:
    matched = matched_sets(case, spec.changes, spec.settings, spec.controls, spec.seed)
    found = measure(case, matched.sets, spec.settings, progress=progress, cancel=cancel)
    # Either direction counts: nobody said beforehand which way the change should go.
    return controlled(abs(change), np.abs(found.change).tolist(), matched, spec.seed)


def _downstream(case: Case, spec: ExperimentSpec) -> list[FeatureAt]:
    """Watched features that the changes can reach and that are not changed themselves."""
    n = case.recording.n_positions
    changed = {
        (one.layer, position, one.index)
        for one in spec.changes
        if one.kind == "feature"
        for position in one.positions(n)
    }
    first_layer = min(-1 if one.kind == "embedding" else one.layer for one in spec.changes)
    first_position = min(one.position for one in spec.changes)
    heads = any(one.kind == "head" and one.layer == first_layer for one in spec.changes)
    return [
        one
        for one in dict.fromkeys(spec.watched)
        if one not in changed
        and (one[0] > first_layer or (heads and one[0] == first_layer))
        and one[1] >= first_position
        and case.pools.holds(one)
    ]


def _points(
    case: Case,
    watched: Sequence[FeatureAt],
    predicted: NDArray[np.float64],
    recorded: NDArray[np.float64],
    linear: NDArray[np.float64],
    before: NDArray[np.float32],
    after: NDArray[np.float32],
) -> tuple[Point, ...]:
    texts = case.model.tokenizer.texts(case.recording.token_ids)
    found = [
        Point(
            "feature",
            f"layer {layer} · {feature} at {texts[position]!r} ({position})",
            layer,
            position,
            feature,
            float(recorded[row]),
            float(predicted[row]),
            float(linear[row] - recorded[row]),
        )
        for row, (layer, position, feature) in enumerate(watched)
    ]
    for row, text in enumerate(case.targets.text):
        token = int(case.targets.token[row])
        first, last = (
            (float(one[token] - one.mean(dtype=np.float64)) if token >= 0 else float(case.metric.of(one[None])[0]))
            for one in (before, after)
        )
        prediction = float(predicted[len(watched) + row])
        found.append(Point("target", text, case.frozen.n_layers, case.position, token, first, prediction, last - first))
    return tuple(found)


def _tokens(case: Case, before: torch.Tensor, after: torch.Tensor) -> tuple[ShownToken, ...]:
    named = [*case.metric.tokens, *(int(one) for one in case.targets.token if one >= 0)]
    likely = [int(one) for row in (before, after) for one in row.topk(min(SHOWN_TOKENS, len(row))).indices]
    tokens = list(dict.fromkeys([*likely, *named]))
    outcomes = token_outcomes(before, after, tokens)
    return tuple(ShownToken(case.model.tokenizer.token_text(one.token), one) for one in outcomes)


def _sentence(case: Case, recorded: float, changed: float, controls: Controlled | None) -> str:
    moved = f"The {case.metric.name} went from {recorded:.2f} to {changed:.2f}"
    if controls is None:
        return f"{moved}; without random controls this is not evidence yet."
    at_least = sum(one >= controls.effect for one in controls.effects)
    return (
        f"{moved}; {at_least:,} of {controls.n:,} random changes that are like it moved it as far "
        f"(p = {controls.p:.2g}; their median is {controls.median:.2f})."
    )
