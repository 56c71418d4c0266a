"""A sample of a graph's edges against interventions: with all else held, each source is changed a little.

What is predicted of an edge is the edge itself, as it stands in the graph, wherever it divides a change: between
features of transcoders, and into the watched number. Between neurons an edge divides a value and predicts no change;
there, and where the graph did not keep an edge, the prediction is a sweep of its own (`predicted_changes`). The graph's
own edges between neurons are compared with the change of what they divide: the value with its gate held as recorded.

With controls every edge has a p-value: what random features do to the same target that are like the source and that can
reach it. All edges of the sample together are corrected (Benjamini and Hochberg).
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.graphs.graph import AttributionGraph, NodeKind
from engine.interventions.case import Case
from engine.interventions.changes import Change, Settings
from engine.interventions.controls import FeatureAt
from engine.interventions.matched import matched_sets
from engine.interventions.measure import measure
from engine.interventions.predicted_changes import predicted_changes
from engine.interventions.statistics import benjamini_hochberg, permutation_p
from engine.progress import Progress, part

DIRECT = Settings("direct")
SMALL = 0.99
Array = NDArray[np.float64]


@dataclass(frozen=True)
class EdgeSample:
    """n edges, per unit of the dose: `predicted` and `measured` (n,), and whether the graph itself holds each.

    `sources` and `targets` are (layer, position, feature); the last target is the watched number (the number of layers,
    its position, -1). `source` and `target` (n,) say which. `p` and `q` are empty without controls.

    `divided_predicted` and `divided_measured` (m,): edges between neurons as they stand in the graph, and how far the
    linear form that they divide moved. Empty for other features, whose edges are among the n.
    """

    sources: tuple[FeatureAt, ...]
    targets: tuple[FeatureAt, ...]
    source: tuple[int, ...]
    target: tuple[int, ...]
    predicted: tuple[float, ...]
    measured: tuple[float, ...]
    in_graph: tuple[bool, ...]
    p: tuple[float, ...] = ()
    q: tuple[float, ...] = ()
    divided_predicted: tuple[float, ...] = ()
    divided_measured: tuple[float, ...] = ()


def sample_edges(
    case: Case,
    graph: AttributionGraph,
    sources: Sequence[FeatureAt],
    watched: Sequence[FeatureAt],
    *,
    controls: int = 0,
    seed: int = 0,
    progress: Progress,
    cancel: threading.Event | None = None,
) -> EdgeSample:
    """Predict and measure what each source does to each watched feature above it, and to the watched number."""
    sets = [(Change("feature", *one, "scale", SMALL),) for one in sources]
    ends = (*watched, (case.frozen.n_layers, case.position, -1))
    reached = reachable(sources, ends)
    measured = _moved(case, sets, watched, part(progress, 0, 0.1), cancel)
    kept, divided = _kept_edges(graph, sources, ends), np.zeros((2, 0))
    if case.features.kind == "neurons":
        between = reached & ~np.isnan(kept)
        between[:, -1] = False  # into the watched number an edge divides a change
        moved = _moved(case, sets, watched, part(progress, 0.1, 0.2), cancel, divided=True)
        divided = np.array([-kept[between], moved[between]])
        kept[:, :-1] = np.nan
    swept = predicted_changes(case, sets, DIRECT, watched, part(progress, 0.2, 0.4), cancel)[:, : len(ends)]
    # Scaled by 0.99 a source loses a hundredth of itself, and so of what runs along each edge.
    predicted = np.where(np.isnan(kept), swept / (1 - SMALL), -kept)
    p: list[float] = []
    for number, one in enumerate(sources if controls else ()):
        share = part(progress, 0.4 + 0.6 * number / len(sources), 0.4 + 0.6 * (number + 1) / len(sources))
        drawn = matched_sets(case, [Change("feature", *one, "scale", SMALL)], DIRECT, controls, seed).sets
        moved = np.abs(_moved(case, drawn, watched, share, cancel))
        can = reachable([(change.layer, change.position, change.index) for (change,) in drawn], ends)
        some = reached[number]
        p += reaching_p(np.abs(measured[number])[some], moved[:, some], can[:, some])
    source, target = np.nonzero(reached)
    return EdgeSample(
        tuple(sources),
        ends,
        tuple(int(one) for one in source),
        tuple(int(one) for one in target),
        tuple(float(one) for one in predicted[reached]),
        tuple(float(one) for one in measured[reached]),
        tuple(bool(one) for one in ~np.isnan(kept[reached])),
        tuple(p),
        tuple(float(one) for one in benjamini_hochberg(p)) if p else (),
        *(tuple(float(one) for one in side) for side in divided),
    )


def _moved(
    case: Case,
    sets: Sequence[Sequence[Change]],
    watched: Sequence[FeatureAt],
    progress: Progress,
    cancel: threading.Event | None,
    *,
    divided: bool = False,
) -> Array:
    """(S, watched + 1) how far each moves, or the linear form of it that edges divide, per unit of the dose."""
    found = measure(case, sets, DIRECT, watched=watched, divided=divided, progress=progress, cancel=cancel)
    moved = np.concatenate([found.linear - found.recorded_linear, found.change[:, None]], axis=1)
    return np.asarray(moved / (1 - SMALL))


def reaching_p(own: Array, moved: Array, can: NDArray[np.bool_]) -> list[float]:
    """(E,) p of each edge's size among the controls' (n, E); a control that cannot reach the end does not count."""
    return [permutation_p(float(size), moved[can[:, at], at]) for at, size in enumerate(own)]


def reachable(sources: Sequence[FeatureAt], ends: Sequence[FeatureAt]) -> NDArray[np.bool_]:
    """(S, E) whether an edge can run from each source to each end: upwards, and not back in the text."""
    return np.array([[b[0] > a[0] and b[1] >= a[1] for b in ends] for a in sources], dtype=bool)


def _kept_edges(graph: AttributionGraph, sources: Sequence[FeatureAt], ends: Sequence[FeatureAt]) -> Array:
    """(S, E) the graph's own edges; NaN where it holds none."""
    found = np.full((len(sources), len(ends)), np.nan)
    nodes = graph.of_kind(NodeKind.FEATURE)
    columns = (graph.layer[nodes].tolist(), graph.position[nodes].tolist(), graph.feature[nodes].tolist())
    number = dict(zip(zip(*columns, strict=True), nodes.tolist(), strict=True))
    row = {number[one]: at for at, one in enumerate(sources) if one in number}
    logits = graph.of_kind(NodeKind.LOGIT)
    for at, end in enumerate(ends):
        node = (logits[0] if len(logits) else None) if end[2] < 0 else number.get(end)
        if node is None:
            continue
        for edge in graph.inputs(int(node)).tolist():
            if int(graph.source[edge]) in row:
                found[row[int(graph.source[edge])], at] = graph.weight[edge]
    return found
