"""Verify a graph: does it sum, do its edges predict, how far down do predictions hold, and does influence matter?

Four parts, all measured on the graph's own prompt:

    conservation   the largest error of a traced row (the trace's own figure), at most its bound;
    edges          with everything else held, a sample of features is scaled by `SMALL`: the change of each later
                   feature and of the target beside its prediction; to first order they are the same number;
    by layer       the same features ablated, all above left free: the cosine of predicted and measured changes of the
                   graph's features in each later layer (Ameisen et al. 2025 do so in the residual stream);
    influence      features ablated one by one: Spearman of their influence and of how far each moves the target.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import RequestError
from engine.graphs.graph import AttributionGraph, NodeKind
from engine.interventions.case import Case
from engine.interventions.changes import Change, Settings
from engine.interventions.controls import FeatureAt
from engine.interventions.kept import Record, plain
from engine.interventions.measure import measure
from engine.interventions.predicted_changes import predicted_changes
from engine.interventions.statistics import Agreement, agreement, spearman
from engine.progress import Progress, part, silent
from engine.tracing.run import CONSERVATION_BOUND

DIRECT, FREE = Settings("direct"), Settings("constrained")
SMALL = 0.99
# What a part needs to pass: edges are exact but for rounding (neurons: but for their curvature); the others are shares
# that the papers report as good (a cosine of about 0.8 one layer up, a Spearman of about 0.7).
EDGES_PEARSON, COSINE_NEXT, INFLUENCE_SPEARMAN = 0.99, 0.7, 0.5
SOURCES, ABLATED, WATCHED = 16, 60, 120


@dataclass(frozen=True)
class VerifySpec:
    """How much is sampled. The same seed gives the same sample."""

    sources: int = SOURCES
    ablated: int = ABLATED
    watched: int = WATCHED
    seed: int = 0

    def plain(self) -> dict[str, Any]:
        """Plain JSON values: `read_verify` gives the same again."""
        return dict(plain(self))


def read_verify(values: dict[str, Any]) -> VerifySpec:
    """The spec that `plain` wrote; raises `ValueError` for anything else."""
    try:
        return VerifySpec(*(int(values[name]) for name in ("sources", "ablated", "watched", "seed")))
    except (KeyError, TypeError) as error:
        raise ValueError(f"no verification ({error})") from error


@dataclass(frozen=True)
class Part:
    """One part of the verdict: its figure, what it needs, and that in words."""

    name: str
    passed: bool
    value: float
    needed: float
    sentence: str


@dataclass(frozen=True)
class LayerCosine:
    """So many layers above the change: the median cosine and its quartiles, over n changes."""

    above: int
    median: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class VerifyResult:
    """The verdict with its parts. `predicted` and `measured` (n,) are the edges; `influence` and `effect` (k,) the
    ablations.
    """

    parts: tuple[Part, ...]
    edges: Agreement
    predicted: tuple[float, ...]
    measured: tuple[float, ...]
    cosines: tuple[LayerCosine, ...]
    influence: tuple[float, ...]
    effect: tuple[float, ...]
    settings: str
    sentence: str
    evidence: str
    provenance: dict[str, Any]

    def plain(self) -> dict[str, Any]:
        """Plain JSON values."""
        return dict(plain(self))


def verify_graph(
    case: Case,
    graph: AttributionGraph,
    conservation: float,
    spec: VerifySpec = VerifySpec(),
    progress: Progress = silent,
    cancel: threading.Event | None = None,
) -> VerifyResult:
    """Verify a graph against the model that it was made of; `conservation` is its report's largest error.

    Raises `RequestError` for a graph with too few features to sample, and what `intervene` raises.
    """
    nodes = _nodes(case, graph)
    if len(nodes) < 8:
        raise RequestError("The graph has too few features to verify; trace the prompt with more nodes.")
    places = _places(graph, nodes)
    drawn = np.random.default_rng(spec.seed)
    strong = nodes[np.argsort(-graph.influence[nodes], kind="stable")]
    sources = _places(graph, strong[: spec.sources])
    watched = (
        places
        if len(places) <= spec.watched
        else [places[at] for at in np.sort(drawn.choice(len(places), spec.watched, replace=False))]
    )
    predicted, measured = _edges(case, sources, watched, part(progress, 0, 0.3), cancel)
    found = agreement(predicted, measured)
    cosines = _cosines(case, sources, watched, part(progress, 0.3, 0.7), cancel)
    # From the strongest to the weakest: a rank correlation needs both.
    some = strong[np.unique(np.linspace(0, len(strong) - 1, min(spec.ablated, len(strong))).astype(int))]
    sets = [(Change("feature", *one, "ablate"),) for one in _places(graph, some)]
    effect = np.abs(measure(case, sets, FREE, progress=part(progress, 0.7, 1), cancel=cancel).change)
    influence = graph.influence[some].astype(np.float64)
    parts = _parts(case, conservation, found, cosines, spearman(influence, effect), len(some), graph.measure)
    return VerifyResult(
        parts,
        found,
        tuple(float(one) for one in predicted),
        tuple(float(one) for one in measured),
        cosines,
        tuple(float(one) for one in influence),
        tuple(float(one) for one in effect),
        f"{len(sources)} features scaled by {SMALL:g} with all else held, then ablated with all above free; "
        f"{len(some)} features ablated alone; attention frozen; seed {spec.seed}",
        _sentence(parts),
        "supported"
        if all(one.passed for one in parts)
        else "unclear"
        if any(one.passed for one in parts)
        else ("contradicted"),
        case.provenance,
    )


def record_verify(case: Case, spec: VerifySpec, result: VerifyResult, features: str, title: str) -> Record:
    """The verification as a project keeps it."""
    settings = {"trace": case.spec.plain(), "features": features, "experiment": spec.plain()}
    return Record("verify", title, settings, result.plain())


def _nodes(case: Case, graph: AttributionGraph) -> NDArray[np.int64]:
    nodes = graph.of_kind(NodeKind.FEATURE)
    nodes = nodes[graph.position[nodes] >= case.recording.first_position]
    held = [case.pools.holds(one) for one in _places(graph, nodes)]
    return np.asarray(nodes[np.array(held, dtype=bool)], dtype=np.int64)


def _places(graph: AttributionGraph, nodes: NDArray[Any]) -> list[FeatureAt]:
    columns = (graph.layer[nodes].tolist(), graph.position[nodes].tolist(), graph.feature[nodes].tolist())
    return [(int(layer), int(position), int(feature)) for layer, position, feature in zip(*columns, strict=True)]


def _edges(
    case: Case,
    sources: Sequence[FeatureAt],
    watched: Sequence[FeatureAt],
    progress: Progress,
    cancel: threading.Event | None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Predicted and measured changes of what lies above each source, and of the target, per unit of the dose."""
    sets = [(Change("feature", *one, "scale", SMALL),) for one in sources]
    found = measure(case, sets, DIRECT, watched=watched, progress=part(progress, 0, 0.5), cancel=cancel)
    said = predicted_changes(case, sets, DIRECT, watched, part(progress, 0.5, 1), cancel)
    reached = np.array([[b[0] > a[0] and b[1] >= a[1] for b in watched] for a in sources], dtype=bool)
    moved = found.linear - found.recorded_linear
    unit = 1 - SMALL
    predicted = np.concatenate([said[:, : len(watched)][reached], said[:, len(watched)]]) / unit
    return predicted, np.concatenate([moved[reached], found.change]) / unit


