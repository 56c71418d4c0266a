"""Which sources keep a column of their own in the rows of a trace, and where it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from engine.dictionaries.features import LayerFeatures


@dataclass
class Columns:
    """Column numbers of every kept source.

    Features of a layer lie next to each other in the order of their numbers; error, bias and embedding columns are
    tensors over positions with -1 where there is nothing to write. `own` is the column of what targets themselves add.
    """

    count: int = 0
    picked: list[Tensor] = field(default_factory=list)  # per layer: numbers of features with a column, sorted
    first: list[int] = field(default_factory=list)  # per layer: the column of the first of them
    picked_position: list[Tensor] = field(default_factory=list)
    error: list[Tensor] = field(default_factory=list)  # per layer (T,)
    bias: list[Tensor] = field(default_factory=list)  # per layer (T,)
    embedding: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.long))
    position_embedding: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.long))
    own: int = -1
    layer_bias: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.long))  # the columns in `bias`

    def features(self, layer: int, n_positions: int) -> tuple[Tensor, Tensor]:
        """Feature numbers with a column at the first positions of a layer, and their columns."""
        within = int(torch.searchsorted(self.picked_position[layer], n_positions))
        columns = torch.arange(self.first[layer], self.first[layer] + within, device=self.picked[layer].device)
        return self.picked[layer][:within], columns

    def feature_columns(self, layer: int) -> slice:
        """The columns of a layer's features."""
        return slice(self.first[layer], self.first[layer] + len(self.picked[layer]))


def lay_columns(
    features: Sequence[LayerFeatures],
    picked: Sequence[Tensor],
    attention_bias: Sequence[Tensor | None],
    position_embedding: Tensor | None,
    n_positions: int,
) -> Columns:
    """Number the columns: features layer by layer, errors, biases, embeddings, position embeddings, own bias."""
    columns = Columns()
    device = features[0].position.device
    for layer, numbers in zip(features, picked, strict=True):
        numbers = numbers.sort().values
        columns.picked.append(numbers)
        columns.picked_position.append(layer.position[numbers])
        columns.first.append(columns.count)
        columns.count += len(numbers)
    columns.error = [_number(columns, [layer.error], n_positions, device) for layer in features]
    columns.bias = [
        _number(columns, [layer.bias, attention], n_positions, device)
        for layer, attention in zip(features, attention_bias, strict=True)
    ]
    layer_bias = torch.cat(columns.bias)
    columns.layer_bias = layer_bias[layer_bias >= 0]
    columns.embedding = torch.arange(columns.count, columns.count + n_positions, device=device)
    columns.count += n_positions
    columns.position_embedding = _number(columns, [position_embedding], n_positions, device)
    columns.own = columns.count
    columns.count += 1
    return columns


def _number(columns: Columns, written: Sequence[Tensor | None], n_positions: int, device: torch.device) -> Tensor:
    """Give a column to every position at which one of `written` (T, d) is not zero."""
    busy = torch.zeros(n_positions, dtype=torch.bool, device=device)
    for vectors in written:
        if vectors is not None:
            busy |= vectors.ne(0).any(-1)
    numbers = torch.full((n_positions,), -1, dtype=torch.long, device=device)
    numbers[busy] = torch.arange(columns.count, columns.count + int(busy.sum()), device=device)
    columns.count += int(busy.sum())
    return numbers
