"""A graph for each generated token equals the traces one would run by hand."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from engine.dictionaries import load_features
from engine.errors import Cancelled, RequestError
from engine.tracing import CONSERVATION_BOUND, Prompt, Target, TraceSpec, trace
from engine.tracing.series import trace_series
from tests.engine.tracing.tiny_models import features_of, tiny_model

if TYPE_CHECKING:
    from engine.models import LanguageModel

MODEL: Any = tiny_model("llama")
FEATURES: Any = features_of("llama", "relu")
SPEC = TraceSpec(Prompt("5 9 3"), max_nodes=20)


def test_each_step_is_the_trace_of_its_own_prompt() -> None:
    seen: list[float] = []
    found = list(trace_series(MODEL, FEATURES, SPEC, [7, 8, 4], lambda stage, share: seen.append(share)))
    assert [one.graph.token_ids for one in found] == [(0, 5, 9, 3), (0, 5, 9, 3, 7), (0, 5, 9, 3, 7, 8)]
    assert [one.graph.logit_token.tolist() for one in found] == [[7], [8], [4]]
    by_hand = trace(MODEL, FEATURES, TraceSpec(Prompt("5 9 3 7"), Target(token_id=8), max_nodes=20)).graph
    assert (found[1].graph.weight == by_hand.weight).all()
    assert (found[1].graph.feature == by_hand.feature).all()
    assert seen == sorted(seen) and seen[-1] == 1


def test_a_named_target_stays() -> None:
    spec = TraceSpec(Prompt("5 9 3"), Target(token_id=11, position=1), max_nodes=5)
    found = list(trace_series(MODEL, FEATURES, spec, [7, 8]))
    assert [one.graph.logit_token.tolist() for one in found] == [[11], [11]]
    assert [one.graph.n_positions for one in found] == [4, 5]


def test_tokens_can_be_generated() -> None:
    @dataclass
    class Token:
        id: int

    class Generating:
        def __getattr__(self, name: str) -> Any:
            return getattr(MODEL, name)

        def generate(self, ids: list[int], count: int, *, progress: Any, cancel: Any) -> list[Token]:
            assert ids == [0, 5, 9, 3]
            return [Token(6), Token(1)][:count]

    model: Any = Generating()
    assert [one.graph.logit_token.tolist() for one in trace_series(model, FEATURES, SPEC, 2)] == [[6], [1]]


def test_a_real_model_says_austin(smollm: LanguageModel) -> None:
    spec = TraceSpec(Prompt("The capital of Texas is"), max_nodes=20)
    found = list(trace_series(smollm, load_features(None, smollm), spec, 2))
    assert found[0].graph.logit_text == (" Austin",)
    assert found[1].graph.tokens == (*found[0].graph.tokens, " Austin")
    assert found[1].graph.conservation_error.max() < CONSERVATION_BOUND


def test_traces_before_a_cancel_stay() -> None:
    cancel = threading.Event()
    series = trace_series(MODEL, FEATURES, SPEC, [7, 8], cancel=cancel)
    assert next(series).graph.n_nodes > 20
    cancel.set()
    with pytest.raises(Cancelled):
        next(series)


@pytest.mark.parametrize(
    ("spec", "tokens", "sentence"),
    [
        (SPEC, 0, "at least one"),
        (SPEC, [], "at least one"),
        (TraceSpec(Prompt("5"), Target(feature=(0, 1, 2))), 1, "along a series"),
        (TraceSpec(Prompt("5"), nodes=((0, 1, 2),)), 1, "along a series"),
    ],
)
def test_refusals_come_at_once(spec: TraceSpec, tokens: Any, sentence: str) -> None:
    with pytest.raises(RequestError, match=sentence):
        trace_series(MODEL, FEATURES, spec, tokens)
