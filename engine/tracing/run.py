"""One trace, from a prompt to an attribution graph with its proof: record, read features, rank, sweep, check."""

from __future__ import annotations

import platform
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import metadata
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from engine.dictionaries.features import Features, LayerFeatures
from engine.errors import Cancelled, RequestError
from engine.graphs import AttributionGraph, keep_strongest, scores
from engine.models.recording import Recording, record
from engine.progress import Progress, checkpoint, part, silent
from engine.tracing.assembly import assemble
from engine.tracing.columns import Columns, lay_columns
from engine.tracing.frozen import freeze
from engine.tracing.frozen_model import FrozenModel
from engine.tracing.hand_out import HandOut, OnGraph
from engine.tracing.memory import require_memory
from engine.tracing.read_features import read_features
from engine.tracing.relevance import Relevance, relevance
from engine.tracing.rows import RowTable, trace_rows
from engine.tracing.selection import Plan, budget_plan, forced_plan, relevance_plan
from engine.tracing.spec import TraceSpec
from engine.tracing.targets import NextToken, TargetSet, choose_targets, feature_target, predict

if TYPE_CHECKING:
    from engine.models.language_model import LanguageModel

# A trace whose worst row misses its own value by more than this is not to be trusted (docs/method-notes.md).
CONSERVATION_BOUND = 1e-4
PREDICTED_TOKENS = 10


@dataclass(frozen=True)
class Trace:
    """A finished trace: the graph, the report that `--report` writes (plain JSON values; also in `graph.meta`), and
    what was asked for.
    """

    graph: AttributionGraph
    report: dict[str, Any]
    spec: TraceSpec


@dataclass(frozen=True)
class Swept:
    """Everything a trace computes before it becomes a graph; tests compare it with autograd in float64."""

    model: FrozenModel
    layers: Sequence[LayerFeatures]
    columns: Columns
    plan: Plan
    targets: TargetSet
    ranked: Relevance | None
    table: RowTable


