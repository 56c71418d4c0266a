"""What a feature does on a text that a person types: the model is run no further than the feature's layer."""

from __future__ import annotations

import math
import threading
from typing import TYPE_CHECKING

import torch

from engine.errors import RequestError
from engine.evidence.activations import ActivationReader
from engine.evidence.pages import Example
from engine.models.forward import embed, run_block
from engine.models.prompt import Prompt
from engine.progress import checkpoint

if TYPE_CHECKING:
    from engine.dictionaries.features import Features
    from engine.models.language_model import LanguageModel

MOST_TOKENS = 512


def try_text(
    model: LanguageModel,
    features: Features,
    layer: int,
    feature: int,
    text: str,
    cancel: threading.Event | None = None,
) -> Example:
    """The tokens of a text, BOS in front, and the feature's activation at each; none is kept of the first token.

    Raises `RequestError` for an empty text, one of more than `MOST_TOKENS` tokens, and a feature that is not there.
    """
    ids = model.tokenizer.encode(Prompt(text))
    if len(ids) > MOST_TOKENS:
        raise RequestError(f"The text has {len(ids):,} tokens; try at most {MOST_TOKENS}.")
    reader = ActivationReader(features, model.weights)
    if not 0 <= layer < model.weights.n_layers or not 0 <= feature < reader.width(layer):
        raise RequestError(f"There is no feature {feature} of layer {layer}; choose one of the graph.")
    with torch.no_grad():
        x = embed(model.weights, torch.tensor([ids], device=model.weights.device))
        for number, block in enumerate(model.weights.layers[: layer + 1]):
            checkpoint(cancel)
            values = run_block(block, x, cancel=cancel)
            if number == layer:
                found = torch.cat([one for _, one in reader.read(layer, values)])[0, :, feature].tolist()
            x = values.post
    # The first token holds whatever the model parks there; of a special one nothing is shown.
    found[0] = math.nan if model.tokenizer.is_special(ids[0]) else found[0]
    known = [0.0 if math.isnan(one) else abs(one) for one in found]
    peak = max(range(len(known)), key=known.__getitem__)
    value = 0.0 if math.isnan(found[peak]) else found[peak]
    return Example("Own text", tuple(model.tokenizer.texts(ids)), tuple(found), peak, value)
