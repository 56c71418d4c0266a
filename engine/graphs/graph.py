"""The attribution graph: nodes as columns, edges as sparse rows. Immutable; everything shown is a view of it.

Terms follow Ameisen et al. 2025, "Circuit Tracing" (section "Constructing an Attribution Graph"); bias nodes, the
rest of a row and the conservation error are this project's, see docs/method-notes.md.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int32]
FloatArray = NDArray[np.float32]


class NodeKind(IntEnum):
    """What a node stands for; the order is the one of `kind_names` in exported arrays."""

    FEATURE = 0
    ERROR = 1
    EMBEDDING = 2
    BIAS = 3
    LOGIT = 4


# The name of each `NodeKind`, at its number.
KIND_NAMES = tuple(kind.name.lower() for kind in NodeKind)
EMBEDDING_LAYER = -1
# The bias node that holds what the targets themselves add (encoder biases) belongs to no position.
NO_POSITION = -1
# Edges that are gone through at once: what a step widens or copies then stays small and in the caches.
EDGES_AT_ONCE = 2**18


@dataclass(frozen=True)
class AttributionGraph:
    """One traced prompt.

    Node columns, each of length N:
        kind (uint8), layer (int32; embedding -1, logit = number of layers), position (int32; 0 is the first token,
        BOS included), feature (int32; feature number, token id of an embedding or logit, -1 for error and bias or for
        a logit node that is a direction), activation (float32; of features, else 0), influence (float32 >= 0; share of
        the targets' weight that passes through the node: exact influence with transcoders, absolute relevance with
        neurons, `measure` says which).
    Edge columns, each of length E, sorted by target, then by falling |weight|:
        source, target (int32 node numbers), weight (float32; direct effect on the target's linear form).
    Target columns, each of length R, one entry for each node whose row was traced, sorted:
        traced (int32 node numbers), value (float32; the target's linear form at the recorded residual), rest and
        rest_absolute (float32; signed and absolute sum of the edges not kept, those from nodes outside the graph
        included). For every row: sum(weight) + rest = value up to rounding.
    """

    kind: NDArray[np.uint8]
    layer: IntArray
    position: IntArray
    feature: IntArray
    activation: FloatArray
    influence: FloatArray
    source: IntArray
    target: IntArray
    weight: FloatArray
    traced: IntArray
    value: FloatArray
    rest: FloatArray
    rest_absolute: FloatArray
    tokens: tuple[str, ...]
    token_ids: tuple[int, ...]
    # One entry a logit node, in node order: its vocabulary id (-1: a direction), its text and its weight (a token's
    # probability; 1 for a difference or a direction).
    logit_token: IntArray
    logit_text: tuple[str, ...]
    logit_probability: FloatArray
    n_layers: int
    measure: str = "influence"  # or "relevance"
    # Provenance and settings: plain JSON values.
    meta: dict[str, Any] = field(default_factory=dict)

    @property
    def n_nodes(self) -> int:
        """N."""
        return int(self.kind.shape[0])

    @property
    def n_edges(self) -> int:
        """E."""
        return int(self.source.shape[0])

    @property
    def n_positions(self) -> int:
        """Tokens of the prompt up to the traced position, BOS included."""
        return len(self.tokens)

    @cached_property
    def row_start(self) -> NDArray[np.int64]:
        """(N + 1,): the edges into node t are row_start[t] : row_start[t + 1]."""
        # Of the same type as the targets: they would be copied otherwise.
        return np.searchsorted(self.target, np.arange(self.n_nodes + 1, dtype=self.target.dtype)).astype(np.int64)

    def sum_by_target(self, amount: NDArray[np.floating | np.bool_]) -> NDArray[np.float64]:
        """(N,) sums over the edges into each node of an amount (E,) that each edge has; 0 where there is no edge."""
        total = np.zeros(self.n_nodes)
        rows = np.flatnonzero(np.diff(self.row_start))
        start, end = self.row_start[rows], self.row_start[rows + 1]
        first = 0
        while first < len(rows):
            last = max(int(np.searchsorted(end, start[first] + EDGES_AT_ONCE)), first + 1)
            # Rows lie one behind the other: several times as fast as adding edge by edge. Each piece becomes float64.
            some = amount[start[first] : end[last - 1]]
            total[rows[first:last]] = np.add.reduceat(some, start[first:last] - start[first], dtype=np.float64)
            first = last
        return total

    @cached_property
    def _by_source(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        order = np.lexsort((-np.abs(self.weight), self.source))
        return order, np.searchsorted(self.source[order], np.arange(self.n_nodes + 1)).astype(np.int64)

    def inputs(self, node: int) -> NDArray[np.int64]:
        """Edge numbers into `node`, strongest first."""
        return np.arange(self.row_start[node], self.row_start[node + 1], dtype=np.int64)

    def outputs(self, node: int) -> NDArray[np.int64]:
        """Edge numbers out of `node`, strongest first."""
        order, start = self._by_source
        return order[start[node] : start[node + 1]]

    @cached_property
    def input_mass(self) -> FloatArray:
        """(N,): sum of |edges| into each node, those not kept included; 0 where no row was traced."""
        mass = self.sum_by_target(np.abs(self.weight))
        mass[self.traced] += self.rest_absolute
        return mass.astype(np.float32)

    @cached_property
    def share(self) -> FloatArray:
        """(E,): each edge's signed share of its target's input mass, in [-1, 1]."""
        mass = self.input_mass[self.target]
        return np.divide(self.weight, mass, out=np.zeros_like(self.weight), where=mass > 0)

    @cached_property
    def conservation_error(self) -> FloatArray:
        """(R,): |sum of edges + rest - value| / max(|value|, 1e-3 * sum of |edges|) for each traced row."""
        summed = self.sum_by_target(self.weight)[self.traced] + self.rest
        scale = np.maximum(np.abs(self.value), 1e-3 * self.input_mass[self.traced].astype(np.float64))
        return (np.abs(summed - self.value) / np.maximum(scale, 1e-30)).astype(np.float32)

    def of_kind(self, kind: NodeKind) -> NDArray[np.int64]:
        """(n,) node numbers of one kind, in node order."""
        return np.flatnonzero(self.kind == kind)

    def describe(self, node: int) -> str:
        """A node's plain name, such as "layer 12 · 503 · at ' Texas' (5)"; text, never markup."""
        kind = NodeKind(int(self.kind[node]))
        position = int(self.position[node])
        place = f"at {self.tokens[position]!r} ({position})" if position >= 0 else "at no position"
        if kind is NodeKind.LOGIT:
            index = int(np.searchsorted(self.of_kind(NodeKind.LOGIT), node))
            return f"logit {self.logit_text[index]!r} {place}"
        if kind is NodeKind.EMBEDDING:
            return f"embedding {place}"
        if kind is NodeKind.FEATURE:
            return f"layer {int(self.layer[node])} · {int(self.feature[node])} · {place}"
        where = f"layer {int(self.layer[node])}" if self.layer[node] >= 0 else "input"
        return f"{kind.name.lower()} · {where} · {place}"
