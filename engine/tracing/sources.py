"""A layer's sources laid out as rows, where that is possible: then a layer costs one matrix product a position.

Per-layer transcoders have some dozens of active features a position. Neurons are too many, and cross-layer features
write at several layers: those dictionaries contract for themselves (engine/dictionaries/features.py).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from engine.dictionaries.features import LayerFeatures
from engine.models.memory import available_bytes

# All layers' rows are laid out once where together they take at most this, and a quarter of what is free; beyond,
# those of a band when it is passed.
KEPT_BYTES = 1 << 30
BAND = 64  # positions, so that their rows are gathered in one go


@dataclass(frozen=True)
class ListedSources:
    """One layer's sources as rows, by position: its features, its error, its bias (that of attention included).

    `starts` (T + 1,) where a position's begin; `features` (S,), `errors` and `biases` (T,): the row of each, -1 for
    none. `kept` (R, d) are the rows, or None where they are made when they are needed.
    """

    starts: tuple[int, ...]
    features: Tensor
    errors: Tensor
    biases: Tensor
    own: LayerFeatures
    bias: Tensor | None  # (T, d)
    kept: Tensor | None = None

    @cached_property
    def _feature_starts(self) -> tuple[int, ...]:
        counts = torch.bincount(self.own.position, minlength=len(self.starts) - 1)
        return (0, *counts.cumsum(0).tolist())

    def rows(self, first: int, end: int) -> Tensor:
        """(k, d) the rows of the positions from `first` to `end`."""
        if self.kept is not None:
            return self.kept[self.starts[first] : self.starts[end]]
        some = slice(self._feature_starts[first], self._feature_starts[end])
        parts, places = [self.own.written_rows(some)], [self.features[some]]
        for rows, vectors in ((self.errors[first:end], self.own.error), (self.biases[first:end], self.bias)):
            if vectors is not None:
                at = (rows >= 0).nonzero()[:, 0]
                parts.append(vectors[first:end][at])
                places.append(rows[at])
        return torch.cat(parts)[torch.cat(places).argsort()]

    def edges(self, gradient: Tensor, first: int) -> Tensor:
        """(n, R') effects of the sources at the positions of a gradient (P, n, d) that begins at position `first`."""
        begin, end = self.starts[first], self.starts[first + gradient.shape[0]]
        out = gradient.new_empty(gradient.shape[1], end - begin)
        for band in range(first, first + len(gradient), BAND):
            band_end = min(band + BAND, first + len(gradient))
            rows, before = self.rows(band, band_end), self.starts[band]
            for position in range(band, band_end):
                start, stop = self.starts[position], self.starts[position + 1]
                if stop > start:
                    here = rows[start - before : stop - before].T
                    torch.mm(gradient[position - first], here, out=out[:, start - begin : stop - begin])
        return out

    def laid_out(self) -> ListedSources:
        """The same with all its rows kept."""
        return replace(self, kept=self.rows(0, len(self.starts) - 1))


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


def list_all(
    features: Sequence[LayerFeatures],
    attention_bias: Sequence[Tensor | None],
    alone: Sequence[bool],
    n_positions: int,
) -> tuple[ListedSources | None, ...]:
    """Each layer's sources where its own features are `alone` there, their rows laid out where all of them fit."""
    d = 0
    found = []
    for here, bias, only in zip(features, attention_bias, alone, strict=True):
        found.append(list_sources(here, bias, n_positions) if only else None)
        d = max([d] + [v.shape[1] for v in (here.error, here.bias) if v is not None])
    numbers = sum(one.starts[-1] for one in found if one is not None) * d
    activation = features[0].activation
    if numbers * activation.element_size() > min(KEPT_BYTES, available_bytes(activation.device) // 4):
        return tuple(found)
    return tuple(None if one is None else one.laid_out() for one in found)


def list_sources(features: LayerFeatures, attention_bias: Tensor | None, n_positions: int) -> ListedSources | None:
    """The sources of a layer; None where they cannot be laid out, or where a skip parts MLP and attention."""
    if not features.can_list or (features.has_skip and attention_bias is not None):
        return None
    bias = features.bias
    if attention_bias is not None:
        bias = attention_bias if bias is None else bias + attention_bias
    # A row's place: its position first, then feature before error before bias.
    places = [features.position * 3]
    for kind, vectors in ((1, features.error), (2, bias)):
        if vectors is not None:
            places.append(vectors.ne(0).any(-1).nonzero()[:, 0] * 3 + kind)
    place = torch.cat(places)
    order = place.argsort(stable=True)
    where = torch.empty_like(order)
    where[order] = torch.arange(len(order), device=order.device)
    counts = torch.bincount(place // 3, minlength=n_positions)
    return ListedSources(
        (0, *counts.cumsum(0).tolist()),
        where[: len(features.position)],
        _row_of_position(place, where, 1, n_positions),
        _row_of_position(place, where, 2, n_positions),
        features,
        bias,
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
