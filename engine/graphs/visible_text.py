"""Token texts and labels as they may be shown: blanks and control characters become visible signs, never markup."""

from __future__ import annotations

import unicodedata

BLANK = "␣"
_NAMED = {"\n": "⏎", "\t": "⇥", "\r": "␍", "\x7f": "␡"}


def visible_text(text: str, limit: int | None = None) -> str:
    """`text` on one line: blanks at its ends as ␣, control and invisible characters as signs.

    Blanks between words stay; characters that would reorder, hide or break text (bidirectional marks, zero-width
    characters, lone surrogates, private use) are written as ⟨U+200B⟩. Longer than `limit` characters ends in "…".
    """
    start = len(text) - len(text.lstrip(" "))
    end = len(text.rstrip(" "))
    middle = "".join(_sign(character) for character in text[start:end])
    shown = BLANK * len(text) if end <= start else BLANK * start + middle + BLANK * (len(text) - end)
    if limit is not None and len(shown) > limit:
        return shown[: max(limit - 1, 0)] + "…"
    return shown


def _sign(character: str) -> str:
    if character in _NAMED:
        return _NAMED[character]
    if character < " ":
        return chr(0x2400 + ord(character))
    if character == " " or character.isprintable():
        return character
    if unicodedata.category(character) == "Zs":
        return BLANK
    return f"⟨U+{ord(character):04X}⟩"
