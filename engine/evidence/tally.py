"""What is kept of a layer's features while a corpus goes by: strongest contexts, samples, how often, how much.

Columns: with one side a feature's own number; with two, n more for the other side of zero. Everything is kept by column
and has a fixed size, whatever the length of the corpus. Shapes: c columns, n features, B contexts, T tokens, W window.
"""

from __future__ import annotations

import torch
from torch import Tensor

from engine.evidence.index_settings import Reach

# Bins of a histogram are half octaves: [2^e, 1.5 * 2^e) and [1.5 * 2^e, 2^(e + 1)), the first from 2^LOWEST.
LOWEST = -20
BINS = 64
OCTAVES = 4  # below the maximum, of each a sample is kept
SKETCH = 64  # random signs that stand for the whole corpus when features are compared
# A neuron is hardly ever zero: its histogram and its likeness to others are those of every so many tokens,
STRIDE = 4
# and samples below the maximum are drawn from every so many contexts.
DRAWN_FROM = 4
_MOST_WINDOWS = 1 << 16
_COUNTED = 1 << 21


class LayerTally:
    """The running record of one layer. Its tensors, all by name in `state`, are all there is to it."""

    def __init__(self, width: int, sides: int, reach: Reach, device: torch.device | str = "cpu") -> None:
        self.width, self.sides, self.reach = width, sides, reach
        c, k, w = width * sides, reach.top, reach.window

        def zeros(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
            return torch.zeros(shape, dtype=dtype, device=device)

        self.state: dict[str, Tensor] = {
            "peak": zeros(k, c),
            "place": zeros(k, c, dtype=torch.int64),
            "window": zeros(k, c, w, dtype=torch.float16),
            # Of each octave (modulo OCTAVES) the context drawn: the octave's number plus the key it was drawn with.
            "drawn": torch.full((OCTAVES, c), -torch.inf, device=device),
            "drawn_peak": zeros(OCTAVES, c),
            "drawn_place": zeros(OCTAVES, c, dtype=torch.int64),
            "drawn_window": zeros(OCTAVES, c, w, dtype=torch.float16),
            "histogram": zeros(c, BINS, dtype=torch.int64),
            "active": zeros(width, dtype=torch.int64),
            "tokens": zeros(1, dtype=torch.int64),  # that the histogram counts
            "sketch": zeros(width, SKETCH),
        }

    @staticmethod
    def bytes_of(width: int, sides: int, reach: Reach) -> int:
        """Bytes that the record of one layer takes."""
        each = reach.top + OCTAVES
        return width * (sides * (each * (12 + 2 * reach.window) + 4 * OCTAVES + 8 * BINS) + 4 * SKETCH + 8) + 8

    def add(self, values: Tensor, places: Tensor, sizes: Tensor, signs: Tensor, generator: torch.Generator) -> None:
        """Take in activations (B, T, n) of contexts of `sizes` (B,) tokens, in the model's own number format.

        `places` (B,) is where in the corpus each context's first token is; `signs` (B * T, SKETCH) are the same for
        all layers, so that features of different layers can be compared.
        """
        beyond = torch.arange(values.shape[1], device=values.device) >= sizes[:, None]  # (B, T)
        if bool(beyond.any()):
            values = values.masked_fill(beyond[:, :, None], 0.0)
        there = ~beyond.flatten()
        peaks = values.amax(1) if self.sides == 1 else torch.cat([values.amax(1), values.amin(1).neg_()], dim=1)
        peaks = peaks.float().clamp_min_(0)
        self._strongest(values, peaks, places)
        self._draw(values[::DRAWN_FROM], peaks[::DRAWN_FROM], places[::DRAWN_FROM], generator)
        flat = values.flatten(0, 1)
        if self.sides == 2:
            flat, signs, there = flat[::STRIDE], signs[::STRIDE], there[::STRIDE]
        self.state["tokens"] += there.sum()
        flat = flat.float()
        self.state["sketch"] += flat.T @ signs
        self._count(flat)

    def _strongest(self, values: Tensor, peaks: Tensor, places: Tensor) -> None:
        state, k = self.state, self.reach.top
        # Few contexts are among the strongest of their column once some have been seen.
        columns = (peaks.amax(0) > state["peak"][-1]).nonzero()[:, 0]
        best, source = torch.cat([state["peak"][:, columns], peaks[:, columns]]).topk(k, dim=0)
        kept = source.clamp_max(k - 1)
        state["peak"][:, columns] = best
        state["place"][:, columns] = state["place"][:, columns].gather(0, kept)
        old = state["window"][:, columns]
        state["window"][:, columns] = old.gather(0, kept[:, :, None].expand_as(old))
        rank, at = ((source >= k) & (best > 0)).nonzero(as_tuple=True)
        self._keep("", rank, columns[at], source[rank, at] - k, values, places)

    def _draw(self, values: Tensor, peaks: Tensor, places: Tensor, generator: torch.Generator) -> None:
        """A context of each octave, every one as likely: the one with the largest of random keys."""
        state = self.state
        octave = peaks.clamp_min(2.0**LOWEST).log2().floor()
        key = octave + torch.rand(peaks.shape, generator=generator).to(peaks.device)
        key.masked_fill_(peaks < 2.0**LOWEST, -torch.inf)
        slot = octave.remainder(OCTAVES)
        for number in range(OCTAVES):
            best, source = key.masked_fill(slot != number, -torch.inf).max(0)
            column = (best > state["drawn"][number]).nonzero()[:, 0]
            state["drawn"][number, column] = best[column]
            state["drawn_peak"][number, column] = peaks[source[column], column]
            self._keep("drawn_", torch.full_like(column, number), column, source[column], values, places)

    def _keep(self, kind: str, row: Tensor, column: Tensor, context: Tensor, values: Tensor, places: Tensor) -> None:
        """Write where the peaks of some contexts are, and what is around them."""
        length = values.shape[1]
        around = torch.arange(-self.reach.before, self.reach.after + 1, device=values.device)
        for start in range(0, len(row), _MOST_WINDOWS):
            some = slice(start, start + _MOST_WINDOWS)
            here, number = context[some], column[some]
            series = values[here, :, number % self.width].float()  # (m, T)
            if self.sides == 2:
                series = torch.where((number >= self.width)[:, None], -series, series)
            at = series.argmax(1)
            index = at[:, None] + around
            inside = (index >= 0) & (index < length)
            window = series.gather(1, index.clamp(0, length - 1)).clamp(-6e4, 6e4) * inside
            self.state[f"{kind}window"][row[some], number] = window.to(torch.float16)
            self.state[f"{kind}place"][row[some], number] = places[here] + at

    def _count(self, flat: Tensor) -> None:
        """Histogram by column and number of active tokens by feature, from the bits of the numbers themselves."""
        state, width = self.state, self.width
        if self.sides == 1:
            row, column = flat.nonzero(as_tuple=True)
            self._add_counts(half_octave(flat[row, column]).add_(column.to(torch.int32), alpha=BINS))
            state["active"] += torch.bincount(column, minlength=width)
            return
        first = torch.arange(width, device=flat.device, dtype=torch.int32) * BINS
        rows = max(1, _COUNTED // width)
        for start in range(0, len(flat), rows):
            piece = flat[start : start + rows]
            number = half_octave(piece).add_(first)
            self._add_counts(number.add_(piece < 0, alpha=width * BINS).view(-1))

    def _add_counts(self, number: Tensor) -> None:
        """Count bins, numbered column by column."""
        found = torch.bincount(number, minlength=self.width * self.sides * BINS)
        self.state["histogram"] += found.view(-1, BINS)


def half_octave(value: Tensor) -> Tensor:
    """The bin of each float32's size, int32: its exponent and the first bit after the point."""
    bits = value.contiguous().view(torch.int32).bitwise_and(0x7FFFFFFF)
    return bits.bitwise_right_shift_(22).sub_(2 * (127 + LOWEST)).clamp_(0, BINS - 1)
