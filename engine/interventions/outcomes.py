"""What the model says after a change, beside what it said before: probability, logit, rank, KL over the vocabulary."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[np.float64]


@dataclass(frozen=True)
class TokenOutcome:
    """One token before and after. Ranks count from 0: how many tokens are likelier."""

    token: int
    logit_before: float
    logit: float
    probability_before: float
    probability: float
    rank_before: int
    rank: int


def kl_divergence(before: Tensor, after: Tensor) -> Array:
    """(n,) KL(before || after) in nats over the whole vocabulary, for logits (V,) and (n, V)."""
    found = np.empty(len(after))
    p = torch.log_softmax(before.double(), dim=-1)
    weight = p.exp()
    # One row at a time: hundreds of rows of a large vocabulary in float64 are gigabytes.
    for row, logits in enumerate(after):
        found[row] = float((weight * (p - torch.log_softmax(logits.double(), dim=-1))).sum().clamp_min(0))
    return found


def token_probabilities(logits: Tensor, tokens: list[int]) -> Array:
    """(n, k) probabilities of some tokens, for logits (n, V)."""
    rows = [torch.softmax(row.double(), dim=-1)[tokens] for row in logits]
    return torch.stack(rows).cpu().numpy() if rows else np.empty((0, len(tokens)))


def ranks_of(logits: Tensor, tokens: list[int]) -> NDArray[np.int64]:
    """(n, k) how many tokens are likelier than each of these, for logits (n, V)."""
    found = [(row[None, :] > row[tokens][:, None]).sum(-1) for row in logits]
    return torch.stack(found).cpu().numpy() if found else np.empty((0, len(tokens)), dtype=np.int64)


def token_outcomes(before: Tensor, after: Tensor, tokens: list[int]) -> list[TokenOutcome]:
    """Each token before (V,) and after (V,) a change."""
    both = torch.stack([before, after])
    share, rank = token_probabilities(both, tokens), ranks_of(both, tokens)
    return [
        TokenOutcome(
            token,
            float(before[token]),
            float(after[token]),
            float(share[0, at]),
            float(share[1, at]),
            int(rank[0, at]),
            int(rank[1, at]),
        )
        for at, token in enumerate(tokens)
    ]
