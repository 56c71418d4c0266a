"""Greedy continuation of a prompt, token by token, with a cache of keys and values."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from engine.errors import RequestError
from engine.models.forward import KeyValueCache, run, unembed
from engine.models.tokens import GeneratedToken, ModelTokenizer
from engine.models.weights import ModelWeights
from engine.progress import Progress, checkpoint, silent


def last_logits(
    weights: ModelWeights,
    ids: Sequence[int],
    cache: KeyValueCache | None = None,
    cancel: threading.Event | None = None,
) -> NDArray[np.float32]:
    """Run `ids` through the model, after what the cache holds, and give the logits (V,) at the last of them.

    Raises
    ------
    RequestError
        The logits are not numbers: the weights are damaged.
    Cancelled
        Within one layer of being told to stop.
    """
    final = run(weights, torch.tensor([list(ids)], device=weights.device), cache=cache, cancel=cancel)
    logits: NDArray[np.float32] = unembed(weights, final[0, -1:])[0].float().cpu().numpy()
    if not np.isfinite(logits).all():
        raise RequestError("The model's output is not a number, so its weights are damaged; fetch the model again.")
    return logits


def probabilities(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Softmax over the last axis, in float64."""
    shifted = np.exp(logits.astype(np.float64) - float(logits.max()))
    return np.asarray(shifted / shifted.sum())


def generate(
    weights: ModelWeights,
    tokenizer: ModelTokenizer,
    ids: Sequence[int],
    max_new_tokens: int,
    *,
    progress: Progress = silent,
    cancel: threading.Event | None = None,
    on_token: Callable[[GeneratedToken], None] | None = None,
) -> list[GeneratedToken]:
    """Continue `ids` greedily until an end-of-sequence token, `max_new_tokens`, or the model's context is full.

    The end token is part of the result. `Cancelled` comes within one layer; `on_token` has given what was found.
    """
    checkpoint(cancel)
    cache, step, found = KeyValueCache(weights.n_layers), list(ids), list[GeneratedToken]()
    count = min(max_new_tokens, weights.context - len(ids) + 1)  # the last token is never read
    for done in range(count):
        checkpoint(cancel)
        progress("Generating", done / count)
        logits = last_logits(weights, step, cache, cancel)
        token_id = int(logits.argmax())
        token = GeneratedToken(token_id, tokenizer.token_text(token_id), float(probabilities(logits)[token_id]))
        found.append(token)
        if on_token is not None:
            on_token(token)
        if token_id in tokenizer.eos_ids:
            break
        step = [token_id]
    progress("Generating", 1.0)
    return found
