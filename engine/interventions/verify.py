"""Verify a graph: does it sum, do its edges predict, how far down do predictions hold, and does influence matter?

Four parts, all measured on the graph's own prompt:

    conservation   the largest error of a traced row (the trace's own figure), at most its bound;
    edges          with everything else held, a sample of features is scaled by `SMALL`: the change of each later
                   feature and of the target beside its prediction; to first order they are the same number;
    by layer       the same small push of the residual stream in the model and in its replacement, three kinds of them:
                   how alike the two change in each later layer (`perturbation`; Ameisen et al. 2025);
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
from engine.interventions.matched import matched_sets
from engine.interventions.measure import measure
from engine.interventions.perturbation import PUSHES, Followed, Push, follow
from engine.interventions.predicted_changes import predicted_changes
from engine.interventions.statistics import Agreement, agreement, benjamini_hochberg, permutation_p, spearman
from engine.progress import Progress, part, silent
from engine.tracing.run import CONSERVATION_BOUND

DIRECT, FREE = Settings("direct"), Settings("constrained")
SMALL = 0.99
# What a part needs to pass: edges are exact but for rounding (neurons: but for their curvature); the others are shares
# that the papers report as good (a cosine of about 0.8 one layer up, a Spearman of about 0.7).
EDGES_PEARSON, COSINE_NEXT, INFLUENCE_SPEARMAN = 0.99, 0.7, 0.5
# Edges are significant at this rate of false ones among them.
FALSE_RATE = 0.05
SOURCES, ABLATED, WATCHED = 16, 60, 120


@dataclass(frozen=True)
class VerifySpec:
    """How much is sampled. The same seed gives the same sample.

    `controls`: random features beside each source, for the significance of its effect; 0 leaves that out.
    """

    sources: int = SOURCES
    ablated: int = ABLATED
    watched: int = WATCHED
    seed: int = 0
    controls: int = 0

    def plain(self) -> dict[str, Any]:
        """Plain JSON values: `read_verify` gives the same again."""
        return dict(plain(self))


def read_verify(values: dict[str, Any]) -> VerifySpec:
    """The spec that `plain` wrote; raises `ValueError` for anything else."""
    try:
        sources, ablated, watched, seed = (int(values[name]) for name in ("sources", "ablated", "watched", "seed"))
        return VerifySpec(sources, ablated, watched, seed, int(values.get("controls", 0)))
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
    """So many layers above a kind of push: the median cosine, its quartiles and the median squared error, over n."""

    push: Push
    above: int
    median: float
    low: float
    high: float
    error: float
    n: int


@dataclass(frozen=True)
class SourceEffect:
    """A source ablated, all above free: how far the target moved, its p beside random features, and q over all of them
    (Benjamini and Hochberg).
    """

    layer: int
    position: int
    feature: int
    effect: float
    p: float
    q: float


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
    significant: tuple[SourceEffect, ...]
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
    predicted, measured = _edges(case, sources, watched, part(progress, 0, 0.2), cancel)
    found = agreement(predicted, measured)
    followed = follow(case, sources, seed=spec.seed, progress=part(progress, 0.2, 0.5), cancel=cancel)
    cosines = _by_layer(followed)
    significant = _significant(case, sources, spec, part(progress, 0.5, 0.7), cancel) if spec.controls else ()
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
        significant,
        _said(spec, len(sources), len(some), significant),
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


def _by_layer(followed: Sequence[Followed]) -> tuple[LayerCosine, ...]:
    """Medians and quartiles over the pushes of a kind, by how many layers above them."""
    found = []
    for push in PUSHES:
        mine = [one for one in followed if one.push == push]
        for above in range(1, 1 + max((len(one.cosine) for one in mine), default=0)):
            pairs = [(one.cosine[above - 1], one.error[above - 1]) for one in mine if len(one.cosine) >= above]
            values = np.array([pair for pair in pairs if np.isfinite(pair).all()])
            if len(values):
                low, median, high = (float(one) for one in np.quantile(values[:, 0], [0.25, 0.5, 0.75]))
                error = float(np.median(values[:, 1]))
                found.append(LayerCosine(push, above, median, low, high, error, len(values)))
    return tuple(found)


def _significant(
    case: Case, sources: Sequence[FeatureAt], spec: VerifySpec, progress: Progress, cancel: threading.Event | None
) -> tuple[SourceEffect, ...]:
    effects, p_values = [], []
    for number, one in enumerate(sources):
        change = (Change("feature", *one, "ablate"),)
        # With the source's own layers held for its controls too, all are asked the same.
        held = FREE.range_for(change, case.frozen.n_layers)
        settings = Settings(layers=(held.start, held.stop - 1))
        matched = matched_sets(case, change, settings, spec.controls, spec.seed)
        found = measure(
            case,
            [change, *matched.sets],
            settings,
            progress=part(progress, number / len(sources), (number + 1) / len(sources)),
            cancel=cancel,
        )
        moved = np.abs(found.change)
        effects.append(float(found.change[0]))
        p_values.append(permutation_p(float(moved[0]), moved[1:]))
    q_values = benjamini_hochberg(p_values)
    columns = zip(sources, effects, p_values, q_values, strict=True)
    return tuple(SourceEffect(*one, effect, p, float(q)) for one, effect, p, q in columns)


def _said(spec: VerifySpec, sources: int, ablated: int, significant: Sequence[SourceEffect]) -> str:
    said = (
        f"{sources} features scaled by {SMALL:g} with all else held; pushed at each of them in three ways; {ablated} "
        f"features ablated alone with all above free; attention frozen; seed {spec.seed}"
    )
    if not significant:
        return said
    count = sum(one.q < FALSE_RATE for one in significant)
    return (
        f"{said}; {count} of {len(significant)} sources move the target more than {spec.controls} random features that "
        f"are like them (false discovery rate {FALSE_RATE:.0%}, Benjamini and Hochberg)"
    )


def _parts(
    case: Case,
    conservation: float,
    edges: Agreement,
    cosines: Sequence[LayerCosine],
    rank: float,
    ablated: int,
    measure_name: str,
) -> tuple[Part, ...]:
    near = [one for one in cosines if one.above == 1]
    next_layer = float(np.median([one.median for one in near])) if near else float("nan")
    error = float(np.median([one.error for one in near])) if near else float("nan")
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
            next_layer >= COSINE_NEXT,
            next_layer,
            COSINE_NEXT,
            f"one layer above a small push, the changes of the model and of its replacement have a cosine of "
            f"{next_layer:.2f} (squared error {error:.2f})",
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
