"""Oracle: batched changed runs are transformers' own forward pass with hooks, float64, every family and dictionary."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from engine.interventions import Change, Settings, Watched, intervene
from engine.interventions.plan import random_direction
from engine.models.recording import Recording, record
from tests.engine.interventions.hooked_run import Added, Asked, FeatureValue, HeadValue, HookedRun, Seen
from tests.engine.tracing.tiny_models import FAMILIES, KINDS, TinyModel, features_of, tiny_model

IDS = (0, 5, 9, 3, 17, 22)
SETTINGS = (
    Settings("constrained"),
    Settings("constrained", layers=(0, 1)),
    Settings("constrained", "live", layers=(1, 2)),
    Settings("constrained", layers=(0, 2)),
    Settings("iterative"),
    Settings("iterative", "live"),
    Settings("direct"),
)


def recorded(model: TinyModel) -> Recording:
    return record(model.weights, IDS, first_position=1)


def sets_for(family: str, kind: str, baseline: HookedRun) -> list[tuple[Change, ...]]:
    """Sets that begin at different layers and positions, of every kind of change that the dictionary has."""
    features = [layer for layer in range(3) if kind == "neurons" or baseline.transcoder(layer) is not None]
    # The strongest feature of a position, so that a multiple of it is no change of nothing.
    places = [(layer, position) for layer in features for position in (2, 4)]
    strongest = {
        (layer, position): int(baseline.activations(layer, baseline.seen)[position].abs().argmax())
        for layer, position in places
    }
    low, top = features[0], features[-1]
    sets = [
        (Change("feature", low, 2, strongest[low, 2], "scale", -2.0),),
        (Change("feature", low, 4, strongest[low, 4], "ablate"), Change("feature", top, 4, 3, "set", 1.5)),
        (Change("feature", top, 4, strongest[top, 4], "flip"),),
        (),
        tuple(Change("feature", layer, 2, strongest[layer, 2], "scale", 3.0) for layer in features),
        (Change("feature", low, 3, 7, "set", 0.8, last=4), Change("head", 1, 3, 2, "scale", 2.0)),
        (Change("head", 0, 4, 1, "ablate", onward=True),),
        # Heads that read what a change below has moved: held MLPs add to what they put out, else it is replaced.
        (
            Change("feature", low, 2, strongest[low, 2], "scale", 4.0),
            *(Change("head", 2, 4, head, "scale", 2.0) for head in range(3)),
        ),
        (Change("embedding", 0, 3, how="scale", value=1.5),),
        (Change("random", low, 3, 11, "set", 0.7),),
    ]
    if kind != "neurons":
        sets.append((Change("error", low, 4, how="ablate"), Change("feature", low, 2, strongest[low, 2], "ablate")))
    return sets


def asked(
    model: TinyModel, changes: tuple[Change, ...], settings: Settings, base: HookedRun, errors: dict[int, Any]
) -> Asked:
    """The same set in the words of the hooks."""
    features, added, heads = [], [], []
    for change in changes:
        for position in change.positions(len(IDS)):
            multiple = change.multiple
            if change.kind == "feature":
                own = float(base.activations(change.layer, base.seen)[position, change.index])
                value = change.value if multiple is None else multiple * own
                features.append(FeatureValue(change.layer, position, change.index, value))
            elif change.kind == "head":
                assert multiple is not None
                own_head = base.seen.heads[change.layer][position, change.index]
                heads.append(HeadValue(change.layer, position, change.index, multiple * own_head))
            elif change.kind == "random":
                vector = random_direction(change.index, base.seen.embedding[0]) * change.value
                added.append(Added(change.layer, position, vector))
            else:
                assert multiple is not None
                embedding = base.seen.embedding[position]
                if hasattr(model.hf, "transformer"):
                    embedding = embedding - model.hf.transformer.wpe.weight[position]
                own_vector = embedding if change.kind == "embedding" else errors[change.layer][position]
                layer = -1 if change.kind == "embedding" else change.layer
                added.append(Added(layer, position, (multiple - 1) * own_vector))
    layers = {"direct": range(3), "iterative": range(0)}.get(settings.mode)
    if layers is None and settings.layers is not None:
        layers = range(settings.layers[0], settings.layers[1] + 1)
    elif layers is None:
        touched = [change.layer for change in changes if change.kind != "embedding"]
        layers = range(min(touched), max(touched) + 1) if touched else range(0)
    norms = settings.mode == "direct" or (settings.layers == (0, 2) and settings.attention == "frozen")
    return Asked(features, added, heads, settings.attention == "frozen", norms, layers, settings.mode == "iterative")


def within(changes: tuple[Change, ...], settings: Settings) -> bool:
    """Whether all of a set is written within the range: what is not is refused, which is tested elsewhere."""
    if settings.layers is None:
        return True
    free = ("embedding", "head")
    return all(one.kind in free or settings.layers[0] <= one.layer <= settings.layers[1] for one in changes)


# Every family, and every kind of dictionary where there is a post-norm and where there is none.
CASES = sorted(
    {(family, kind) for family in FAMILIES for kind in ("neurons", "cross-layer-skip-before-post-norm")}
    | {(family, kind) for family in ("llama", "gemma2") for kind in KINDS}
)


@pytest.mark.parametrize(("family", "kind"), CASES)
def test_changed_runs_are_those_of_hooks(family: str, kind: str) -> None:
    model, features = tiny_model(family), features_of(family, kind)
    recording = recorded(model)
    layers = features.read(recording)
    errors = {number: layer.error for number, layer in enumerate(layers)}
    base = HookedRun(model, features, Asked(), None, 1)
    base.run(IDS)
    watched = [Watched(layer, position, 5) for layer in range(3) for position in (1, 4, 5)]
    watched = [one for one in watched if kind == "neurons" or base.transcoder(one.layer) is not None]
    watched += [replace(one, divided=True) for one in watched]
    everything = sets_for(family, kind, base)
    moved = 0.0
    # A range, all held, and nothing held for every family; all settings where every kind of dictionary is tried.
    for settings in SETTINGS if family in ("llama", "gemma2") else SETTINGS[1::2]:
        sets = [changes for changes in everything if within(changes, settings)]
        found = intervene(model, recording, features, sets, settings, positions=[2, -1], watched=watched)  # type: ignore[arg-type]
        for number, changes in enumerate(sets):
            hooked = HookedRun(model, features, asked(model, changes, settings, base, errors), base.seen, 1)
            seen = hooked.run(IDS)
            expected = seen.logits[[2, 5]].numpy()
            assert np.allclose(found.logits[number], expected, rtol=1e-5, atol=1e-5), (settings, changes)
            linear, activation = answers(hooked, seen, watched)
            assert np.allclose(found.linear[number], linear, rtol=1e-9, atol=1e-9), (settings, changes)
            assert np.allclose(found.activation[number], activation, rtol=1e-9, atol=1e-9), (settings, changes)
            moved = max(moved, float(np.abs(expected - base.seen.logits[[2, 5]].numpy()).max()))
    assert moved > 0.1


def answers(hooked: HookedRun, seen: Seen, watched: list[Watched]) -> tuple[list[float], list[float]]:
    linear = [
        float((hooked.divided if one.divided else hooked.linear)(one.layer, seen)[one.position, one.feature])
        for one in watched
    ]
    active = [float(hooked.activations(one.layer, seen)[one.position, one.feature]) for one in watched]
    return linear, active
