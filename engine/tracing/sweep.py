"""The backward sweep: from targets down to the embeddings, one layer at a time, filling every edge on the way.

Gradients are (P, n, d): P positions, n targets. Every source of a layer is contracted with the gradient at the place
where it writes; nothing is gathered for each feature and no autograd runs. Targets of several layers share a sweep:
each joins where its own layer is reached.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import cast

import torch
from torch import Tensor

from engine.dictionaries.features import CrossLayerFeatures
from engine.progress import checkpoint
from engine.tracing.columns import Columns
from engine.tracing.constant_position import ConstantPosition, constant_position
from engine.tracing.found_rows import Rows, contract
from engine.tracing.frozen_model import FrozenModel
from engine.tracing.sources import ListedColumns, listed_columns


@dataclass(frozen=True)
class Batch:
    """Targets swept together, by falling layer.

    `vectors` (n, d) is what each reads, where the MLP of its layer reads: between attention and MLP, or before the
    block where the two run in parallel; after the last block for the layer numbered L. `layers` and `positions` (n,).
    """

    vectors: Tensor
    layers: tuple[int, ...]
    positions: Tensor


@dataclass(frozen=True)
class Floor:
    """A frozen model and where its sources' edges go: what every sweep of one trace shares."""

    model: FrozenModel
    columns: Columns

    @cached_property
    def listed(self) -> tuple[ListedColumns | None, ...]:
        """For each layer with listed sources, which of them have a column."""
        columns = self.columns
        return tuple(
            None
            if sources is None
            else listed_columns(
                sources, columns.picked[layer], columns.first[layer], columns.error[layer], columns.bias[layer]
            )
            for layer, sources in enumerate(self.model.listed)
        )

    @cached_property
    def partial_bias(self) -> Tensor:
        """The columns of bias nodes that are counted in two parts: what attention writes, and what the MLP writes."""
        parts = [self.columns.bias[layer] for layer, sources in enumerate(self.model.listed) if sources is None]
        every = torch.cat(parts) if parts else self.columns.embedding[:0]
        return every[every >= 0]

    @cached_property
    def constant(self) -> ConstantPosition:
        """What the first position feeds to the others."""
        return constant_position(self.model, self.columns)


def sweep(
    floor: Floor,
    batch: Batch,
    cancel: threading.Event | None = None,
    passed: Callable[[float], None] | None = None,
    *,
    wide: bool = False,
) -> Rows:
    """The rows of a batch, every edge counted; `passed` hears the share of layers done.

    `wide`: without bfloat16 operands, even where the model is held with them.
    """
    return _Sweep(floor, batch, wide).run(cancel, passed)


