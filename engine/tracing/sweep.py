"""The backward sweep: from targets down to the embeddings, one layer at a time, filling every edge on the way.

Gradients are (T', n, d): T' the positions at or before the batch's last target, n targets. Every source of a layer is
contracted with the gradient at the place where it writes; nothing is gathered for each feature and no autograd runs.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import cast

import torch
from torch import Tensor

from engine.dictionaries.features import Contraction, CrossLayerFeatures, LayerFeatures
from engine.progress import checkpoint
from engine.tracing.columns import Columns
from engine.tracing.frozen import FrozenAttention


@dataclass(frozen=True)
class FrozenModel:
    """Everything a sweep passes through and contracts with, on one recorded prompt."""

    attention: tuple[FrozenAttention, ...]
    features: Sequence[LayerFeatures]
    attention_bias: tuple[Tensor | None, ...]  # (T, d) each
    embedding: Tensor  # (T, d) what the token alone writes
    position_embedding: Tensor | None  # (T, d)

    @property
    def n_layers(self) -> int:
        """Number of blocks."""
        return len(self.attention)

    @cached_property
    def cross_writers(self) -> tuple[tuple[tuple[int, CrossLayerFeatures], ...], ...]:
        """For each layer: the features that write there among several layers, and the number of their own layer."""
        return tuple(
            tuple(
                (number, cast(CrossLayerFeatures, features))
                for number, features in enumerate(self.features[: layer + 1])
                if len(features.write_layers) > 1 and layer in features.write_layers
            )
            for layer in range(self.n_layers)
        )


@dataclass
class Rows:
    """The edges found for a batch of n targets.

    `kept` (n, C) holds the sources that have a column; `signed` and `absolute` (n,) float64 sum over every single
    source, columns or not, so that conservation is checked on all of them.
    """

    kept: Tensor
    signed: Tensor
    absolute: Tensor

    @staticmethod
    def empty(n: int, columns: Columns, like: Tensor) -> Rows:
        """Rows of zeros for n targets."""
        wide = torch.zeros(n, dtype=torch.float64, device=like.device)
        return Rows(torch.zeros(n, columns.count, dtype=like.dtype, device=like.device), wide, wide.clone())

    def add(self, edges: Tensor, columns: Tensor, *, partial: bool = False) -> None:
        """Count edges (n, k) of sources that all have a column.

        `partial`: the sources write at further places too, so that only their finished sum has a size.
        """
        self.signed += edges.sum(-1, dtype=torch.float64)
        if not partial:
            self.absolute += edges.abs().sum(-1, dtype=torch.float64)
        self.kept.index_add_(1, columns, edges)

    def add_features(self, found: Contraction, columns: Tensor) -> None:
        """Count every feature of a layer; the picked ones go to `columns`."""
        self.signed += found.signed
        self.absolute += found.absolute
        self.kept[:, columns] = found.picked


def gather_units(model: FrozenModel, gradient: Tensor, layer: int, waiting: dict[int, Tensor]) -> None:
    """Add what cross-layer features write at `layer` to the effects of their units gathered so far, by own layer."""
    for number, writer in model.cross_writers[layer]:
        units = writer.units(gradient, layer)
        waiting[number] = waiting[number] + units if number in waiting else units


def contract(gradient: Tensor, written: Tensor) -> Tensor:
    """(n, T') direct effects of one vector a position, `written` (T, d)."""
    return torch.bmm(gradient, written[: gradient.shape[0], :, None])[..., 0].T


def sweep(
    model: FrozenModel,
    columns: Columns,
    gradient: Tensor,
    rows: Rows,
    layer: int,
    *,
    after_mlp: bool,
    cancel: threading.Event | None = None,
    passed: Callable[[float], None] | None = None,
) -> None:
    """Carry (T', n, d) down to the embeddings and add every edge to `rows`; `passed` hears the share of layers done.

    The gradient enters after the block `layer` (logits: the last one), or where the MLP of `layer` reads: between
    attention and MLP, or before the block where the two run in parallel.
    """
    if not after_mlp:
        if not model.attention[layer].parallel:
            gradient = gradient + _through_attention(model, columns, gradient, rows, layer)
        layer -= 1
    waiting: dict[int, Tensor] = {}
    for below in range(layer, -1, -1):
        checkpoint(cancel)
        if passed is not None:
            passed(1 - (below + 1) / (layer + 1))
        before_mlp = _through_mlp(model, columns, gradient, rows, below, waiting)
        into_attention = gradient if model.attention[below].parallel else before_mlp
        gradient = before_mlp + _through_attention(model, columns, into_attention, rows, below)
    # A bias node sums what attention and the MLP of its layer write.
    rows.absolute += rows.kept[:, columns.layer_bias].abs().sum(-1, dtype=torch.float64)
    n_positions = gradient.shape[0]
    rows.add(contract(gradient, model.embedding), columns.embedding[:n_positions])
    if model.position_embedding is not None:
        _add_at_positions(rows, contract(gradient, model.position_embedding), columns.position_embedding)


def _through_mlp(
    model: FrozenModel, columns: Columns, gradient: Tensor, rows: Rows, layer: int, waiting: dict[int, Tensor]
) -> Tensor:
    features = model.features[layer]
    pick, at = columns.features(layer, gradient.shape[0])
    gather_units(model, gradient, layer, waiting)
    if layer in waiting:
        rows.add_features(cast(CrossLayerFeatures, features).contraction_from(waiting.pop(layer), pick), at)
    else:
        rows.add_features(features.contract(gradient, pick), at)
    if features.error is not None:
        _add_at_positions(rows, contract(gradient, features.error), columns.error[layer])
    if features.bias is not None:
        _add_at_positions(rows, contract(gradient, features.bias), columns.bias[layer], partial=True)
    skip = features.pull_skip(gradient)
    return gradient if skip is None else gradient + skip


def _through_attention(model: FrozenModel, columns: Columns, gradient: Tensor, rows: Rows, layer: int) -> Tensor:
    bias = model.attention_bias[layer]
    if bias is not None:
        _add_at_positions(rows, contract(gradient, bias), columns.bias[layer], partial=True)
    return model.attention[layer].pull(gradient)


def _add_at_positions(rows: Rows, edges: Tensor, column_of_position: Tensor, *, partial: bool = False) -> None:
    """Add (n, T') to the columns of those positions that have one (-1: a position where nothing is written)."""
    column = column_of_position[: edges.shape[1]]
    has = column >= 0
    rows.add(edges[:, has], column[has], partial=partial)
