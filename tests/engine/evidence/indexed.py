"""A small index over a random text, and the same figures found by running every context alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from engine.dictionaries.transcoder_set import TranscoderFeatures
from engine.evidence.corpus import Corpus
from engine.evidence.index_settings import IndexSettings, Reach
from engine.models.recording import record
from tests.engine.tracing.tiny_models import features_of, tiny_model

SETTINGS = IndexSettings(
    context=11, batch_tokens=70, reach=Reach(top=6, before=4, after=3), top=4, drawn=4, before=4, after=2, near=3
)


def corpus(seed: int = 0, documents: int = 30) -> Corpus:
    generator = np.random.default_rng(seed)
    lengths = generator.integers(3, 40, documents)
    tokens = generator.integers(2, 40, int(lengths.sum())).astype(np.uint32)
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return Corpus(tokens, starts, "a random text")


def alone(family: str, kind: str, text: Corpus, layer: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """(tokens seen, n) activations of a layer and where in the corpus each token is; every context run by itself."""
    model, features = tiny_model(family), features_of(family, kind)
    rows, places = [], []
    for start, end in text.contexts(SETTINGS.context).tolist():
        recording = record(model.weights, [0, *text.tokens[start:end].tolist()], first_position=0)
        if isinstance(features, TranscoderFeatures):
            found = features.read(recording)[layer]
            dense = torch.zeros(recording.n_positions, 30, dtype=torch.float64)
            dense[found.position, found.feature] = found.activation
        else:
            dense = features.read(recording)[layer].activation.view(recording.n_positions, -1)
        rows.append(dense[2:].numpy())
        places.append(np.arange(start + 1, end))
    return np.concatenate(rows), np.concatenate(places)


def index_path(folder: Path) -> Path:
    return folder / "made.features"