def _cosines(
    case: Case,
    sources: Sequence[FeatureAt],
    watched: Sequence[FeatureAt],
    progress: Progress,
    cancel: threading.Event | None,
) -> tuple[LayerCosine, ...]:
    sets = [(Change("feature", *one, "ablate"),) for one in sources]
    found = measure(case, sets, FREE, watched=watched, progress=part(progress, 0, 0.5), cancel=cancel)
    said = predicted_changes(case, sets, FREE, watched, part(progress, 0.5, 1), cancel)[:, : len(watched)]
    moved = found.linear - found.recorded_linear
    layers = np.array([one[0] for one in watched])
    by_distance: dict[int, list[float]] = {}
    for row, source in enumerate(sources):
        for layer in np.unique(layers[layers > source[0]]).tolist():
            a, b = said[row, layers == layer], moved[row, layers == layer]
            size = float(np.sqrt((a @ a) * (b @ b)))
            if len(a) > 1 and size > 0:
                by_distance.setdefault(int(layer) - source[0], []).append(float(a @ b) / size)
    found_layers = []
    for above, values in sorted(by_distance.items()):
        low, median, high = (float(one) for one in np.quantile(values, [0.25, 0.5, 0.75]))
        found_layers.append(LayerCosine(above, median, low, high, len(values)))
    return tuple(found_layers)


def _parts(
    case: Case,
    conservation: float,
    edges: Agreement,
    cosines: Sequence[LayerCosine],
    rank: float,
    ablated: int,
    measure_name: str,
) -> tuple[Part, ...]:
    near = [one.median for one in cosines if one.above <= 3]
    next_layers = float(np.median(near)) if near else float("nan")
    form = "slopes of the neurons (their Jacobian)" if case.features.kind == "neurons" else "edges of the graph"
    return (
        Part(
            "conservation",
            conservation <= CONSERVATION_BOUND,
            conservation,
            CONSERVATION_BOUND,
            f"every row sums to its target’s value within {conservation:.1e} (at most {CONSERVATION_BOUND:.0e})",
        ),
        Part(
            "edges",
            edges.pearson >= EDGES_PEARSON,
            edges.pearson,
            EDGES_PEARSON,
            f"the {form} predict {edges.n:,} small changes with a correlation of {edges.pearson:.3f}, "
            f"slope {edges.slope:.2f}",
        ),
        Part(
            "by layer",
            next_layers >= COSINE_NEXT,
            next_layers,
            COSINE_NEXT,
            f"one to three layers above an ablation, predicted and measured changes have a cosine of {next_layers:.2f}",
        ),
        Part(
            "influence",
            rank >= INFLUENCE_SPEARMAN,
            rank,
            INFLUENCE_SPEARMAN,
            f"{measure_name} and the measured effect of {ablated} ablations have a rank correlation of {rank:.2f}",
        ),
    )


def _sentence(parts: Sequence[Part]) -> str:
    failed = [one.name for one in parts if not one.passed]
    if not failed:
        return "This graph can be believed: all four parts hold on its own prompt."
    if "conservation" in failed or "edges" in failed:
        return f"Do not rely on this graph: {' and '.join(failed)} did not hold."
    return f"Its edges are right, but believe paths and rankings with care: {' and '.join(failed)} did not hold."
