"""Small traced prompts that experiments are made on in tests."""

from __future__ import annotations

from functools import cache
from typing import cast

from engine.interventions.case import Case, open_case
from engine.models.language_model import LanguageModel
from engine.tracing.spec import Prompt, Target, TraceSpec
from tests.engine.tracing.tiny_models import features_of, tiny_model

PROMPT = (0, 5, 9, 3, 17)
OTHER = (0, 8, 9, 21, 17)
SPEC = TraceSpec(Prompt(token_ids=PROMPT), Target(token="4", against="11"), max_nodes=40)


@cache
def tiny_case(family: str, kind: str, spec: TraceSpec = SPEC) -> Case:
    """A tiny random model's prompt, traced with a dictionary of that kind."""
    return open_case(cast(LanguageModel, tiny_model(family)), features_of(family, kind), spec)


def some_features(case: Case, count: int, *, layer: int | None = None) -> list[tuple[int, int, int]]:
    """Active features, spread over layers and positions but the first."""
    found = []
    for number, here in enumerate(case.layers):
        if layer in (None, number):
            some = (here.position > 0).nonzero()[:, 0]
            for at in some[:: max(len(some) // count, 1)][:count].tolist():
                found.append((number, int(here.position[at]), int(here.feature[at])))
    return found
