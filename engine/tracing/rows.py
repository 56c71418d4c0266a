"""Sweeping all targets in batches and keeping their rows, from the top layer down."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.errors import Cancelled
from engine.progress import Progress, checkpoint
from engine.tracing.columns import Columns
from engine.tracing.selection import Plan
from engine.tracing.sweep import FrozenModel, Rows, sweep
from engine.tracing.targets import TargetSet

# Numbers in the largest temporary of one batch (targets x positions x the widest vector): 128 MB in float32.
BATCH_NUMBERS = 32 * 2**20
# Below this many gradient rows (targets x positions) a product is too small to be worth cutting the batch further.
BAND_ROWS = 384


@dataclass(frozen=True)
class LayerRows:
    """The finished rows of the targets of one layer (or of the logits): n targets, C columns."""

    numbers: Tensor  # (n,) feature numbers; for logits 0..K-1
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

    @property
    def n_rows(self) -> int:
        """Targets and features whose row is there."""
        return len(self.logits.numbers) + sum(len(rows.numbers) for rows in self.layers.values())


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
    found: Callable[[RowTable], None] | None = None,
) -> RowTable:
    """Fill the row of every target. Influence and budget follow the plan; see `engine.tracing.selection`.

    `found` hears of the rows so far when the targets' own are there, and again after each layer but the last.

    With `keep_partial`, a cancel after the targets' own rows ends the work instead of raising: every finished batch is
    kept, and they are a valid graph.
    """
    like = targets.vectors
    gradient = like.new_zeros(targets.position + 1, len(like), like.shape[1])
    gradient[targets.position] = like
    rows = Rows.empty(len(like), columns, like)
    top = model.n_layers - 1 if targets.layer is None else targets.layer
    sweep(model, columns, gradient, rows, top, after_mlp=targets.layer is None, cancel=cancel)
    _add_own(rows, columns, targets.own_bias)
    everything = torch.arange(len(like), device=like.device)
    table = RowTable(
        LayerRows(everything, rows, targets.value),
        {},
        torch.zeros(columns.count, dtype=torch.float64, device=like.device),
        0.0,
    )
    weight = torch.tensor(targets.weight, dtype=torch.float64, device=like.device)
    bias = _bias_columns(columns)
    without = None if count_bias else bias
    _spread(table, rows, weight / weight.sum().clamp_min(1e-30), without)
    if found is not None:
        found(table)
    steps = _Steps(progress, plan)
    reserve = 0
    for layer in range(top, -1, -1):
        share = table.influence[columns.feature_columns(layer)]
        if plan.quota is None:
            chosen = torch.arange(len(plan.picked[layer]), device=like.device)
        else:
            allowed = plan.quota[layer] + reserve
            chosen = share.topk(min(allowed, int((share > 0).sum()))).indices.sort().values
            reserve = allowed - len(chosen)
        if not len(chosen):
            continue
        numbers = columns.picked[layer][chosen]
        parts: list[LayerRows] = []
        try:
            for batch in _batches(model.features[layer].position[numbers], like.shape[1]):
                checkpoint(cancel)
                passed = steps.batch(layer, len(batch))
                parts.append(_feature_rows(model, columns, layer, numbers[batch], cancel, passed))
        except Cancelled:
            if not keep_partial:
                raise
            table.complete = False
        if parts:
            table.layers[layer] = _join(parts)
            finished = len(table.layers[layer].numbers)
            _spread(table, table.layers[layer].rows, share[chosen[:finished]], without)
        if not table.complete:
            break
        if found is not None and layer:
            found(table)
    return table


class _Steps:
    """Progress by work: a target costs a sweep through the layers below it, and every layer of it is reported."""

    def __init__(self, progress: Progress, plan: Plan) -> None:
        counts = [len(numbers) for numbers in plan.picked] if plan.quota is None else plan.quota
        self._progress = progress
        self._all = max(sum(count * (layer + 1) for layer, count in enumerate(counts)), 1)
        self._done = 0

    def batch(self, layer: int, n_targets: int) -> Callable[[float], None]:
        """A batch begins; what is returned takes the share of it that is done."""
        start, work = self._done, n_targets * (layer + 1)
        self._done += work

        def passed(share: float) -> None:
            self._progress(f"Tracing layer {layer}", min((start + work * share) / self._all, 1.0))

        passed(0.0)
        return passed


def _feature_rows(
    model: FrozenModel,
    columns: Columns,
    layer: int,
    numbers: Tensor,
    cancel: threading.Event | None,
    passed: Callable[[float], None],
) -> LayerRows:
    features = model.features[layer]
    positions = features.position[numbers]
    vectors = features.read_vectors(numbers)
    gradient = vectors.new_zeros(int(positions.max()) + 1, len(numbers), vectors.shape[1])
    gradient[positions, torch.arange(len(numbers), device=vectors.device)] = vectors
    rows = Rows.empty(len(numbers), columns, vectors)
    sweep(model, columns, gradient, rows, layer, after_mlp=False, cancel=cancel, passed=passed)
    _add_own(rows, columns, features.own_bias(numbers))
    return LayerRows(numbers, rows, features.values(numbers))


def _add_own(rows: Rows, columns: Columns, own: Tensor) -> None:
    rows.add(own[:, None], torch.tensor([columns.own], device=own.device))


def _spread(table: RowTable, rows: Rows, share: Tensor, without: Tensor | None) -> None:
    """Pass each row's influence on to its sources by share of |edge|; `without` names columns that do not count."""
    kept = rows.kept.abs()
    total = rows.absolute
    if without is not None:
        total = total - kept[:, without].sum(-1, dtype=torch.float64)
        kept[:, without] = 0
    factor = share / total.clamp_min(1e-30)
    table.influence += factor.to(kept.dtype) @ kept
    inside = kept.sum(-1, dtype=torch.float64)
    table.outside += float((factor * (total - inside)).sum())


def _bias_columns(columns: Columns) -> Tensor:
    positions = columns.position_embedding
    own = positions.new_tensor([columns.own])
    return torch.cat([columns.layer_bias, positions[positions >= 0], own])


def _batches(positions: Tensor, width: int) -> Iterator[Tensor]:
    """Cut targets, sorted by position, into bands that share a last position.

    A band ends where the position changes and enough rows are together, or where the temporary would grow too large:
    a batch only sweeps the positions at or before its last target.
    """
    start, places = 0, positions.tolist()
    for here in range(1, len(places) + 1):
        if here < len(places):
            rows = (here - start) * (places[here - 1] + 1)
            full = (here - start + 1) * (places[here] + 1) * width * 4 > BATCH_NUMBERS
            if not full and (places[here] == places[here - 1] or rows < BAND_ROWS):
                continue
        yield torch.arange(start, here, device=positions.device)
        start = here


def _join(parts: list[LayerRows]) -> LayerRows:
    return LayerRows(
        torch.cat([part.numbers for part in parts]),
        Rows(
            torch.cat([part.rows.kept for part in parts]),
            torch.cat([part.rows.signed for part in parts]),
            torch.cat([part.rows.absolute for part in parts]),
        ),
        torch.cat([part.value for part in parts]),
    )
