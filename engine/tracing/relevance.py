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
from engine.tracing.found_rows import contract
from engine.tracing.frozen_model import FrozenModel


@dataclass(frozen=True)
class Relevance:
    """Weighted absolute total effects, sum over targets of weight * |effect|.

    `features`: per layer (S,); `error`: per layer (T,) or None; `bias`: per layer (T,); `embedding` (T,).
    """

    features: tuple[Tensor, ...]
    error: tuple[Tensor | None, ...]
    bias: tuple[Tensor, ...]
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
    *,
    layer: int | None = None,
) -> Relevance:
    """Relevance of every source for targets with gradient (T, K, d) after the last block and weights (K,).

    With `layer` the gradient stands where the MLP of that layer reads; what lies above has no relevance.
    """
    found = _Found(model, weight.to(gradient.dtype))
    top = model.n_layers
    if layer is not None:
        top = layer
        if not model.attention[layer].parallel:
            gradient = gradient + found.through_attention(layer, gradient)
    for below in range(top - 1, -1, -1):
        checkpoint(cancel)
        progress("Ranking features", 1 - (below + 1) / model.n_layers)
        before_mlp = found.through_mlp(below, gradient)
        into_attention = gradient if model.attention[below].parallel else before_mlp
        gradient = before_mlp + found.through_attention(below, into_attention)
    return found.at_embeddings(gradient)


class _Found:
    """Effects on K targets as they are found on the way down."""

    def __init__(self, model: FrozenModel, weight: Tensor) -> None:
        self.model = model
        self.weight = weight
        self._waiting: dict[int, Tensor] = {}
        self._features: dict[int, Tensor] = {}
        self._error: dict[int, Tensor] = {}
        self._bias: dict[int, Tensor] = {}  # (K, T), still signed: a node sums what attention and MLP write

    def _weigh(self, edges: Tensor) -> Tensor:
        return self.weight @ edges.abs()

    def _add_bias(self, layer: int, edges: Tensor) -> None:
        self._bias[layer] = self._bias[layer] + edges if layer in self._bias else edges

    def through_mlp(self, layer: int, gradient: Tensor) -> Tensor:
        """The gradient before the MLP, its features passed through with their gates held."""
        here = self.model.features[layer]
        self.model.gather_units(gradient, layer, self._waiting)
        if layer in self._waiting:
            cross, units = cast(CrossLayerFeatures, here), self._waiting.pop(layer)
            self._features[layer] = self._weigh(cross.edges_from(units))
            through = cross.pull_units(units, gradient.shape[0])
        else:
            self._features[layer] = self._weigh(here.edges(gradient))
            through = here.pull_features(gradient)
        if here.error is not None:
            self._error[layer] = self._weigh(contract(gradient, here.error))
        if here.bias is not None:
            self._add_bias(layer, contract(gradient, here.bias))
        skip = here.pull_skip(gradient)
        return gradient + through if skip is None else gradient + through + skip

    def through_attention(self, layer: int, gradient: Tensor) -> Tensor:
        """What attention adds to the gradient on the way down."""
        bias = self.model.attention_bias[layer]
        if bias is not None:
            self._add_bias(layer, contract(gradient, bias))
        return self.model.attention[layer].pull(gradient)

    def at_embeddings(self, gradient: Tensor) -> Relevance:
        """Everything found, zeros for what lies above the targets."""
        layers, positions = self.model.features, self.model.position_embedding
        nothing = gradient.new_zeros(gradient.shape[0])
        return Relevance(
            tuple(self._features.get(n, one.activation.new_zeros(len(one.activation))) for n, one in enumerate(layers)),
            tuple(None if one.error is None else self._error.get(n, nothing) for n, one in enumerate(layers)),
            tuple(self._weigh(self._bias[n]) if n in self._bias else nothing for n in range(len(layers))),
            self._weigh(contract(gradient, self.model.embedding)),
            None if positions is None else self._weigh(contract(gradient, positions)),
        )
