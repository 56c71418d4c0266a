"""What a graph predicts for a change: how much each target moves when sources are scaled.

One sweep from the targets down, as in tracing, with the Jacobian of neurons in place of the form that divides their
values: edges into a neuron say where its value comes from, not how it changes. In the layers that a change leaves
free, the prediction also passes through the features (or neurons) themselves, to first order; where MLPs are clamped or
frozen it does not. Attention patterns and norm denominators are held throughout: that is the local replacement model.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.dictionaries.features import CrossLayerFeatures
from engine.progress import Progress, checkpoint, silent
from engine.tracing.frozen_model import FrozenModel
from engine.tracing.selection import forced_plan
from engine.tracing.targets import TargetSet

Array = NDArray[np.float64]
FeatureAt = tuple[int, int, int]

# Targets that are swept together.
BATCH = 128


@dataclass(frozen=True)
class Write:
    """A vector (d,) that is added to the residual stream: "embedding", or after a layer's "attention" or "mlp"."""

    place: str
    layer: int
    position: int
    vector: Tensor


def everywhere(layer: int) -> bool:
    """Predictions pass through every layer's features: nothing is clamped."""
    return True


def nowhere(layer: int) -> bool:
    """Predictions take direct paths only: MLPs are frozen, as in the graph's edges."""
    return False


def predicted_effects(
    model: FrozenModel,
    sources: Sequence[FeatureAt | Write],
    features: Sequence[FeatureAt],
    logits: TargetSet | None,
    *,
    through: Callable[[int], bool] = everywhere,
    progress: Progress = silent,
    cancel: threading.Event | None = None,
) -> Array:
    """(targets, sources): the change of each target for one more of each source.

    Targets are the active features `features` (their activation), then the rows of `logits` (their linear forms). One
    more of a feature is its activation doubled, so that the prediction for scaling it by m is (m - 1) times this; one
    more of a `Write` is its vector added once. `through(layer)` says whether paths pass through that layer's features.

    Raises `RequestError` for a feature that is not active, `Cancelled` between layers.
    """
    wanted = _numbers(model, features)
    n_logits = 0 if logits is None else len(logits.vectors)
    found = np.zeros((len(features) + n_logits, len(sources)))
    order = sorted(range(len(features)), key=lambda number: -features[number][0])
    rows = [*range(len(features), len(found)), *order]  # logits join first, then features from the top layer down
    with torch.no_grad():
        for start in range(0, len(rows), BATCH):
            some = rows[start : start + BATCH]
            share = start / max(len(rows), 1)
            progress("Predicting", share)
            one = _Prediction(model, sources, through, cancel)
            found[some] = one.run(_targets(model, some, features, wanted, logits))
    return found


@dataclass(frozen=True)
class _Targets:
    """n of them: what each reads (n, d), at which layer's MLP (the number of layers: after the last) and position."""

    vectors: Tensor
    layer: tuple[int, ...]
    position: tuple[int, ...]


def _targets(
    model: FrozenModel,
    rows: Sequence[int],
    features: Sequence[FeatureAt],
    wanted: dict[FeatureAt, int],
    logits: TargetSet | None,
) -> _Targets:
    vectors, layers, positions = [], [], []
    for row in rows:
        if row < len(features):
            layer, position, _ = features[row]
            number = torch.tensor([wanted[features[row]]], device=model.embedding.device)
            vectors.append(model.features[layer].jacobian_vectors(number)[0])
        else:
            assert logits is not None
            vectors.append(logits.vectors[row - len(features)])
            layer, position = model.n_layers if logits.layer is None else logits.layer, logits.position
        layers.append(layer)
        positions.append(position)
    return _Targets(torch.stack(vectors), tuple(layers), tuple(positions))


def _numbers(model: FrozenModel, features: Sequence[FeatureAt]) -> dict[FeatureAt, int]:
    """The number of each active feature among its layer's."""
    found = {}
    for layer, picked in enumerate(forced_plan(features, model.features).picked):
        here = model.features[layer]
        for number in picked.tolist():
            found[(layer, int(here.position[number]), int(here.feature[number]))] = number
    return found


