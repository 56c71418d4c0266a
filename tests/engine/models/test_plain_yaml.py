"""YAML of others: data or one refusal, whatever the text, and never more than was written."""

from __future__ import annotations

import os
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.models.plain_yaml import parse_yaml

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "200"))
# Pieces that mean something to YAML, next to any other text.
PIECES = st.sampled_from(
    ["- ", ": ", "\n", "  ", "{", "}", "[", "]", ",", "&a ", "*a", "<<: ", "!!python/name:os.system ", "!!set ", "? ",
     "|\n", ">\n", "'", '"', "---\n", "...\n", "%YAML 9.9\n", "0x", "1e", "2026-13-01", "1:99:", "=", "!!binary ", "~",
     "!!timestamp ", "!!int ", "!!float ", "!!omap ", "transcoders"]
)  # fmt: skip


def size(value: Any) -> int:
    """How many values there are."""
    if isinstance(value, dict):
        return 1 + sum(size(key) + size(one) for key, one in value.items())
    return 1 + sum(map(size, value)) if isinstance(value, list | set | tuple) else 1


@given(text=st.lists(PIECES | st.text(max_size=4), max_size=30).map("".join))
@settings(max_examples=EXAMPLES, deadline=None, derandomize=EXAMPLES <= 200, database=None)
def test_any_text(text: str) -> None:
    try:
        value = parse_yaml(text)
    except ValueError:
        return
    assert size(value) <= 3 * len(text) + 1


@given(value=st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda one: st.lists(one, max_size=3)))
@settings(max_examples=EXAMPLES, deadline=None, derandomize=EXAMPLES <= 200, database=None)
def test_plain_data_comes_back(value: Any) -> None:
    assert parse_yaml(yaml.safe_dump(value)) == value


def test_aliases_are_not_read() -> None:
    with pytest.raises(ValueError, match="not a readable YAML"):
        parse_yaml("a: &one [1]\nb: *one\n")
