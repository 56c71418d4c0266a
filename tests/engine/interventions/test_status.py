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


def test_another_prompt_replicates_and_another_seed_does_not() -> None:
    one = kept("supported")
    assert status_of(one, [one]) == "intervention"
    assert status_of(one, [one, kept("supported")]) == "intervention", "the same run is no replication"
    assert status_of(one, [one, kept("supported", seed=1)]) == "intervention", "only the random changes are others"
    assert status_of(one, [one, kept("supported", tokens=(0, 8))]) == "replicated"
    other = replace(
        kept("supported", tokens=(0, 8)), settings={"experiment": {"changes": [{**CHANGE, "index": 18}], "seed": 1}}
    )
    assert status_of(one, [one, other]) == "intervention", "another claim"
    assert status_of(one, [one, kept("supported", tokens=(0, 8), metric="another number")]) == "intervention"
    held = {"experiment": {"changes": [CHANGE], "seed": 0, "settings": {"mode": "direct", "attention": "frozen"}}}
    assert status_of(one, [one, replace(kept("supported", tokens=(0, 8)), settings=held)]) == "intervention"


def test_what_speaks_against_a_claim_is_not_left_out() -> None:
    one, against = kept("supported"), kept("contradicted", tokens=(0, 8))
    assert status_of(one, [one, against]) == status_of(against, [one, against]) == "unclear"
    assert status_of(against, [against, kept("contradicted")]) == "contradicted"
    other_way = kept("supported", tokens=(0, 8), changed=11.0)
    assert status_of(one, [one, other_way]) == "unclear", "it moved the number the other way there"


def test_paraphrases_replicate_where_two_prompts_support_the_claim_by_themselves() -> None:
    def over(*supported: bool, evidence: str = "supported") -> Kept:
        rows = [{"token_ids": [0, at], "supported": one} for at, one in enumerate(supported)]
        return replace(kept(evidence, prompts=rows), kind="paraphrases")

    assert status_of(over(True, True, False), []) == "replicated"
    assert status_of(over(True, False, False), []) == "intervention"
    assert status_of(over(True, True, evidence="unclear"), []) == "unclear"
    # A plain run of the same change is the same claim.
    one = kept("supported", tokens=(0, 0))
    assert status_of(one, [one, over(True, False)]) == "intervention"
    assert status_of(one, [one, over(True, True)]) == "replicated"


def test_circuits_are_the_same_claim_at_other_positions() -> None:
    one, other = (
        Kept("circuit", "supported", {"experiment": {"features": features}}, {"provenance": {"token_ids": tokens}})
        for tokens, features in (([0, 1], [[1, 2, 3], [4, 2, 6]]), ([0, 2], [[4, 7, 6], [1, 7, 3]]))
    )
    assert claim_of(one) == claim_of(other)
    assert status_of(one, [one, other]) == "replicated"
    mean, zero = ({"experiment": {"features": [], "ablation": how}} for how in ("mean", "zero"))
    assert claim_of(replace(one, settings=mean)) != claim_of(replace(one, settings=zero))


@pytest.mark.parametrize("settings", [{}, {"experiment": 3}, {"experiment": {"changes": 7}}, {"experiment": {}}])
def test_what_is_damaged_claims_nothing(settings: dict[str, Any]) -> None:
    broken = Kept("intervention", "supported", settings, {})
    assert claim_of(broken) is None
    assert status_of(broken, [broken, broken]) == "intervention"
    assert status_of(replace(broken, evidence="contradicted"), []) == "contradicted"
    assert status_of(replace(broken, evidence="unclear"), []) == "unclear"
