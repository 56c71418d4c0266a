"""One set of changes at many doses, and with many ranges of layers held: what is measured beside what is predicted.

A dose d makes every change d times its recorded value: 1 changes nothing, 0 ablates, -1 flips. The linear range is the
doses around 1 in which the measured change stays within `LINEAR` of the line that its nearest two doses give.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from engine.errors import RequestError
from engine.interventions.case import Case
from engine.interventions.changes import Change, Settings, read_change
from engine.interventions.experiment import read_settings
from engine.interventions.kept import Record, plain
from engine.interventions.measure import measure
from engine.interventions.predicted_changes import predicted_changes
from engine.interventions.run import CONSTRAINED
from engine.interventions.said import said_settings
from engine.progress import Progress, part, silent

Over = Literal["doses", "layers"]
DOSES = tuple(float(dose) for dose in np.linspace(-4, 4, 17))
LINEAR = 0.1


@dataclass(frozen=True)
class SweepSpec:
    """What is changed, and over what: `doses`, or the last layer that is held."""

    changes: tuple[Change, ...]
    over: Over = "doses"
    settings: Settings = CONSTRAINED
    doses: tuple[float, ...] = DOSES

    def plain(self) -> dict[str, Any]:
        """Plain JSON values: `read_sweep` gives the same again."""
        return dict(plain(self))


def read_sweep(values: dict[str, Any]) -> SweepSpec:
    """The spec that `plain` wrote; raises `ValueError` for anything else."""
    try:
        if values["over"] not in ("doses", "layers"):
            raise ValueError("no sweep that is known")
        changes = tuple(read_change(one) for one in values["changes"])
        doses = tuple(float(one) for one in values["doses"])
        return SweepSpec(changes, values["over"], read_settings(values["settings"]), doses)
    except (KeyError, TypeError) as error:
        raise ValueError(f"no sweep ({error})") from error


@dataclass(frozen=True)
class SweepResult:
    """`values` (n,): doses, or the last layers that were held. `measured` and `predicted` (n,) are changes of the
    watched number, `probability` (n,) of its first token, `kl` (n,) in nats. `linear`: the doses that the linear range
    spans.
    """

    over: Over
    metric: str
    recorded: float
    values: tuple[float, ...]
    measured: tuple[float, ...]
    predicted: tuple[float, ...]
    probability: tuple[float, ...]
    kl: tuple[float, ...]
    linear: tuple[float, float] | None
    settings: str
    sentence: str
    evidence: str
    provenance: dict[str, Any]

    def plain(self) -> dict[str, Any]:
        """Plain JSON values."""
        return dict(plain(self))


def sweep(
    case: Case, spec: SweepSpec, progress: Progress = silent, cancel: threading.Event | None = None
) -> SweepResult:
    """Run every dose in one batch, or every range of layers one after the other.

    Raises what `intervene` raises, and `RequestError` for a sweep that changes nothing, or of layers in a mode that
    holds none.
    """
    if not spec.changes:
        raise RequestError("The experiment changes nothing; choose a feature and a dose.")
    return (
        _over_doses(case, spec, progress, cancel)
        if spec.over == "doses"
        else _over_layers(case, spec, progress, cancel)
    )


def record_sweep(case: Case, spec: SweepSpec, result: SweepResult, features: str, title: str) -> Record:
    """The sweep as a project keeps it."""
    settings = {"trace": case.spec.plain(), "features": features, "experiment": spec.plain()}
    return Record(spec.over, title, settings, result.plain())


def at_dose(changes: Sequence[Change], dose: float) -> tuple[Change, ...]:
    """The same nodes at a multiple of their recorded values."""
    return tuple(replace(one, how="scale", value=dose, source=None) for one in changes)


def linear_range(doses: Sequence[float], measured: Sequence[float]) -> tuple[float, float] | None:
    """The doses around 1 where the change is within `LINEAR` of a line; None where no dose lies on either side."""
    order = np.argsort(doses)
    x, y = np.asarray(doses, dtype=np.float64)[order] - 1.0, np.asarray(measured, dtype=np.float64)[order]
    below, above = np.flatnonzero(x < 0), np.flatnonzero(x > 0)
    if not len(below) or not len(above):
        return None
    near, far = below[-1], above[0]
    slope = (y[far] - y[near]) / (x[far] - x[near])
    fits = np.abs(y - slope * x) <= LINEAR * np.abs(slope * x) + 1e-12
    low = high = 1.0
    for at in below[::-1]:
        if not fits[at]:
            break
        low = float(x[at] + 1)
    for at in above:
        if not fits[at]:
            break
        high = float(x[at] + 1)
    return low, high


def _over_doses(case: Case, spec: SweepSpec, progress: Progress, cancel: threading.Event | None) -> SweepResult:
    token = case.metric.tokens[0]
    sets = [at_dose(spec.changes, dose) for dose in spec.doses]
    settings = spec.settings
    found = measure(case, sets, settings, tokens=[token], progress=part(progress, 0, 0.7), cancel=cancel)
    # Predictions are linear: one run of them, away from the recorded values, gives all.
    gone = predicted_changes(case, [at_dose(spec.changes, 0.0)], settings, (), part(progress, 0.7, 1), cancel)[0, 0]
    measured = tuple(float(one) for one in found.change)
    linear = linear_range(spec.doses, measured)
    span = "in no range" if linear is None or linear[0] == linear[1] else f"from {linear[0]:g}× to {linear[1]:g}×"
    low, high = int(np.argmin(found.change)), int(np.argmax(found.change))
    return SweepResult(
        "doses",
        case.metric.name,
        found.recorded,
        spec.doses,
        measured,
        tuple(float((1 - dose) * gone) for dose in spec.doses),
        tuple(float(one) for one in found.probability[:, 0]),
        tuple(float(one) for one in found.kl),
        linear,
        said_settings(settings, spec.changes, case.frozen.n_layers),
        f"The {case.metric.name} is {found.metric[low]:.2f} at {spec.doses[low]:g}× and {found.metric[high]:.2f} at "
        f"{spec.doses[high]:g}×; the change is linear in the dose {span}.",
        "untested",
        case.provenance,
    )


def _over_layers(case: Case, spec: SweepSpec, progress: Progress, cancel: threading.Event | None) -> SweepResult:
    if spec.settings.mode != "constrained":
        raise RequestError("Only the mode constrained holds a range of layers; choose it, then sweep the range.")
    layers = [one.layer for one in spec.changes if one.kind != "embedding"]
    first, top = min(layers, default=0), case.frozen.n_layers
    lasts = list(range(max(layers, default=0), top))
    token, rows, predicted, recorded = case.metric.tokens[0], [], [], 0.0
    for number, last in enumerate(lasts):
        settings = replace(spec.settings, layers=(first, last))
        share = part(progress, number / len(lasts), (number + 1) / len(lasts))
        found = measure(case, [spec.changes], settings, tokens=[token], progress=part(share, 0, 0.5), cancel=cancel)
        gone = predicted_changes(case, [spec.changes], settings, (), part(share, 0.5, 1), cancel)
        rows.append((float(found.change[0]), float(found.probability[0, 0]), float(found.kl[0])))
        predicted.append(float(gone[0, 0]))
        recorded = found.recorded
    changes = [one[0] for one in rows]
    return SweepResult(
        "layers",
        case.metric.name,
        recorded,
        tuple(float(one) for one in lasts),
        tuple(changes),
        tuple(predicted),
        tuple(one[1] for one in rows),
        tuple(one[2] for one in rows),
        None,
        f"MLPs clamped from layer {first} to each of the layers {lasts[0]} to {lasts[-1]}, "
        f"attention {spec.settings.attention}",
        f"The {case.metric.name} moves by {changes[0]:.2f} with layers {first} to {lasts[0]} held and by "
        f"{changes[-1]:.2f} with all layers from {first} on held.",
        "untested",
        case.provenance,
    )
