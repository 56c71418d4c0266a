"""Greedy continuation of a prompt, token by token, with a cache of keys and values."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from engine.errors import RequestError
from engine.models.cancellation import cancellable
from engine.models.tokens import GeneratedToken, ModelTokenizer
from engine.progress import Progress, checkpoint, silent


def last_logits(hf: Any, ids: Sequence[int], cache: Any = None) -> NDArray[np.float32]:
    """Run `ids` through the model, after what the cache holds, and give the logits (V,) at the last of them.

    Raises
    ------
    RequestError
        The logits are not numbers: the weights are damaged.
    """
    device = hf.get_input_embeddings().weight.device
    with torch.no_grad(), _flat_input(hf.get_output_embeddings()):
        output = hf(
            input_ids=torch.tensor([list(ids)], device=device),
            past_key_values=cache,
            use_cache=cache is not None,
            logits_to_keep=1,
        )
        logits: NDArray[np.float32] = output.logits.reshape(-1).float().cpu().numpy()
    if not np.isfinite(logits).all():
        raise RequestError("The model's output is not a number, so its weights are damaged; fetch the model again.")
    return logits


@contextlib.contextmanager
def _flat_input(unembedding: torch.nn.Module) -> Iterator[None]:
    """Give the unembedding its one row as (1, d) instead of (1, 1, d).

    In bfloat16 on a processor, torch's linear takes thirty times as long on the left-over strides of a 3-D slice:
    0.75 s instead of 0.02 s for Gemma's 262,144 rows (torch 2.13).
    """

    def flatten(module: torch.nn.Module, args: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor]:
        (hidden,) = args
        return (hidden[0, -1:],)

    handle = unembedding.register_forward_pre_hook(flatten)
    try:
        yield
    finally:
        handle.remove()


def probabilities(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Softmax over the last axis, in float64."""
    shifted = np.exp(logits.astype(np.float64) - float(logits.max()))
    return np.asarray(shifted / shifted.sum())


def generate(
    hf: Any,
    tokenizer: ModelTokenizer,
    ids: Sequence[int],
    max_new_tokens: int,
    *,
    context: int,
    progress: Progress = silent,
    cancel: threading.Event | None = None,
    on_token: Callable[[GeneratedToken], None] | None = None,
) -> list[GeneratedToken]:
    """Continue `ids` greedily until an end-of-sequence token, `max_new_tokens`, or the model's `context` is full.

    The end token is part of the result. `Cancelled` comes within one layer; `on_token` has given what was found.
    """
    from transformers import DynamicCache

    cache, step, found = DynamicCache(config=hf.config), list(ids), list[GeneratedToken]()
    count = min(max_new_tokens, context - len(ids) + 1)  # the last token is never read
    with cancellable(hf, cancel):
        for done in range(count):
            checkpoint(cancel)
            progress("Generating", done / count)
            logits = last_logits(hf, step, cache)
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
