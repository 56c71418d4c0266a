"""Run a kept experiment again, and say whether its result held."""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from engine.errors import RequestError
from engine.interventions.case import Case
from engine.interventions.circuit_evidence import examine_circuit, read_circuit, record_circuit
from engine.interventions.circuit_search import find_circuit, read_search, record_search
from engine.interventions.continued import continue_both, read_continued, record_continued
from engine.interventions.experiment import read_experiment, record_experiment, run_experiment
from engine.interventions.kept import Record
from engine.progress import Progress, silent

# Of the largest of an experiment's figures: the same arithmetic in another order differs by less.
TOLERANCE = 1e-3
# The figures that a result stands on, by the kind of experiment; p-values are shares and compared as they are.
FIGURES: Mapping[str, tuple[str, ...]] = {
    "intervention": ("recorded", "changed", "predicted"),
    "circuit": ("full", "without", "alone", "nothing"),
    "search": ("full", "nothing"),
}
SHARES: Mapping[str, tuple[str, ...]] = {
    "intervention": ("controls.p",),
    "circuit": ("necessity.p", "faithfulness", "completeness"),
    "search": ("faithfulness",),
}
TEXTS_HELD = "The result held: every text is the same, token for token."
TEXTS_CHANGED = "The result did not hold: a text is another now."


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
    features, plain = str(settings.get("features", "")), settings.get("experiment")
    try:
        if kind == "intervention":
            change = read_experiment(_table(plain))
            return record_experiment(case, change, run_experiment(case, change, progress, cancel), features, title)
        if kind == "text":
            text = read_continued(_table(plain))
            return record_continued(case, text, continue_both(case, text, progress, cancel), features, title)
        if kind == "circuit":
            circuit = read_circuit(_table(plain))
            return record_circuit(case, circuit, examine_circuit(case, circuit, progress, cancel), features, title)
        if kind == "search":
            search = read_search(_table(plain))
            return record_search(case, search, find_circuit(case, search, progress, cancel), features, title)
    except ValueError as error:
        raise RequestError("The project does not say how this experiment was made; set it up again.") from error
    raise RequestError(f"This version cannot run a {kind} again; set it up anew.")


def compare(kind: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Held:
    """Two results of one experiment, as plain JSON values."""
    if kind == "text":
        held = _texts(before) == _texts(after)
        return Held(held, 0.0 if held else math.inf, TEXTS_HELD if held else TEXTS_CHANGED)
    figures = FIGURES.get(kind, ())
    pairs = {name: (_figure(before, name), _figure(after, name)) for name in (*figures, *SHARES.get(kind, ()))}
    size = max((abs(one) for name in figures for one in pairs[name] if one is not None), default=0.0) or 1.0
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
        old, new = pairs.get(worst, (None, None))
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


def _figure(result: Mapping[str, Any], name: str) -> float | None:
    value: Any = result
    for key in name.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    return float(value) if isinstance(value, (int, float)) else None


def _distance(one: float | None, other: float | None) -> float:
    """0 where neither exists; infinite where only one does."""
    if one is None or other is None:
        return 0.0 if one is other else math.inf
    return abs(one - other)


def _words(name: str) -> str:
    known = {"recorded": "the recorded number", "changed": "the changed number", "predicted": "the prediction"}
    return known.get(name, f"“{name.replace('.', ' ')}”")


def _said(value: float | None) -> str:
    return "not known" if value is None else f"{value:.3g}"
