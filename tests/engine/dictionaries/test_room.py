"""A prompt whose active features would not fit into memory is refused before their rows are taken."""

from __future__ import annotations

import pytest

from engine.dictionaries import transcoder_set
from engine.dictionaries.transcoder_set import TranscoderFeatures
from engine.errors import MachineError
from engine.models.recording import record
from tests.engine.tracing.tiny_models import features_of, tiny_model

PROMPT = [0, 5, 9, 3, 17]


@pytest.mark.parametrize("kind", ["relu", "cross-layer"])
def test_rows_that_do_not_fit_are_refused(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, features = tiny_model("llama"), features_of("llama", kind)
    assert isinstance(features, TranscoderFeatures)
    recording = record(model.weights, PROMPT, first_position=1)
    layers = features.read(recording)
    one_layer = [8 * len(layer.position) * model.weights.d_model for layer in layers]
    kept = [size * len(layer.write_layers) for size, layer in zip(one_layer, layers, strict=True)]
    needed = 2 * max(one_layer) + (sum(size for size in kept[:-1]) if kind == "cross-layer" else 0)
    monkeypatch.setattr(transcoder_set, "available_bytes", lambda device: needed)
    assert len(features.read(recording)) == len(layers)
    monkeypatch.setattr(transcoder_set, "available_bytes", lambda device: needed - 1)
    with pytest.raises(MachineError, match=r"features active on this prompt need about .* use a shorter prompt"):
        features.read(recording)
