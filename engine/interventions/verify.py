"""Verify a graph: does it sum, do its edges predict, how far down do predictions hold, and does influence matter?

Four parts, all measured on the graph's own prompt:

    conservation   the largest error of a traced row, as the trace reported it and as the graph has it now;
    edges          with everything else held, a sample of features is scaled by `SMALL`: the change of each later
                   feature and of the target beside its edge (`edge_sample`); to first order they are the same number;
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
from numpy.typing import ArrayLike, NDArray

from engine.errors import RequestError
from engine.graphs.graph import AttributionGraph, NodeKind
from engine.interventions.case import Case
from engine.interventions.changes import Change, Settings
from engine.interventions.controls import FeatureAt
from engine.interventions.edge_sample import SMALL, EdgeSample, sample_edges
from engine.interventions.kept import Record, plain
from engine.interventions.measure import measure
from engine.interventions.perturbation import PUSHES, Followed, Push, follow
from engine.interventions.statistics import Agreement, agreement, spearman
from engine.progress import Progress, part, silent
from engine.tracing.run import CONSERVATION_BOUND

FREE = Settings("constrained")
# What a part needs to pass. Edges are exact but for rounding (neurons: but for their curvature within a hundredth of
# their value): all must lie along a line, its slope must be 1, and nearly every one must be near its own measurement,
# since a correlation alone forgives a factor that all share, and the many small ones. The others are bounds below what
# papers report of good graphs (a cosine of about 0.8 one layer up, a Spearman of about 0.7).
EDGES_PEARSON, EDGES_SLOPE, EDGES_NEAR, COSINE_NEXT, INFLUENCE_SPEARMAN = 0.99, 0.1, 0.9, 0.7, 0.5
# An edge is near its measurement within this share of it, edges below this share of the largest left out.
NEAR, TOO_SMALL = 0.2, 1e-3
# Activations of the graph and of the run are the same within this share: bfloat16 rounds by less.
SAME_ACTIVATION = 0.05
# Edges are significant at this rate of false ones among them.
FALSE_RATE = 0.05
SOURCES, ABLATED, WATCHED = 16, 60, 120


@dataclass(frozen=True)
class VerifySpec:
    """How much is sampled. The same seed gives the same sample.

    `controls`: random features beside each source, for the significance of its edges; 0 leaves that out.
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
class VerifyResult:
    """The verdict with its parts. `near`: the share of sampled edges that are near their measurement (of all, or of
    those that the graph holds: the smallest). `influence` and `effect` (k,) are the ablations.
    """

    parts: tuple[Part, ...]
    edges: Agreement
    near: float
    sample: EdgeSample
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
    conservation = _off(case, graph, nodes, places, conservation)
    sample = sample_edges(
        case,
        graph,
        sources,
        watched,
        controls=spec.controls,
        seed=spec.seed,
        progress=part(progress, 0, 0.4),
        cancel=cancel,
    )
    found, near = agreement(*_all(sample)), _near(sample)
    followed = follow(case, sources, seed=spec.seed, progress=part(progress, 0.4, 0.7), cancel=cancel)
    cosines = _by_layer(followed)
    # From the strongest to the weakest: a rank correlation needs both.
    some = strong[np.unique(np.linspace(0, len(strong) - 1, min(spec.ablated, len(strong))).astype(int))]
    sets = [(Change("feature", *one, "ablate"),) for one in _places(graph, some)]
    effect = np.abs(measure(case, sets, FREE, progress=part(progress, 0.7, 1), cancel=cancel).change)
    influence = graph.influence[some].astype(np.float64)
    rank = spearman(influence, effect)
    parts = _parts(case, conservation, found, near, sample, cosines, rank, len(some), graph.measure)
    return VerifyResult(
        parts,
        found,
        near,
        sample,
        cosines,
        tuple(float(one) for one in influence),
        tuple(float(one) for one in effect),
        _said(spec, len(sources), len(some), sample),
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


def _off(
    case: Case, graph: AttributionGraph, nodes: NDArray[np.int64], places: Sequence[FeatureAt], reported: float
) -> float:
    """The largest error of a row: the one that the trace reported, or the one that the graph has now.

    Raises `RequestError` for a graph whose activations are not those of the model's run.
    """
    for node, place in zip(nodes, places, strict=True):
        own, run = float(graph.activation[node]), case.pools.signed(place)
        if abs(own - run) > SAME_ACTIVATION * max(abs(own), abs(run), 1e-3):
            raise RequestError(
                f"L{place[0]}/P{place[1]}/F{place[2]} is {own:.3g} in the graph and {run:.3g} when the prompt is run, "
                "so that the graph is of another model, dictionary or version; trace the prompt again."
            )
    rows = graph.conservation_error
    return max(reported, float(rows.max())) if len(rows) else reported


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


def near_share(predicted: ArrayLike, measured: ArrayLike) -> float:
    """The share of edges within `NEAR` of their measurement, those that are next to nothing left out."""
    x, y = np.asarray(predicted, dtype=np.float64), np.asarray(measured, dtype=np.float64)
    size = np.maximum(np.abs(x), np.abs(y))
    some = size > TOO_SMALL * size.max(initial=0.0)
    return float((np.abs(x - y) <= NEAR * size)[some].mean()) if some.any() else float("nan")


def _all(sample: EdgeSample) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """What is predicted and measured of every edge of a sample."""
    return sample.predicted + sample.divided_predicted, sample.measured + sample.divided_measured


def _near(sample: EdgeSample) -> float:
    """Of all edges, of those that stand in the graph, or of those of them between neurons: the smallest share, so that
    none hides another.
    """
    own = [pair for *pair, kept in zip(sample.predicted, sample.measured, sample.in_graph, strict=True) if kept]
    divided = list(zip(sample.divided_predicted, sample.divided_measured, strict=True))
    some = [one for one in (own, divided) if one]
    shares = [near_share(*_all(sample)), *(near_share(*zip(*one, strict=True)) for one in some)]
    return min(shares) if np.isfinite(shares).all() else float("nan")


def _said(spec: VerifySpec, sources: int, ablated: int, sample: EdgeSample) -> str:
    said = (
        f"{sources} features scaled by {SMALL:g} with all else held; pushed at each of them in three ways; {ablated} "
        f"features ablated alone with all above free; attention frozen; seed {spec.seed}"
    )
    if not sample.q:
        return said
    count = sum(one < FALSE_RATE for one in sample.q)
    return (
        f"{said}; {count:,} of {len(sample.q):,} edges move their target more than {spec.controls} random features do "
        f"that are like their source (false discovery rate {FALSE_RATE:.0%}, Benjamini and Hochberg)"
    )


def _parts(
    case: Case,
    conservation: float,
    edges: Agreement,
    near_edges: float,
    sample: EdgeSample,
    cosines: Sequence[LayerCosine],
    rank: float,
    ablated: int,
    measure_name: str,
) -> tuple[Part, ...]:
    near = [one for one in cosines if one.above == 1]
    next_layer = float(np.median([one.median for one in near])) if near else float("nan")
    error = float(np.median([one.error for one in near])) if near else float("nan")
    own, between = sum(sample.in_graph), len(sample.divided_predicted)
    form = f"edges of the graph ({own + between:,} as they stand there, "
    form += (
        f"{between:,} of them between neurons, whose gates are held; the others swept anew, between neurons as slopes)"
        if case.features.kind == "neurons"
        else "the others swept anew)"
    )
    holds = edges.pearson >= EDGES_PEARSON and abs(edges.slope - 1) <= EDGES_SLOPE and near_edges >= EDGES_NEAR
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
            holds,
            edges.pearson,
            EDGES_PEARSON,
            f"the {form} predict {edges.n:,} small changes with a correlation of {edges.pearson:.3f}, "
            f"slope {edges.slope:.2f} (1 ± {EDGES_SLOPE:g}), {near_edges:.0%} of them within {NEAR:.0%} (at least "
            f"{EDGES_NEAR:.0%})",
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
