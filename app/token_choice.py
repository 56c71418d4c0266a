"""The tokens a person means: blanks and newlines are typed as their signs, a leading blank need not be typed."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence

from engine.errors import RequestError

_MEANT = {"␣": " ", "⏎": "\n", "⇥": "\t"}


def meant_token(typed: str, candidates: Sequence[str]) -> str:
    """The exact text of the token a person means.

    Signs stand for blanks and newlines. Without a leading blank, a candidate that is the same but for its blank is
    meant ("Austin" for " Austin"), unless a candidate without one exists.
    """
    exact = "".join(_MEANT.get(letter, letter) for letter in typed)
    if exact in candidates:
        return exact
    return f" {exact}" if f" {exact}" in candidates else exact


_WEIGHTED = re.compile(r"([+-]?(?:\d+(?:\.\d+)?|\.\d+))\s*[*×]?\s+(\S.*)", re.DOTALL)


def read_sum(typed: str) -> tuple[tuple[str, float], ...]:
    """Tokens with weights as a person types them: "1 Austin, -0.5 Dallas"; a token alone weighs 1.

    A token with a comma in it stands in quotes: `1 Austin, "-1 ,"`. Raises `RequestError` where a token is missing,
    is named twice, or all weights are 0.
    """
    pairs: list[tuple[str, float]] = []
    for part in next(csv.reader([typed.replace("\n", " ")], skipinitialspace=True), []):
        text = part.strip()
        found = _WEIGHTED.fullmatch(text)
        pairs.append((found[2], float(found[1])) if found else (text, 1.0))
    if not pairs or any(not token for token, _ in pairs):
        raise RequestError("Name the tokens with their weights, such as: 1 Austin, -0.5 Dallas, -0.5 Houston")
    if len({token for token, _ in pairs}) < len(pairs):
        raise RequestError("Each token is named once; add its weights up.")
    if not any(weight for _, weight in pairs):
        raise RequestError("Give at least one token a weight other than 0.")
    return tuple(pairs)
