"""A first position that holds a special token: it has no features, so that all it does is feed constants to the others.

What it writes (its embedding, and one bias a layer) reaches a target only through attention to it. Carrying those few
vectors up once gives what each layer's values read of them; a sweep then contracts there, and carries no gradient at
that position at all. Exact: it is the same sum, taken from the other end.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from engine.tracing.columns import Columns
from engine.tracing.frozen_model import FrozenModel


@dataclass(frozen=True)
class ConstantPosition:
    """The sources at position 0, c of them, in the order in which they are written.

    `reads`: for each layer (K, c', h), what its values hold of the c' sources written before it. `columns` (c,).
    """

    reads: tuple[Tensor, ...]
    columns: Tensor

    def effects(self, mixed: Tensor, layer: int) -> Tensor:
        """(n, c') through one layer's attention, of a gradient `mixed` (K, n * h) at the values of position 0."""
        reads = self.reads[layer]
        at_values = mixed.view(reads.shape[0], -1, reads.shape[-1])  # (K, n, h)
        return torch.bmm(at_values, reads.transpose(1, 2)).sum(0)


def constant_position(model: FrozenModel, columns: Columns) -> ConstantPosition:
    """Carry what position 0 writes up through the frozen model, for a model that is `foldable`."""
    vectors, numbers = [model.embedding[:1]], [columns.embedding[:1]]
    if model.position_embedding is not None and int(columns.position_embedding[0]) >= 0:
        vectors.append(model.position_embedding[:1])
        numbers.append(columns.position_embedding[:1])
    x = torch.cat(vectors)  # (c', d)
    reads = []
    for layer, attention in enumerate(model.attention):
        held = attention.hold(wide=True)
        own = held.mix[:, 0, 0]  # (H,) what position 0 sees of itself
        value = x @ held.value.transpose(1, 2)  # (K, c', h)
        reads.append(value)
        seen = value.repeat_interleave(len(own) // len(value), dim=0) * own[:, None, None]  # (H, c', h)
        x = x + (seen @ held.out).sum(0)
        sources = model.listed[layer]
        assert sources is not None
        x = torch.cat([x, sources.rows(0, 1)])
        numbers.extend(
            column[layer][:1]
            for rows, column in ((sources.errors, columns.error), (sources.biases, columns.bias))
            if int(rows[0]) >= 0
        )
    return ConstantPosition(tuple(reads), torch.cat(numbers))