class _Sweep:
    """One batch on its way down: `n` targets have joined, their gradient is (P, n, d)."""

    def __init__(self, floor: Floor, batch: Batch, wide: bool) -> None:
        self.floor, self.batch, self.wide = floor, batch, wide
        self.model, self.columns = floor.model, floor.columns
        self.first = 1 if self.model.foldable and int(batch.positions.min()) > 0 else 0
        self.end = int(batch.positions.max()) + 1
        self.n = 0
        self.gradient = batch.vectors.new_zeros(self.end - self.first, 0, batch.vectors.shape[1])
        self.all_rows = Rows.empty(len(batch.layers), floor.columns, batch.vectors)
        self.waiting: dict[int, Tensor] = {}
        sources = len(floor.constant.columns) if self.first else 0
        self.constants = batch.vectors.new_zeros(len(batch.layers), sources)

    @property
    def rows(self) -> Rows:
        """The rows of the targets that have joined."""
        return self.all_rows[: self.n]

    def run(self, cancel: threading.Event | None, passed: Callable[[float], None] | None) -> Rows:
        top = self.batch.layers[0]
        for layer in range(top, -1, -1):
            checkpoint(cancel)
            if passed is not None:
                passed(1 - (layer + 1) / (top + 1))
            joining = self.n + self.batch.layers[self.n :].count(layer)
            if layer == self.model.n_layers:
                self._join(self._placed(joining))
                continue
            attention = self.model.attention[layer]
            self.held = attention.hold(wide=self.wide)
            before_mlp = self._through_mlp(layer) if self.n else self.gradient
            if attention.parallel:
                self._through_attention(layer, self.gradient, before_mlp)
                self._join(self._placed(joining))
            else:
                entering = self._entering(layer, joining)
                self._through_attention(layer, before_mlp, before_mlp)
                self._join(entering)
        return self._finish()

    def _join(self, entering: Tensor) -> None:
        """More targets, with their gradient (P, m, d) where the sweep has come to."""
        if not entering.shape[1]:
            return
        self.gradient = torch.cat([self.gradient, entering], dim=1) if self.n else entering
        self.n += entering.shape[1]
        for number, units in self.waiting.items():
            self.waiting[number] = torch.cat([units, units.new_zeros(entering.shape[1], units.shape[1])])

    def _placed(self, joining: int) -> Tensor:
        """(P, m, d) of the targets up to number `joining`, each at its own position."""
        vectors, positions = self.batch.vectors[self.n : joining], self.batch.positions[self.n : joining]
        placed = vectors.new_zeros(self.end - self.first, len(vectors), vectors.shape[1])
        placed[positions - self.first, torch.arange(len(vectors), device=vectors.device)] = vectors
        return placed

    def _entering(self, layer: int, joining: int) -> Tensor:
        """The same, already through the attention of `layer`: only the own position's row is there to pull."""
        placed = self._placed(joining)
        if joining == self.n:
            return placed
        vectors, positions = self.batch.vectors[self.n : joining], self.batch.positions[self.n : joining]
        rows = self.all_rows[self.n : joining]
        bias = self.model.attention_bias[layer]
        if bias is not None:
            partial = self.model.listed[layer] is None
            edges = (vectors * bias[positions]).sum(-1)
            rows.add_each(edges, self.columns.bias[layer][positions], partial=partial)
        mixed = self.held.mixed_from(vectors, positions, len(placed), self.first)
        self._feed_constants(layer, mixed, slice(self.n, joining))
        return self.held.add_values(mixed, self.first, placed)

    def _through_mlp(self, layer: int) -> Tensor:
        """Count the layer's sources; the gradient before the MLP, which only a skip changes."""
        gradient, features, listed = self.gradient, self.model.features[layer], self.model.listed[layer]
        if listed is not None:
            edges = listed.edges(gradient, self.first)
            where = self.floor.listed[layer]
            assert where is not None
            which, columns = where.between(listed.starts[self.first], listed.starts[self.end])
            self.rows.add_some(edges, which, columns)
        else:
            self._contract(layer)
        if not features.has_skip:
            return gradient
        return gradient + cast(Tensor, features.pull_skip(gradient))

    def _contract(self, layer: int) -> None:
        gradient, features, rows = self.gradient, self.model.features[layer], self.rows
        pick, at = self.columns.features(layer, self.end)
        self.model.gather_units(gradient, layer, self.waiting)
        if layer in self.waiting:
            cross = cast(CrossLayerFeatures, features)
            rows.add_features(cross.contraction_from(self.waiting.pop(layer), pick), at)
        else:
            rows.add_features(features.contract(gradient, pick), at)
        if features.error is not None:
            rows.add_at_positions(contract(gradient, features.error), self.columns.error[layer][: self.end])
        if features.bias is not None:
            edges = contract(gradient, features.bias)
            rows.add_at_positions(edges, self.columns.bias[layer][: self.end], partial=True)

    def _through_attention(self, layer: int, gradient: Tensor, onto: Tensor) -> None:
        """Pull `gradient` through attention and add it to `onto`, which becomes the sweep's gradient."""
        if self.n:
            bias = self.model.attention_bias[layer]
            if bias is not None and self.model.listed[layer] is None:
                edges = contract(gradient, bias)
                self.rows.add_at_positions(edges, self.columns.bias[layer][: self.end], partial=True)
            mixed = self.held.mixed(gradient, self.first)
            self._feed_constants(layer, mixed, slice(0, self.n))
            self.gradient = self.held.add_values(mixed, self.first, onto)

    def _feed_constants(self, layer: int, mixed: Tensor, targets: slice) -> None:
        if self.first:
            effects = self.floor.constant.effects(mixed[:, 0], layer)
            self.constants[targets, : effects.shape[1]] += effects

    def _finish(self) -> Rows:
        rows, first = self.all_rows, self.first
        # A bias node sums what attention and the MLP of its layer write.
        rows.absolute += rows.kept[:, self.floor.partial_bias].abs().sum(-1, dtype=torch.float64)
        embedding, columns = self.model.embedding, self.columns
        rows.add(contract(self.gradient, embedding[first:]), columns.embedding[first : self.end])
        if self.model.position_embedding is not None:
            edges = contract(self.gradient, self.model.position_embedding[first:])
            rows.add_at_positions(edges, columns.position_embedding[first : self.end])
        if first:
            rows.add(self.constants, self.floor.constant.columns)
        return rows
