"""What a person is about to change: an experiment that was not run yet. Plain values, kept with the trace."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from engine.graphs import AttributionGraph, NodeKind
from engine.interventions.changes import Change, Kind, Settings, read_change

CHANGEABLE: dict[NodeKind, Kind] = {
    NodeKind.FEATURE: "feature",
    NodeKind.ERROR: "error",
    NodeKind.EMBEDDING: "embedding",
}
MOST_CONTROLS, MOST_TOKENS, MOST_SEEDS = 9999, 500, 32
# As many as a p below 0.01 needs, with some to spare.
USUAL_CONTROLS = 199
CONSTRAINED = Settings()


@dataclass(frozen=True)
class Draft:
    """Changes, what answers to them, and how much to measure. `sampled` 0: the continuation is greedy.

    `ablation`, `errors` and `other` say how circuits are tested, `share` and `method` how one is looked for.
    """

    changes: tuple[Change, ...] = ()
    settings: Settings = CONSTRAINED
    controls: int = USUAL_CONTROLS
    seed: int = 0
    tokens: int = 20
    sampled: int = 0
    temperature: float = 1.0
    ablation: str = "mean"
    errors: str = "kept"
    other: int = 0  # the trace of the counterfactual prompt
    share: float = 0.8
    method: str = "greedy"
    paraphrases: tuple[str, ...] = ()
    edge_controls: int = 0  # beside each source of a verification

    def plain(self) -> dict[str, Any]:
        """Plain JSON values: `read_draft` gives the same again."""
        return asdict(self)

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds of a sampled continuation."""
        return tuple(range(self.seed, self.seed + self.sampled))

    def with_changes(self, new: Sequence[Change]) -> Draft:
        """The same with changes added; a node that is changed already keeps its change."""
        there = {key_of(one) for one in self.changes}
        return replace(self, changes=(*self.changes, *(one for one in new if key_of(one) not in there)))


def read_draft(stored: Any) -> Draft:
    """The draft that `plain` wrote; an empty one for anything else."""
    try:
        layers = stored["settings"]["layers"]
        settings = Settings(**{**stored["settings"], "layers": None if layers is None else tuple(map(int, layers))})
        changes = tuple(read_change(one) for one in stored["changes"])
        paraphrases = tuple(str(one) for one in stored.get("paraphrases", ()))
        return Draft(**{**stored, "changes": changes, "settings": settings, "paraphrases": paraphrases})
    except (AttributeError, KeyError, TypeError, ValueError):
        return Draft()


def key_of(change: Change) -> tuple[str, int, int, int]:
    """Which node a change is about."""
    return change.kind, change.layer, change.position, change.index


def change_of(graph: AttributionGraph, node: int) -> Change | None:
    """The ablation of a node, to be edited; None for what cannot be changed: logits and bias nodes."""
    kind = CHANGEABLE.get(NodeKind(int(graph.kind[node])))
    if kind is None:
        return None
    layer, position = int(graph.layer[node]), int(graph.position[node])
    index = int(graph.feature[node]) if kind == "feature" else 0
    return Change(kind, layer, position, index, "ablate")


def head_change(graph: AttributionGraph, changes: Sequence[Change], node: int) -> Change:
    """The ablation of an attention head, which no node stands for: of a node's layer and token, or of the last token.

    The first head there that is not changed yet.
    """
    layer, position = (int(graph.layer[node]), int(graph.position[node])) if node >= 0 else (-1, -1)
    layer = min(max(layer, 0), graph.n_layers - 1)
    position = position if 0 <= position < len(graph.tokens) else len(graph.tokens) - 1
    there = {key_of(one) for one in changes}
    head = next(at for at in range(len(there) + 1) if ("head", layer, position, at) not in there)
    return Change("head", layer, position, head, "ablate")


def node_of(graph: AttributionGraph, kind: str, layer: int, position: int, index: int) -> int:
    """The node of a change or of a point of a plot; -1 where the graph has none."""
    if kind == "target":
        logits = graph.of_kind(NodeKind.LOGIT)
        found = logits[graph.feature[logits] == index] if index >= 0 else logits[:1]
    else:
        wanted = next((number for number, name in CHANGEABLE.items() if name == kind), None)
        if wanted is None:
            return -1
        nodes = graph.of_kind(wanted)
        same = graph.position[nodes] == position
        if wanted is not NodeKind.EMBEDDING:
            same &= graph.layer[nodes] == layer
        if wanted is NodeKind.FEATURE:
            same &= graph.feature[nodes] == index
        found = nodes[np.flatnonzero(same)]
    return int(found[0]) if len(found) else -1


def change_node(graph: AttributionGraph, change: Change) -> int:
    """The node a change is about; -1 where the graph has none."""
    return node_of(graph, change.kind, change.layer, change.position, change.index)
