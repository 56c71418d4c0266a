"""Experiments: predictions meet measurements where both are exact, and what is said follows from what was measured."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engine.errors import RequestError
from engine.interventions.changes import Change, Elsewhere, Settings
from engine.interventions.experiment import ExperimentSpec, read_experiment, record_experiment, run_experiment
from engine.interventions.matched import matched_sets
from engine.interventions.measure import measure
from engine.interventions.statistics import permutation_p
from engine.projects import Project
from engine.tracing.spec import Prompt, Target, TraceSpec
from tests.engine.interventions.cases import OTHER, PROMPT, some_features, tiny_case

DIRECT = Settings("direct")
TOKENS = TraceSpec(Prompt(token_ids=PROMPT), Target(top_logits=3, logit_mass=1.0), max_nodes=40)


def some_changes(case: object, kind: str) -> tuple[Change, ...]:
    layer, position, feature = some_features(case, 3, layer=0)[1]  # type: ignore[arg-type]
    changes = [
        Change("feature", layer, position, feature, "scale", 2.5),
        Change("feature", layer, position, feature + 1, "set", 0.7),
        Change("embedding", 0, 2, how="scale", value=0.4),
        Change("head", 1, 3, 2, "ablate"),
        Change("random", 1, 1, 5, "set", 0.8),
    ]
    if "neurons" not in kind:
        changes.append(Change("error", 1, 3, how="flip"))
    return tuple(changes)


@pytest.mark.parametrize("kind", ["neurons", "relu", "skip", "before-post-norm", "cross-layer"])
@pytest.mark.parametrize("family", ["llama", "llama-biased", "gemma3", "neox", "gpt2"])
def test_with_everything_held_predictions_are_measurements(family: str, kind: str) -> None:
    # All that is left is linear, so that any dose is predicted exactly; a neuron watched is not linear itself.
    case = tiny_case(family, kind, TOKENS)
    watched = () if kind == "neurons" else tuple(some_features(case, 3, layer=2))
    result = run_experiment(case, ExperimentSpec(some_changes(case, kind), DIRECT, watched))
    assert len(result.points) == len(watched) + 3
    predicted, measured = ([getattr(one, name) for one in result.points] for name in ("predicted", "measured"))
    # Logits leave the engine in single precision.
    assert np.allclose(predicted, measured, rtol=1e-5, atol=3e-6)
    assert min(map(abs, predicted)) > 0 and result.agreement.pearson > 0.999
    assert result.predicted == pytest.approx(result.change, rel=1e-4, abs=1e-5)


def test_neurons_follow_their_slopes_for_a_small_dose() -> None:
    case = tiny_case("llama", "neurons")
    source, watched = some_features(case, 2, layer=0)[0], tuple(some_features(case, 6, layer=2))
    change = Change("feature", *source, "scale", 1.0001)
    result = run_experiment(case, ExperimentSpec((change,), DIRECT, watched))
    points = [one for one in result.points if one.kind == "feature" and abs(one.predicted) > 1e-7]
    assert len(points) >= 3
    for one in points:
        assert one.measured == pytest.approx(one.predicted, rel=5e-3, abs=1e-9)


def test_only_what_can_be_reached_is_compared() -> None:
    case = tiny_case("llama", "relu")
    changed = some_features(case, 3, layer=1)[0]
    watched = tuple(some_features(case, 4))
    result = run_experiment(case, ExperimentSpec((Change("feature", *changed, "ablate"),), watched=watched))
    compared = [(one.layer, one.position) for one in result.points if one.kind == "feature"]
    assert compared and all(layer > 1 and position >= changed[1] for layer, position in compared)


def test_controls_have_the_same_doses_on_other_features() -> None:
    case = tiny_case("llama", "neurons")
    first, second = some_features(case, 2, layer=1)[:2]
    value = 2 * case.pools.signed(second)
    changes = (Change("feature", *first, "flip"), Change("feature", *second, "set", value))
    drawn = matched_sets(case, changes, DIRECT, 100, 3)
    assert len(drawn.sets) == 100 and drawn == matched_sets(case, changes, DIRECT, 100, 3)
    named = 0
    for one in drawn.sets:
        assert one[0].kind == "random" or one[0].how == "flip"
        for change in one:
            assert (change.layer, change.position, change.index) not in {first, second}
            named += change.kind == "feature"
            if change.kind == "feature" and change.how == "scale":
                assert change.value == pytest.approx(2.0)
    assert named == 100 * (2 - drawn.widened["random directions"])


def test_what_has_no_like_becomes_a_direction_as_long() -> None:
    case = tiny_case("llama", "relu")
    changes = (Change("error", 1, 3, how="ablate"), Change("head", 1, 2, 1, "ablate"))
    drawn = matched_sets(case, changes, DIRECT, 100, 0)
    assert drawn.widened["random directions"] == 2 and "directions" in drawn.sentence
    error = case.layers[1].error
    assert error is not None
    assert {round(one[0].value, 9) for one in drawn.sets} == {round(float(error[3].norm()), 9)}
    assert len({one[0].index for one in drawn.sets}) == 100


def test_p_counts_the_controls_that_were_run() -> None:
    case = tiny_case("llama", "neurons")
    change = Change("feature", *some_features(case, 2, layer=1)[0], "ablate")
    result = run_experiment(case, ExperimentSpec((change,), DIRECT, controls=100, seed=4))
    assert result.controls is not None and result.controls.n == 100
    again = matched_sets(case, (change,), DIRECT, 100, 4)
    effects = [abs(float(measure(case, [one], DIRECT).change[0])) for one in again.sets]
    assert np.allclose(result.controls.effects, effects, atol=1e-6)
    assert result.controls.p == permutation_p(abs(result.change), effects)
    assert result.evidence == ("supported" if result.controls.p < 0.05 else "contradicted")
    assert run_experiment(case, ExperimentSpec((change,), DIRECT)).evidence == "untested"


def test_an_experiment_is_kept_with_all_that_it_takes_to_run_it_again(tmp_path: Path) -> None:
    case = tiny_case("llama", "relu")
    swapped = Change("feature", *some_features(case, 2, layer=0)[0], "swap", 2.0, source=Elsewhere(OTHER, 3))
    spec = ExperimentSpec((swapped,), Settings("constrained", layers=(0, 1)), tuple(some_features(case, 2)), 0, 7)
    result = run_experiment(case, spec)
    record = record_experiment(case, spec, result, "neurons", "Swap it")
    assert read_experiment(json.loads(json.dumps(record.settings["experiment"]))) == spec
    with Project.create(tmp_path / "kept.loupe") as project:
        number = project.experiments.add(**record.columns)
        assert project.experiments.result(number)["sentence"] == result.sentence
        assert read_experiment(project.experiments.settings(number)["experiment"]) == spec


def test_what_cannot_be_asked_is_refused() -> None:
    case = tiny_case("llama", "relu")
    with pytest.raises(RequestError, match="changes nothing"):
        run_experiment(case, ExperimentSpec(()))
    change = Change("feature", *some_features(case, 2, layer=0)[0], "ablate")
    with pytest.raises(RequestError, match="too few"):
        run_experiment(case, ExperimentSpec((change,), controls=20))
    with pytest.raises(ValueError, match="no experiment"):
        read_experiment({"changes": []})
    with pytest.raises(RequestError, match="watch a token"):
        tiny_case("llama", "relu", replace(TOKENS, target=Target(direction=(0.0,))))
