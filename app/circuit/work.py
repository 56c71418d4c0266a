"""What the circuit asks of the engine's thread: plain functions of arrays, without Qt and without the model."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.graphs import AttributionGraph, Circuit, circuit_scores
from engine.graphs.circuit import CircuitScores
from engine.graphs.paths import Connection, Mediator, Path, PathFinder
from engine.graphs.suggestions import (
    GroupSuggestion,
    PinSuggestion,
    candidates,
    suggest_groups,
    suggest_pins,
)
from engine.progress import Progress, checkpoint, part

# (n, d) what nodes write, nan where it is not known.
Decoders = Callable[[Sequence[int], Progress, threading.Event], NDArray[np.float32]]
# (n, n) how alike nodes are by when they are active, nan where it is not known.
Likeness = Callable[[Sequence[int], Progress, threading.Event], NDArray[np.float64]]
MOST_PATHS = 30
MOST_MEDIATORS = 20


@dataclass(frozen=True)
class Paths:
    """What lies between two nodes. `supernodes` are those of the circuit, with the share that passes through them."""

    connection: Connection
    strongest: tuple[Path, ...]
    mediators: tuple[Mediator, ...]
    supernodes: tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class Suggested:
    """What may be pinned or grouped next."""

    pins: tuple[PinSuggestion, ...] = ()
    groups: tuple[GroupSuggestion, ...] = ()


class PathWork:
    """Remembers the sorted edges of the last graph; touched by the engine's thread only."""

    def __init__(self) -> None:
        self._finder: PathFinder | None = None

    def find(
        self,
        graph: AttributionGraph,
        circuit: Circuit,
        source: int,
        target: int,
        progress: Progress,
        cancel: threading.Event,
    ) -> Paths:
        """The strongest paths and what lies on them; raises `RequestError` and `Cancelled`."""
        progress("Sorting edges", 0.0)
        if self._finder is None or self._finder.graph is not graph:
            self._finder = PathFinder(graph)
        finder = self._finder
        checkpoint(cancel)
        progress("Following paths", 0.5)
        connection = finder.connection(source, target)
        checkpoint(cancel)
        strongest = finder.strongest(source, target, MOST_PATHS)
        through = []
        for i, one in enumerate(circuit.supernodes):
            checkpoint(cancel)
            progress("Asking what lies between", 0.8 + 0.2 * i / len(circuit.supernodes))
            members = [node for node in circuit.members(one.id) if node not in (source, target)]
            share = finder.share_through(source, target, members) if members else 0.0
            if share > 0:
                through.append((one.id, share))
        return Paths(connection, strongest, connection.mediators(MOST_MEDIATORS), tuple(through))

    def forget(self) -> None:
        """Let go of the graph."""
        self._finder = None


def find_scores(
    graph: AttributionGraph, circuit: Circuit, progress: Progress, cancel: threading.Event
) -> CircuitScores:
    """Scores of the circuit and of its whole graph."""
    checkpoint(cancel)
    return circuit_scores(circuit, graph)


def suggest(
    graph: AttributionGraph,
    circuit: Circuit,
    refused: Collection[str],
    without_bos: bool,
    decoders: Decoders | None,
    examples: Likeness | None,
    progress: Progress,
    cancel: threading.Event,
) -> Suggested:
    """Pins, and groups among what is pinned or strong; raises `Cancelled`.

    `without_bos` leaves out what stands at the start token; `decoders` is there where the model is in memory,
    `examples` where an index is open.
    """
    hidden = graph.position == 0 if without_bos else None
    pins = suggest_pins(
        graph, circuit, refused=refused, hidden=hidden, progress=part(progress, 0.0, 0.5), cancel=cancel
    )
    nodes = candidates(graph, circuit, hidden=hidden)
    groups = suggest_groups(
        graph,
        nodes,
        labels=circuit.labels,
        decoders=None if decoders is None else decoders(nodes, part(progress, 0.5, 0.55), cancel),
        examples=None if examples is None else examples(nodes, part(progress, 0.55, 0.57), cancel),
        refused=refused,
        progress=part(progress, 0.57, 1.0),
        cancel=cancel,
    )
    return Suggested(pins, groups.groups)
