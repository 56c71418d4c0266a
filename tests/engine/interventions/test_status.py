"""The evidence status follows from what was run."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from engine.interventions.status import Kept, claim_of, status_of

CHANGE = {"kind": "feature", "layer": 3, "position": 4, "index": 17, "how": "ablate", "value": 1.0}


def kept(evidence: str, *, seed: int = 0, tokens: tuple[int, ...] = (0, 5), **result: Any) -> Kept:
    settings = {"experiment": {"changes": [CHANGE], "seed": seed}}
    figures = {"recorded": 9.0, "changed": 7.0, "predicted": -1.0, "provenance": {"token_ids": list(tokens)}}
    return Kept("intervention", evidence, settings, {**figures, **result})


def test_without_controls_the_graph_alone_speaks() -> None:
    assert status_of(kept("untested"), []) == "attribution"
    assert status_of(kept("untested", predicted=1.0), []) == "hypothesis"
    assert status_of(kept("untested", predicted=None), []) == "hypothesis"
    assert status_of(replace(kept("untested"), kind="doses"), []) == "hypothesis"


def test_another_seed_or_another_prompt_replicates_and_the_same_run_does_not() -> None:
    one = kept("supported")
    assert status_of(one, [one]) == "intervention"
    assert status_of(one, [one, kept("supported")]) == "intervention", "the same run is no replication"
    assert status_of(one, [one, kept("supported", seed=1)]) == "replicated"
    assert status_of(one, [one, kept("supported", tokens=(0, 8))]) == "replicated"
    assert status_of(one, [one, kept("contradicted", seed=1)]) == "intervention"
    other = replace(
        kept("supported", seed=1), settings={"experiment": {"changes": [{**CHANGE, "index": 18}], "seed": 1}}
    )
    assert status_of(one, [one, other]) == "intervention", "another claim"


def test_circuits_are_the_same_claim_at_other_positions() -> None:
    one, other = (
        Kept("circuit", "supported", {"experiment": {"features": features, "seed": seed}}, {})
        for seed, features in ((0, [[1, 2, 3], [4, 2, 6]]), (5, [[4, 7, 6], [1, 7, 3]]))
    )
    assert claim_of(one) == claim_of(other)
    assert status_of(one, [one, other]) == "replicated"


@pytest.mark.parametrize("settings", [{}, {"experiment": 3}, {"experiment": {"changes": 7}}, {"experiment": {}}])
def test_what_is_damaged_claims_nothing(settings: dict[str, Any]) -> None:
    broken = Kept("intervention", "supported", settings, {})
    assert claim_of(broken) is None
    assert status_of(broken, [broken, broken]) == "intervention"
    assert status_of(replace(broken, evidence="contradicted"), []) == "contradicted"
    assert status_of(replace(broken, evidence="unclear"), []) == "unclear"
