"""Texts of tokens and labels can always be shown as they are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.graphs.visible_text import visible_text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (" Austin", "␣Austin"),
        ("two words", "two words"),
        ("   ", "␣␣␣"),
        ("\n\n", "⏎⏎"),
        ("a\tb\r", "a⇥b␍"),
        ("\x00\x1b", "␀␛"),
        ("<b>&", "<b>&"),
        ("\u202eabc", "⟨U+202E⟩abc"),
        ("a\u00a0b", "a␣b"),
        ("\ud800", "⟨U+D800⟩"),
        ("né 🙂", "né 🙂"),
        ("", ""),
    ],
)
def test_what_is_shown(text: str, shown: str) -> None:
    assert visible_text(text) == shown


@given(st.text(), st.integers(1, 30))
def test_every_text_becomes_one_printable_line_no_longer_than_asked(text: str, limit: int) -> None:
    assert visible_text(text).isprintable()
    assert len(visible_text(text, limit)) <= limit
