"""What the tracer asks of a source of features, whatever it is: neurons, per-layer or cross-layer transcoders.

Layout of gradients everywhere in the tracer: (T', n, d), positions first, so that a cut to the first positions and one
position's rows are both contiguous. n counts targets swept together.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from engine.models.recording import Recording
from engine.progress import Progress, silent


@dataclass(frozen=True)
class Contraction:
    """A layer's direct effects on n targets: those asked for, and sums over every single feature."""

    picked: Tensor  # (n, k)
    signed: Tensor  # (n,) float64
    absolute: Tensor  # (n,) float64


class LayerFeatures(Protocol):
    """The active features of one layer on one recorded prompt, S of them, sorted by (position, feature)."""

    @property
    def position(self) -> Tensor:
        """(S,) int64."""

    @property
    def feature(self) -> Tensor:
        """(S,) int64, the feature's number within its layer."""

    @property
    def activation(self) -> Tensor:
        """(S,) what the feature's decoder vector is multiplied by."""

    @property
    def write_layers(self) -> range:
        """The layers these features write to, their own first; neurons and per-layer transcoders only theirs."""

    @property
    def error(self) -> Tensor | None:
        """(T, d) what the MLP writes that the features, biases and skip do not explain; None where nothing is left."""

    @property
    def bias(self) -> Tensor | None:
        """(T, d) what is written after this layer's MLP by biases and by positions whose features are left out."""

    @property
    def has_skip(self) -> bool:
        """Whether a linear bypass of the MLP is passed on the way down (`pull_skip`)."""

    @property
    def can_list(self) -> bool:
        """Whether `written_rows` may be asked: not of too many features, or of such as write at several layers."""

    def written_rows(self, some: slice) -> Tensor:
        """(k, d) what these active features write."""

    def edges(self, gradient: Tensor) -> Tensor:
        """Direct effects (n, S') of the features at the first T' positions, for gradients (T', n, d) after the MLP."""

    def contract(self, gradient: Tensor, pick: Tensor) -> Contraction:
        """What `edges` gives, summed over all features of the first T' positions, and the k features `pick` alone."""

    def read_vectors(self, index: Tensor) -> Tensor:
        """(k, d) the direction each feature reads, in the residual stream before the MLP's norm."""

    def jacobian_vectors(self, index: Tensor) -> Tensor:
        """(k, d) the slope of each feature's activation there: what predicts a change, norm scales held."""

    def values(self, index: Tensor) -> Tensor:
        """(k,) each feature's linear form at the recorded residual: pre-activation, or a neuron's value."""

    def own_bias(self, index: Tensor) -> Tensor:
        """(k,) the constant part of each linear form: encoder bias, and the norm's shift read through the encoder."""

    def pull_skip(self, gradient: Tensor) -> Tensor | None:
        """Pull (T', n, d) back through a linear bypass of the MLP to the residual before it; None without one."""

    def pull_features(self, gradient: Tensor) -> Tensor:
        """Pull (T', n, d) back through the features themselves, their gates held: only the relevance pass does so."""

    def pull_jacobian(self, gradient: Tensor) -> Tensor:
        """The same (T', n, d) as features answer a small change: predictions of an intervention go this way."""


class CrossLayerFeatures(LayerFeatures, Protocol):
    """Features that write at several layers: what each write does is gathered, and finished at their own layer."""

    def units(self, gradient: Tensor, layer: int) -> Tensor:
        """(n, S') effect of one unit of each feature through what it writes at `layer`, for gradients after it."""

    def edges_from(self, units: Tensor) -> Tensor:
        """(n, S') direct effects, given the effects of units summed over all layers written."""

    def contraction_from(self, units: Tensor, pick: Tensor) -> Contraction:
        """The same, summed over all features, and the picked ones."""

    def pull_units(self, units: Tensor, n_positions: int) -> Tensor:
        """(T', n, d) before the MLP: effects of units (n, S') through the features, their gates held."""


class Features(Protocol):
    """A dictionary for every layer of one model."""

    name: str
    # "neurons" or "transcoders": decides what is influence and which scores apply.
    kind: str
    fingerprint: str

    @property
    def has_errors(self) -> bool:
        """Whether the features leave something unexplained, so that replacement and completeness apply."""

    def read(
        self, recording: Recording, progress: Progress = silent, cancel: threading.Event | None = None
    ) -> Sequence[LayerFeatures]:
        """The active features of every layer."""
