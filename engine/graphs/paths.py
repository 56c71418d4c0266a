"""Paths between two nodes: how strongly all of them connect the two, the strongest ones, and what lies on them.

The measure. An edge counts by its share of its target's input, |weight| / sum of |edges| into the target, those that
the graph does not keep included (`AttributionGraph.share`); a path by the product of its edges' shares; two nodes by
the sum over all paths between them. This is the matrix B = Â + Â² + ... of Ameisen et al. 2025 ("Circuit Tracing"), one
entry of it. A path's sign is the product of its edges' signs. Shares describe this one run: they are no prediction of
what changes under an intervention.

Everything is a pass over edges in the order of layers, in numpy: networkx holds a million edges in gigabytes of Python
objects and needs minutes. The tests compare with it on small graphs.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import count, islice

import numpy as np
from numpy.typing import NDArray

from engine.errors import RequestError
from engine.graphs.edge_order import bundles
from engine.graphs.graph import AttributionGraph

Array = NDArray[np.float64]
Index = NDArray[np.int64]
# Paths weaker than this are not followed: far below what float32 weights can tell from nothing.
WEAKEST = 1e-30


@dataclass(frozen=True)
class Path:
    """One way from one node to another: its nodes, and the product of its edges' signed shares."""

    nodes: tuple[int, ...]
    share: float


@dataclass(frozen=True)
class Mediator:
    """A node on the way, and the share of all path influence that passes through it."""

    node: int
    share: float


@dataclass(frozen=True)
class Connection:
    """Everything between two nodes.

    `total` is the sum of |share| over all paths, `net` the sum of signed shares; `direct` is the signed share of the
    edge between the two, 0 where there is none. `through` (N,) is, for each node, the share of `total` on paths through
    it; 1 for the two ends.
    """

    source: int
    target: int
    total: float
    net: float
    direct: float
    through: Array

    def mediators(self, most: int = 20) -> tuple[Mediator, ...]:
        """The nodes between the two that most of the influence passes through, strongest first."""
        share = self.through.copy()
        share[[self.source, self.target]] = 0
        order = np.argsort(-share, kind="stable")[:most]
        return tuple(Mediator(int(node), float(share[node])) for node in order if share[node] > 0)


class PathFinder:
    """Paths of one graph. Sorting its edges takes most of the time and is done once.

    Raises `RequestError` where edges run in a circle, see `edge_order`.
    """

    def __init__(self, graph: AttributionGraph) -> None:
        self.graph = graph
        self.share: Array = graph.share.astype(np.float64)
        self._bundles = bundles(graph)

    def connection(self, source: int, target: int) -> Connection:
        """How strongly `source` reaches `target`, and through what.

        Raises `RequestError` for nodes that are not there or are the same.
        """
        self._require(source, target)
        size = np.abs(self.share)
        reach, back = self._forward(source, size), self._backward(target, size)
        total = float(back[source])
        through = reach * back / total if total > 0 else np.zeros(self.graph.n_nodes)
        if total > 0:
            through[[source, target]] = 1
        edges = self.graph.inputs(target)
        direct = edges[self.graph.source[edges] == source]
        return Connection(
            source=source,
            target=target,
            total=total,
            net=float(self._backward(target, self.share)[source]),
            direct=float(self.share[direct].sum()),
            through=np.minimum(through, 1.0),
        )

    def share_through(self, source: int, target: int, nodes: Collection[int]) -> float:
        """The share of the influence from `source` to `target` that passes through at least one of `nodes`.

        For a supernode: a path that meets two of its members counts once. 0 where no path leads there at all.
        """
        self._require(source, target)
        size = np.abs(self.share)
        total = float(self._backward(target, size)[source])
        if total <= 0:
            return 0.0
        if source in nodes or target in nodes:
            return 1.0
        closed = np.zeros(self.graph.n_nodes, dtype=np.bool_)
        closed[list(nodes)] = True
        left = float(self._backward(target, np.where(closed[self.graph.source], 0.0, size))[source])
        return min(max(1 - left / total, 0.0), 1.0)

    def strongest(self, source: int, target: int, most: int = 10) -> tuple[Path, ...]:
        """The `most` paths with the largest |share|, strongest first; fewer where there are fewer.

        Exact: a search that always continues the path whose best completion is the strongest.
        """
        self._require(source, target)
        return tuple(islice(self._in_order(source, target), most))

    def _in_order(self, source: int, target: int) -> Iterator[Path]:
        best = self._best(target)
        choices: dict[int, tuple[Index, Array]] = {}
        numbers = count()
        # Entries: -(best completion), a running number, the share and nodes of a beginning, and which of the choices at
        # its end comes next. The worse choices wait behind the better, so that a thousand outputs cost one entry.
        heap: list[tuple[float, int, float, tuple[int, ...], int]] = []

        def offer(share: float, nodes: tuple[int, ...], rank: int) -> None:
            if nodes[-1] not in choices:
                choices[nodes[-1]] = self._choices(nodes[-1], best)
            promise = choices[nodes[-1]][1]
            if rank < len(promise):
                heapq.heappush(heap, (-abs(share) * float(promise[rank]), next(numbers), share, nodes, rank))

        offer(1.0, (source,), 0)
        while heap:
            _, _, share, nodes, rank = heapq.heappop(heap)
            offer(share, nodes, rank + 1)
            edge = choices[nodes[-1]][0][rank]
            longer, node = share * float(self.share[edge]), int(self.graph.target[edge])
            if node == target:
                yield Path((*nodes, node), longer)
            else:
                offer(longer, (*nodes, node), 0)

    def _choices(self, node: int, best: Array) -> tuple[Index, Array]:
        """Edges out of `node` that lead to the target, best completion first, and those completions."""
        edges = self.graph.outputs(node)
        promise = np.abs(self.share[edges]) * best[self.graph.target[edges]]
        edges, promise = edges[promise > WEAKEST], promise[promise > WEAKEST]
        order = np.argsort(-promise, kind="stable")
        return edges[order], promise[order]

    def _forward(self, source: int, share: Array) -> Array:
        """(N,) sum over all paths from `source` to each node; 1 at the source itself."""
        reach = np.zeros(self.graph.n_nodes)
        reach[source] = 1
        for bundle in self._bundles:
            passed = share[bundle] * reach[self.graph.source[bundle]]
            reach += np.bincount(self.graph.target[bundle], weights=passed, minlength=self.graph.n_nodes)
        return reach

    def _backward(self, target: int, share: Array) -> Array:
        """(N,) sum over all paths from each node to `target`; 1 at the target itself."""
        back = np.zeros(self.graph.n_nodes)
        back[target] = 1
        for bundle in reversed(self._bundles):
            passed = share[bundle] * back[self.graph.target[bundle]]
            back += np.bincount(self.graph.source[bundle], weights=passed, minlength=self.graph.n_nodes)
        return back

    def _best(self, target: int) -> Array:
        """(N,) the largest |share| of any path from each node to `target`."""
        best = np.zeros(self.graph.n_nodes)
        best[target] = 1
        size = np.abs(self.share)
        for bundle in reversed(self._bundles):
            np.maximum.at(best, self.graph.source[bundle], size[bundle] * best[self.graph.target[bundle]])
        return best

    def _require(self, source: int, target: int) -> None:
        for node in (source, target):
            if not 0 <= node < self.graph.n_nodes:
                raise RequestError(f"There is no node {node} in this graph; choose two that it shows.")
        if source == target:
            raise RequestError("A path needs two different nodes; select another one.")
