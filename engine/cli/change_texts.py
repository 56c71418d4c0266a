"""Changes as a person types them: L12/P5/F1034=-2x."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import replace

from engine.errors import RequestError
from engine.interventions.changes import LETTERS, Change, Elsewhere, How, Kind

_PLACE = re.compile(r"(?:L(?P<layer>\d+)/)?P(?P<first>\d+)(?P<span>-(?P<last>\d+)?)?/(?P<kind>[FHET])(?P<index>\d*)")
_KINDS: dict[str, Kind] = {letter: kind for kind, letter in LETTERS.items()}
_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_VALUE = re.compile(rf"(?P<number>{_NUMBER})?(?P<word>x|ablate|flip|swap(?:@(?P<at>\d+))?)?")
GRAMMAR = (
    "give PLACE=VALUE. Places: L12/P5/F1034 (feature or neuron), L12/P5-8/F1034 (positions 5 to 8), L12/P5-/F1034 "
    "(from 5 on), L12/P5/E (error node), P5/T (token), L12/P5/H3 (head). Values: -2x (times what was recorded), 4 "
    "(this value), ablate, flip, swap or 2swap@7 (its value in --other, at position 7)"
)


def read_change_text(text: str) -> Change:
    """The change that was typed. A swap has no source yet: see `swapped`.

    Raises `RequestError`, which shows how changes are written.
    """
    place, equals, value = text.partition("=")
    given = _VALUE.fullmatch(value.strip())
    if not equals or _PLACE.fullmatch(place.strip()) is None or given is None or not value.strip():
        raise RequestError(f"{text!r} is no change: {GRAMMAR}.")
    how, number = _how(given, text)
    change = replace(_read_place(place), how=how, value=number)
    if given["at"] is not None:
        change = replace(change, source=Elsewhere((), int(given["at"])))
    return change


def read_watched(text: str) -> tuple[int, int, int]:
    """(layer, position, feature) of a feature to look at, such as L14/P5/F7."""
    found = _PLACE.fullmatch(text.strip())
    if found is None or found["kind"] != "F" or found["span"] is not None or not (found["layer"] and found["index"]):
        raise RequestError(f"{text!r} is no feature at one position; give it as L14/P5/F7.")
    return int(found["layer"]), int(found["first"]), int(found["index"])


def _read_place(place: str) -> Change:
    found = _PLACE.fullmatch(place.strip())
    assert found is not None
    kind, index = _KINDS[found["kind"]], found["index"]
    if (kind in ("feature", "head")) != bool(index) or (kind == "embedding") != (found["layer"] is None):
        raise RequestError(f"{place!r} names nothing that can be changed: {GRAMMAR}.")
    change = Change(kind, int(found["layer"] or 0), int(found["first"]), int(index or 0))
    if found["span"] is not None:
        last = found["last"]
        change = replace(change, last=None if last is None else int(last), onward=last is None)
    return change


def swapped(change: Change, other: Sequence[int] | None) -> Change:
    """With the prompt (its tokens) that a swap takes its value from; the same position, unless another was typed."""
    if change.how != "swap":
        return change
    if other is None:
        raise RequestError(f"{change.name} is swapped with nothing; give the other prompt with --other.")
    position = change.position if change.source is None else change.source.position
    return replace(change, source=Elsewhere(tuple(other), position))


def _how(given: re.Match[str], text: str) -> tuple[How, float]:
    word, number = given["word"], given["number"]
    if word in ("ablate", "flip"):
        if number is not None:
            raise RequestError(f"{text!r} says both a number and {word}; give one of the two.")
        return ("ablate" if word == "ablate" else "flip"), 1.0
    value = 1.0 if number is None else float(number)
    if not math.isfinite(value):
        raise RequestError(f"The dose of {text!r} is too large for a number; give a smaller one.")
    if word is None:
        return "set", value
    if word == "x":
        if number is None:
            raise RequestError(f"{text!r} does not say how many times; give a number such as -2x.")
        return "scale", value
    return "swap", value
