"""Running an experiment again: the same figures held, others did not; texts are compared token for token."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from engine.errors import RequestError
from engine.interventions.again import compare, run_again
from engine.interventions.case import open_case
from engine.interventions.changes import Change, Settings
from engine.interventions.continued import ContinuedSpec, continue_both, read_continued, record_continued
from engine.interventions.experiment import ExperimentSpec, record_experiment, run_experiment
from engine.models.language_model import LanguageModel
from engine.tracing.spec import Prompt, TraceSpec
from tests.engine.interventions.cases import some_features, tiny_case

RESULT: dict[str, Any] = {
    "recorded": 12.0,
    "changed": 9.0,
    "predicted": -2.5,
    "controls": {"p": 0.01},
    "evidence": "supported",
}


@pytest.mark.parametrize("kind", ["neurons", "relu"])
def test_an_experiment_that_is_run_again_from_its_record_holds(kind: str) -> None:
    case = tiny_case("llama", kind)
    layer, position, feature = some_features(case, 2)[0]
    spec = ExperimentSpec((Change("feature", layer, position, feature, "scale", -2.0),), controls=100)
    record = record_experiment(case, spec, run_experiment(case, spec), "neurons", "A change")
    kept = json.loads(json.dumps({"settings": record.settings, "result": record.result}))
    again = run_again(case, "intervention", kept["settings"], "A change")
    found = compare("intervention", kept["result"], again.result)
    assert found.held and found.largest <= 1e-6
    # Another dose is another result.
    kept["settings"]["experiment"]["changes"][0]["value"] = 3.0
    other = compare("intervention", kept["result"], run_again(case, "intervention", kept["settings"], "x").result)
    assert not other.held and other.sentence.startswith("The result did not hold: ")


@pytest.mark.parametrize(
    ("change", "held", "said"),
    [
        ({}, True, "every figure is the same"),
        ({"changed": 9.001}, True, "8e-05 of its size"),
        ({"changed": 9.5}, False, "the changed number was 9 and is 9.5 now"),
        ({"controls": {"p": 0.2}}, False, "“controls p” was 0.01 and is 0.2 now"),
        ({"controls": None}, False, "is not known now"),
        ({"evidence": "contradicted"}, False, "it was supported and is contradicted now"),
    ],
)
def test_what_held_is_said_with_the_figure_that_differs_most(change: dict[str, Any], held: bool, said: str) -> None:
    found = compare("intervention", RESULT, {**RESULT, **change})
    assert found.held is held
    assert said in found.sentence


def test_what_is_not_known_is_refused_and_never_held() -> None:
    case = tiny_case("llama", "neurons")
    with pytest.raises(RequestError, match="cannot run a telepathy again"):
        run_again(case, "telepathy", {"experiment": {}}, "x")
    for settings in ({}, {"experiment": None}, {"experiment": {"changes": [1]}}):
        with pytest.raises(RequestError, match="does not say how"):
            run_again(case, "intervention", settings, "x")
    assert not compare("telepathy", {}, {}).held


def test_texts_with_and_without_changes_stand_side_by_side(smollm: LanguageModel) -> None:
    from engine.dictionaries import load_features

    case = open_case(smollm, load_features("neurons", smollm), TraceSpec(Prompt("The capital of Texas is")))
    layer, position, feature = some_features(case, 1, layer=20)[0]
    nothing = Change("feature", layer, position, feature, "scale", 1.0)
    same = continue_both(case, ContinuedSpec((nothing,), Settings("iterative", "live"), tokens=5))
    greedy = [int(one.id) for one in smollm.generate(case.recording.token_ids, 5)]
    assert list(same.pairs[0].without.ids) == list(same.pairs[0].changed.ids) == greedy
    assert same.pairs[0].same == 5 and same.sentence == "The text is the same with the changes as without them."
    # The embedding of another token, from the start on: another text; with seeds, one pair each, the same again.
    loud = Change("embedding", -1, 4, 0, "scale", -3.0)
    spec = ContinuedSpec((loud,), Settings("iterative", "live"), tokens=4, seeds=(3, 4), temperature=0.7)
    result = continue_both(case, spec)
    assert [pair.changed.seed for pair in result.pairs] == [3, 4]
    assert any(pair.without.ids != pair.changed.ids for pair in result.pairs)
    for pair in result.pairs:
        assert pair.without.ids[: pair.same] == pair.changed.ids[: pair.same]
        assert pair.without.ids[pair.same : pair.same + 1] != pair.changed.ids[pair.same : pair.same + 1] or (
            pair.without.ids == pair.changed.ids
        )
    kept = json.loads(json.dumps(record_continued(case, spec, result, "neurons", "x").settings))
    assert read_continued(kept["experiment"]) == spec
    again = run_again(case, "text", kept, "x")
    assert compare("text", result.plain(), again.result).held
    assert not compare("text", same.plain(), again.result).held
    assert result.naming is None, "two texts are no sample"
    with pytest.raises(RequestError, match="changes nothing"):
        continue_both(case, ContinuedSpec(()))


def test_how_many_sampled_texts_hold_the_watched_token_is_counted(smollm: LanguageModel) -> None:
    from engine.dictionaries import load_features

    case = open_case(smollm, load_features("neurons", smollm), TraceSpec(Prompt("The capital of Texas is")))
    (token,) = case.metric.tokens
    gone = Change("embedding", -1, 4, 0, "ablate")  # "Texas"
    spec = ContinuedSpec((gone,), Settings("iterative", "live"), tokens=2, seeds=(*range(12), 3), temperature=0.7)
    result = continue_both(case, spec)
    found = result.naming
    assert found is not None and found.token == " Austin"
    pairs = result.pairs[:12]  # the seed that is there twice counts once
    held = np.array([[token in pair.without.ids, token in pair.changed.ids] for pair in pairs], dtype=float)
    assert [found.without, found.changed] == held.sum(0).tolist() and found.without > found.changed
    moved = held[:, 1] - held[:, 0]
    assert found.difference.n == 12 and found.difference.mean == pytest.approx(moved.mean())
    # The range of all resamples: sums of twelve draws of -1, 0 and 1, by the multinomial of their shares.
    shares = [(moved == one).mean() for one in (-1, 0, 1)]
    sums = np.array([1.0])
    for _ in range(12):
        sums = np.convolve(sums, shares)
    share = np.cumsum(sums)
    low, high = (float(np.searchsorted(share, at) - 12) / 12 for at in (0.025, 0.975))
    assert found.difference.low == pytest.approx(low, abs=1 / 12 + 1e-9)
    assert found.difference.high == pytest.approx(high, abs=1 / 12 + 1e-9)
    assert f"comes in {found.without} of 12 without them and in {found.changed} with them" in result.sentence
    assert json.loads(json.dumps(result.plain()))["naming"]["without"] == found.without
