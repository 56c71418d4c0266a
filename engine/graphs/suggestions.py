"""Suggested pins and suggested groups: previews that a person accepts or refuses one by one.

Each says why, and how stable it is: how often it comes again when a fifth of the edges is left out at random.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.graphs.circuit import Circuit
from engine.graphs.clustering import Members, adjusted_rand, average_linkage, cluster_numbers
from engine.graphs.graph import AttributionGraph, NodeKind
from engine.graphs.influence import propagate
from engine.graphs.similarity import combined, decoder_similarity, edge_similarity, label_similarity, label_words
from engine.progress import Progress, checkpoint, silent

Array = NDArray[np.float64]
RESAMPLES = 20
LEFT_OUT = 0.2  # of the edges, each time
THRESHOLD_RANGE = 0.1  # the threshold of similarity is drawn from 10 % below to 10 % above
MOST_NODES = 120  # grouped at once
WEAKEST_LINK = 0.01  # an edge of a smaller share does not count when groups must not run in a circle


@dataclass(frozen=True)
class PinSuggestion:
    """A node to pin. `share` is what would flow into it; `stability` how often it is suggested, from 0 to 1."""

    node: int
    share: float
    reason: str
    stability: float

    @property
    def key(self) -> str:
        """What a refusal is kept under."""
        return f"pin {self.node}"


@dataclass(frozen=True)
class GroupSuggestion:
    """Nodes to group. `similarity` is the mean over pairs, `stability` the mean share of resamples in which two of them
    are together, and `member_stability` the same for each node with the others.
    """

    nodes: tuple[int, ...]
    name: str
    similarity: float
    reasons: tuple[str, ...]
    stability: float
    member_stability: tuple[float, ...]

    @property
    def key(self) -> str:
        """What a refusal is kept under."""
        return "group " + ",".join(map(str, self.nodes))


@dataclass(frozen=True)
class GroupSuggestions:
    """Suggested groups, the most stable first; `adjusted_rand` is the mean over resamples against all of them."""

    groups: tuple[GroupSuggestion, ...]
    adjusted_rand: float


def suggest_pins(
    graph: AttributionGraph,
    circuit: Circuit,
    most: int = 8,
    *,
    refused: Collection[str] = (),
    hidden: NDArray[np.bool_] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
    progress: Progress = silent,
    cancel: threading.Event | None = None,
) -> tuple[PinSuggestion, ...]:
    """Features to pin next, best first: where most of what flows down the circuit from the targets leaves it.

    One after the other: the next is chosen as if the ones before were pinned. With neurons, whose edges cancel, the
    most relevant come first. `refused` holds keys that are not suggested again, `hidden` (N,) are nodes that a person
    does not want to see. Raises `Cancelled`.
    """
    kept = circuit.mask(graph)
    barred = kept | (graph.kind != NodeKind.FEATURE)
    if hidden is not None:
        barred |= hidden
    barred[[node for node in range(graph.n_nodes) if f"pin {node}" in refused]] = True
    chosen = _next_pins(graph, kept, barred, most, None)
    rng = np.random.default_rng(seed)
    again = np.zeros(graph.n_nodes)
    for i in range(resamples):
        checkpoint(cancel)
        progress("Testing how stable the pins are", i / resamples)
        stays = rng.random(graph.n_edges) >= LEFT_OUT
        again[[node for node, _ in _next_pins(graph, kept, barred, most, stays)]] += 1
    return tuple(
        PinSuggestion(node, share, _pin_reason(graph, share), float(again[node]) / resamples if resamples else 1.0)
        for node, share in chosen
    )


def _pin_reason(graph: AttributionGraph, share: float) -> str:
    if graph.measure == "relevance":
        return f"holds {share:.1%} of all relevance, more than any other node that is not pinned".replace("%", " %")
    return f"{share:.1%} of the targets' weight leaves the circuit here".replace("%", " %")


def _next_pins(
    graph: AttributionGraph,
    kept: NDArray[np.bool_],
    barred: NDArray[np.bool_],
    most: int,
    stays: NDArray[np.bool_] | None,
) -> list[tuple[int, float]]:
    """Nodes and shares; `stays` (E,) are the edges that count, what is left out going to the rest of the row."""
    if graph.measure == "relevance":
        return _most_relevant(graph, barred, most, stays)
    inside, barred = kept | (graph.kind == NodeKind.LOGIT), barred.copy()
    whole = max(float(graph.logit_probability.sum()), 1e-30)
    found: list[tuple[int, float]] = []
    for _ in range(most):
        edges = np.flatnonzero(inside[graph.target] if stays is None else inside[graph.target] & stays)
        flow = propagate(graph, np.abs(graph.share[edges]).astype(np.float64), edges)
        flow[barred] = 0
        node = int(np.argmax(flow))
        if flow[node] <= 0:
            break
        found.append((node, float(flow[node]) / whole))
        barred[node] = inside[node] = True
    return found


def _most_relevant(
    graph: AttributionGraph, barred: NDArray[np.bool_], most: int, stays: NDArray[np.bool_] | None
) -> list[tuple[int, float]]:
    score = np.where(barred, 0.0, graph.influence.astype(np.float64))
    if stays is not None:
        # Relevance leaves a node along its edges: what is left of it when some are taken away.
        size = np.abs(graph.share).astype(np.float64)
        all_out = np.bincount(graph.source, weights=size, minlength=graph.n_nodes)
        left = np.bincount(graph.source[stays], weights=size[stays], minlength=graph.n_nodes)
        score = score * np.divide(left, all_out, out=np.zeros(graph.n_nodes), where=all_out > 0)
    order = np.argsort(-score, kind="stable")[:most]
    return [(int(node), float(score[node])) for node in order if score[node] > 0]


def candidates(
    graph: AttributionGraph, circuit: Circuit, most: int = 60, *, hidden: NDArray[np.bool_] | None = None
) -> tuple[int, ...]:
    """Nodes that may be grouped: features of the circuit that are in no supernode, then the most influential others.

    Of the others only those that are not in `hidden` (N,).
    """
    grouped = {node for one in circuit.supernodes for node in one.nodes}
    feature = graph.of_kind(NodeKind.FEATURE)
    feature = feature if hidden is None else feature[~hidden[feature]]
    strongest = feature[np.argsort(-graph.influence[feature], kind="stable")][: most + len(grouped)].tolist()
    pinned = [node for node in circuit.pins if graph.kind[node] == NodeKind.FEATURE]
    return tuple(node for node in dict.fromkeys([*pinned, *strongest]) if node not in grouped)[:most]


def suggest_groups(
    graph: AttributionGraph,
    nodes: Sequence[int],
    *,
    labels: Mapping[int, str] | None = None,
    decoders: NDArray[np.floating] | None = None,
    examples: Array | None = None,
    at_least: float = 0.5,
    layer_span: int = 6,
    refused: Collection[str] = (),
    resamples: int = RESAMPLES,
    seed: int = 0,
    progress: Progress = silent,
    cancel: threading.Event | None = None,
) -> GroupSuggestions:
    """Groups of two or more among `nodes` (the first `MOST_NODES`), by average linkage of their similarity.

    A group spans at most `layer_span` layers, and groups never run in a circle: no path of edges of at least
    `WEAKEST_LINK` leaves a group and comes back through another. `decoders` (n, d) are the vectors that `nodes` write,
    nan where not known; `examples` (n, n) says how alike they are by when they are active. Raises `Cancelled`.
    """
    rows = {node: i for i, node in reversed(list(enumerate(nodes)))}  # the first row of each
    nodes = list(dict.fromkeys(nodes))[:MOST_NODES]
    labels = labels or {}
    fixed = {"labels": label_similarity([labels.get(node, "") for node in nodes])}
    if decoders is not None:
        fixed["decoders"] = decoder_similarity(decoders[[rows[node] for node in nodes]])
    if examples is not None:
        at = [rows[node] for node in nodes]
        fixed["examples"] = examples[np.ix_(at, at)]
    linked = _links(graph, nodes)
    layer = graph.layer[nodes]

    def group(similarity: Array, threshold: float) -> list[Members]:
        conditions = _Conditions(linked, layer, layer_span)
        return average_linkage(similarity, threshold, conditions.allow)

    parts = {"edges": edge_similarity(graph, nodes), **fixed}
    whole = combined(parts)
    clusters = group(whole, at_least)
    own = cluster_numbers(clusters, len(nodes))
    rng = np.random.default_rng(seed)
    together, alike = np.zeros((len(nodes), len(nodes))), []
    for i in range(resamples):
        checkpoint(cancel)
        progress("Testing how stable the groups are", i / resamples)
        stays = rng.random(graph.n_edges) >= LEFT_OUT
        threshold = at_least * (1 + THRESHOLD_RANGE * rng.uniform(-1, 1))
        number = cluster_numbers(
            group(combined({"edges": edge_similarity(graph, nodes, stays), **fixed}), threshold), len(nodes)
        )
        together += number[:, None] == number
        alike.append(adjusted_rand(own, number))
    together /= max(resamples, 1)
    found = [_suggestion(nodes, cluster, parts, whole, together, labels) for cluster in clusters if len(cluster) > 1]
    return GroupSuggestions(
        tuple(sorted((one for one in found if one.key not in refused), key=lambda one: (-one.stability, one.nodes))),
        float(np.mean(alike)) if alike else 1.0,
    )


class _Conditions:
    """Whether two clusters may become one; remembers what was merged."""

    def __init__(self, linked: NDArray[np.bool_], layer: NDArray[np.int32], span: int) -> None:
        self.linked, self.layer, self.span = linked, layer, span
        self.number = np.arange(len(linked))

    def allow(self, one: Members, other: Members) -> bool:
        both = [*one, *other]
        layers = self.layer[both]
        if int(layers.max() - layers.min()) > self.span:
            return False
        number = self.number.copy()
        number[both] = number[one[0]]
        if _runs_in_a_circle(self.linked, number):
            return False
        self.number = number
        return True


def _links(graph: AttributionGraph, nodes: Sequence[int]) -> NDArray[np.bool_]:
    """(n, n) whether an edge that counts runs from the row's to the column's node."""
    place = np.full(graph.n_nodes, -1, dtype=np.int64)
    place[list(nodes)] = np.arange(len(nodes))
    edges = (place[graph.source] >= 0) & (place[graph.target] >= 0) & (np.abs(graph.share) >= WEAKEST_LINK)
    linked = np.zeros((len(nodes), len(nodes)), dtype=np.bool_)
    linked[place[graph.source[edges]], place[graph.target[edges]]] = True
    return linked


def _runs_in_a_circle(linked: NDArray[np.bool_], number: NDArray[np.int64]) -> bool:
    """Whether the clusters' graph has a circle: whether taking away what has no inputs ever gets stuck."""
    source, target = number[np.nonzero(linked)[0]], number[np.nonzero(linked)[1]]
    source, target = source[source != target], target[source != target]
    while len(source):
        has_input = np.zeros(len(number), dtype=np.bool_)
        has_input[target] = True
        stays = has_input[source]
        if stays.all():
            return True
        source, target = source[stays], target[stays]
    return False


