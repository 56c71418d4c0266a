"""From finished rows to an `AttributionGraph`: nodes as columns, edges as rows, what has no node as two sums."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise, starmap

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.dictionaries.features import LayerFeatures
from engine.graphs.graph import EMBEDDING_LAYER, NO_POSITION, AttributionGraph, NodeKind
from engine.tracing.columns import Columns
from engine.tracing.found_rows import Rows
from engine.tracing.relevance import Relevance
from engine.tracing.rows import RowTable
from engine.tracing.targets import TargetSet
from engine.tracing.workers import MOST_WORKERS

_WITHOUT_SIGN = np.uint32(0x7FFFFFFF)


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
    blocks = [block for _, block in sorted(table.layers.items())] + [table.logits]
    traced = np.concatenate([np.flatnonzero(kind == NodeKind.FEATURE), np.flatnonzero(kind == NodeKind.LOGIT)])
    edges = SortedEdges([block.rows for block in blocks], column[sources], sources.astype(np.int32))
    return AttributionGraph(
        kind=kind,
        layer=np.concatenate(nodes.layer).astype(np.int32),
        position=np.concatenate(nodes.position).astype(np.int32),
        feature=np.concatenate(nodes.feature).astype(np.int32),
        activation=np.concatenate(nodes.activation),
        influence=np.concatenate(nodes.influence),
        source=edges.source,
        target=np.repeat(traced.astype(np.int32), edges.count),
        weight=edges.weight,
        traced=traced.astype(np.int32),
        value=_floats(torch.cat([block.value for block in blocks])),
        rest=edges.rest,
        rest_absolute=edges.rest_absolute,
        tokens=tuple(tokens),
        token_ids=tuple(int(one) for one in token_ids),
        logit_token=targets.token.astype(np.int32),
        logit_text=targets.text,
        logit_probability=targets.weight.astype(np.float32),
        n_layers=n_layers,
        measure=measure,
    )


class SortedEdges:
    """The edges of blocks of rows, row by row by falling size: each one's source, a node, and how many a row has.

    Only sources in one of these columns are taken, nodes by `number`; what other columns hold is the rest. Edges are
    counted first and then written to their place: there may be millions of them.
    """

    def __init__(self, blocks: Sequence[Rows], column: NDArray[np.int64], number: NDArray[np.int32]) -> None:
        self._column, self._number = column, number
        parts = [rows for block in blocks for rows in block.in_pieces()]
        first = np.cumsum([0, *(len(part.signed) for part in parts)])
        self.rest, self.rest_absolute = np.empty(first[-1], np.float32), np.empty(first[-1], np.float32)
        self.count = np.empty(first[-1], np.int64)
        with ThreadPoolExecutor(min(torch.get_num_threads(), MOST_WORKERS)) as pool:
            list(pool.map(self._measure, parts, starmap(slice, pairwise(first))))
            start = np.concatenate([[0], np.cumsum(self.count)])[first]
            self.source, self.weight = np.empty(start[-1], np.int32), np.empty(start[-1], np.float32)
            list(pool.map(self._write, parts, starmap(slice, pairwise(start))))

    def _measure(self, part: Rows, rows: slice) -> None:
        kept = self._kept(part)
        rest_absolute = part.absolute.cpu().numpy() - np.abs(kept).sum(-1, dtype=np.float64)
        self.rest[rows] = part.signed.cpu().numpy() - kept.sum(-1, dtype=np.float64)
        # Rounding may leave a tiny negative difference where nothing is left out.
        self.rest_absolute[rows] = np.maximum(rest_absolute, 0)
        self.count[rows] = np.count_nonzero(kept.astype(np.float32, copy=False), axis=1)

    def _write(self, part: Rows, edges: slice) -> None:
        kept = self._kept(part)
        filled = np.flatnonzero(kept.any(axis=0))
        kept = kept.take(filled, axis=1).astype(np.float32, copy=False)
        order, count = _strongest_first(kept)
        self.source[edges] = self._number[filled][order]
        self.weight[edges] = kept[np.repeat(np.arange(len(kept)), count), order]

    def _kept(self, part: Rows) -> NDArray[np.floating]:
        return part.kept.cpu().numpy().take(self._column, axis=1)


def _strongest_first(edges: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Columns of what is not 0 in (n, S), row by row by falling size, equal ones by column; and how many a row has.

    The bits of a float without its sign are in the order of its size: with the column behind them they are one integer,
    and integers are sorted several times as fast as numbers with their places.
    """
    size = edges.view(np.uint32) & _WITHOUT_SIGN
    key = (_WITHOUT_SIGN - size).astype(np.uint64) << np.uint64(32)
    key |= np.arange(edges.shape[1], dtype=np.uint64)
    key.sort(axis=1)
    count = np.count_nonzero(size, axis=1)
    first = np.arange(edges.shape[1]) < count[:, None]
    return (key[first] & np.uint64(0xFFFFFFFF)).astype(np.int64), count


def _ints(values: Tensor) -> NDArray[np.int64]:
    return values.cpu().numpy().astype(np.int64)


def _floats(values: Tensor) -> NDArray[np.float32]:
    return values.detach().cpu().numpy().astype(np.float32)
