"""Which tokens a feature raises and lowers directly: its decoder vector read through the unembedding (logit lens)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

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
    with torch.no_grad():
        vector = decoder_vectors(model, features, layer, [feature])[0] * activation
        effects = logit_changes(model, vector[None])[0]
        high, low = effects.topk(k), (-effects).topk(k)
    text = model.tokenizer.token_text
    return LogitEffects(
        top=tuple((text(int(i)), float(v)) for i, v in zip(high.indices, high.values, strict=True)),
        bottom=tuple((text(int(i)), -float(v)) for i, v in zip(low.indices, low.values, strict=True)),
    )


def logit_changes(model: LanguageModel, vectors: Tensor) -> Tensor:
    """(n, V) change of every logit against their mean, for vectors (n, d) written into the residual stream."""
    weights, read = model.weights, _read(model, vectors)
    return read @ weights.unembed.to(vectors.dtype).T - (read @ weights.unembed_mean.to(vectors.dtype))[:, None]


def raised_tokens(model: LanguageModel, vectors: Tensor, count: int, known: int, sides: int = 1) -> list[Tensor]:
    """(n, count) of the first `known` tokens that vectors (n, d) raise most, in order; with two sides lowered ones too.

    Many are found by the product in the model's own number format, which may be three times as fast, and put in order
    by float32.
    """
    read, unembed = _read(model, vectors), model.weights.unembed
    changes = functional.linear(read.to(unembed.dtype), unembed)[:, :known]
    found = []
    for side in range(sides):
        some = changes.topk(min(2 * count + 12, known), dim=1, largest=side == 0).indices  # (n, m)
        exact = torch.einsum("nmd,nd->nm", unembed[some].to(read.dtype), read)
        order = exact.topk(min(count, known), dim=1, largest=side == 0).indices
        found.append(some.gather(1, order))
    return found


def _read(model: LanguageModel, vectors: Tensor) -> Tensor:
    """Vectors (n, d) as the unembedding reads them, without the final norm's denominator."""
    norm = model.weights.final_norm
    if norm.centred:
        vectors = vectors - vectors.mean(-1, keepdim=True)
    return vectors * norm.gain.to(vectors.dtype)
