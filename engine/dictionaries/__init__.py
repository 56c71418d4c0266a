"""Where features come from: the model's own neurons, or transcoders read from files."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING

from engine.errors import RequestError
from engine.progress import Progress, part, silent

if TYPE_CHECKING:
    from engine.dictionaries.features import Features
    from engine.dictionaries.transcoder_set import TranscoderFeatures
    from engine.models.language_model import LanguageModel

__all__ = ["NEURONS", "load_features"]

NEURONS = "neurons"


def load_features(
    source: str | Path | None,
    model: LanguageModel,
    *,
    trust: bool = False,
    progress: Progress = silent,
    cancel: threading.Event | None = None,
) -> Features:
    """Open a dictionary for a model: None or "neurons", or a folder of per-layer transcoders.

    A dictionary that fits the model worse than a constant does is refused with a `RequestError`, unless `trust`.
    """
    if source is None or str(source) == NEURONS:
        from engine.dictionaries.neurons import NeuronFeatures

        return NeuronFeatures(model.weights)
    from engine.dictionaries import circuit_tracer_cross_layer, circuit_tracer_files
    from engine.dictionaries.fidelity import require_fidelity

    path = Path(source).expanduser()
    if not path.exists():
        raise RequestError(f"There is no dictionary at {path}; give 'neurons' or the path of a dictionary's folder.")
    features: TranscoderFeatures
    for layout in (circuit_tracer_files, circuit_tracer_cross_layer):
        if layout.matches(path):
            features = layout.read(path, model.weights, part(progress, 0.0, 0.7), cancel)
            break
    else:
        raise RequestError(
            f"{path} holds no dictionary that is known; circuit-tracer's per-layer folders have layer_0.safetensors "
            "and so on, its cross-layer ones W_enc_0.safetensors and W_dec_0.safetensors."
        )
    if not trust:
        require_fidelity(features, model, part(progress, 0.7, 1.0), cancel)
    progress("Dictionary ready", 1.0)
    return features
