"""What features write into the residual stream: their decoder vectors, norm denominators left out."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.dictionaries.matrices import take_rows
from engine.dictionaries.transcoder_set import TranscoderFeatures
from engine.errors import RequestError
from engine.progress import Progress, checkpoint, silent

if TYPE_CHECKING:
    from engine.dictionaries.features import Features
    from engine.models.language_model import LanguageModel


def decoder_vectors(model: LanguageModel, features: Features, layer: int, numbers: Sequence[int]) -> Tensor:
    """(n, d) what a unit of each feature of one layer writes, through the post-norm's gain.

    A cross-layer feature's is the sum over the layers it writes to. Raises `RequestError` for what is not there.
    """
    if not 0 <= layer < model.weights.n_layers:
        raise RequestError(f"There is no layer {layer}; the model's layers are 0 to {model.weights.n_layers - 1}.")
    here, index = model.weights.layers[layer], torch.tensor(list(numbers), dtype=torch.int64)
    if isinstance(features, TranscoderFeatures):
        transcoder = features.transcoders[layer]
        width = 0 if transcoder is None else transcoder.width
        if transcoder is None or (bad := _outside(index, width)) is not None:
            missing = int(index[0]) if transcoder is None else bad
            raise RequestError(f"Layer {layer} has no feature {missing} in this dictionary.")
        written = take_rows(transcoder.w_dec, index)  # (n, d) or (n, layers written, d)
        inside = transcoder.writes == "mlp_output"
        vectors = written if written.ndim == 3 else written[:, None]
    else:
        bad = _outside(index, here.mlp.width)
        if bad is not None:
            raise RequestError(f"Layer {layer} has no neuron {bad}; it has 0 to {here.mlp.width - 1}.")
        vectors, inside = here.mlp.w_down[:, index.to(here.mlp.w_down.device)].T[:, None], True
    total = torch.zeros_like(vectors[:, 0], dtype=torch.promote_types(vectors.dtype, torch.float32))
    for offset, at in zip(range(vectors.shape[1]), model.weights.layers[layer:], strict=False):
        vector, post = vectors[:, offset], at.mlp_post_norm if inside else None
        total = total + (vector if post is None else vector * post.gain.to(vector.dtype))
    return total


def unit_decoders(
    model: LanguageModel,
    features: Features,
    layer: NDArray[np.int32],
    feature: NDArray[np.int32],
    progress: Progress = silent,
    cancel: threading.Event | None = None,
) -> NDArray[np.float32]:
    """(n, d) the directions that features write in, length 1; `layer` and `feature` (n,) say which."""
    found = np.zeros((len(layer), model.weights.d_model), dtype=np.float32)
    layers = np.unique(layer)
    with torch.no_grad():
        for done, one in enumerate(layers.tolist()):
            checkpoint(cancel)
            progress(f"Reading decoders of layer {one}", done / len(layers))
            rows = np.flatnonzero(layer == one)
            vectors = decoder_vectors(model, features, one, feature[rows].tolist())
            found[rows] = torch.nn.functional.normalize(vectors.float(), dim=1).cpu().numpy()
    return found


def _outside(index: Tensor, width: int) -> int | None:
    """The first number that is no feature, or None."""
    bad = index[(index < 0) | (index >= width)]
    return int(bad[0]) if len(bad) else None
