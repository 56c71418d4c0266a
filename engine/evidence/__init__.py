"""What a feature means: what it writes does to the output, where it is active in a corpus, and labels from both."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from engine.evidence.effects import LogitEffects
from engine.evidence.index_settings import IndexSettings
from engine.evidence.pages import Example, FeaturePage, Label, Near, Side

if TYPE_CHECKING:
    from engine.evidence.corpus import Corpus, read_texts, shipped_texts
    from engine.evidence.decoders import decoder_vectors, unit_decoders
    from engine.evidence.feature_index import FeatureIndex
    from engine.evidence.indexing import build_index
    from engine.evidence.labellers import Labeller, label_features, label_with
    from engine.evidence.logit_lens import logit_effects
    from engine.evidence.model_labeller import ModelLabeller
    from engine.evidence.own_text import try_text

# What needs torch is loaded only when it is asked for.
_WHERE = {
    "Corpus": "corpus",
    "FeatureIndex": "feature_index",
    "Labeller": "labellers",
    "ModelLabeller": "model_labeller",
    "build_index": "indexing",
    "decoder_vectors": "decoders",
    "label_features": "labellers",
    "label_with": "labellers",
    "logit_effects": "logit_lens",
    "read_texts": "corpus",
    "shipped_texts": "corpus",
    "try_text": "own_text",
    "unit_decoders": "decoders",
}

__all__ = [
    "Corpus",
    "Example",
    "FeatureIndex",
    "FeaturePage",
    "IndexSettings",
    "Label",
    "Labeller",
    "LogitEffects",
    "ModelLabeller",
    "Near",
    "Side",
    "build_index",
    "decoder_vectors",
    "label_features",
    "label_with",
    "logit_effects",
    "read_texts",
    "shipped_texts",
    "try_text",
    "unit_decoders",
]


def __getattr__(name: str) -> object:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)
