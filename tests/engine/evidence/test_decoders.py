"""Directions of features: one by one as the logit lens reads them, and of a whole graph in its order."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from engine.dictionaries.transcoder_set import TranscoderFeatures
from engine.errors import Cancelled, RequestError
from engine.evidence import decoder_vectors, unit_decoders
from tests.engine.tracing.tiny_models import FAMILIES, down_rows, features_of, tiny_model


@pytest.mark.parametrize("kind", ["neurons", "relu"])
@pytest.mark.parametrize("family", FAMILIES)
def test_directions_equal_the_modules_own_rows(family: str, kind: str) -> None:
    model, features = tiny_model(family), features_of(family, kind)
    offset = 1 if family.startswith("gemma") else 0
    layer, feature = np.array([1, 0, 1, 0], np.int32), np.array([7, 2, 3, 2], np.int32)
    found = unit_decoders(model, features, layer, feature)  # type: ignore[arg-type]
    for row, (at, number) in enumerate(zip(layer.tolist(), feature.tolist(), strict=True)):
        block = model.blocks[at]
        if isinstance(features, TranscoderFeatures):
            transcoder = features.transcoders[at]
            assert transcoder is not None
            vector = transcoder.w_dec[number]
        else:
            vector = down_rows(block.mlp)[number]
            if model.places.branch_end != "mlp":
                vector = vector * (offset + model.places.in_block(block, "branch_end").weight)
        unit = torch.nn.functional.normalize(vector.detach().double(), dim=0).numpy()
        assert np.allclose(found[row], unit, atol=1e-6)


def test_a_cross_layer_feature_is_the_sum_of_what_it_writes() -> None:
    model, features = tiny_model("llama"), features_of("llama", "cross-layer")
    assert isinstance(features, TranscoderFeatures)
    first = features.transcoders[0]
    assert first is not None
    assert first.w_dec.ndim == 3
    found = decoder_vectors(model, features, 0, [4, 1])  # type: ignore[arg-type]
    assert torch.allclose(found, first.w_dec[[4, 1]].sum(dim=1).to(found.dtype))


def test_what_is_not_there_is_refused_and_reading_can_be_stopped() -> None:
    import threading

    model, features = tiny_model("llama"), features_of("llama", "neurons")
    with pytest.raises(RequestError, match="no neuron 1000000"):
        decoder_vectors(model, features, 0, [0, 10**6])  # type: ignore[arg-type]
    with pytest.raises(RequestError, match="no layer 9"):
        decoder_vectors(model, features, 9, [0])  # type: ignore[arg-type]
    stop = threading.Event()
    stop.set()
    numbers = np.zeros(1, np.int32)
    with pytest.raises(Cancelled):
        unit_decoders(model, features, numbers, numbers, cancel=stop)  # type: ignore[arg-type]
