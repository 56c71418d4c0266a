"""Which dictionary an index belongs to, told by content: the same words that projects keep beside a label."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.dictionaries.features import Features
    from engine.models.language_model import LanguageModel


def identity_of(model: LanguageModel, features: Features) -> str:
    """The dictionary's content hash; neurons are the model's own and go by its."""
    from engine.projects.feature_labels import dictionary_identity

    report = {
        "features": {"kind": features.kind, "fingerprint": features.fingerprint},
        "model": {"fingerprint": model.fingerprint},
    }
    found = dictionary_identity(report)
    assert found is not None
    return found
