"""One linearised backward through everything, MLPs included: every feature's total effect on the targets.

With gates and gate factors held (RelP for neurons), the effect of a source through all later layers is linear in what
it writes, so that one pass for K targets gives the relevance of every source. It ranks candidates for the budget; for
neurons, whose direct edges cancel heavily, it is also the measure that the graph shows and prunes by.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from engine.dictionaries.features import CrossLayerFeatures
from engine.progress import Progress, checkpoint, silent
from engine.tracing.sweep import FrozenModel, contract, gather_units


@dataclass(frozen=True)
class Relevance:
    """Weighted absolute total effects, sum over targets of weight * |effect|.

    `features`: per layer (S,); `error` and `bias`: per layer (T,) or None; `embedding` (T,).
    """

    features: tuple[Tensor, ...]
    error: tuple[Tensor | None, ...]
    bias: tuple[Tensor | None, ...]
    embedding: Tensor
    position_embedding: Tensor | None

    @property
    def total(self) -> float:
        """Sum over all features."""
        return float(sum(layer.sum(dtype=torch.float64) for layer in self.features))


def relevance(
    model: FrozenModel,
    gradient: Tensor,
    weight: Tensor,
    progress: Progress = silent,
    cancel: threading.Event | None = None,
) -> Relevance:
    """Relevance of every source for targets with gradient (T, K, d) after the last MLP and weights (K,)."""

    def weigh(edges: Tensor) -> Tensor:
        return weight.to(edges.dtype) @ edges.abs()

    features: list[Tensor] = []
    error: list[Tensor | None] = []
    bias: list[Tensor | None] = []
    waiting: dict[int, Tensor] = {}
    for layer in range(model.n_layers - 1, -1, -1):
        checkpoint(cancel)
        progress("Ranking features", 1 - (layer + 1) / model.n_layers)
        here, attention_bias = model.features[layer], model.attention_bias[layer]
        gather_units(model, gradient, layer, waiting)
        if layer in waiting:
            cross, units = cast(CrossLayerFeatures, here), waiting.pop(layer)
            features.append(weigh(cross.edges_from(units)))
            through = cross.pull_units(units, gradient.shape[0])
        else:
            features.append(weigh(here.edges(gradient)))
            through = here.pull_features(gradient)
        error.append(None if here.error is None else weigh(contract(gradient, here.error)))
        at_bias = None if here.bias is None else contract(gradient, here.bias)
        skip = here.pull_skip(gradient)
        before_mlp = gradient + through
        if skip is not None:
            before_mlp = before_mlp + skip
        into_attention = gradient if model.attention[layer].parallel else before_mlp
        if attention_bias is not None:
            more = contract(into_attention, attention_bias)
            at_bias = more if at_bias is None else at_bias + more
        bias.append(None if at_bias is None else weigh(at_bias))
        gradient = before_mlp + model.attention[layer].pull(into_attention)
    positions = model.position_embedding
    return Relevance(
        tuple(reversed(features)),
        tuple(reversed(error)),
        tuple(reversed(bias)),
        weigh(contract(gradient, model.embedding)),
        None if positions is None else weigh(contract(gradient, positions)),
    )
