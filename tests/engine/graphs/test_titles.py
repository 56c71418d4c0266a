"""What a trace is called is the same wherever it was made: in the window, in a terminal, or by another program."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from engine.graphs.titles import LONGEST, title_of, trace_title
from tests.graph_builder import build_graph


@pytest.mark.parametrize(
    ("prompt", "explained", "title"),
    [
        ("The capital of Texas is", [" Austin"], "The capital of Texas is → Austin"),
        ("The capital of Texas is", [], "The capital of Texas is"),
        ("The capital\n of  Texas", [" Austin", " the"], "The capital of Texas → Austin, the"),
        ("Texas", [" Austin", " the", " a"], "Texas → Austin, the…"),
        ("Texas", [" Austin −  Dallas"], "Texas → Austin − Dallas"),
        ("Texas", [" "], "Texas → ␣"),
        ("Texas", ["\n"], "Texas → ⏎"),
        ("Te\u200bxas", ["\u202ea"], "Te⟨U+200B⟩xas → ⟨U+202E⟩a"),
        ("Texas", ["layer 3 · 17"], "Texas → layer 3 · 17"),
        ("long " * 40, ["y" * 99], "…" + ("long " * 40).strip()[1 - LONGEST :] + " → " + "y" * (LONGEST - 1) + "…"),
    ],
)
def test_the_end_of_the_prompt_and_what_is_explained(prompt: str, explained: list[str], title: str) -> None:
    assert trace_title(prompt, explained) == title


@pytest.mark.parametrize(
    ("report", "title"),
    [
        ({"settings": {"prompt": {"text": "Say it"}}, "prompt": "<s>Say it"}, "Say it → b, c…"),
        ({"settings": {"prompt": "Say it"}}, "Say it → b, c…"),
        ({"settings": {"prompt": {"text": ""}}, "target": "odd"}, "<s>Texas → b, c…"),
        ({"settings": 5, "target": {"tokens": [" other"]}}, "<s>Texas → b, c…"),
    ],
)
def test_the_likeliest_tokens_come_first_and_a_prompt_is_as_it_was_typed(report: dict[str, Any], title: str) -> None:
    graph = replace(
        build_graph(n_logits=3),
        tokens=("<s>", "Texas"),
        logit_text=(" a", " b", " c"),
        logit_probability=np.array([0.1, 0.5, 0.2], np.float32),
    )
    assert title_of(report, graph) == title


def test_a_graph_without_logits_is_named_by_its_report() -> None:
    graph = replace(build_graph(), tokens=("Texas",), logit_text=(), logit_probability=np.zeros(0, np.float32))
    assert title_of({"target": {"tokens": ["layer 3 · 17"]}}, graph) == "Texas → layer 3 · 17"
    assert title_of({}, graph) == "Texas"
