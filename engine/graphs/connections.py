"""A node's inputs or outputs, grouped by token, layer, supernode or label, with sums."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from engine.graphs.glyphs import column_name, row_name
from engine.graphs.graph import NO_POSITION, AttributionGraph
from engine.graphs.search import Mask, Names

Direction = Literal["inputs", "outputs"]
GroupedBy = Literal["token", "layer", "supernode", "label"]
NO_NAME: Mapping[GroupedBy, str] = {"supernode": "in no supernode", "label": "no label"}


@dataclass(frozen=True)
class ConnectionGroup:
    """Edges whose other ends have something in common.

    `edges` are edge numbers, strongest share first. `positive` and `negative` are the sums, by sign, of the edges'
    shares of their targets' input; `weight` is the plain sum. Of outputs, shares of different targets are added.
    """

    name: str
    edges: NDArray[np.int64]
    positive: float
    negative: float
    weight: float

    @property
    def share(self) -> float:
        """The signed sum of shares."""
        return self.positive + self.negative

    @property
    def absolute(self) -> float:
        """The sum of |share|."""
        return self.positive - self.negative


def group_connections(
    graph: AttributionGraph,
    node: int,
    direction: Direction,
    by: GroupedBy,
    names: Names | None = None,
    *,
    found: Mask | None = None,
) -> tuple[ConnectionGroup, ...]:
    """The inputs or outputs of a node in groups; by token and by layer in their order, else the strongest first.

    `found` (N,) are the nodes a search found: edges from or to others are left out. Every other edge is in exactly one
    group: a node in nested supernodes counts for the innermost, which comes last in `names`.
    """
    names = names or Names()
    edges = graph.inputs(node) if direction == "inputs" else graph.outputs(node)
    other = (graph.source if direction == "inputs" else graph.target)[edges]
    if found is not None:
        edges, other = edges[found[other]], other[found[other]]
    keys = _keys(graph, other, by, names)
    number = {key: i for i, key in enumerate(dict.fromkeys(keys))}
    code = np.fromiter((number[key] for key in keys), dtype=np.int64, count=len(keys))
    groups = [_group(graph, _name(graph, key, by), edges[code == i]) for key, i in number.items()]
    if by in ("token", "layer"):
        return tuple(groups[number[key]] for key in sorted(number, key=int))
    return tuple(sorted(groups, key=lambda group: -group.absolute))


def _keys(graph: AttributionGraph, nodes: NDArray[np.int32], by: GroupedBy, names: Names) -> Sequence[int | str]:
    if by == "token":
        return [int(position) for position in graph.position[nodes]]
    if by == "layer":
        return [int(layer) for layer in graph.layer[nodes]]
    if by == "label":
        return [names.labels.get(int(node), "") for node in nodes]
    return [list(names.supernodes.get(int(node), ("",)))[-1] for node in nodes]


def _name(graph: AttributionGraph, key: int | str, by: GroupedBy) -> str:
    if isinstance(key, str):
        return key or NO_NAME[by]
    if by == "layer":
        return row_name(key, graph.n_layers)
    return column_name(graph, key) if key != NO_POSITION else "no token"


def _group(graph: AttributionGraph, name: str, edges: NDArray[np.int64]) -> ConnectionGroup:
    share = graph.share[edges].astype(np.float64)
    return ConnectionGroup(
        name=name,
        edges=edges[np.argsort(-np.abs(share), kind="stable")],
        positive=float(share[share > 0].sum()),
        negative=float(share[share < 0].sum()),
        weight=float(graph.weight[edges].sum(dtype=np.float64)),
    )
