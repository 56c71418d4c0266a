"""Which features become nodes: a forced list, the most relevant neurons, or an exact top-down budget.

Budget (transcoders): candidates are ranked by relevance, which gives every layer its quota. Then layers are taken from
the top: when one is reached every consumer's row is complete, so the influence of its features is exact; the quota's
strongest are expanded and what a layer does not use is passed to the next below.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.dictionaries.features import LayerFeatures
from engine.errors import RequestError
from engine.tracing.relevance import Relevance

# Candidates beyond the budget keep a column until selection is done; the rest of a row is only summed.
CANDIDATES_PER_NODE = 8
CANDIDATE_BYTES = 256 * 2**20


@dataclass(frozen=True)
class Plan:
    """Candidates of each layer by number, and how many of each layer may be expanded (None: all of them)."""

    picked: tuple[Tensor, ...]
    quota: tuple[int, ...] | None


def forced_plan(nodes: Sequence[tuple[int, int, int]], layers: Sequence[LayerFeatures]) -> Plan:
    """Exactly the nodes of a list of (layer, position, feature); `RequestError` for one that is not active."""
    wanted: list[list[int]] = [[] for _ in layers]
    lookups: dict[int, dict[tuple[int, int], int]] = {}
    for layer, position, feature in dict.fromkeys(nodes):
        if not 0 <= layer < len(layers):
            raise RequestError(f"There is no layer {layer}: this model's layers are 0 to {len(layers) - 1}.")
        if layer not in lookups:
            here = layers[layer]
            pairs = zip(here.position.tolist(), here.feature.tolist(), strict=True)
            lookups[layer] = {pair: number for number, pair in enumerate(pairs)}
        number = lookups[layer].get((position, feature))
        if number is None:
            raise RequestError(
                f"Feature {feature} of layer {layer} is not active at position {position} of this prompt; leave it out "
                "or use the prompt that it was named for."
            )
        wanted[layer].append(number)
    device = layers[0].position.device
    return Plan(tuple(torch.tensor(sorted(numbers), dtype=torch.long, device=device) for numbers in wanted), None)


def relevance_plan(relevance: Relevance, budget: int) -> Plan:
    """The `budget` most relevant features of all layers together."""
    return Plan(_strongest(relevance.features, budget), None)


def budget_plan(relevance: Relevance, budget: int) -> Plan:
    """Candidates and quotas for the exact top-down selection."""
    columns = max(CANDIDATES_PER_NODE * budget, CANDIDATE_BYTES // (4 * max(budget, 1)))
    quota = tuple(len(numbers) for numbers in _strongest(relevance.features, budget))
    return Plan(_strongest(relevance.features, columns), quota)


def _strongest(scores: Sequence[Tensor], count: int) -> tuple[Tensor, ...]:
    """Numbers of the `count` largest scores over all layers, for each layer sorted; zeros never."""
    every = torch.cat(list(scores))
    if count <= 0:
        return tuple(torch.zeros(0, dtype=torch.long, device=every.device) for _ in scores)
    chosen = torch.zeros(len(every), dtype=torch.bool, device=every.device)
    if len(every):
        chosen[every.topk(min(count, len(every))).indices] = True
    chosen &= every > 0
    masks = torch.split(chosen, [len(one) for one in scores])
    return tuple(mask.nonzero()[:, 0] for mask in masks)
