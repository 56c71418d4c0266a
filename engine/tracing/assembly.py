"""From finished rows to an `AttributionGraph`: nodes as columns, edges as rows, what has no node as two sums."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.dictionaries.features import LayerFeatures
from engine.graphs.graph import EMBEDDING_LAYER, NO_POSITION, AttributionGraph, NodeKind
from engine.tracing.columns import Columns
from engine.tracing.relevance import Relevance
from engine.tracing.rows import RowTable
from engine.tracing.targets import TargetSet


@dataclass
class _Nodes:
    """Node columns as they are collected; `column` is the row table's column of each source (-1: a logit)."""

    kind: list[NDArray[np.int64]]
    layer: list[NDArray[np.int64]]
    position: list[NDArray[np.int64]]
    feature: list[NDArray[np.int64]]
    activation: list[NDArray[np.float32]]
    influence: list[NDArray[np.float32]]
    column: list[NDArray[np.int64]]

    def add(
        self,
        kind: NodeKind,
        layer: int,
        position: NDArray[np.int64],
        feature: NDArray[np.int64] | int,
        activation: NDArray[np.float32] | None,
        influence: NDArray[np.float32] | None,
        column: NDArray[np.int64] | None,
    ) -> None:
        count = len(position)
        self.kind.append(np.full(count, kind))
        self.layer.append(np.full(count, layer))
        self.position.append(position)
        self.feature.append(np.full(count, feature) if isinstance(feature, int) else feature)
        self.activation.append(np.zeros(count, np.float32) if activation is None else activation)
        self.influence.append(np.zeros(count, np.float32) if influence is None else influence)
        self.column.append(np.full(count, -1) if column is None else column)


def assemble(
    table: RowTable,
    columns: Columns,
    features: Sequence[LayerFeatures],
    targets: TargetSet,
    relevance: Relevance | None,
    *,
    tokens: Sequence[str],
    token_ids: Sequence[int],
    with_bias: bool,
) -> AttributionGraph:
    """Build the graph with every edge between its nodes. `relevance`, where given, is what nodes are measured by."""
    scale = 1 / max(relevance.total, 1e-30) if relevance is not None else 1.0
    measure = _Measure(table, relevance, scale)
    nodes = _Nodes([], [], [], [], [], [], [])
    for layer, rows in sorted(table.layers.items()):
        here, numbers = features[layer], rows.numbers
        where = torch.searchsorted(columns.picked[layer], numbers) + columns.first[layer]
        nodes.add(
            NodeKind.FEATURE,
            layer,
            _ints(here.position[numbers]),
            _ints(here.feature[numbers]),
            _floats(here.activation[numbers]),
            measure.of(where, None if relevance is None else relevance.features[layer][numbers]),
            _ints(where),
        )
    for layer, column in enumerate(columns.error):
        _add_places(
            nodes, NodeKind.ERROR, layer, column, measure, None if relevance is None else relevance.error[layer]
        )
    every = torch.arange(len(token_ids), device=columns.embedding.device)
    embedding = measure.of(columns.embedding, None if relevance is None else relevance.embedding)
    ids = np.asarray(token_ids, np.int64)
    nodes.add(NodeKind.EMBEDDING, EMBEDDING_LAYER, _ints(every), ids, None, embedding, _ints(columns.embedding))
    if with_bias:
        _add_biases(nodes, table, columns, measure, relevance)
    n_logits = len(targets.token)
    at = np.full(n_logits, targets.position)
    nodes.add(NodeKind.LOGIT, len(features), at, targets.token.astype(np.int64), None, None, None)
    return _connect(
        nodes, table, targets, tokens, token_ids, len(features), "influence" if relevance is None else "relevance"
    )


@dataclass(frozen=True)
class _Measure:
    table: RowTable
    relevance: Relevance | None
    scale: float

    def of(self, column: Tensor, relevant: Tensor | None) -> NDArray[np.float32]:
        """Exact influence of columns, or the relevance given for them."""
        if self.relevance is None:
            return _floats(self.table.influence[column])
        return _floats(relevant.double() * self.scale) if relevant is not None else np.zeros(len(column), np.float32)


