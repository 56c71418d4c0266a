"""Control sets: each draw is checked member by member against the features themselves."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from engine.errors import RequestError
from engine.interventions.controls import ACTIVATION_FACTOR, NEAR_LAYERS, FeaturePools


@dataclass
class SomeFeatures:
    """The three columns of a layer's features that controls read."""

    position: Tensor
    feature: Tensor
    activation: Tensor


def layers(n_layers: int = 6, n_positions: int = 4, width: int = 60) -> list[SomeFeatures]:
    generator = torch.Generator().manual_seed(4)
    found = []
    for _ in range(n_layers):
        position = torch.arange(n_positions).repeat_interleave(width)
        feature = torch.arange(width).repeat(n_positions)
        found.append(SomeFeatures(position, feature, torch.rand(len(position), generator=generator) * 2 - 1))
    return found


def activation(features: list[SomeFeatures], one: tuple[int, int, int]) -> float:
    layer = features[one[0]]
    return float(layer.activation[(layer.position == one[1]) & (layer.feature == one[2])][0])


def test_every_control_is_like_its_member() -> None:
    features = layers()
    members = [(2, 1, 5), (2, 1, 9), (4, 3, 17)]
    drawn = FeaturePools(features).draw(members, 200, seed=1, exclude=[(2, 1, 30)])  # type: ignore[arg-type]
    assert len(drawn.sets) == 200 and drawn.distinct == 200 == len({frozenset(one) for one in drawn.sets})
    for one in drawn.sets:
        assert len(set(one)) == 3
        for member, control, widening in zip(members, one, drawn.widening, strict=True):
            assert control is not None and control not in {*members, (2, 1, 30)}
            ratio = abs(activation(features, control)) / abs(activation(features, member))
            assert 1 / ACTIVATION_FACTOR <= ratio <= ACTIVATION_FACTOR
            assert widening == 0 and control[:2] == member[:2]


def test_the_same_seed_gives_the_same_sets_and_another_one_others() -> None:
    pools = FeaturePools(layers())  # type: ignore[arg-type]
    members = [(2, 1, 5), (3, 1, 9)]
    assert pools.draw(members, 50, seed=7) == pools.draw(members, 50, seed=7)
    assert pools.draw(members, 50, seed=7).sets != pools.draw(members, 50, seed=8).sets


def test_a_pool_that_is_too_small_is_widened_step_by_step_and_says_so() -> None:
    # One feature alone needs as many candidates as controls are asked for, so that they differ.
    features = layers()
    member = (3, 2, 7)
    features[3].activation[(features[3].position == 2) & (features[3].feature == 7)] = 0.9
    pools = FeaturePools(features)  # type: ignore[arg-type]
    by_widening = {pools.draw([member], count).widening[0]: pools.draw([member], count) for count in (4, 16, 70, 5000)}
    assert sorted(by_widening) == [0, 1, 2, 3]
    others = {one[0] for one in by_widening[1].sets}
    assert {one[0] for one in others if one} == {3} and len({one[1] for one in others if one}) > 1
    near = {one[0][0] for one in by_widening[2].sets if one[0]}
    assert near - {3} and max(abs(layer - 3) for layer in near) <= NEAR_LAYERS
    assert by_widening[3].sets == ((None,),) * 5000
    assert "other positions" in by_widening[1].sentence and "random directions" in by_widening[3].sentence
    assert "too few" not in by_widening[0].sentence


def test_the_first_position_is_compared_with_itself_only() -> None:
    features = layers()
    features[3].activation[(features[3].position == 2) & (features[3].feature == 7)] = 0.9
    elsewhere = FeaturePools(features, 1).draw([(3, 2, 7)], 16)  # type: ignore[arg-type]
    assert elsewhere.widening == (1,) and 0 not in {one[0][1] for one in elsewhere.sets if one[0]}


def test_what_is_not_active_is_refused() -> None:
    pools = FeaturePools(layers())  # type: ignore[arg-type]
    with pytest.raises(RequestError, match="not active at position 9"):
        pools.draw([(2, 9, 5)], 10)
    with pytest.raises(RequestError, match="at least one feature"):
        pools.draw([], 10)
