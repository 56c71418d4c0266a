"""The edges found for a batch of targets, as they come in layer by layer."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from engine.dictionaries.features import Contraction
from engine.graphs.graph import EDGES_AT_ONCE
from engine.tracing.columns import Columns


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

    def __getitem__(self, index: slice | Tensor) -> Rows:
        """Some of the targets; a slice shares their numbers."""
        return Rows(self.kept[index], self.signed[index], self.absolute[index])

    @staticmethod
    def room(n: int, columns: Columns, like: Tensor) -> Rows:
        """Room for n rows that are `put` there later; memory is only taken as they come."""
        wide = torch.empty(n, dtype=torch.float64, device=like.device)
        return Rows(like.new_empty(n, columns.count), wide, wide.clone())

    def put(self, where: Tensor, rows: Rows) -> None:
        """Copy rows to the places `where` (n,)."""
        self.kept[where], self.signed[where], self.absolute[where] = rows.kept, rows.signed, rows.absolute

    def in_pieces(self) -> list[Rows]:
        """All rows, some at once, whose edges are gone through together; they share these rows' numbers."""
        some = max(EDGES_AT_ONCE // max(self.kept.shape[1], 1), 1)
        return [self[first : first + some] for first in range(0, len(self.signed), some)]

    @staticmethod
    def join(parts: list[Rows]) -> Rows:
        """All rows of several batches, one after the other."""
        return Rows(
            torch.cat([part.kept for part in parts]),
            torch.cat([part.signed for part in parts]),
            torch.cat([part.absolute for part in parts]),
        )

    def add(self, edges: Tensor, columns: Tensor, *, partial: bool = False) -> None:
        """Count edges (n, k) of sources that all have a column.

        `partial`: the sources write at further places too, so that only their finished sum has a size.
        """
        self.signed += edges.sum(-1, dtype=torch.float64)
        if not partial:
            self.absolute += edges.abs().sum(-1, dtype=torch.float64)
        self.kept.index_add_(1, columns, edges)

    def add_some(self, edges: Tensor, which: Tensor, columns: Tensor) -> None:
        """Count edges (n, k) of any sources; those numbered `which` go to `columns`, which hold nothing yet."""
        self.signed += edges.sum(-1, dtype=torch.float64)
        self.kept.index_copy_(1, columns, edges.index_select(1, which))
        self.absolute += edges.abs_().sum(-1, dtype=torch.float64)

    def add_features(self, found: Contraction, columns: Tensor) -> None:
        """Count every feature of a layer; the picked ones go to `columns`."""
        self.signed += found.signed
        self.absolute += found.absolute
        self.kept[:, columns] = found.picked

    def add_each(self, edges: Tensor, columns: Tensor, *, partial: bool = False) -> None:
        """Count one edge (n,) a target, each to its own column (n,); -1: nothing is written there."""
        has = (columns >= 0).nonzero()[:, 0]
        self.signed += edges.double()
        if not partial:
            self.absolute += edges.abs().double()
        self.kept[has, columns[has]] += edges[has]

    def add_at_positions(self, edges: Tensor, column_of_position: Tensor, *, partial: bool = False) -> None:
        """Count (n, P) at the positions that have a column (-1: a position where nothing is written)."""
        has = column_of_position >= 0
        self.add(edges[:, has], column_of_position[has], partial=partial)


def contract(gradient: Tensor, written: Tensor) -> Tensor:
    """(n, P) direct effects of one vector a position, `written` (P or more, d)."""
    return torch.bmm(gradient, written[: gradient.shape[0], :, None])[..., 0].T
