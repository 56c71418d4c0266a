"""A contraction equals the edges laid out one by one, whatever the kind of dictionary and the cut of positions."""

from __future__ import annotations

import pytest
import torch

from engine.dictionaries import neurons
from engine.models.recording import record
from tests.engine.tracing.tiny_models import FAMILIES, KINDS, features_of, tiny_model

PROMPT = [0, 5, 9, 3, 17]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if not kind.startswith("cross")])
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("n_positions", [1, 3, 5])
def test_sums_and_picks_are_those_of_the_edges(
    family: str, kind: str, n_positions: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(neurons, "CACHED_ROWS", 8)  # two positions at a time
    model = tiny_model(family)
    recording = record(model.weights, PROMPT, first_position=1)
    gradient = torch.randn(n_positions, 4, 24, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for layer in features_of(family, kind).read(recording):
        edges = layer.edges(gradient.clone())
        assert edges.shape == (4, int((layer.position < n_positions).sum()))
        pick = torch.arange(edges.shape[1])[::3]
        found = layer.contract(gradient.clone(), pick)
        assert torch.allclose(found.picked, edges[:, pick], rtol=1e-12, atol=1e-14)
        assert torch.allclose(found.signed, edges.sum(-1), rtol=1e-9, atol=1e-12)
        assert torch.allclose(found.absolute, edges.abs().sum(-1), rtol=1e-9)
