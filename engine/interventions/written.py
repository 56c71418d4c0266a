"""What changed features write more than they would have written, gathered for the layers that they write to."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from engine.interventions.pieces import pieces
from engine.interventions.sites import Site

# Which of the runs (k,) a write to a layer counts in: (k,) bool.
Reaches = Callable[[Tensor, int], Tensor]


class Writes:
    """Differences (runs, T', d) by layer: before the norm after the MLP, and after it."""

    def __init__(self, n_layers: int, runs: int) -> None:
        self._n_layers, self._runs = n_layers, runs
        self.overflowed: set[int] = set()  # runs in which the length of what was taken is no number any more
        self._before: dict[int, Tensor] = {}
        self._after: dict[int, Tensor] = {}

    def add(
        self,
        number: int,
        site: Site,
        like: Tensor,
        place: tuple[Tensor, Tensor],
        feature: Tensor,
        change: tuple[Tensor, Tensor],
        reaches: Reaches,
    ) -> None:
        """K features of layer `number`, in runs and at positions `place`, differ by `change`.

        Of `change` the first (k,) is the difference of the values, the second how often more an offset is counted.
        """
        difference, share = change
        for step in range(min(site.layers_written, self._n_layers - number)):
            reached = reaches(place[0], number + step)
            if not bool(reached.any()):
                continue
            amount = torch.where(reached, difference, 0)
            offset = site.offset(feature, step)
            if offset is not None:
                amount = amount + torch.where(reached, offset.to(amount) * share, 0)
            room = self.room(number + step, site, like)
            for some in pieces(len(amount)):
                names, which = torch.unique(feature[some], return_inverse=True)
                rows = site.decoder(names, step).to(amount.dtype)[which] * amount[some, None]
                room.index_put_((place[0][some], place[1][some]), rows, accumulate=True)

    def room(self, layer: int, site: Site, like: Tensor) -> Tensor:
        """(runs, T', d) where what is written at a layer is gathered, all runs' that there will be."""
        gathered = self._before if site.writes == "mlp_output" else self._after
        if layer not in gathered:
            gathered[layer] = like.new_zeros(self._runs, *like.shape[1:])
        return gathered[layer]

    def take(self, layer: int, runs: int) -> tuple[Tensor | None, Tensor | None]:
        """What was gathered for a layer's first runs: before the norm after the MLP, and after it."""
        found = []
        for gathered in (self._before, self._after):
            rows = gathered.pop(layer, None)
            found.append(None if rows is None else rows[:runs])
            if rows is not None:
                self.overflowed |= overflowing(rows[:runs])
        return found[0], found[1]


def overflowing(x: Tensor) -> set[int]:
    """Runs of x (b, T', d) in which a vector's length is no number: a norm would make nothing of it, without a word."""
    return set((~x.square().sum(-1).isfinite().all(-1)).nonzero()[:, 0].tolist())
