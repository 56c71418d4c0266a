"""From scaled units back to the model's: a trained layer as the transcoder that is stored and opened.

Means and scales are folded into weights and biases. With thresholds, decoder rows get unit length and the activation
takes their size, so that activations of different features can be compared: it is how much a feature writes. TopK
would choose otherwise then, so there sizes stay.
"""

from __future__ import annotations

import torch
from torch import Tensor

from engine.dictionaries.transcoders import Transcoder
from engine.training.group import Layer, LayerGroup


def transcoders_of(groups: list[LayerGroup]) -> list[Transcoder]:
    """A transcoder for each layer, in float32: JumpReLU once a threshold chooses, TopK before."""
    with torch.no_grad():
        return [_folded(group, at) for group in groups for at in range(len(group.layers))]


def _folded(group: LayerGroup, at: int) -> Transcoder:
    layer, scales = group.layers[at], group.layers[at].scales
    written = torch.stack(
        [rows * group.layers[at + place].scales.y_scale for place, rows in enumerate(layer.w_dec)], dim=1
    )  # (n, W, d)
    size = written.flatten(1).norm(dim=-1).clamp_min(1e-12) if layer.threshold else written.new_ones(len(written))
    w_enc = layer.w_enc * (size / scales.x_scale)[:, None]
    b_enc = layer.b_enc * size - w_enc @ scales.x_mean
    w_dec = written / size[:, None, None]
    b_dec = layer.b_dec * scales.y_scale + scales.y_mean
    w_skip = None
    if layer.w_skip is not None:
        w_skip = layer.w_skip * (scales.y_scale / scales.x_scale)
        b_dec = b_dec - w_skip @ scales.x_mean
    return Transcoder(
        w_enc=w_enc,
        b_enc=b_enc,
        w_dec=w_dec[:, 0].contiguous() if _is_alone(group, layer) else w_dec,
        b_dec=b_dec,
        threshold=_thresholds(layer, size),
        top_k=None if layer.threshold else group.settings.k,
        w_skip=w_skip,
    )


def _is_alone(group: LayerGroup, layer: Layer) -> bool:
    return len(layer.w_dec) == 1 and not group.settings.cross_layer


def _thresholds(layer: Layer, size: Tensor) -> Tensor | None:
    """(n,) the layer's one threshold in each feature's own units."""
    return layer.threshold * size if layer.threshold else None
