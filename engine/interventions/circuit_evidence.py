r"""Is a circuit needed, and is it enough? Ablate it; then ablate everything else.

Of two models: everything in `universe` (usually the feature nodes of a graph) as recorded, and all of it ablated. What
is outside the universe stays as it is; error nodes stay or go, as asked. f(C) is faithfulness (see `curves`).

    necessity: how far the watched number falls when the circuit is ablated, beside random sets that are like it;
    sufficiency: f(C) when all of the universe but the circuit is ablated, beside random parts of the universe as large;
    completeness: f(M \\ C), small where the circuit is all there is.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
import torch

from engine.errors import RequestError
from engine.interventions.baselines import ABLATIONS, Ablation, Baseline, baseline_of
from engine.interventions.case import Case
from engine.interventions.changes import Change, Settings
from engine.interventions.controls import WIDENINGS, ControlSets, FeatureAt
from engine.interventions.curves import NamedCurve, curve_sizes, faithfulness, make_curve
from engine.interventions.experiment import LIVE, evidence_of, read_features_at, read_settings
from engine.interventions.kept import Record, plain
from engine.interventions.matched import LEAST_CONTROLS, Controlled, Matched, controlled
from engine.interventions.measure import measure
from engine.interventions.predicted_changes import predicted_changes, writes_of
from engine.interventions.said import said_settings
from engine.progress import Progress, part, silent

Errors = Literal["kept", "ablated"]


@dataclass(frozen=True)
class CircuitSpec:
    """Which features, beside which others, ablated how. `other`: tokens of the counterfactual prompt."""

    features: tuple[FeatureAt, ...]
    universe: tuple[FeatureAt, ...]
    ablation: Ablation = "mean"
    other: tuple[int, ...] | None = None
    errors: Errors = "kept"
    settings: Settings = LIVE
    controls: int = 999
    seed: int = 0

    def plain(self) -> dict[str, Any]:
        """Plain JSON values: `read_circuit` gives the same again."""
        return dict(plain(self))


def read_circuit(values: dict[str, Any]) -> CircuitSpec:
    """The spec that `plain` wrote; raises `ValueError` for anything else."""
    try:
        if values["ablation"] not in ABLATIONS or values["errors"] not in ("kept", "ablated"):
            raise ValueError("no ablation that is known")
        other = values["other"]
        return CircuitSpec(
            read_features_at(values["features"]),
            read_features_at(values["universe"]),
            cast(Ablation, values["ablation"]),
            None if other is None else tuple(int(one) for one in other),
            cast(Errors, values["errors"]),
            read_settings(values["settings"]),
            int(values["controls"]),
            int(values["seed"]),
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"no test of a circuit ({error})") from error


@dataclass(frozen=True)
class CircuitResult:
    """`full`, `without`, `alone`, `nothing`: the watched number of the model, without the circuit, with the circuit
    alone of the universe, and with the whole universe ablated.
    """

    metric: str
    size: int
    universe: int
    full: float
    without: float
    alone: float
    nothing: float
    probability: float  # of the watched token
    probability_without: float
    probability_alone: float
    faithfulness: float
    completeness: float
    necessity: Controlled
    sufficiency: Controlled | None
    curves: tuple[NamedCurve, ...]
    ablation: str
    settings: str
    sentence: str
    evidence: str
    provenance: dict[str, Any]

    def plain(self) -> dict[str, Any]:
        """Plain JSON values."""
        return dict(plain(self))


def examine_circuit(
    case: Case, spec: CircuitSpec, progress: Progress = silent, cancel: threading.Event | None = None
) -> CircuitResult:
    """Ablate a circuit, its complement, and random sets that are like it.

    Raises `RequestError` for features that are not active, too few controls, and what `intervene` refuses.
    """
    if spec.controls < LEAST_CONTROLS:
        raise RequestError(
            f"{spec.controls} controls are too few to tell chance from an effect; ask for {LEAST_CONTROLS} or more."
        )
    if not spec.features:
        raise RequestError("The circuit holds no feature; pin at least one.")
    baseline = baseline_of(case, spec.ablation, spec.other, cancel)
    always = error_changes(case, spec.errors)
    universe = tuple(dict.fromkeys([*spec.universe, *spec.features]))
    inside = set(spec.features)
    outside = [one for one in universe if one not in inside]
    sets = [always, *(baseline.ablated(some) + always for some in (spec.features, outside, universe))]
    token = case.metric.tokens[0]
    found = measure(case, sets, spec.settings, tokens=[token], progress=part(progress, 0, 0.05), cancel=cancel)
    full, without, alone, nothing = (float(one) for one in found.metric)
    kept, left = (float(one) for one in faithfulness([alone, without], full, nothing))
    matched = control_ablations(case, baseline, spec)
    controls = [one + always for one in matched.sets]
    drops = full - measure(case, controls, spec.settings, progress=part(progress, 0.05, 0.6), cancel=cancel).metric
    necessity = controlled(full - without, drops.tolist(), matched, spec.seed)
    sufficiency = None
    if len(outside) >= 2:
        parts = _random_parts(universe, len(inside), spec)
        ablated = [baseline.ablated([one for one in universe if one not in some]) + always for some in parts]
        metrics = measure(case, ablated, spec.settings, progress=part(progress, 0.6, 0.95), cancel=cancel).metric
        same = Matched(
            tuple(ablated),
            f"{len(parts):,} random parts of the universe, as large as the circuit",
            len({frozenset(one) for one in parts}),
            {},
        )
        sufficiency = controlled(kept, faithfulness(metrics, full, nothing).tolist(), same, spec.seed)
    curves = _curves(case, baseline, spec, universe, full, nothing, part(progress, 0.95, 1.0), cancel)
    return CircuitResult(
        metric=case.metric.name,
        size=len(inside),
        universe=len(universe),
        full=full,
        without=without,
        alone=alone,
        nothing=nothing,
        probability=float(found.probability[0, 0]),
        probability_without=float(found.probability[1, 0]),
        probability_alone=float(found.probability[2, 0]),
        faithfulness=kept,
        completeness=left,
        necessity=necessity,
        sufficiency=sufficiency,
        curves=curves,
        ablation=said_ablation(case, baseline, spec.errors),
        settings=said_settings(spec.settings, sets[1], case.frozen.n_layers),
        sentence=_sentence(case, full, without, kept, necessity, len(inside)),
        evidence=evidence_of(necessity),
        provenance=case.provenance,
    )


def _curves(
    case: Case,
    baseline: Baseline,
    spec: CircuitSpec,
    universe: Sequence[FeatureAt],
    full: float,
    nothing: float,
    progress: Progress,
    cancel: threading.Event | None,
) -> tuple[NamedCurve, ...]:
    """Faithfulness with the first k features kept, and completeness: the same with them alone ablated.

    The circuit's own features come first, then the others, both by how much the graph says that each matters.
    """
    always = error_changes(case, spec.errors)
    each = [(one,) for one in baseline.ablated(universe)]
    matters = dict(
        zip(universe, -np.abs(predicted_changes(case, each, spec.settings, cancel=cancel)[:, 0]), strict=True)
    )
    inside = set(spec.features)
    order = sorted(universe, key=lambda one: (one not in inside, matters[one]))
    sizes = curve_sizes(len(order))
    kept = [baseline.ablated(order[size:]) + always for size in sizes]
    left = [baseline.ablated(order[:size]) + always for size in sizes]
    metrics = measure(case, [*kept, *left], spec.settings, progress=progress, cancel=cancel).metric
    found = []
    for name, values in (("kept alone", metrics[: len(sizes)]), ("taken away", metrics[len(sizes) :])):
        curve = make_curve(sizes, values, count=len(order), full=full, empty=nothing)
        found.append(NamedCurve(name, curve, curve.cpr, curve.cmd))
    return tuple(found)


def record_circuit(case: Case, spec: CircuitSpec, result: CircuitResult, features: str, title: str) -> Record:
    """The test as a project keeps it."""
    settings = {"trace": case.spec.plain(), "features": features, "experiment": spec.plain()}
    return Record("circuit", title, settings, result.plain())


def error_changes(case: Case, errors: Errors) -> tuple[Change, ...]:
    """What ablates every error node, where that is asked for."""
    if errors == "kept":
        return ()
    if not case.features.has_errors:
        raise RequestError("Neurons leave nothing to error nodes, so none can be ablated; say that errors are kept.")
    first, n = case.recording.first_position, case.recording.n_positions
    return tuple(
        Change("error", layer, position, 0, "ablate")
        for layer, here in enumerate(case.layers)
        if here.error is not None
        for position in range(first, n)
    )


def said_ablation(case: Case, baseline: Baseline, errors: Errors) -> str:
    """How features were ablated, and what became of the error nodes."""
    nodes = f"error nodes {errors}" if case.features.has_errors else "neurons have no error nodes"
    return f"features {baseline.sentence}; {nodes}; everything outside the universe kept"


def control_ablations(case: Case, baseline: Baseline, spec: CircuitSpec) -> Matched:
    """Random sets like a circuit, ablated in the same way; random directions as long as what the ablation moves."""
    drawn = baseline.pools.draw(spec.features, spec.controls, seed=spec.seed)
    lengths = _lengths(case, baseline, spec) if any(one is None for one in drawn.sets[0]) else []
    generator = np.random.default_rng([spec.seed, 1])
    sets = []
    for one in drawn.sets:
        features = [other for other in one if other is not None]
        directions = [
            Change("random", member[0], member[1], int(generator.integers(1 << 31)), "set", lengths[at])
            for at, (member, other) in enumerate(zip(drawn.members, one, strict=True))
            if other is None
        ]
        sets.append((*baseline.ablated(features), *directions))
    return Matched(tuple(sets), drawn.sentence, drawn.distinct, _widened(drawn))


def _widened(drawn: ControlSets) -> dict[str, int]:
    return {name: drawn.widening.count(number) for number, name in enumerate(WIDENINGS)}


def _lengths(case: Case, baseline: Baseline, spec: CircuitSpec) -> list[float]:
    """How long the vector is that each member's ablation moves the residual stream by."""
    found = [0.0] * len(spec.features)
    for number, write in writes_of(case, [[one] for one in baseline.ablated(spec.features)], spec.settings):
        if not found[number]:
            found[number] = float(torch.linalg.vector_norm(write.vector))
    return found


def _random_parts(universe: Sequence[FeatureAt], size: int, spec: CircuitSpec) -> list[set[FeatureAt]]:
    generator = np.random.default_rng([spec.seed, 2])
    # Each of these ablates most of the universe, which costs more than the circuit's own controls.
    count = min(spec.controls, LEAST_CONTROLS)
    return [{universe[at] for at in generator.choice(len(universe), size, replace=False)} for _ in range(count)]


def _sentence(case: Case, full: float, without: float, kept: float, necessity: Controlled, size: int) -> str:
    better = sum(one >= necessity.effect for one in necessity.effects)
    needed = "needed" if necessity.p < 0.01 else "not shown to be needed"
    return (
        f"The circuit of {size} is {needed}: without it the {case.metric.name} falls from {full:.2f} to {without:.2f}, "
        f"and {better:,} of {necessity.n:,} random sets do as much (p = {necessity.p:.2g}); alone it keeps {kept:.0%}."
    )
