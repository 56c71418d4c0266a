"""Sweeping all targets in batches and keeping their rows.

Where all targets are known, they are swept together, batch by batch from the last positions on. A budget by exact
influence goes layer by layer from the top: what a layer gets depends on the finished rows above it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.errors import Cancelled
from engine.progress import Progress, checkpoint
from engine.tracing.batches import CACHED_ROWS, DEVICE_ROWS, cut
from engine.tracing.columns import Columns
from engine.tracing.found_rows import Rows
from engine.tracing.frozen_model import FrozenModel
from engine.tracing.selection import Plan
from engine.tracing.sweep import Batch, Floor, sweep
from engine.tracing.targets import TargetSet
from engine.tracing.workers import run_all


@dataclass(frozen=True)
class LayerRows:
    """The finished rows of the targets of one layer (or of the logits): n targets, C columns."""

    numbers: Tensor  # (n,) feature numbers, rising; for logits 0..K-1
    rows: Rows
    value: Tensor  # (n,) float64


@dataclass
class RowTable:
    """Rows by layer, and influence as it becomes exact on the way down.

    `influence` (C,) float64 holds, for every column, its share of the targets' weight; `outside` what flowed into
    features without a column.
    """

    logits: LayerRows
    layers: dict[int, LayerRows]
    influence: Tensor
    outside: float
    complete: bool = True  # False: stopped early, the rows so far are whole
    # Of a sweep with bfloat16 operands: the largest error of an edge, as a share of its row's largest, on some rows.
    narrow_error: float | None = None

    @property
    def n_rows(self) -> int:
        """Targets and features whose row is there."""
        return len(self.logits.numbers) + sum(len(rows.numbers) for rows in self.layers.values())


# How many rows of a sweep with bfloat16 operands are checked, about.
CHECKED_ROWS = 32

# found(n, build): n rows are there, and `build` makes a valid table of them.
Found = Callable[[int, Callable[[], RowTable]], None]


def trace_rows(
    model: FrozenModel,
    columns: Columns,
    plan: Plan,
    targets: TargetSet,
    *,
    count_bias: bool,
    progress: Progress,
    cancel: threading.Event | None,
    keep_partial: bool = False,
    found: Found | None = None,
) -> RowTable:
    """Fill the row of every target. Influence and budget follow the plan; see `engine.tracing.selection`.

    `found` hears of the rows so far as more than the targets' own are finished.

    With `keep_partial`, a cancel after the targets' own rows ends the work instead of raising: every finished batch is
    kept, and they are a valid graph.
    """
    return _RowFinding(model, columns, plan, targets, count_bias, progress, cancel, found).run(keep_partial)


@dataclass(frozen=True)
class _Asked:
    """Features to be swept: parallel arrays over n of them, by falling layer and rising number."""

    layer: NDArray[np.int64]
    number: NDArray[np.int64]
    position: Tensor  # (n,)
    vectors: Tensor  # (n, d)


class _Done:
    """The rows of what was asked, in its order, as batches of them are finished."""

    def __init__(self, asked: _Asked, columns: Columns) -> None:
        self.asked = asked
        self.rows = Rows.room(len(asked.layer), columns, asked.vectors)
        self.finished = np.zeros(len(asked.layer), dtype=np.bool_)

    def add(self, which: NDArray[np.int64], rows: Rows) -> None:
        self.rows.put(torch.as_tensor(which, device=rows.kept.device), rows)
        self.finished[which] = True

    @property
    def count(self) -> int:
        return int(self.finished.sum())


class _RowFinding:
    def __init__(
        self,
        model: FrozenModel,
        columns: Columns,
        plan: Plan,
        targets: TargetSet,
        count_bias: bool,
        progress: Progress,
        cancel: threading.Event | None,
        found: Found | None,
    ) -> None:
        self.model, self.columns, self.plan, self.targets = model, columns, plan, targets
        self.floor = Floor(model, columns)
        self.without = None if count_bias else _bias_columns(columns)
        self.progress, self.cancel, self.found = progress, cancel, found
        self.top = model.n_layers - 1 if targets.layer is None else targets.layer
        counts = [len(numbers) for numbers in plan.picked] if plan.quota is None else plan.quota
        self.own_steps = len(targets.vectors) * (self.top + 1)
        self.all_steps = max(self.own_steps + sum(count * (layer + 1) for layer, count in enumerate(counts)), 1)
        self.steps_done = 0

    def run(self, keep_partial: bool) -> RowTable:
        """The whole table, or what was finished when a cancel came."""
        self.logits = self._target_rows()
        table = self._table({})
        every = self.plan.quota is None
        try:
            table = self._all_together() if every else self._layer_by_layer(table)
            table.narrow_error = self._narrow_error(table)
            return table
        except _InterruptedError as interrupted:
            if not keep_partial:
                raise Cancelled from None
            interrupted.table.complete = False
            return interrupted.table

    def _narrow_error(self, table: RowTable) -> float | None:
        """Some rows swept again with wide operands: how far the narrow ones were off."""
        if not any(attention.narrow for attention in self.model.attention):
            return None
        worst = _apart(self._target_rows(wide=True).rows, table.logits.rows)
        blocks = sorted(table.layers.items(), reverse=True)
        every = max(sum(len(block.numbers) for _, block in blocks) // CHECKED_ROWS, 1)
        some = slice(None, None, every)
        asked = self._asked({layer: block.numbers[some] for layer, block in blocks})
        if len(asked.layer):
            batch = Batch(asked.vectors, tuple(asked.layer.tolist()), asked.position)
            rows = sweep(self.floor, batch, self.cancel, wide=True)
            # What a target adds by itself takes no part in a sweep.
            rows.kept[:, self.columns.own] = 0
            narrow = Rows.join([block.rows[some] for _, block in blocks])
            narrow.kept[:, self.columns.own] = 0
            worst = max(worst, _apart(rows, narrow))
        return worst

    def _target_rows(self, *, wide: bool = False) -> LayerRows:
        targets = self.targets
        n = len(targets.vectors)
        layer = self.model.n_layers if targets.layer is None else targets.layer
        positions = torch.full((n,), targets.position, device=targets.vectors.device)
        steps = 0 if wide else self.own_steps
        stage = "Measuring what bfloat16 changed" if wide else "Tracing the targets"

        def passed(part: float) -> None:
            self._say(stage, part * steps)

        rows = sweep(self.floor, Batch(targets.vectors, (layer,) * n, positions), self.cancel, passed, wide=wide)
        self.steps_done += steps
        self._add_own(rows, targets.own_bias)
        return LayerRows(torch.arange(n, device=targets.vectors.device), rows, targets.value)

    def _table(self, layers: dict[int, LayerRows]) -> RowTable:
        """A table of these rows, influence carried down through them."""
        nothing = torch.zeros(self.columns.count, dtype=torch.float64, device=self.logits.value.device)
        table = RowTable(self.logits, {}, nothing, 0.0)
        weight = torch.tensor(self.targets.weight, dtype=torch.float64, device=nothing.device)
        self._spread(table, self.logits.rows, weight / weight.sum().clamp_min(1e-30))
        for layer in sorted(layers, reverse=True):
            self._add_layer(table, layer, layers[layer])
        return table

    def _add_layer(self, table: RowTable, layer: int, rows: LayerRows) -> None:
        share = table.influence[self.columns.feature_columns(layer)]
        self._spread(table, rows.rows, share[torch.searchsorted(self.columns.picked[layer], rows.numbers)])
        table.layers[layer] = rows

    def _all_together(self) -> RowTable:
        asked = self._asked({layer: self.columns.picked[layer] for layer in range(self.top + 1)})
        done = _Done(asked, self.columns)

        def build() -> RowTable:
            return self._table(self._by_layer(done))

        try:
            for which, rows in self._swept(asked, "Tracing features"):
                done.add(which, rows)
                if done.count < len(asked.layer):
                    self._tell(len(self.logits.numbers) + done.count, build)
        except Cancelled:
            raise _InterruptedError(build()) from None
        return build()

    def _layer_by_layer(self, table: RowTable) -> RowTable:
        assert self.plan.quota is not None
        reserve = 0
        for layer in range(self.top, -1, -1):
            share = table.influence[self.columns.feature_columns(layer)]
            allowed = self.plan.quota[layer] + reserve
            chosen = share.topk(min(allowed, int((share > 0).sum()))).indices.sort().values
            reserve = allowed - len(chosen)
            if not len(chosen):
                continue
            asked = self._asked({layer: self.columns.picked[layer][chosen]})
            done = _Done(asked, self.columns)
            interrupted = False
            try:
                for which, rows in self._swept(asked, f"Tracing layer {layer}"):
                    done.add(which, rows)
            except Cancelled:
                interrupted = True
            for number, finished in self._by_layer(done).items():
                self._add_layer(table, number, finished)
            if interrupted:
                raise _InterruptedError(table)
            if layer:
                self._tell(table.n_rows, lambda: table)
        return table

    def _asked(self, wanted: dict[int, Tensor]) -> _Asked:
        layers = [layer for layer in sorted(wanted, reverse=True) if len(wanted[layer])]
        if not layers:
            nothing = self.columns.embedding[:0]
            return _Asked(np.zeros(0, int), np.zeros(0, int), nothing, self.targets.vectors[:0])
        features = self.model.features
        return _Asked(
            np.concatenate([np.full(len(wanted[layer]), layer) for layer in layers]),
            np.concatenate([wanted[layer].cpu().numpy() for layer in layers]),
            torch.cat([features[layer].position[wanted[layer]] for layer in layers]),
            torch.cat([features[layer].read_vectors(wanted[layer]) for layer in layers]),
        )

    def _swept(self, asked: _Asked, stage: str) -> Iterator[tuple[NDArray[np.int64], Rows]]:
        """Which of the asked, and their rows, batch by batch as they are done."""
        device = asked.vectors.device
        batches = cut(asked.position.cpu().numpy(), asked.layer, CACHED_ROWS if device.type == "cpu" else DEVICE_ROWS)
        share = [0.0] * len(batches)
        steps = [int((asked.layer[batch] + 1).sum()) for batch in batches]

        def look() -> None:
            checkpoint(self.cancel)
            passed = sum(part * cost for part, cost in zip(share, steps, strict=True))
            self._say(stage, passed)

        def work(number: int, stop: threading.Event) -> Rows:
            batch = batches[number]
            at = torch.as_tensor(batch, device=device)
            targets = Batch(asked.vectors[at], tuple(asked.layer[batch].tolist()), asked.position[at])

            def passed(part: float) -> None:
                share[number] = part
                if threading.get_ident() == caller:
                    look()

            return sweep(self.floor, targets, stop, passed)

        caller = threading.get_ident()
        for number, rows in run_all(range(len(batches)), work, look, device):
            share[number] = 1.0
            yield batches[number], rows
        self.steps_done += sum(steps)

    def _by_layer(self, done: _Done) -> dict[int, LayerRows]:
        """The finished rows as one block a layer. Once all are, the blocks share their numbers with `done`."""
        asked, which, device = done.asked, np.flatnonzero(done.finished), done.rows.kept.device
        every = len(which) == len(done.finished)
        rows = done.rows if every else done.rows[torch.as_tensor(which, device=device)]
        layers = {}
        for layer in np.unique(asked.layer[which]):
            here = np.flatnonzero(asked.layer[which] == layer)
            numbers = torch.as_tensor(asked.number[which[here]], device=device)
            features = self.model.features[layer]
            mine = rows[here[0] : here[-1] + 1]
            self._add_own(mine, features.own_bias(numbers))
            layers[int(layer)] = LayerRows(numbers, mine, features.values(numbers))
        return layers

    def _add_own(self, rows: Rows, own: Tensor) -> None:
        rows.add(own[:, None], torch.tensor([self.columns.own], device=own.device))

    def _spread(self, table: RowTable, rows: Rows, share: Tensor) -> None:
        """Pass each row's influence on to its sources by share of |edge|; bias may be left out of it."""
        parts = rows.in_pieces()
        for part, of in zip(parts, torch.split(share, [len(part.signed) for part in parts]), strict=True):
            kept, total = part.kept.abs(), part.absolute
            if self.without is not None:
                total = total - kept[:, self.without].sum(-1, dtype=torch.float64)
                kept[:, self.without] = 0
            factor = of / total.clamp_min(1e-30)
            table.influence += factor.to(kept.dtype) @ kept
            inside = kept.sum(-1, dtype=torch.float64)
            table.outside += float((factor * (total - inside)).sum())

    def _say(self, stage: str, passed: float) -> None:
        """Progress: so many steps beyond those that are done."""
        self.progress(stage, min((self.steps_done + passed) / self.all_steps, 1.0))

    def _tell(self, n_rows: int, build: Callable[[], RowTable]) -> None:
        if self.found is not None:
            self.found(n_rows, build)


class _InterruptedError(Exception):
    """A cancel, with the rows found until then."""

    def __init__(self, table: RowTable) -> None:
        super().__init__()
        self.table = table


def _apart(wide: Rows, narrow: Rows) -> float:
    size = wide.kept.abs().amax(-1).clamp_min(torch.finfo(wide.kept.dtype).tiny)
    return float(((wide.kept - narrow.kept).abs().amax(-1) / size).max())


def _bias_columns(columns: Columns) -> Tensor:
    positions = columns.position_embedding
    own = positions.new_tensor([columns.own])
    return torch.cat([columns.layer_bias, positions[positions >= 0], own])
