"""Which tokens a feature raises and lowers directly: its decoder vector read through the unembedding (logit lens)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from engine.evidence.decoders import decoder_vectors
from engine.evidence.effects import LogitEffects

if TYPE_CHECKING:
    from engine.dictionaries.features import Features
    from engine.models.language_model import LanguageModel


def logit_effects(
    model: LanguageModel, features: Features, layer: int, feature: int, k: int = 10, *, activation: float = 1.0
) -> LogitEffects:
    """The k tokens that a feature pushes up most, and the k it pushes down most.

    The feature's decoder vector times `activation`, through the post-norm's and the final norm's gains (their
    denominators, which depend on the prompt, left out) and the unembedding, against the mean logit.
    """
    weights = model.weights
    with torch.no_grad():
        vector = decoder_vectors(model, features, layer, [feature])[0] * activation
        norm = weights.final_norm
        if norm.centred:
            vector = vector - vector.mean()
        read = (vector * norm.gain.to(vector.dtype))[None]
        effects = (read @ weights.unembed.to(vector.dtype).T)[0] - (read @ weights.unembed_mean.to(vector.dtype))[0]
        high, low = effects.topk(k), (-effects).topk(k)
    text = model.tokenizer.token_text
    return LogitEffects(
        top=tuple((text(int(i)), float(v)) for i, v in zip(high.indices, high.values, strict=True)),
        bottom=tuple((text(int(i)), -float(v)) for i, v in zip(low.indices, low.values, strict=True)),
    )
