"""What cannot be asked is refused in one sentence that names it and says what to do."""

from __future__ import annotations

import copy
import math
import threading
from dataclasses import replace

import numpy as np
import pytest

from engine.dictionaries.neurons import NeuronFeatures
from engine.errors import Cancelled, RequestError
from engine.interventions import Change, Elsewhere, Settings, Watched, intervene, read_change
from engine.models.recording import record
from tests.engine.models.in_memory import weights_of
from tests.engine.tracing.tiny_models import features_of, tiny_model

IDS = (0, 5, 9, 3, 17)
OTHER = Elsewhere((0, 8, 8), 2)
CHANGES = [
    (Change("feature", 0, 2, 30), "L0/P2/F30 does not exist: layer 0 has the features 0 to 29"),
    (Change("feature", 3, 2, 1), "the layers go from 0 to 2"),
    (Change("feature", 0, 5, 1), "L0/P5/F1 lies outside the prompt, whose 5 tokens are 0 to 4"),
    (Change("feature", 0, 3, 1, last=9), "outside the prompt"),
    (Change("feature", 0, 3, 1, last=1), "ends before it begins"),
    (Change("feature", 0, 3, 1, last=4, onward=True), "goes on for ever"),
    (Change("head", 1, 2, 4), "layer 1 has the heads 0 to 3"),
    (Change("error", 1, 2, how="set", value=1.0), "no single value"),
    (Change("embedding", 0, 2, onward=True), "positions of the prompt alone"),
    (Change("feature", 0, 2, 1, "swap"), "swapped with nothing"),
    (Change("feature", 0, 2, 1, "set", 1.0, source=OTHER), "swapped with nothing"),
    (Change("feature", 0, 2, 1, "swap", source=Elsewhere((0, 8), 2)), "position 2 of a prompt whose tokens are 0 to 1"),
    (Change("feature", 0, 2, 1, "swap", source=Elsewhere((0, 99), 1)), "cannot read"),
    (Change("feature", 0, 2, 1, "set", math.inf), "finite"),
    (Change("random", 0, 2, 1, "scale", 2.0), "random direction"),
]
SETTINGS = [
    (Settings("direct", "live"), "hold attention"),
    (Settings("iterative", layers=(0, 1)), "belongs to the mode constrained"),
    (Settings("constrained", layers=(1, 0)), "the lower one first"),
    (Settings("constrained", layers=(0, 3)), "0 to 2"),
    (Settings("constrained", layers=(1, 2)), "writes outside the layers 1-2"),
    (Settings("sometimes"), "no mode"),  # type: ignore[arg-type]
    (Settings(attention="half"), "frozen or live"),  # type: ignore[arg-type]
]


def run(changes: list[Change], settings: Settings = Settings("iterative"), kind: str = "relu", **rest: object) -> None:  # noqa: B008
    model = tiny_model("llama")
    recording = record(model.weights, IDS, first_position=1)
    intervene(model, recording, features_of("llama", kind), [changes], settings, **rest)  # type: ignore[arg-type]


@pytest.mark.parametrize(("change", "words"), CHANGES, ids=lambda one: getattr(one, "name", ""))
def test_changes_of_what_is_not_there_are_refused(change: Change, words: str) -> None:
    with pytest.raises(RequestError) as refused:
        run([change])
    assert words in refused.value.sentence
    assert refused.value.sentence.count(". ") == 0


@pytest.mark.parametrize(("settings", "words"), SETTINGS)
def test_settings_that_contradict_each_other_are_refused(settings: Settings, words: str) -> None:
    with pytest.raises(RequestError, match=words):
        run([Change("feature", 0, 2, 1, "set", 1.0)], settings)


def test_a_node_is_changed_once() -> None:
    with pytest.raises(RequestError, match="twice at position 3"):
        run([Change("feature", 0, 2, 1, "ablate", onward=True), Change("feature", 0, 3, 1, "set", 1.0)])


def test_neurons_have_no_errors_and_layers_without_a_dictionary_no_features() -> None:
    with pytest.raises(RequestError, match="neurons leave nothing"):
        run([Change("error", 0, 2)], kind="neurons")
    with pytest.raises(RequestError, match="no features in layer 0"):
        run([Change("feature", 0, 2, 1)], kind="one-layer")


def test_watched_nodes_and_positions_are_there() -> None:
    with pytest.raises(RequestError, match="features 0 to 29"):
        run([], watched=[Watched(0, 1, 99)])
    with pytest.raises(RequestError, match="outside the prompt"):
        run([], positions=[7])


@pytest.mark.parametrize("value", [1e300, 3e38, 1e25])
def test_a_dose_that_overflows_is_refused(value: float) -> None:
    """float32 holds up to 3.4e38: beyond it, or where a length goes beyond it, the sentence names the change."""
    hf = copy.deepcopy(tiny_model("llama").hf).float()
    model = replace(tiny_model("llama"), hf=hf, weights=weights_of(hf))
    recording = record(model.weights, IDS, first_position=1)
    features = NeuronFeatures(model.weights)
    change = Change("feature", 1, 2, 3, "set", value)
    with pytest.raises(RequestError) as refused:
        intervene(model, recording, features, [[], [change]], Settings("iterative", "live"), positions=[2])  # type: ignore[arg-type]
    assert "L1/P2/F3" in refused.value.sentence
    assert "smaller value" in refused.value.sentence


def test_a_cancel_is_heard() -> None:
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(Cancelled):
        run([Change("feature", 0, 2, 1, "set", 1.0)], cancel=cancel)


def test_changes_are_plain_values() -> None:
    change = Change("feature", 3, 2, 9, "swap", 2.0, onward=True, source=OTHER)
    assert read_change(change.plain()) == change
    for wrong in ({"kind": "feature"}, {**change.plain(), "kind": "thing"}, {**change.plain(), "layer": "3"}):
        with pytest.raises(ValueError, match="change"):
            read_change(wrong)


def test_a_swap_gives_what_the_same_feature_has_elsewhere() -> None:
    """Swapping in another prompt's value is setting what that prompt's own recording says, times the dose."""
    model, features = tiny_model("gemma2"), features_of("gemma2", "relu")
    recording = record(model.weights, IDS, first_position=1)
    other = record(model.weights, OTHER.token_ids, first_position=1)
    active = features.read(other)[1]
    here = (active.position == OTHER.position).nonzero()[:, 0]
    feature, value = int(active.feature[here[0]]), float(active.activation[here[0]])
    swap = Change("feature", 1, 2, feature, "swap", 2.0, source=OTHER)
    found = intervene(
        model,  # type: ignore[arg-type]
        recording,
        features,
        [
            [swap],
            [Change("feature", 1, 2, feature, "set", 2 * value)],
            [Change("feature", 1, 2, feature, "set", value)],
        ],
        Settings("iterative"),
    )
    assert np.array_equal(found.logits[0], found.logits[1])
    assert not np.allclose(found.logits[0], found.logits[2])
