"""The active features of a recording, kept as long as the recording is: the next target of a prompt finds them read."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from weakref import WeakKeyDictionary

from engine.dictionaries.features import Features, LayerFeatures
from engine.models.recording import Recording
from engine.progress import Progress

# By recording, the last dictionary it was read with. A recording stands for its prompt and model.
_kept: WeakKeyDictionary[Recording, tuple[Features, Sequence[LayerFeatures]]] = WeakKeyDictionary()


def read_features(
    features: Features, recording: Recording, progress: Progress, cancel: threading.Event | None, *, keep: bool
) -> Sequence[LayerFeatures]:
    """As `features.read`. With `keep`, what was read of the same recording with the same dictionary is given again.

    Cross-layer features are never kept: they hold what they write at every layer, which may be gigabytes.
    """
    known = _kept.get(recording) if keep else None
    if known is not None and known[0] is features:
        return known[1]
    layers = features.read(recording, progress, cancel)
    if keep and all(len(layer.write_layers) == 1 for layer in layers):
        _kept[recording] = (features, layers)
    return layers
