"""Two rivals that a dictionary must beat, measured as it is: a linear map alone, and the MLP's own strongest neurons.

Neither has a feature that was trained. The neurons get as many a position as the dictionary has features active there
on average, the strongest by what they write, and a constant for those left out.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.models.forward import embed, run_block
from engine.models.mlp import neurons
from engine.models.weights import LayerWeights, ModelWeights
from engine.progress import Progress, checkpoint, silent
from engine.training.activations import ActivationBuffer, branch_of
from engine.training.measuring import Baseline, fvu, share_recovered
from engine.training.splicing import Writer, cross_entropy, next_token_losses, nothing
from engine.training.start import ridge
from engine.training.text import Pieces

# Positions that linear maps and the neurons' constants are fitted on.
FITTED_ON = 32_768
_ROWS = 4096


@dataclass(frozen=True)
class Linear:
    """y ~ W x + b of one layer."""

    weight: Tensor  # (d, d)
    bias: Tensor  # (d,)

    def __call__(self, x: Tensor) -> Tensor:
        """(..., d) for inputs (..., d)."""
        return x @ self.weight.to(x.dtype).T + self.bias.to(x.dtype)


@dataclass(frozen=True)
class StrongestNeurons:
    """The k neurons of a layer that write most at each position, and a constant for the others."""

    layer: LayerWeights
    k: int
    constant: Tensor  # (d,)

    def __call__(self, x: Tensor) -> Tensor:
        """(..., d) for inputs (..., d)."""
        mlp = self.layer.mlp
        hidden = neurons(mlp, x.to(mlp.w_down.dtype)).float()
        down = _down(self.layer)
        strength = hidden.abs() * down.norm(dim=-1)
        kept = strength.topk(min(self.k, strength.shape[-1]), dim=-1).indices
        sparse = torch.zeros_like(hidden).scatter_(-1, kept, hidden.gather(-1, kept))
        return (sparse @ down + self.constant).to(x.dtype)


def fit_linear(x: Tensor, y: Tensor) -> Linear:
    """The ridge solution on recorded inputs and outputs (T, d)."""
    weight = ridge(x - x.mean(0), y - y.mean(0))
    return Linear(weight, y.mean(0) - weight @ x.mean(0))


def strongest_neurons(layer: LayerWeights, k: int, x: Tensor, y: Tensor) -> StrongestNeurons:
    """That rival for recorded inputs and outputs (T, d), `k` at least 1."""
    bare = StrongestNeurons(layer, max(k, 1), torch.zeros_like(y[0]))
    some = slice(0, _ROWS)
    return StrongestNeurons(layer, max(k, 1), (y[some] - bare(x[some])).mean(0))


def _down(layer: LayerWeights) -> Tensor:
    """(m, d) what a neuron writes; behind a post-norm its own gain, as far as that is linear."""
    down = layer.mlp.w_down.float().T
    return down if layer.mlp_post_norm is None else down * layer.mlp_post_norm.gain.float()


@dataclass(frozen=True)
class Rivals:
    """Both rivals for every layer, and their FVU on held-out positions."""

    linear: list[Linear]
    neurons: list[StrongestNeurons]
    linear_fvu: list[float]
    neurons_fvu: list[float]


def fit_rivals(
    weights: ModelWeights,
    recorded: ActivationBuffer,
    held_out: ActivationBuffer,
    l0: Sequence[float],
    progress: Progress = silent,
    cancel: threading.Event | None = None,
) -> Rivals:
    """Fit on what was trained on, measure on what was held out; `l0` is each layer's of the dictionary."""
    found = Rivals([], [], [], [])
    with torch.no_grad():
        for number, layer in enumerate(weights.layers):
            checkpoint(cancel)
            progress("Fitting rivals", number / weights.n_layers)
            x, y = (one.float() for one in recorded.rows(number, slice(0, min(recorded.filled, FITTED_ON))))
            found.linear.append(fit_linear(x, y))
            found.neurons.append(strongest_neurons(layer, round(l0[number]), x, y))
            x, y = (one.float() for one in held_out.rows(number, slice(0, held_out.filled)))
            found.linear_fvu.append(fvu(y, found.linear[-1](x)))
            found.neurons_fvu.append(fvu(y, found.neurons[-1](x)))
    return found


def writer_of(rivals: Sequence[Linear] | Sequence[StrongestNeurons]) -> Writer:
    """A rival in place of every MLP."""
    return lambda layer, x, _: rivals[layer](x)


def recovered_by_layer(
    weights: ModelWeights,
    pieces: Pieces,
    writers: dict[str, Writer],
    progress: Progress = silent,
    cancel: threading.Event | None = None,
) -> dict[str, list[float]]:
    """CE recovered with one layer's MLP replaced and all others the model's own, for each writer and layer.

    Each writer is given the model's own inputs, so that a layer is judged by itself.
    """
    everyone = {"zero": nothing, **writers}
    sums = {name: torch.zeros(weights.n_layers, dtype=torch.float64) for name in everyone}
    clean = 0.0
    for at in range(0, len(pieces), 8):
        batch = pieces.take(slice(at, at + 8))
        ids = batch.ids[:, : int(batch.length.max())].to(weights.device)
        with torch.no_grad():
            x = embed(weights, ids)
            starts: list[dict[str, Tensor]] = []
            for number, layer in enumerate(weights.layers):
                values = run_block(layer, x, cancel=cancel)
                branch = branch_of(weights, number, values)
                changed = {}
                for name, writer in everyone.items():
                    change = writer(number, values.mlp_input, branch) - branch
                    change[:, : batch.first] = 0
                    changed[name] = values.post + change
                starts.append(changed)
                x = values.post
            clean += next_token_losses(weights, x, ids, batch)[0]
            for number, changed in enumerate(starts):
                progress("Measuring layer by layer", (at + 8 * number / weights.n_layers) / max(len(pieces), 1))
                for name, start in changed.items():
                    x = start
                    for layer in weights.layers[number + 1 :]:
                        checkpoint(cancel)
                        x = run_block(layer, x, cancel=cancel).post
                    sums[name][number] += next_token_losses(weights, x, ids, batch)[0]
    zero = sums["zero"].tolist()
    return {
        name: [share_recovered(clean, z, one) for z, one in zip(zero, sums[name].tolist(), strict=True)]
        for name in writers
    }


def recovered_together(
    weights: ModelWeights, base: Baseline, writers: dict[str, Writer], cancel: threading.Event | None
) -> dict[str, float]:
    """CE recovered with every MLP replaced at once, for each writer."""
    return {
        name: base.recovered(cross_entropy(weights, base.pieces, one, cancel=cancel)) for name, one in writers.items()
    }
