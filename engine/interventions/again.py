"""Run a kept experiment again, and say whether its result held."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.errors import RequestError
from engine.interventions import circuit_evidence as evidence
from engine.interventions import circuit_search as search
from engine.interventions import continued, matrix, paraphrases, sweeps
from engine.interventions import experiment as change
from engine.interventions.case import Case
from engine.interventions.kept import Record
from engine.progress import Progress, silent

# Of the largest of an experiment's figures: the same arithmetic in another order differs by less.
TOLERANCE = 1e-3
# The figures that a result stands on, by the kind of experiment; p-values are shares and compared as they are. A list
# is compared number by number.
FIGURES: Mapping[str, tuple[str, ...]] = {
    "intervention": ("recorded", "changed", "predicted"),
    "circuit": ("full", "without", "alone", "nothing"),
    "search": ("full", "nothing"),
    "doses": ("recorded", "measured", "predicted"),
    "layers": ("recorded", "measured", "predicted"),
    "matrix": ("recorded", "target"),
    "paraphrases": ("recorded", "changed", "change.mean", "change.low", "change.high"),
    "verify": ("sample.predicted", "sample.measured"),
}
SHARES: Mapping[str, tuple[str, ...]] = {
    "intervention": ("controls.p",),
    "circuit": ("necessity.p", "faithfulness", "completeness"),
    "search": ("faithfulness",),
    "paraphrases": ("excess.mean", "excess.low", "excess.high"),
}
TEXTS_HELD = "The result held: every text is the same, token for token."
TEXTS_CHANGED = "The result did not hold: a text is another now."
Steps = tuple[Callable[..., Any], Callable[..., Any], Callable[..., Record]]
# How each kind is read from a project, run, and recorded.
KINDS: Mapping[str, Steps] = {
    "intervention": (change.read_experiment, change.run_experiment, change.record_experiment),
    "text": (continued.read_continued, continued.continue_both, continued.record_continued),
    "doses": (sweeps.read_sweep, sweeps.sweep, sweeps.record_sweep),
    "layers": (sweeps.read_sweep, sweeps.sweep, sweeps.record_sweep),
    "matrix": (matrix.read_matrix, matrix.group_effects, matrix.record_matrix),
    "paraphrases": (paraphrases.read_paraphrases, paraphrases.on_paraphrases, paraphrases.record_paraphrases),
    "circuit": (evidence.read_circuit, evidence.examine_circuit, evidence.record_circuit),
    "search": (search.read_search, search.find_circuit, search.record_search),
}


@dataclass(frozen=True)
class Held:
    """Whether a result held, by how much its figures differ at most, and that in words."""

    held: bool
    largest: float
    sentence: str


def run_again(
    case: Case,
    kind: str,
    settings: Mapping[str, Any],
    title: str,
    progress: Progress = silent,
    cancel: threading.Event | None = None,
) -> Record:
    """Do what a project kept once more, with the same seeds.

    Raises `RequestError` for settings that this version does not know, and what the experiment itself raises.
    """
    if kind not in KINDS:
        raise RequestError(f"This version cannot run a {kind} again; set it up anew.")
    read, run, record = KINDS[kind]
    try:
        spec = read(_table(settings.get("experiment")))
    except ValueError as error:
        raise RequestError("The project does not say how this experiment was made; set it up again.") from error
    return record(case, spec, run(case, spec, progress, cancel), str(settings.get("features", "")), title)


def compare(kind: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Held:
    """Two results of one experiment, as plain JSON values."""
    if kind == "text":
        held = _texts(before) == _texts(after)
        return Held(held, 0.0 if held else math.inf, TEXTS_HELD if held else TEXTS_CHANGED)
    figures = FIGURES.get(kind, ())
    pairs = {name: (_figures(before, name), _figures(after, name)) for name in (*figures, *SHARES.get(kind, ()))}
    size = max((abs(one) for name in figures for side in pairs[name] for one in side), default=0.0) or 1.0
    off = {name: _distance(*pair) / (size if name in figures else 1.0) for name, pair in pairs.items()}
    worst = max(off, key=lambda name: off[name], default="")
    largest = off.get(worst, math.inf)
    same = before.get("evidence") == after.get("evidence")
    held = largest <= TOLERANCE and same
    if held:
        sentence = f"The result held: every figure is the same (the largest difference is {largest:.1g} of its size)."
    elif not same:
        sentence = f"The result did not hold: it was {before.get('evidence')} and is {after.get('evidence')} now."
    else:
        old, new = pairs.get(worst, ((), ()))
        sentence = f"The result did not hold: {_words(worst)} was {_said(old)} and is {_said(new)} now."
    return Held(held, largest, sentence)


def _texts(result: Mapping[str, Any]) -> list[Any]:
    """The tokens of every text; [None] where there are none."""
    try:
        return [(pair["without"]["ids"], pair["changed"]["ids"]) for pair in result["pairs"]]
    except (KeyError, TypeError):
        return [None]


def _table(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("no settings")
    return value


def _figures(result: Mapping[str, Any], name: str) -> tuple[float, ...]:
    """The numbers under a name; none where there are none."""
    value: Any = result
    for key in name.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    many: Sequence[Any] = value if isinstance(value, (list, tuple)) else (value,)
    return tuple(float(one) for one in many if isinstance(one, (int, float)))


def _distance(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    """The largest difference, number by number; infinite where there are more of the one than of the other."""
    if len(one) != len(other):
        return math.inf
    return max((abs(a - b) for a, b in zip(one, other, strict=True)), default=0.0)


def _words(name: str) -> str:
    known = {"recorded": "the recorded number", "changed": "the changed number", "predicted": "the prediction"}
    return known.get(name, f"“{name.replace('.', ' ')}”")


def _said(values: tuple[float, ...]) -> str:
    return "not known" if not values else ", ".join(f"{one:.3g}" for one in values[:3])