def _add_places(
    nodes: _Nodes, kind: NodeKind, layer: int, column: Tensor, measure: _Measure, relevant: Tensor | None
) -> None:
    place = (column >= 0).nonzero()[:, 0]
    influence = measure.of(column[place], None if relevant is None else relevant[place])
    nodes.add(kind, layer, _ints(place), -1, None, influence, _ints(column[place]))


def _add_biases(
    nodes: _Nodes, table: RowTable, columns: Columns, measure: _Measure, relevance: Relevance | None
) -> None:
    for layer, column in enumerate(columns.bias):
        _add_places(nodes, NodeKind.BIAS, layer, column, measure, None if relevance is None else relevance.bias[layer])
    positions = None if relevance is None else relevance.position_embedding
    _add_places(nodes, NodeKind.BIAS, EMBEDDING_LAYER, columns.position_embedding, measure, positions)
    blocks = [table.logits, *table.layers.values()]
    if any(bool(block.rows.kept[:, columns.own].any()) for block in blocks):
        own = np.array([columns.own])
        nodes.add(
            NodeKind.BIAS, EMBEDDING_LAYER, np.array([NO_POSITION]), -1, None, measure.of(torch.tensor(own), None), own
        )


def _connect(
    nodes: _Nodes,
    table: RowTable,
    targets: TargetSet,
    tokens: Sequence[str],
    token_ids: Sequence[int],
    n_layers: int,
    measure: str,
) -> AttributionGraph:
    kind = np.concatenate(nodes.kind).astype(np.uint8)
    column = np.concatenate(nodes.column)
    sources = np.flatnonzero(column >= 0)
    device = table.influence.device
    take = torch.as_tensor(column[sources], device=device)
    blocks = [block for _, block in sorted(table.layers.items())] + [table.logits]
    traced = np.concatenate([np.flatnonzero(kind == NodeKind.FEATURE), np.flatnonzero(kind == NodeKind.LOGIT)])
    source, target, weight, rest, rest_absolute = [], [], [], [], []
    first = 0
    for block in blocks:
        kept = block.rows.kept[:, take]
        order = kept.abs().sort(dim=-1, descending=True, stable=True).indices
        ordered = kept.gather(-1, order)
        filled = ordered != 0
        row, _ = filled.nonzero(as_tuple=True)
        target.append(traced[first + row.cpu().numpy()])
        source.append(sources[order[filled].cpu().numpy()])
        weight.append(_floats(ordered[filled]))
        rest.append(block.rows.signed - kept.sum(-1, dtype=torch.float64))
        # Rounding may leave a tiny negative difference where nothing is left out.
        rest_absolute.append((block.rows.absolute - kept.abs().sum(-1, dtype=torch.float64)).clamp_min(0))
        first += len(block.numbers)
    return AttributionGraph(
        kind=kind,
        layer=np.concatenate(nodes.layer).astype(np.int32),
        position=np.concatenate(nodes.position).astype(np.int32),
        feature=np.concatenate(nodes.feature).astype(np.int32),
        activation=np.concatenate(nodes.activation),
        influence=np.concatenate(nodes.influence),
        source=np.concatenate(source).astype(np.int32),
        target=np.concatenate(target).astype(np.int32),
        weight=np.concatenate(weight),
        traced=traced.astype(np.int32),
        value=_floats(torch.cat([block.value for block in blocks])),
        rest=_floats(torch.cat(rest)),
        rest_absolute=_floats(torch.cat(rest_absolute)),
        tokens=tuple(tokens),
        token_ids=tuple(int(one) for one in token_ids),
        logit_token=targets.token.astype(np.int32),
        logit_text=targets.text,
        logit_probability=targets.weight.astype(np.float32),
        n_layers=n_layers,
        measure=measure,
    )


def _ints(values: Tensor) -> NDArray[np.int64]:
    return values.cpu().numpy().astype(np.int64)


def _floats(values: Tensor) -> NDArray[np.float32]:
    return values.detach().cpu().numpy().astype(np.float32)
