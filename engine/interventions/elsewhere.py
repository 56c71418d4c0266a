"""Values that the same node has at a position of another prompt, for swaps."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from engine.dictionaries.features import Features
from engine.interventions.changes import Change, Elsewhere
from engine.interventions.heads import recorded_heads
from engine.interventions.sites import recorded_reading, sites_of
from engine.models.recording import Recording
from engine.models.weights import ModelWeights

# Records a prompt of these tokens.
Record = Callable[[Sequence[int]], Recording]


class Others:
    """The other prompts of some changes, each run once, when it is first asked for."""

    def __init__(
        self, weights: ModelWeights, features: Features, record: Record, cancel: threading.Event | None = None
    ) -> None:
        self._weights, self._features, self._record, self._cancel = weights, features, record, cancel
        self._recordings: dict[tuple[int, ...], Recording] = {}
        self._errors: dict[tuple[int, ...], dict[int, Tensor | None]] = {}

    def feature(self, change: Change) -> float:
        """The value that a feature is given: `value` itself, or as many times its activation elsewhere."""
        if change.source is None:
            return change.value
        recording, source = self._recording(change.source), change.source
        site = sites_of(self._features, self._weights, recording)[change.layer]
        assert site is not None
        reading = recorded_reading(site, recording, change.layer)
        device = self._weights.device
        run, position, feature = torch.tensor([[0], [source.position], [change.index]], device=device)
        linear = site.linear(reading, run, position, feature)
        return change.value * float(linear * site.active(reading, run, position, feature, linear))

    def vector(self, change: Change) -> Tensor:
        """(d,) an error's or an embedding's vector elsewhere."""
        assert change.source is not None
        recording, position = self._recording(change.source), change.source.position
        if change.kind == "embedding":
            first, embedded = recording.layers[0].pre[position], self._weights.position_embedding
            return first if embedded is None else first - embedded[position].to(first.dtype)
        error = self._error(change.source, change.layer)
        return recording.layers[0].pre.new_zeros(self._weights.d_model) if error is None else error[position]

    def head(self, change: Change) -> Tensor:
        """(h,) what a head puts out elsewhere."""
        assert change.source is not None
        attention = self._weights.layers[change.layer].attention
        record = self._recording(change.source).layers[change.layer]
        return recorded_heads(attention, record)[change.source.position, change.index]

    def _recording(self, source: Elsewhere) -> Recording:
        if source.token_ids not in self._recordings:
            self._recordings[source.token_ids] = self._record(source.token_ids)
        return self._recordings[source.token_ids]

    def _error(self, source: Elsewhere, layer: int) -> Tensor | None:
        if source.token_ids not in self._errors:
            layers = self._features.read(self._recording(source), cancel=self._cancel)
            self._errors[source.token_ids] = {number: one.error for number, one in enumerate(layers)}
        return self._errors[source.token_ids][layer]
