"""Everything that one prompt's sweeps pass through and contract with, laid out once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import cast

from torch import Tensor

from engine.dictionaries.features import CrossLayerFeatures, LayerFeatures
from engine.tracing.frozen import FrozenAttention
from engine.tracing.sources import ListedSources, list_all


@dataclass(frozen=True)
class FrozenModel:
    """A recorded prompt with everything held: L layers, T positions."""

    attention: tuple[FrozenAttention, ...]
    features: Sequence[LayerFeatures]
    attention_bias: tuple[Tensor | None, ...]  # (T, d) each
    embedding: Tensor  # (T, d) what the token alone writes
    position_embedding: Tensor | None  # (T, d)
    first_position: int = 0  # positions before it have no features

    @property
    def n_layers(self) -> int:
        """Number of blocks."""
        return len(self.attention)

    @cached_property
    def listed(self) -> tuple[ListedSources | None, ...]:
        """For each layer, its sources as rows, where they can be laid out."""
        # Where features of several layers write, the layer's own are not alone.
        alone = [not writers for writers in self.cross_writers]
        return list_all(self.features, self.attention_bias, alone, len(self.embedding))

    def let_go_of_rows(self) -> None:
        """Give back what `listed` holds; it is laid out anew should it be asked for again."""
        vars(self).pop("listed", None)

    @cached_property
    def foldable(self) -> bool:
        """Whether the first position only feeds constants to the others, so that no gradient need be carried there."""
        return (
            self.first_position == 1
            and not any(features.has_skip for features in self.features)
            and all(sources is not None for sources in self.listed)
        )

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

    def gather_units(self, gradient: Tensor, layer: int, waiting: dict[int, Tensor]) -> None:
        """Add what cross-layer features write at `layer` to the effects of their units so far, by their own layer."""
        for number, writer in self.cross_writers[layer]:
            units = writer.units(gradient, layer)
            waiting[number] = waiting[number] + units if number in waiting else units
