"""The last recordings of one model, so that a prompt that begins as one of them does is not run again from its start.

A causal model computes the same at a position whatever follows it. Of a recorded prompt the common beginning is taken,
its keys and values are computed again from the recorded residual, and only the positions after it are run.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from engine.models.attention import project_keys_values
from engine.models.forward import BlockValues, KeyValueCache, run
from engine.models.norms import normalise
from engine.models.recording import (
    PATTERN_BYTES,
    FrozenNorm,
    LayerRecord,
    Recording,
    check_length,
    freeze_norm,
    layer_record,
    pattern_room,
    record,
)
from engine.models.weights import ModelWeights
from engine.progress import Progress, silent

MOST = 4  # recordings
MOST_BYTES = 512 << 20  # all of them together


class RecordingCache:
    """Recordings of one model, the last used kept, within a number and a size.

    It belongs to the model whose weights its recordings name, and goes with it. One thread at a time uses it, as it
    uses the model.
    """

    def __init__(self, most: int = MOST, most_bytes: int = MOST_BYTES) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._kept: list[Recording] = []  # the last used one last

    def __len__(self) -> int:
        return len(self._kept)

    def clear(self) -> None:
        """Forget everything."""
        self._kept.clear()

    def record(
        self,
        weights: ModelWeights,
        token_ids: Sequence[int],
        *,
        first_position: int = 0,
        progress: Progress = silent,
        cancel: threading.Event | None = None,
    ) -> Recording:
        """As `recording.record`, same values up to rounding and same errors, from what is kept where that helps."""
        ids = tuple(token_ids)
        check_length(weights, len(ids))
        known, common = self._nearest(weights, ids)
        if known is None:
            found = record(weights, ids, first_position=first_position, progress=progress, cancel=cancel)
        elif known.token_ids == ids:
            found = known if known.first_position == first_position else replace(known, first_position=first_position)
            self._kept = [one for one in self._kept if one is not known]
        else:
            found = _continued(weights, known, common, ids, progress, cancel)
            found = replace(found, first_position=first_position)
        self._keep(found)
        return found

    def _nearest(self, weights: ModelWeights, ids: tuple[int, ...]) -> tuple[Recording | None, int]:
        """The recording that shares the longest beginning with `ids`, and how long that is."""
        best, length = None, 0
        for recording in reversed(self._kept):
            common = _common(recording.token_ids, ids)
            if common == len(ids) < len(recording.token_ids):
                common -= 1  # what runs anew gives the whole its shapes: at least one position does
            if common > length and _same_turns(weights, len(recording.token_ids), len(ids)):
                best, length = recording, common
        return best, length

    def _keep(self, recording: Recording) -> None:
        self._kept.append(recording)
        while self._kept and (len(self._kept) > self._most or sum(map(size, self._kept)) > self._most_bytes):
            del self._kept[0]


def size(recording: Recording) -> int:
    """Bytes that a recording holds, tensors that two layers share counted once."""
    tensors: dict[int, Tensor] = {}
    for layer in recording.layers:
        norms = (layer.attention_norm, layer.attention_post_norm, layer.mlp_norm, layer.mlp_post_norm)
        own = [layer.pre, layer.mid, layer.mlp_input, layer.mlp_output, layer.kept_pattern]
        for tensor in own + [norm.scale for norm in norms if norm is not None]:
            if tensor is not None:
                tensors[tensor.data_ptr()] = tensor
    return sum(tensor.untyped_storage().nbytes() for tensor in tensors.values())


def _continued(
    weights: ModelWeights,
    known: Recording,
    common: int,
    ids: tuple[int, ...],
    progress: Progress,
    cancel: threading.Event | None,
) -> Recording:
    """The recording of `ids`, whose first `common` positions are those of `known`."""
    cache, layers = KeyValueCache(weights.n_layers), list[LayerRecord]()
    fits = pattern_room(weights, len(ids)) <= PATTERN_BYTES

    def join(number: int, values: BlockValues) -> None:
        layers.append(_joined(_until(known.layers[number], common), layer_record(weights.layers[number], values)))
        progress("Running the model", len(layers) / weights.n_layers)

    with torch.no_grad():
        for layer, held, before in zip(weights.layers, cache.layers, known.layers, strict=True):
            read = normalise(layer.attention_norm, before.pre[None, :common]).to(weights.dtype)
            held.extend(*project_keys_values(layer.attention, read, 0))
        after = torch.tensor([ids[common:]], device=weights.device)
        rest = run(weights, after, cache=cache, keep_patterns=fits, each=join, cancel=cancel)[0]
        final = torch.cat([known.final[:common], rest])
        return Recording(ids, tuple(layers), final, freeze_norm(weights.final_norm, final), 0)


def _until(layer: LayerRecord, n: int) -> LayerRecord:
    """The first `n` positions of a layer."""
    return replace(
        layer,
        pre=layer.pre[:n],
        mid=layer.mid[:n],
        attention_norm=_norm_until(layer.attention_norm, n),
        attention_post_norm=None if layer.attention_post_norm is None else _norm_until(layer.attention_post_norm, n),
        mlp_norm=_norm_until(layer.mlp_norm, n),
        mlp_input=layer.mlp_input[:n],
        mlp_output=layer.mlp_output[:n],
        mlp_post_norm=None if layer.mlp_post_norm is None else _norm_until(layer.mlp_post_norm, n),
        kept_pattern=None if layer.kept_pattern is None else layer.kept_pattern[:, :n, :n],
    )


def _norm_until(norm: FrozenNorm, n: int) -> FrozenNorm:
    return replace(norm, scale=norm.scale[:n])


def _joined(first: LayerRecord, rest: LayerRecord) -> LayerRecord:
    """A layer from its first positions and the others; `rest` holds the pattern's other rows, over all keys."""
    pattern = None
    if rest.kept_pattern is not None:
        n = len(first.pre)
        pattern = rest.kept_pattern.new_zeros(len(rest.kept_pattern), *2 * rest.kept_pattern.shape[2:])
        pattern[:, :n, :n], pattern[:, n:] = first.pattern, rest.kept_pattern
    return replace(
        rest,
        pre=torch.cat([first.pre, rest.pre]),
        mid=torch.cat([first.mid, rest.mid]),
        attention_norm=_norm_joined(first.attention_norm, rest.attention_norm),
        attention_post_norm=_post_joined(first.attention_post_norm, rest.attention_post_norm),
        mlp_norm=_norm_joined(first.mlp_norm, rest.mlp_norm),
        mlp_input=torch.cat([first.mlp_input, rest.mlp_input]),
        mlp_output=torch.cat([first.mlp_output, rest.mlp_output]),
        mlp_post_norm=_post_joined(first.mlp_post_norm, rest.mlp_post_norm),
        kept_pattern=pattern,
    )


def _norm_joined(first: FrozenNorm, rest: FrozenNorm) -> FrozenNorm:
    return replace(first, scale=torch.cat([first.scale, rest.scale]))


def _post_joined(first: FrozenNorm | None, rest: FrozenNorm | None) -> FrozenNorm | None:
    return None if first is None or rest is None else _norm_joined(first, rest)


def _common(one: tuple[int, ...], other: tuple[int, ...]) -> int:
    for place, (a, b) in enumerate(zip(one, other, strict=False)):
        if a != b:
            return place
    return min(len(one), len(other))


def _same_turns(weights: ModelWeights, one: int, other: int) -> bool:
    """Whether runs of these lengths turn positions alike: LongRoPE turns all positions of longer runs otherwise."""
    rotary = (layer.attention.rotary for layer in weights.layers)
    limits = [found.beyond[0] for found in rotary if found is not None and found.beyond is not None]
    return one == other or max(one, other) <= min(limits, default=one + other)
