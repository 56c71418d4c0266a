"""A change on several prompts: each against an experiment of its own, the interval against drawing by hand."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from engine.errors import RequestError
from engine.interventions.again import compare, run_again
from engine.interventions.case import Case, open_case
from engine.interventions.changes import Change, Settings
from engine.interventions.experiment import ExperimentSpec, run_experiment
from engine.interventions.paraphrases import (
    ParaphrasesSpec,
    evidence_over,
    moved_changes,
    on_paraphrases,
    read_paraphrases,
    record_paraphrases,
)
from engine.interventions.statistics import Interval
from engine.tracing.spec import Prompt
from tests.engine.interventions.cases import PROMPT, SPEC, some_features, tiny_case

# PROMPT is 0 5 9 3 17: the token 9 stands elsewhere in each.
OTHERS = ((0, 9, 21, 17), (0, 5, 5, 9, 8), (0, 12, 9, 3, 4))


def at_nine(case: Case) -> Change:
    place = next(one for one in some_features(case, 40, layer=1) if one[1] == 2)
    return Change("feature", *place, "flip")


@pytest.mark.parametrize("kind", ["neurons", "relu"])
def test_each_prompt_is_an_experiment_of_its_own(kind: str) -> None:
    case = tiny_case("llama", kind)
    change = at_nine(case)
    spec = ParaphrasesSpec((change,), OTHERS, Settings("iterative", "live"), controls=100, seed=3)
    result = on_paraphrases(case, spec)
    assert [one.token_ids for one in result.prompts] == [PROMPT, *OTHERS]
    for row, position in zip(result.prompts, (2, 1, 3, 2), strict=True):
        own = open_case(case.model, case.features, replace(SPEC, prompt=Prompt(token_ids=row.token_ids)))
        moved = replace(change, position=position)
        alone = run_experiment(own, ExperimentSpec((moved,), spec.settings, controls=100, seed=3))
        assert row.recorded == pytest.approx(alone.recorded, abs=1e-9)
        assert row.change == pytest.approx(alone.change, abs=1e-9)
        assert row.predicted == pytest.approx(alone.predicted, abs=1e-9)
        assert alone.controls is not None
        assert row.p == alone.controls.p and row.median == pytest.approx(alone.controls.median)
        assert f"({position})" in row.where
        assert row.active == own.pools.holds((change.layer, position, change.index)) and row.features == 1
        way = np.sign(result.prompts[0].change)
        assert row.supported == (row.p < 0.05 and row.change * way > 0)


def test_the_interval_is_that_of_resampled_prompts() -> None:
    case = tiny_case("llama", "neurons")
    result = on_paraphrases(case, ParaphrasesSpec((at_nine(case),), OTHERS, controls=100))
    way = np.sign(result.prompts[0].change)
    for found, values in (
        (result.change, [one.change for one in result.prompts]),
        (result.excess, [way * one.change - (one.median or 0) for one in result.prompts]),
    ):
        assert found is not None
        # Every possible resample of four, with its probability: no draws at all.
        means = sorted(np.mean([values[at] for at in drawn]) for drawn in np.ndindex(4, 4, 4, 4))
        span = means[-1] - means[0]
        assert found.mean == pytest.approx(np.mean(values)) and found.n == 4
        assert found.low == pytest.approx(np.quantile(means, 0.025), abs=0.08 * span)
        assert found.high == pytest.approx(np.quantile(means, 0.975), abs=0.08 * span)
    assert f"Over 4 prompts the {result.metric} moves by {result.change.mean:+.2f}" in result.sentence
    assert f"on {sum(one.supported for one in result.prompts)} of 4 prompts" in result.sentence


def test_an_interval_speaks_for_a_claim_where_all_of_it_lies_above_nothing() -> None:
    assert evidence_over(None) == "untested"
    assert evidence_over(Interval(1.0, 0.1, 2.0, 4)) == "supported"
    assert evidence_over(Interval(1.0, -0.1, 2.0, 4)) == "unclear"
    assert evidence_over(Interval(-1.0, -2.0, -0.1, 4)) == "contradicted"


def test_a_token_that_comes_twice_is_counted_from_the_end_and_the_last_stands_for_the_last() -> None:
    case = tiny_case("llama", "neurons", replace(SPEC, prompt=Prompt(token_ids=(0, 5, 9, 5, 17))))
    first, second, last = (Change("feature", 1, position, 3) for position in (1, 3, 4))
    moved = moved_changes(case, (first, second, last), (0, 5, 8, 5, 5, 2))
    assert [one.position for one in moved] == [3, 4, 5]
    assert moved_changes(case, (replace(first, last=3),), (0, 5, 5, 2))[0].last == 2


def test_paraphrases_are_kept_and_run_again() -> None:
    case = tiny_case("llama", "neurons")
    spec = ParaphrasesSpec((at_nine(case),), OTHERS, controls=100, seed=1)
    result = on_paraphrases(case, spec)
    record = record_paraphrases(case, spec, result, "neurons", "x")
    settings = json.loads(json.dumps(record.settings))
    assert read_paraphrases(settings["experiment"]) == spec
    assert compare("paraphrases", result.plain(), run_again(case, "paraphrases", settings, "x").result).held
    other = {**result.plain(), "change": {**result.plain()["change"], "low": result.change.low - 1}}
    assert not compare("paraphrases", result.plain(), other).held
    with pytest.raises(ValueError, match="no paraphrases"):
        read_paraphrases({"changes": []})


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"changes": ()}, "changes nothing"),
        ({"prompts": OTHERS[:1]}, "give 2 paraphrases or more"),
        ({"prompts": (*OTHERS, OTHERS[0])}, "is there twice"),
        ({"prompts": (*OTHERS, PROMPT)}, "is there twice"),
        ({"prompts": (*OTHERS, (0, 5, 17))}, "has no token"),
        ({"controls": 20}, "too few"),
    ],
)
def test_what_no_interval_can_come_of_is_refused(changed: dict[str, object], words: str) -> None:
    case = tiny_case("llama", "neurons")
    spec = replace(ParaphrasesSpec((at_nine(case),), OTHERS), **changed)  # type: ignore[arg-type]
    with pytest.raises(RequestError, match=words) as refused:
        on_paraphrases(case, spec)
    assert refused.value.sentence.count(". ") == 0
