"""Which tokens a feature raises and lowers directly: its decoder vector read through the unembedding (logit lens)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from engine.dictionaries.matrices import take_rows
from engine.dictionaries.transcoder_set import TranscoderFeatures
from engine.errors import RequestError
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
        vector = _decoder_vector(model, features, layer, feature) * activation
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


def _decoder_vector(model: LanguageModel, features: Features, layer: int, feature: int) -> Tensor:
    """(d,) what a unit of the feature writes into the residual stream, norm denominators left out."""
    if not 0 <= layer < model.weights.n_layers:
        raise RequestError(f"There is no layer {layer}; the model's layers are 0 to {model.weights.n_layers - 1}.")
    here = model.weights.layers[layer]
    if isinstance(features, TranscoderFeatures):
        transcoder = features.transcoders[layer]
        if transcoder is None or not 0 <= feature < transcoder.width:
            raise RequestError(f"Layer {layer} has no feature {feature} in this dictionary.")
        written = take_rows(transcoder.w_dec, torch.tensor([feature]))[0]  # (d,) or (layers written, d)
        inside = transcoder.writes == "mlp_output"
        vectors = written if written.ndim == 2 else written[None]
    else:
        if not 0 <= feature < here.mlp.width:
            raise RequestError(f"Layer {layer} has no neuron {feature}; it has 0 to {here.mlp.width - 1}.")
        vectors, inside = here.mlp.w_down[:, feature][None], True
    total = torch.zeros_like(vectors[0], dtype=torch.promote_types(vectors.dtype, torch.float32))
    for vector, at in zip(vectors, model.weights.layers[layer:], strict=False):
        post = at.mlp_post_norm if inside else None
        total = total + (vector if post is None else vector * post.gain.to(vector.dtype))
    return total
