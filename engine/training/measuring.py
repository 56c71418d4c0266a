"""What a training is judged by, on text that was held out: FVU, L0 and dead share of each layer, CE recovered."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from engine.dictionaries.matrices import in_memory
from engine.dictionaries.transcoders import Transcoder
from engine.models.weights import ModelWeights
from engine.progress import checkpoint
from engine.training.activations import ActivationBuffer
from engine.training.splicing import SetWriter, cross_entropy, nothing
from engine.training.text import Pieces

# What is measured after each round: FVU, L0 and dead share a layer, CE recovered, and where the training stands.
Measured = dict[str, Any]
# Tokens that cross-entropies are measured on, and positions that layers are while training goes on; the card's FVU is
# measured on all that is held out.
CE_TOKENS, ROUND_POSITIONS = 1500, 2048


@dataclass(frozen=True)
class Baseline:
    """Cross-entropies of the model itself and of the model without any MLP, in nats."""

    pieces: Pieces
    clean: float
    zero: float

    def recovered(self, spliced: float) -> float:
        """CE recovered."""
        return share_recovered(self.clean, self.zero, spliced)


def share_recovered(clean: float, zero: float, spliced: float) -> float:
    """(zero - spliced) / (zero - clean); 0 where removing changes nothing. Says little where removing helps."""
    return 0.0 if abs(zero - clean) < 1e-12 else (zero - spliced) / (zero - clean)


def baseline(weights: ModelWeights, held_out: Pieces, cancel: threading.Event | None) -> Baseline:
    """Measure both on a part of the held-out pieces."""
    count = int(((held_out.length - held_out.first).cumsum(0) < CE_TOKENS).sum()) + 1
    pieces = held_out.take(slice(0, count))
    clean = cross_entropy(weights, pieces, cancel=cancel)
    return Baseline(pieces, clean, cross_entropy(weights, pieces, nothing, cancel=cancel))


def recovered(
    weights: ModelWeights, transcoders: Sequence[Transcoder], base: Baseline, cancel: threading.Event | None
) -> float:
    """CE recovered with every MLP replaced at once."""
    return base.recovered(cross_entropy(weights, base.pieces, SetWriter(transcoders), cancel=cancel))


def fvu(y: Tensor, made: Tensor) -> float:
    """Sum |y - made|^2 / sum |y - mean y|^2 over positions, (T, d) each."""
    return float((y - made).pow(2).sum() / (y - y.mean(0)).pow(2).sum().clamp_min(1e-30))


def unexplained(
    transcoders: Sequence[Transcoder],
    recorded: ActivationBuffer,
    cancel: threading.Event | None,
    most: int | None = None,
) -> tuple[list[float], list[float]]:
    """FVU and mean L0 of each layer over recorded positions, at most so many; each reads the model's own inputs."""
    some = slice(0, recorded.filled if most is None else min(most, recorded.filled))
    values, active = [], []
    kept: dict[int, Tensor] = {}
    for layer, here in enumerate(transcoders):
        checkpoint(cancel)
        x, y = (one.float() for one in recorded.rows(layer, some))
        acts = here.activations(x)
        active.append(float((acts > 0).sum(-1).float().mean()))
        kept[layer] = acts
        made = here.b_dec.to(x.dtype) + (0 if here.w_skip is None else x @ here.w_skip.to(x.dtype).T)
        for source, held in list(kept.items()):
            decoder = in_memory(transcoders[source].w_dec).to(x.dtype)
            if layer < source + transcoders[source].layers_written:
                made = made + held @ (decoder if decoder.ndim == 2 else decoder[:, layer - source])
            else:
                del kept[source]
        values.append(fvu(y, torch.as_tensor(made)))
    return values, active
