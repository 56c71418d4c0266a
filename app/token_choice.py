"""The token a person means: blanks and newlines are typed as their signs, and a leading blank need not be typed."""

from __future__ import annotations

from collections.abc import Sequence

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
