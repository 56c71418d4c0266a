"""What every feature of a layer does at every token of a batch: neurons as the forward pass has them, or encoders.

Shapes: B contexts, T tokens, n features of a layer.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from engine.dictionaries.matrices import in_memory
from engine.dictionaries.transcoder_set import TranscoderFeatures
from engine.dictionaries.transcoders import Transcoder, read_at

if TYPE_CHECKING:
    from engine.dictionaries.features import Features
    from engine.models.forward import BlockValues
    from engine.models.weights import ModelWeights

# Numbers of one piece: activations of a piece take at most 128 MB in float32.
PIECE_NUMBERS = 1 << 25


class ActivationReader:
    """Gives activations layer by layer while the model runs."""

    def __init__(self, features: Features, weights: ModelWeights) -> None:
        self._features = features if isinstance(features, TranscoderFeatures) else None
        self._weights = weights
        # Neurons mean something on either side of zero; transcoders are never below it.
        self.sides = 1 if self._features is not None else 2

    def width(self, layer: int) -> int:
        """Number of features of a layer; 0 where the dictionary has none."""
        if self._features is None:
            return self._weights.layers[layer].mlp.width
        transcoder = self._features.transcoders[layer]
        return 0 if transcoder is None else transcoder.width

    def read(self, layer: int, values: BlockValues, first: int = 0) -> Iterator[tuple[slice, Tensor]]:
        """Pieces of the batch: which contexts, and (b, T - first, n), from position `first` on."""
        if self._features is None:
            for part in _parts(values.neurons.shape[0], values.neurons[0, first:].numel()):
                yield part, values.neurons[part, first:]
            return
        transcoder = self._features.transcoders[layer]
        if transcoder is None:
            return
        norm = self._weights.layers[layer].mlp_norm
        shift = None if norm is None else norm.shift
        x = read_at(values.mid, values.mlp_input, shift, self._features.gains[layer], transcoder.reads)
        encoder = in_memory(transcoder.w_enc).to(x.dtype).T
        for part in _parts(x.shape[0], x.shape[1] * transcoder.width):
            pre = x[part] @ encoder + transcoder.b_enc.to(x.dtype)
            yield part, _gated(transcoder, pre)[:, first:]


def _gated(transcoder: Transcoder, pre: Tensor) -> Tensor:
    """(b, T, n) with what is not active set to zero; a choice among a whole prompt's values is a context's own."""
    if transcoder.top_k is None:
        gate = transcoder.gate(pre)
    elif transcoder.choice == "prompt":
        gate = torch.stack([transcoder.gate(one) for one in pre])
    else:
        gate = transcoder.gate(pre.flatten(0, 1)).view_as(pre)
    return pre.mul_(gate)


def _parts(count: int, each: int) -> Iterator[slice]:
    step = max(1, PIECE_NUMBERS // max(each, 1))
    for start in range(0, count, step):
        yield slice(start, min(start + step, count))