class _Prediction:
    """One batch of targets on its way down."""

    def __init__(
        self,
        model: FrozenModel,
        sources: Sequence[FeatureAt | Write],
        through: Callable[[int], bool],
        cancel: threading.Event | None,
    ) -> None:
        self.model, self.through, self.cancel = model, through, cancel
        self.writes = _by_place(sources, model.embedding.device)
        named = [(column, one) for column, one in enumerate(sources) if not isinstance(one, Write)]
        numbers = _numbers(model, [one for _, one in named])
        self.columns: dict[int, list[int]] = {}
        self.picked: dict[int, Tensor] = {}
        for layer in {one[0] for _, one in named}:
            here = [(column, numbers[one]) for column, one in named if one[0] == layer]
            self.columns[layer] = [column for column, _ in here]
            self.picked[layer] = torch.tensor([number for _, number in here], device=model.embedding.device)
        self.n_sources = len(sources)

    def run(self, targets: _Targets) -> Array:
        model = self.model
        n, (n_positions, d) = len(targets.vectors), model.embedding.shape
        self.found = torch.zeros(n, self.n_sources, dtype=torch.float64)
        self.waiting: dict[int, Tensor] = {}
        gradient = targets.vectors.new_zeros(n_positions, n, d)
        gradient = _joined(gradient, targets, model.n_layers)
        for layer in range(model.n_layers - 1, -1, -1):
            checkpoint(self.cancel)
            attention = model.attention[layer]
            before_mlp = gradient + self._mlp(layer, gradient)
            if attention.parallel:
                self._written("attention", layer, gradient)
                gradient = _joined(before_mlp + attention.pull(gradient), targets, layer)
            else:
                before_mlp = _joined(before_mlp, targets, layer)
                self._written("attention", layer, before_mlp)
                gradient = before_mlp + attention.pull(before_mlp)
        self._written("embedding", -1, gradient)
        return self.found.numpy()

    def _mlp(self, layer: int, gradient: Tensor) -> Tensor:
        """What passes from behind the MLP to before it; the layer's own sources are read off on the way."""
        here, model = self.model.features[layer], self.model
        self._written("mlp", layer, gradient)
        passed = torch.zeros_like(gradient)
        model.gather_units(gradient, layer, self.waiting)
        picked = self.picked.get(layer)
        if layer in self.waiting:
            cross, units = cast(CrossLayerFeatures, here), self.waiting.pop(layer)
            if picked is not None:
                self._add(self.columns[layer], cross.contraction_from(units, picked).picked)
            if self.through(layer):
                passed = passed + cross.pull_units(units, gradient.shape[0])
        else:
            if picked is not None:
                self._add(self.columns[layer], here.contract(gradient, picked).picked)
            if self.through(layer):
                passed = passed + here.pull_jacobian(gradient)
        skip = here.pull_skip(gradient)
        return passed if skip is None else passed + skip

    def _written(self, place: str, layer: int, gradient: Tensor) -> None:
        here = self.writes.get((place, layer))
        if here is not None:
            columns, positions, vectors = here
            self._add(columns, (gradient[positions] * vectors[:, None].to(gradient)).sum(-1).T)

    def _add(self, columns: list[int], effects: Tensor) -> None:
        self.found[:, columns] += effects.double().cpu()


def _by_place(
    sources: Sequence[FeatureAt | Write], device: torch.device
) -> dict[tuple[str, int], tuple[list[int], Tensor, Tensor]]:
    """Of each place and layer: the columns, positions (k,) and vectors (k, d) of what is written there."""
    found: dict[tuple[str, int], list[tuple[int, Write]]] = {}
    for column, one in enumerate(sources):
        if isinstance(one, Write):
            found.setdefault((one.place, one.layer), []).append((column, one))
    return {
        key: (
            [column for column, _ in here],
            torch.tensor([one.position for _, one in here], device=device),
            torch.stack([one.vector for _, one in here]),
        )
        for key, here in found.items()
    }


def _joined(gradient: Tensor, targets: _Targets, layer: int) -> Tensor:
    """The gradient with the targets of this layer put in, each at its own position."""
    here = [number for number, one in enumerate(targets.layer) if one == layer]
    if not here:
        return gradient
    gradient = gradient.clone()
    for number in here:
        gradient[targets.position[number], number] += targets.vectors[number]
    return gradient