def _suggestion(
    nodes: Sequence[int],
    cluster: Members,
    parts: Mapping[str, Array],
    whole: Array,
    together: Array,
    labels: Mapping[int, str],
) -> GroupSuggestion:
    members, pair = list(cluster), np.triu_indices(len(cluster), 1)
    own = together[np.ix_(members, members)]
    reasons = []
    for name, part in parts.items():
        alike = part[np.ix_(members, members)][pair]
        if not np.isnan(alike).all() and (name != "labels" or np.nanmean(alike) > 0):
            reasons.append(f"{name} {float(np.nanmean(alike)):.2f} alike")
    words = [label_words(labels[nodes[i]]) for i in members if labels.get(nodes[i])]
    shared = sorted(frozenset.intersection(*words)) if len(words) > 1 else []
    if shared:
        reasons.append(f"all labels say {', '.join(shared)}")
    named = [labels[nodes[i]] for i in members if labels.get(nodes[i])]
    return GroupSuggestion(
        nodes=tuple(sorted(nodes[i] for i in members)),
        name=" ".join(shared) or (named[0] if named else "group"),
        similarity=float(whole[np.ix_(members, members)][pair].mean()),
        reasons=tuple(reasons),
        stability=float(own[pair].mean()),
        member_stability=tuple(
            float((own[k].sum() - own[k, k]) / (len(members) - 1)) for k in np.argsort([nodes[i] for i in members])
        ),
    )
