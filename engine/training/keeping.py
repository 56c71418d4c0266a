"""Fewer features than were trained: those that write most stay, and what the others wrote on average is kept.

So a set can be made smaller after it was trained, without training a narrower one anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from engine.dictionaries.matrices import in_memory
from engine.dictionaries.transcoders import Transcoder
from engine.training.activations import ActivationBuffer

# Recorded positions that features are ranked by.
RANKED_BY = 8192


def strongest(transcoders: Sequence[Transcoder], recorded: ActivationBuffer, keep: int) -> list[Transcoder]:
    """Each per-layer transcoder with the `keep` features alone that write most over recorded positions.

    Ranked by the sum of their squared activations times the squared length of their decoder row; the mean of what the
    others write goes to the bias. Their order stays.
    """
    found = []
    with torch.no_grad():
        for layer, one in enumerate(transcoders):
            x, _ = recorded.rows(layer, slice(0, min(recorded.filled, RANKED_BY)))
            acts, decoder = one.activations(x.float()), in_memory(one.w_dec)
            written = acts.pow(2).sum(0) * decoder.pow(2).sum(-1)
            order = written.argsort(descending=True, stable=True)
            kept, left = order[:keep].sort().values, order[keep:]
            found.append(
                replace(
                    one,
                    w_enc=in_memory(one.w_enc)[kept],
                    b_enc=one.b_enc[kept],
                    w_dec=decoder[kept],
                    b_dec=one.b_dec + acts[:, left].mean(0) @ decoder[left],
                    threshold=None if one.threshold is None else one.threshold[kept],
                )
            )
    return found
