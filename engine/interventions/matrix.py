"""What each group of features does to each other one, measured: ablate one, and see what is left of the others."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

import numpy as np

from engine.errors import RequestError
from engine.interventions.case import Case
from engine.interventions.changes import Change, Settings
from engine.interventions.controls import FeatureAt
from engine.interventions.experiment import read_features_at, read_settings
from engine.interventions.kept import Record, plain
from engine.interventions.measure import measure
from engine.interventions.run import CONSTRAINED
from engine.interventions.said import said_settings
from engine.progress import Progress, silent


@dataclass(frozen=True)
class MatrixSpec:
    """Named groups of features, and what answers when one of them is ablated."""

    names: tuple[str, ...]
    groups: tuple[tuple[FeatureAt, ...], ...]
    settings: Settings = CONSTRAINED

    def plain(self) -> dict[str, Any]:
        """Plain JSON values: `read_matrix` gives the same again."""
        return dict(plain(self))


def read_matrix(values: dict[str, Any]) -> MatrixSpec:
    """The spec that `plain` wrote; raises `ValueError` for anything else."""
    try:
        groups = tuple(read_features_at(one) for one in values["groups"])
        return MatrixSpec(tuple(str(one) for one in values["names"]), groups, read_settings(values["settings"]))
    except (KeyError, TypeError) as error:
        raise ValueError(f"no matrix ({error})") from error


@dataclass(frozen=True)
class MatrixResult:
    """`effects[i][j]`: how far group j's pre-activations move when group i is ablated, as a signed share of their
    recorded sizes: -1 takes all away, NaN where j is i or cannot be reached. `target[i]`: how far the watched number
    moves.
    """

    names: tuple[str, ...]
    effects: tuple[tuple[float, ...], ...]
    target: tuple[float, ...]
    metric: str
    recorded: float
    settings: str
    sentence: str
    evidence: str
    provenance: dict[str, Any]

    def plain(self) -> dict[str, Any]:
        """Plain JSON values."""
        return dict(plain(self))


def group_effects(
    case: Case, spec: MatrixSpec, progress: Progress = silent, cancel: threading.Event | None = None
) -> MatrixResult:
    """Ablate each group in turn, all in one batch, and read every other group.

    Raises what `intervene` raises, and `RequestError` for fewer than two groups.
    """
    if len(spec.groups) < 2 or not all(spec.groups):
        raise RequestError("A matrix needs two groups that hold features; group pinned nodes first.")
    watched = tuple(dict.fromkeys(one for group in spec.groups for one in group))
    column = {one: at for at, one in enumerate(watched)}
    sets = [tuple(Change("feature", *one, "ablate") for one in dict.fromkeys(group)) for group in spec.groups]
    found = measure(case, sets, spec.settings, watched=watched, progress=progress, cancel=cancel)
    moved = (found.linear - found.recorded_linear) * np.sign(found.recorded_linear)
    effects = np.full((len(sets), len(sets)), np.nan)
    for row, source in enumerate(spec.groups):
        lowest, earliest = min(one[0] for one in source), min(one[1] for one in source)
        for at, target in enumerate(spec.groups):
            reached = [one for one in target if one not in source and one[0] > lowest and one[1] >= earliest]
            size = sum(abs(float(found.recorded_linear[column[one]])) for one in target if one not in source)
            if at != row and reached and size > 0:
                effects[row, at] = sum(float(moved[row, column[one]]) for one in reached) / size
    strongest = int(np.argmax(np.abs(found.change)))
    return MatrixResult(
        spec.names,
        tuple(tuple(float(one) for one in row) for row in effects),
        tuple(float(one) for one in found.change),
        case.metric.name,
        found.recorded,
        said_settings(spec.settings, sets[0], case.frozen.n_layers)
        if spec.settings.mode != "constrained"
        else (
            f"each group ablated, MLPs clamped in its own layers and free above, attention {spec.settings.attention}"
        ),
        f"Without “{spec.names[strongest]}” the {case.metric.name} moves most: by {found.change[strongest]:.2f}, from "
        f"{found.recorded:.2f}.",
        "untested",
        case.provenance,
    )


def record_matrix(case: Case, spec: MatrixSpec, result: MatrixResult, features: str, title: str) -> Record:
    """The matrix as a project keeps it."""
    settings = {"trace": case.spec.plain(), "features": features, "experiment": spec.plain()}
    return Record("matrix", title, settings, result.plain())