class _Clock:
    """Seconds by phase."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, phase: str) -> None:
        now = time.perf_counter()
        self.seconds[phase] = self.seconds.get(phase, 0.0) + now - self._last
        self._last = now


def trace(
    model: LanguageModel,
    features: Features,
    spec: TraceSpec,
    progress: Progress = silent,
    cancel: threading.Event | None = None,
    *,
    keep_partial: bool = False,
    reuse: bool = True,
    on_graph: OnGraph | None = None,
) -> Trace:
    """Trace one prompt.

    `on_graph` is given the graph found so far as soon as the targets' own rows are there and then as layers are
    finished, a few percent of the time at most: what a cancel at that moment would keep, its report in `graph.meta`.

    With `keep_partial`, a cancel that comes when the targets' own rows are there ends the trace with the rows found so
    far, a valid graph whose report says `complete: false`; without, and before, it raises `Cancelled`.

    With `reuse`, positions that an earlier prompt with the same beginning recorded are not run again
    (engine/models/recording_cache.py).

    Raises `RequestError` for a request that cannot be met (empty prompt, unknown token, position outside the prompt),
    `MachineError` where it would not fit into memory, `Cancelled` between layers.
    """
    clock = _Clock()
    progress("Reading the prompt", 0.0)
    token_ids = prompt_ids(model, spec)
    require_memory(model, len(token_ids), spec, neurons=not features.has_errors)
    clock.lap("prompt")
    progress("Running the model", 0.01)
    run_model = model.recordings.record if reuse else record
    recording = run_model(
        model.weights,
        token_ids,
        first_position=1 if model.tokenizer.is_special(token_ids[0]) else 0,
        cancel=cancel,
    )
    clock.lap("model")
    hand_out = None if on_graph is None else HandOut(on_graph)

    def finish(swept: Swept, prediction: NextToken) -> AttributionGraph:
        graph, report = _finish(model, features, spec, recording, swept, prediction)
        clock.lap("graph")
        report["seconds"] = {**clock.seconds, "total": sum(clock.seconds.values())}
        return replace(graph, meta=report)

    def found(n_rows: int, swept: Callable[[], Swept], prediction: NextToken) -> None:
        clock.lap("sweep")
        assert hand_out is not None
        hand_out.offer(n_rows, lambda: finish(swept(), prediction))

    with torch.no_grad():
        swept, prediction = sweep_prompt(
            model,
            features,
            spec,
            recording,
            clock.lap,
            progress,
            cancel,
            keep_partial=keep_partial,
            reuse=reuse,
            found=None if hand_out is None else found,
        )
        progress("Building the graph", 0.98)
        # They may take as much as the graph.
        swept.model.let_go_of_rows()
        graph = finish(swept, prediction)
    progress("Done", 1.0)
    return Trace(graph, graph.meta, spec)


def sweep_prompt(
    model: LanguageModel,
    features: Features,
    spec: TraceSpec,
    recording: Recording,
    lap: Any = lambda phase: None,
    progress: Progress = silent,
    cancel: threading.Event | None = None,
    *,
    keep_partial: bool = False,
    reuse: bool = False,
    found: Callable[[int, Callable[[], Swept], NextToken], None] | None = None,
) -> tuple[Swept, NextToken]:
    """Everything between the recording and the graph.

    `found` hears how many rows there are as they grow, with what gives all of it as if stopped just then.
    """
    weights, position = model.weights, recording.n_positions - 1
    layers = read_features(features, recording, part(progress, 0.03, 0.08), cancel, keep=reuse)
    lap("features")
    frozen = hold(model, recording, layers, narrow=_narrow(spec))
    prediction = predict(weights, recording, position)
    if spec.target.feature is not None:
        targets = feature_target(spec.target.feature, layers)
    else:
        targets = choose_targets(
            spec.target,
            prediction,
            weights,
            recording,
            model.tokenizer,
            position=position,
            compatible=spec.compatible,
        )
    early: Swept | None = None
    try:
        if keep_partial or found is not None:
            # Nothing but the targets' own rows, before anything is ranked: what a person sees first.
            told = part(progress, 0.08, 0.1)
            early = first = _targets_alone(frozen, layers, targets, spec, recording, told, cancel)
            lap("first rows")
            if found is not None:
                found(len(targets.vectors), lambda: first, prediction)
        ranked = _ranked(features, spec, frozen, targets, recording, part(progress, 0.1, 0.15), cancel)
        plan = _plan(features, spec, ranked, layers)
        columns = _columns(frozen, layers, plan, recording)
        lap("ranking")
        checkpoint(cancel)

        def rows_found(n_rows: int, build: Callable[[], RowTable]) -> None:
            assert found is not None

            def swept() -> Swept:
                return Swept(frozen, layers, columns, plan, targets, ranked, replace(build(), complete=False))

            found(n_rows, swept, prediction)

        table = trace_rows(
            frozen,
            columns,
            plan,
            targets,
            count_bias=not spec.compatible,
            progress=part(progress, 0.15, 0.97),
            cancel=cancel,
            keep_partial=keep_partial,
            found=None if found is None else rows_found,
        )
    except Cancelled:
        if early is None or not keep_partial:
            raise
        return early, prediction
    if not keep_partial:
        checkpoint(cancel)
    lap("sweep")
    return Swept(frozen, layers, columns, plan, targets, ranked, table), prediction


def _targets_alone(
    frozen: FrozenModel,
    layers: Sequence[LayerFeatures],
    targets: TargetSet,
    spec: TraceSpec,
    recording: Recording,
    progress: Progress,
    cancel: threading.Event | None,
) -> Swept:
    nothing = torch.zeros(0, dtype=torch.long, device=targets.vectors.device)
    plan = Plan((nothing,) * len(layers), None)
    columns = _columns(frozen, layers, plan, recording)
    count_bias = not spec.compatible
    table = trace_rows(frozen, columns, plan, targets, count_bias=count_bias, progress=progress, cancel=cancel)
    return Swept(frozen, layers, columns, plan, targets, None, replace(table, complete=False))


def _ranked(
    features: Features,
    spec: TraceSpec,
    frozen: FrozenModel,
    targets: TargetSet,
    recording: Recording,
    progress: Progress,
    cancel: threading.Event | None,
) -> Relevance | None:
    # A list of nodes needs no ranking, but neurons are measured by it.
    if spec.nodes is not None and features.has_errors:
        return None
    n, d = targets.vectors.shape
    gradient = targets.vectors.new_zeros(recording.n_positions, n, d)
    gradient[targets.position] = targets.vectors
    weight = torch.tensor(targets.weight, device=gradient.device)
    return relevance(frozen, gradient, weight, progress, cancel, layer=targets.layer)


def _columns(frozen: FrozenModel, layers: Sequence[LayerFeatures], plan: Plan, recording: Recording) -> Columns:
    return lay_columns(layers, plan.picked, frozen.attention_bias, frozen.position_embedding, recording.n_positions)


def prompt_ids(model: LanguageModel, spec: TraceSpec) -> list[int]:
    """The prompt up to and including the traced position; what follows cannot matter to a causal model."""
    ids = list(model.tokenizer.encode(spec.prompt))
    position = spec.target.position if spec.target.feature is None else spec.target.feature[1]
    if not -len(ids) <= position < len(ids):
        raise RequestError(
            f"Position {position} is outside the prompt, whose {len(ids)} tokens are 0 to {len(ids) - 1} "
            "(or negative, counted from the end)."
        )
    return ids[: position % len(ids) + 1]


def _narrow(spec: TraceSpec) -> bool:
    if spec.sweep_dtype not in ("float32", "bfloat16"):
        raise RequestError(f"A sweep runs in float32 or in bfloat16, not in {spec.sweep_dtype!r}; choose one of them.")
    return spec.sweep_dtype == "bfloat16"


def hold(
    model: LanguageModel, recording: Recording, layers: Sequence[LayerFeatures], *, narrow: bool = False
) -> FrozenModel:
    """A recorded prompt with everything held that the tracer holds: what sweeps and predictions pass through."""
    attention = freeze(model.weights, recording, narrow=narrow)
    embedding, positions = recording.layers[0].pre, None
    if model.weights.position_embedding is not None:
        positions = model.weights.position_embedding[: recording.n_positions].to(embedding.dtype)
        embedding = embedding - positions
    biases = tuple(block.bias() for block in attention)
    return FrozenModel(attention, layers, biases, embedding, positions, recording.first_position)


def _plan(features: Features, spec: TraceSpec, ranked: Relevance | None, layers: Sequence[LayerFeatures]) -> Plan:
    if spec.nodes is not None:
        return forced_plan(spec.nodes, layers)
    assert ranked is not None
    return budget_plan(ranked, spec.max_nodes) if features.has_errors else relevance_plan(ranked, spec.max_nodes)


def _finish(
    model: LanguageModel,
    features: Features,
    spec: TraceSpec,
    recording: Recording,
    swept: Swept,
    prediction: NextToken,
) -> tuple[AttributionGraph, dict[str, Any]]:
    full = assemble(
        swept.table,
        swept.columns,
        swept.layers,
        swept.targets,
        None if features.has_errors else swept.ranked,
        tokens=model.tokenizer.texts(recording.token_ids),
        token_ids=recording.token_ids,
        with_bias=not spec.compatible,
    )
    graph = keep_strongest(full, 1.0 if spec.compatible else spec.edge_mass)
    # The compatible scores are those of all edges between nodes, as circuit-tracer has them.
    compatible = scores(full, compatible=True)
    strict = compatible if spec.compatible else scores(graph)
    report = {
        "top_tokens": _top_tokens(model, prediction),
        "target": {
            "position": swept.targets.position,
            "tokens": list(swept.targets.text),
            "weights": [float(one) for one in swept.targets.weight],
        },
        "nodes": graph.n_nodes,
        "edges": graph.n_edges,
        "feature_nodes": sum(len(rows.numbers) for rows in swept.table.layers.values()),
        "active_features": sum(len(layer.position) for layer in swept.layers),
        "replacement": strict.replacement,
        "completeness": strict.completeness,
        "compatible": {"replacement": compatible.replacement, "completeness": compatible.completeness},
        "conservation_error": conservation_error(swept.table),
        "conservation_bound": CONSERVATION_BOUND,
        "sweep_error": swept.table.narrow_error,
        "unexplored": _unexplored(features, swept),
        "measure": graph.measure,
        "complete": swept.table.complete,
        "settings": spec.settings(),
        "prompt": "".join(model.tokenizer.texts(recording.token_ids)),
        "model": {"name": model.name, "fingerprint": model.fingerprint, "source": model.source},
        "features": {"name": features.name, "kind": features.kind, "fingerprint": features.fingerprint},
        "machine": {"device": str(model.device), "dtype": str(model.dtype).removeprefix("torch.")},
        "versions": versions(),
    }
    return graph, report


def _top_tokens(model: LanguageModel, prediction: NextToken) -> list[dict[str, Any]]:
    top = prediction.probability.topk(PREDICTED_TOKENS)
    return [
        {"token": model.tokenizer.token_text(int(token)), "id": int(token), "probability": float(probability)}
        for token, probability in zip(top.indices, top.values, strict=True)
    ]


def conservation_error(table: RowTable) -> float:
    """The largest |sum of edges - value| / max(|value|, 1e-3 * sum of |edges|) over all rows, every source counted."""
    worst = 0.0
    for block in [table.logits, *table.layers.values()]:
        scale = torch.maximum(block.value.abs(), 1e-3 * block.rows.absolute).clamp_min(1e-30)
        worst = max(worst, float(((block.rows.signed - block.value).abs() / scale).max()))
    return worst


def _unexplored(features: Features, swept: Swept) -> float:
    """The share of influence (neurons: of relevance) that lies on features without a row of their own."""
    if not features.has_errors:
        if swept.ranked is None:
            return 1.0  # nothing was ranked yet
        total = max(swept.ranked.total, 1e-30)
        traced = sum(
            float(swept.ranked.features[layer][rows.numbers].sum(dtype=torch.float64))
            for layer, rows in swept.table.layers.items()
        )
        return min(max(1 - traced / total, 0.0), 1.0)
    waiting = 0.0
    for layer in range(len(swept.layers)):
        share: Tensor = swept.table.influence[swept.columns.feature_columns(layer)]
        waiting += float(share.sum())
        if layer in swept.table.layers:
            numbers = swept.table.layers[layer].numbers
            waiting -= float(share[torch.searchsorted(swept.columns.picked[layer], numbers)].sum())
    return min(max(waiting + swept.table.outside, 0.0), 1.0)


@cache
def versions() -> dict[str, str]:
    """Versions that a result depends on."""
    return {
        "circuit-loupe": metadata.version("circuit-loupe"),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }
