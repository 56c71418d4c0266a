"""A layer's sources laid out as rows, where that is possible: then a layer costs one matrix product a position.

Per-layer transcoders have some dozens of active features a position. Neurons are too many, and cross-layer features
write at several layers: those dictionaries contract for themselves (engine/dictionaries/features.py).
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from engine.dictionaries.features import LayerFeatures


@dataclass(frozen=True)
class ListedSources:
    """One layer's sources as rows, by position: its features, its error, its bias (that of attention included).

    `rows` (R, d); `starts` (T + 1,) where a position's begin; `features` (S,), `errors` and `biases` (T,): the row of
    each, -1 for none.
    """

    rows: Tensor
    starts: tuple[int, ...]
    features: Tensor
    errors: Tensor
    biases: Tensor

    def edges(self, gradient: Tensor, first: int) -> Tensor:
        """(n, R') effects of the sources at the positions of a gradient (P, n, d) that begins at position `first`."""
        begin, end = self.starts[first], self.starts[first + gradient.shape[0]]
        out = gradient.new_empty(gradient.shape[1], end - begin)
        for position, here in enumerate(gradient, first):
            start, stop = self.starts[position], self.starts[position + 1]
            if stop > start:
                torch.mm(here, self.rows[start:stop].T, out=out[:, start - begin : stop - begin])
        return out


@dataclass(frozen=True)
class ListedColumns:
    """Which rows of a layer's listed sources have a column, by rising row: `rows` and `columns`, both (k,)."""

    rows: Tensor
    columns: Tensor

    @cached_property
    def _numbers(self) -> list[int]:
        numbers: list[int] = self.rows.tolist()
        return numbers

    def between(self, begin: int, end: int) -> tuple[Tensor, Tensor]:
        """Those among the rows from `begin` to `end`, counted from `begin`, and their columns."""
        low, high = bisect_left(self._numbers, begin), bisect_left(self._numbers, end)
        return self.rows[low:high] - begin, self.columns[low:high]


def list_sources(features: LayerFeatures, attention_bias: Tensor | None, n_positions: int) -> ListedSources | None:
    """The sources of a layer as rows; None where they cannot be laid out, or where a skip parts MLP and attention."""
    written = None if features.has_skip and attention_bias is not None else features.written_rows()
    if written is None:
        return None
    bias = features.bias
    if attention_bias is not None:
        bias = attention_bias if bias is None else bias + attention_bias
    # A row's place: its position first, then feature before error before bias.
    parts, places = [written], [features.position * 3]
    for kind, vectors in ((1, features.error), (2, bias)):
        if vectors is not None:
            at = vectors.ne(0).any(-1).nonzero()[:, 0]
            parts.append(vectors[at])
            places.append(at * 3 + kind)
    place = torch.cat(places)
    order = place.argsort(stable=True)
    where = torch.empty_like(order)
    where[order] = torch.arange(len(order), device=order.device)
    counts = torch.bincount(place // 3, minlength=n_positions)
    return ListedSources(
        torch.cat(parts)[order],
        (0, *counts.cumsum(0).tolist()),
        where[: len(written)],
        *(_row_of_position(place, where, kind, n_positions) for kind in (1, 2)),
    )


def _row_of_position(place: Tensor, where: Tensor, kind: int, n_positions: int) -> Tensor:
    rows = torch.full((n_positions,), -1, dtype=torch.long, device=place.device)
    mine = place % 3 == kind
    rows[place[mine] // 3] = where[mine]
    return rows


def listed_columns(sources: ListedSources, picked: Tensor, first: int, error: Tensor, bias: Tensor) -> ListedColumns:
    """The columns of a layer's picked features, which begin at column `first`, errors (T,) and biases (T,)."""
    features = sources.features[picked]
    rows = torch.cat([features, sources.errors, sources.biases])
    numbers = torch.arange(first, first + len(picked), device=rows.device)
    columns = torch.cat([numbers, error, bias])
    has = rows >= 0
    rows, columns = rows[has], columns[has]
    order = rows.argsort()
    return ListedColumns(rows[order], columns[order])
