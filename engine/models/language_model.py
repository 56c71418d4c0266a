"""A language model that is loaded and ready to be asked and traced."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from engine.errors import RequestError
from engine.models import generation
from engine.models.recording_cache import RecordingCache
from engine.models.tokens import GeneratedToken, ModelTokenizer, TokenProbability
from engine.models.weights import ModelWeights
from engine.progress import Progress, silent


class LanguageModel:
    """A model's weights, its tokenizer, and where it came from.

    Parameters
    ----------
    weights:
        The weights by role, which the forward pass runs and the tracer reads. They take no gradient.
    name, source:
        What the user sees, and what `load_model` was given.
    fingerprint:
        sha256 over weights, config and tokenizer.

    `recordings` keeps the last prompts that were recorded with these weights, in their format.
    """

    def __init__(
        self, weights: ModelWeights, tokenizer: ModelTokenizer, *, name: str, source: str, fingerprint: str
    ) -> None:
        self.weights = weights
        self.tokenizer = tokenizer
        self.name = name
        self.source = source
        self.fingerprint = fingerprint
        self.recordings = RecordingCache()

    def __repr__(self) -> str:
        return f"LanguageModel({self.name!r}, {self.dtype}, {self.device})"

    @property
    def device(self) -> torch.device:
        """Where the weights lie."""
        return self.weights.device

    @property
    def dtype(self) -> torch.dtype:
        """The format the model computes in."""
        return self.weights.dtype

    @property
    def context(self) -> int:
        """The most tokens that the model can read."""
        return self.weights.context

    def next_token_logits(self, ids: Sequence[int]) -> NDArray[np.float32]:
        """Logits (V,) float32 after the last of `ids`."""
        self._check(ids)
        return generation.last_logits(self.weights, ids)

    def top_tokens(self, ids: Sequence[int], k: int) -> list[TokenProbability]:
        """The `k` likeliest next tokens, likeliest first."""
        shares = generation.probabilities(self.next_token_logits(ids))
        k = min(max(k, 0), shares.shape[0])
        best = np.argsort(-shares, kind="stable")[:k]
        return [TokenProbability(int(i), self.tokenizer.token_text(int(i)), float(shares[i])) for i in best]

    def generate(
        self,
        ids: Sequence[int],
        max_new_tokens: int,
        *,
        progress: Progress = silent,
        cancel: threading.Event | None = None,
        on_token: Callable[[GeneratedToken], None] | None = None,
    ) -> list[GeneratedToken]:
        """Continue `ids` greedily, at most `max_new_tokens`; an end-of-sequence token ends it and is included.

        Raises
        ------
        Cancelled
            Within one layer of being told to stop; `on_token` has given the tokens found until then.
        """
        self._check(ids)
        return generation.generate(
            self.weights,
            self.tokenizer,
            ids,
            max_new_tokens,
            progress=progress,
            cancel=cancel,
            on_token=on_token,
        )

    def _check(self, ids: Sequence[int]) -> None:
        if not ids:
            raise RequestError("The prompt is empty; type some text.")
        if len(ids) > self.context:
            raise RequestError(
                f"The prompt has {len(ids):,} tokens and {self.name} reads at most {self.context:,}; shorten it."
            )
        largest, smallest = max(ids), min(ids)
        if smallest < 0 or largest >= self.tokenizer.vocab_size:
            wrong = smallest if smallest < 0 else largest
            raise RequestError(
                f"{self.name} has no token {wrong}; its ids go from 0 to {self.tokenizer.vocab_size - 1}."
            )
