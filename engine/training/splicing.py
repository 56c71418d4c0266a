"""The model run with its MLPs replaced, and the cross-entropy that is left: how much of what MLPs do is kept.

CE recovered = (CE_zero - CE_spliced) / (CE_zero - CE_clean): 1 where replacing loses nothing, 0 where it is no better
than writing nothing. Positions before `first` keep what the model itself writes there, as in a graph.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from engine.dictionaries.matrices import in_memory
from engine.dictionaries.transcoders import Transcoder
from engine.models.forward import embed, run_block, unembed
from engine.models.weights import ModelWeights
from engine.progress import checkpoint
from engine.training.activations import branch_of
from engine.training.text import Pieces

# What is written at a layer instead: given the layer, what its MLP reads and its branch writes, (B, T, d) each.
Writer = Callable[[int, Tensor, Tensor], Tensor]
# Rows whose logits are computed at once.
_LOGIT_ROWS = 512


class SetWriter:
    """What a set of transcoders writes, layer by layer in one run; cross-layer features are remembered on the way."""

    def __init__(self, transcoders: Sequence[Transcoder]) -> None:
        self._transcoders = transcoders
        self._active: dict[int, Tensor] = {}

    def __call__(self, layer: int, x: Tensor, _: Tensor) -> Tensor:
        """(B, T, d) in place of what the MLP's branch writes."""
        if layer == 0:
            self._active.clear()
        here = self._transcoders[layer]
        flat = x.flatten(0, 1)
        self._active[layer] = here.activations(flat)
        total = here.b_dec.to(x.dtype) + (0 if here.w_skip is None else flat @ here.w_skip.to(x.dtype).T)
        for source, values in list(self._active.items()):
            writer = self._transcoders[source]
            if layer >= source + writer.layers_written:
                continue
            decoder = in_memory(writer.w_dec).to(x.dtype)
            total = total + values @ (decoder if decoder.ndim == 2 else decoder[:, layer - source])
        if here.layers_written == 1:
            del self._active[layer]
        return total.view_as(x)


def nothing(_: int, x: Tensor, __: Tensor) -> Tensor:
    """Zero: no MLP at all."""
    return torch.zeros_like(x)


def cross_entropy(
    weights: ModelWeights,
    pieces: Pieces,
    writer: Writer | None = None,
    layers: Sequence[int] | None = None,
    cancel: threading.Event | None = None,
) -> float:
    """Mean cross-entropy in nats of the next token over the pieces, with `writer` in place of some layers' MLPs.

    All layers where `layers` is None; nothing is replaced without a writer.
    """
    replaced = set(range(weights.n_layers) if layers is None else layers) if writer is not None else set()
    total, count = 0.0, 0
    for at in range(0, len(pieces), 8):
        batch = pieces.take(slice(at, at + 8))
        ids = batch.ids[:, : int(batch.length.max())].to(weights.device)
        with torch.no_grad():
            x = embed(weights, ids)
            for number, layer in enumerate(weights.layers):
                checkpoint(cancel)
                values = run_block(layer, x, cancel=cancel)
                x = values.post
                if number in replaced and writer is not None:
                    branch = branch_of(weights, number, values)
                    change = writer(number, values.mlp_input, branch) - branch
                    change[:, : batch.first] = 0
                    x = x + change
            one, more = next_token_losses(weights, x, ids, batch)
        total, count = total + one, count + more
    return total / max(count, 1)


def next_token_losses(weights: ModelWeights, x: Tensor, ids: Tensor, batch: Pieces) -> tuple[float, int]:
    """The sum of -log p of every next token after a trained position, and how many they are."""
    place = torch.arange(ids.shape[1] - 1, device=ids.device)
    mask = (place >= batch.first) & (place < batch.length.to(ids.device)[:, None] - 1)
    rows, targets = x[:, :-1][mask], ids[:, 1:][mask]
    total = 0.0
    for at in range(0, len(rows), _LOGIT_ROWS):
        some = slice(at, at + _LOGIT_ROWS)
        total += float(functional.cross_entropy(unembed(weights, rows[some]), targets[some], reduction="sum"))
    return total, len(rows)
