"""Oracle: on the same model and transcoders, interventions are circuit-tracer's feature_intervention and
feature_intervention_generate, in every mode (see `make_intervention_references.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.dictionaries import load_features
from engine.interventions import Change, Settings, Watched, continue_changed, intervene
from engine.models.recording import record
from tests.engine.models.in_memory import weights_of
from tests.engine.tracing.tiny_models import TinyModel
from tests.oracle import starter_case, tiny_case
from tests.oracle.intervention_case import FEATURE_STEP, MODES, NEW_TOKENS, TOKEN_STEP, Mode, from_array
from tests.oracle.test_circuit_tracer import CaseTokenizer
from tests.oracle.transcoder_case import Case, write_dictionary

REFERENCES = Path(__file__).parent / "references"
CASES = {case.name: case for case in (*tiny_case.CASES, *starter_case.CASES)}


@cache
def reference(name: str) -> dict[str, np.ndarray]:
    with np.load(REFERENCES / f"interventions-{name}.npz", allow_pickle=False) as arrays:
        return {key: arrays[key] for key in arrays.files}


@pytest.fixture(scope="module")
def opened(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Case], Any]:
    """The model and the features of a case, each opened once."""

    @cache
    def open_case(case: Case) -> Any:
        folder = tmp_path_factory.mktemp(case.name)
        write_dictionary(case, folder)
        if case in starter_case.CASES:
            model: Any = request.getfixturevalue("smollm")
        else:
            hf = tiny_case.hf_model(case.family)
            model = TinyModel(hf, weights_of(hf), case.name, CaseTokenizer())
        return model, load_features(folder, model, trust=True)

    return open_case


def changes_of(theirs: dict[str, np.ndarray]) -> list[Change]:
    return [
        Change(
            "feature",
            row.layer,
            row.position,
            row.feature,
            "set",
            row.value,
            last=None if row.last < 0 else row.last,
            onward=row.last < 0,
        )
        for row in from_array(theirs["rows"])
    ]


def settings_of(mode: Mode, n_layers: int) -> Settings:
    layers = mode.range_of(n_layers)
    if layers is not None:
        return Settings("constrained", layers=(layers.start, layers.stop - 1))
    return Settings("iterative", "frozen" if mode.freeze_attention else "live")


def ids_of(case: Case) -> tuple[int, ...]:
    return starter_case.TOKENS if case in starter_case.CASES else tiny_case.PROMPT


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.name)
@pytest.mark.parametrize("name", CASES)
def test_interventions_are_circuit_tracers(opened: Callable[[Case], Any], name: str, mode: Mode) -> None:
    case, theirs = CASES[name], reference(name)
    model, features = opened(case)
    token_step, feature_step = (TOKEN_STEP, FEATURE_STEP) if case in starter_case.CASES else (1, 1)
    ids = ids_of(case)
    recording = record(model.weights, ids, first_position=1)
    asked = range(0, case.n_features, feature_step)
    watched = [Watched(layer, len(ids) - 1, one) for layer in range(case.n_layers) for one in asked]
    settings = settings_of(mode, case.n_layers)
    found = intervene(model, recording, features, [changes_of(theirs)], settings, watched=watched)
    expected, clean = theirs[f"{mode.name}-logits"], theirs["clean"]
    moved = np.abs(expected - clean).max()
    assert moved > 0.05
    assert np.abs(found.logits[0, 0, ::token_step] - expected).max() < 1e-4 * max(moved, 1)
    for ours, key in ((found.linear, "linear"), (found.activation, "activations")):
        answers = theirs[f"{mode.name}-{key}"]
        assert np.abs(ours[0].reshape(answers.shape) - answers).max() < 1e-4 * max(np.abs(answers).max(), 1)


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.name)
@pytest.mark.parametrize("name", CASES)
def test_continuations_are_circuit_tracers(opened: Callable[[Case], Any], name: str, mode: Mode) -> None:
    case, theirs = CASES[name], reference(name)
    model, features = opened(case)
    recording = record(model.weights, ids_of(case), first_position=1)
    settings, changes = settings_of(mode, case.n_layers), changes_of(theirs)
    (found,) = continue_changed(
        model, recording, features, changes, settings, max_new_tokens=NEW_TOKENS, keep_logits=True
    )
    assert [token.id for token in found.tokens] == theirs[f"{mode.name}-generated"].tolist()
    step = TOKEN_STEP if case in starter_case.CASES else 1
    expected = theirs[f"{mode.name}-generated-logits"]
    assert np.abs(found.logits[:, ::step] - expected).max() < 1e-4 * np.abs(expected).max()
