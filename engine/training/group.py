"""Layers that are trained together: one layer of per-layer transcoders, or all layers of a cross-layer one.

First TopK chooses a position's k largest pre-activations. In the last part, while the learning rate falls, one
threshold a layer does, moved so that k are active on average: what is exported then is what was trained. Gradients are
written out; a test holds them against autograd.

Shapes: B positions, d width, n features, S active features. Everything is in the scaled units of start.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from engine.training.quantising import trained_as
from engine.training.settings import TrainSettings
from engine.training.sparse_code import SparseCode
from engine.training.start import LayerStart, Scales

# How far the threshold moves in a step for each share that too many or too few features are active.
_THRESHOLD_GAIN = 0.05


@dataclass
class Layer:
    """One layer's parameters, and what is counted about its features."""

    scales: Scales
    w_enc: nn.Parameter  # (n, d)
    b_enc: nn.Parameter  # (n,)
    w_dec: list[nn.Parameter]  # (n, d) for each layer written, its own first
    b_dec: nn.Parameter  # (d,)
    w_skip: nn.Parameter | None  # (d, d)
    idle: Tensor  # (n,) long: positions since a feature was last active
    threshold: float = 0.0  # 0 while TopK chooses

    def parameters(self) -> list[nn.Parameter]:
        """All of them, in an order that stays."""
        skip = [] if self.w_skip is None else [self.w_skip]
        return [self.w_enc, self.b_enc, *self.w_dec, self.b_dec, *skip]


@dataclass(frozen=True)
class _Active:
    """The active features of one layer in one batch."""

    code: SparseCode
    values: Tensor  # (S,)
    read: Tensor  # (n, d) the encoder that was used


class LayerGroup:
    """Layers `first` to `first` + their number, their optimiser, and the step.

    `compute` is what the encoder's product is made in; values and gradients are in float32.
    """

    def __init__(self, first: int, layers: Sequence[Layer], settings: TrainSettings, compute: torch.dtype) -> None:
        self.first = first
        self.settings = settings
        self.layers = list(layers)
        self._compute = compute
        everything = [one for layer in self.layers for one in layer.parameters()]
        self.optimiser = torch.optim.Adam(everything, lr=settings.learning_rate, fused=True)

    def step(self, inputs: Sequence[Tensor], outputs: Sequence[Tensor], rate: float, *, last_part: bool) -> list[float]:
        """One step on a batch: x and y (B, d) for each layer, as recorded. Gives each layer's FVU in this batch.

        `last_part`: a threshold chooses, and weights are those that will be stored.
        """
        with torch.no_grad():
            x = [layer.scales.x_hat(one) for layer, one in zip(self.layers, inputs, strict=True)]
            y = [layer.scales.y_hat(one) for layer, one in zip(self.layers, outputs, strict=True)]
            usual = torch.stack([Scales.usual(one) for one in y]).all(0)
            if bool(usual.any()) and not bool(usual.all()):
                x, y = [one[usual] for one in x], [one[usual] for one in y]
            actives = [self._encode(layer, one, last_part) for layer, one in zip(self.layers, x, strict=True)]
            errors = [self._write(at, x[at], actives, last_part) - y[at] for at in range(len(self.layers))]
            self._gradients(x, errors, actives, last_part)
            for group in self.optimiser.param_groups:
                group["lr"] = rate
            self.optimiser.step()
            return [
                float(error.pow(2).sum() / (one - one.mean(0)).pow(2).sum().clamp_min(1e-12))
                for error, one in zip(errors, y, strict=True)
            ]

    def _used(self, weight: Tensor, last_part: bool) -> Tensor:
        """A matrix as it will be stored, once that is trained for; gradients go to the matrix itself."""
        return trained_as(weight, self.settings.storage) if last_part else weight

    def _pre(self, layer: Layer, x: Tensor, read: Tensor) -> Tensor:
        """(B, n) pre-activations to choose by, in the format of the product."""
        return torch.addmm(layer.b_enc.to(self._compute), x.to(self._compute), read.to(self._compute).T)

    def _encode(self, layer: Layer, x: Tensor, last_part: bool) -> _Active:
        read = self._used(layer.w_enc, last_part)
        pre = self._pre(layer, x, read)
        if last_part:
            if layer.threshold == 0:
                layer.threshold = max(
                    float(pre.flatten().kthvalue(pre.numel() - self.settings.k * len(x)).values), 1e-6
                )
            code = SparseCode.above(pre, layer.threshold)
            share = code.count / (self.settings.k * len(x))
            layer.threshold *= 1 + _THRESHOLD_GAIN * max(-1.0, min(1.0, share - 1))
        else:
            code = SparseCode.largest(pre, self.settings.k)
        values = (code.products(x, read) + layer.b_enc[code.feature]).relu()
        layer.idle += len(x)
        layer.idle[code.feature[values > 0]] = 0
        return _Active(code, values, read)

    def _write(self, at: int, x: Tensor, actives: Sequence[_Active], last_part: bool) -> Tensor:
        """(B, d) what all features up to a layer, its bias and its skip write there."""
        layer = self.layers[at]
        total = layer.b_dec.expand_as(x)
        if layer.w_skip is not None:
            total = total + self._product(x, self._used(layer.w_skip, last_part).T)
        for source in range(at + 1):
            if at - source < len(self.layers[source].w_dec):
                rows = self._used(self.layers[source].w_dec[at - source], last_part)
                total = total + actives[source].code.decode(actives[source].values, rows)
        return total

    def _product(self, left: Tensor, right: Tensor) -> Tensor:
        return (left.to(self._compute) @ right.to(self._compute)).float()

    def _gradients(
        self, x: Sequence[Tensor], errors: Sequence[Tensor], actives: Sequence[_Active], last_part: bool
    ) -> None:
        """Set every parameter's gradient of the mean squared error, summed over layers, and of the auxiliary one."""
        pulls = [error * (2 / error.numel()) for error in errors]
        for at, (layer, active) in enumerate(zip(self.layers, actives, strict=True)):
            code, values = active.code, active.values
            back = torch.zeros_like(values)
            for place, decoder in enumerate(layer.w_dec):
                pull = pulls[at + place]
                decoder.grad = code.collect(values, pull)
                back += code.products(pull, self._used(decoder, last_part))
            back *= values > 0
            layer.w_enc.grad = code.collect(back, x[at])
            layer.b_enc.grad = code.sums(back)
            layer.b_dec.grad = pulls[at].sum(0)
            if layer.w_skip is not None:
                layer.w_skip.grad = self._product(pulls[at].T, x[at])
            if not last_part:
                self._auxiliary(layer, x[at], errors[at])

    def _auxiliary(self, layer: Layer, x: Tensor, error: Tensor) -> None:
        """AuxK (Gao et al. 2024): features that were long not active are trained to write what is left over."""
        dead = (layer.idle > self.settings.dead_after).nonzero()[:, 0]
        if not len(dead):
            return
        read, write = layer.w_enc[dead], layer.w_dec[0][dead]
        code = SparseCode.largest(x @ read.T + layer.b_enc[dead], max(1, min(len(dead), x.shape[1] // 2)))
        values = (code.products(x, read) + layer.b_enc[dead][code.feature]).relu()
        pull = (code.decode(values, write) + error) * (2 * self.settings.auxiliary_share / error.numel())
        back = code.products(pull, write) * (values > 0)
        for parameter, extra in (
            (layer.w_dec[0], code.collect(values, pull)),
            (layer.w_enc, code.collect(back, x)),
            (layer.b_enc, code.sums(back)),
        ):
            assert parameter.grad is not None
            parameter.grad[dead] += extra

    def revive(self, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> int:
        """Start features anew that stayed dead in spite of the auxiliary error; gives how many.

        Each reads the input of one of the positions (B, d) that are explained worst and writes what is left over there.
        """
        count = 0
        with torch.no_grad():
            x = [layer.scales.x_hat(one) for layer, one in zip(self.layers, inputs, strict=True)]
            actives = [self._chosen(layer, one) for layer, one in zip(self.layers, x, strict=True)]
            y = [layer.scales.y_hat(one) for layer, one in zip(self.layers, outputs, strict=True)]
            parked = ~torch.stack([Scales.usual(one) for one in y]).all(0)
            for at, layer in enumerate(self.layers):
                dead = (layer.idle > 2 * self.settings.dead_after).nonzero()[:, 0][: len(x[at])]
                if not len(dead):
                    continue
                rest = (y[at] - self._write(at, x[at], actives, False)).masked_fill(parked[:, None], 0)
                worst = rest.pow(2).sum(-1).topk(len(dead)).indices
                length = x[at][worst].norm(dim=-1, keepdim=True).clamp_min(1e-12)
                layer.w_enc[dead] = x[at][worst] / length
                # It is active there and where the input is alike: its value there is a few units, as others' are.
                layer.b_enc[dead] = 0
                layer.w_dec[0][dead] = rest[worst] / length
                layer.idle[dead] = 0
                for parameter in (layer.w_enc, layer.b_enc, *layer.w_dec):
                    for moment in ("exp_avg", "exp_avg_sq"):
                        if moment in self.optimiser.state[parameter]:
                            self.optimiser.state[parameter][moment][dead] = 0
                count += len(dead)
        return count

    def _chosen(self, layer: Layer, x: Tensor) -> _Active:
        """The active features as they would be exported now, without counting them."""
        pre = self._pre(layer, x, layer.w_enc)
        code = SparseCode.above(pre, layer.threshold) if layer.threshold else SparseCode.largest(pre, self.settings.k)
        return _Active(code, (code.products(x, layer.w_enc) + layer.b_enc[code.feature]).relu(), layer.w_enc)


def started(start: LayerStart, written: int) -> Layer:
    """A layer at its start, whose features write to so many layers; later ones are written nothing at first."""
    later = [torch.zeros_like(start.w_dec) for _ in range(written - 1)]
    skip = [] if start.w_skip is None else [start.w_skip]
    idle = torch.zeros(len(start.w_enc), dtype=torch.long, device=start.w_enc.device)
    parameters = [start.w_enc, start.b_enc, start.w_dec, *later, torch.zeros_like(start.scales.y_mean), *skip]
    return layer_of(parameters, start.scales, idle, 0.0)


def layer_of(tensors: Sequence[Tensor], scales: Scales, idle: Tensor, threshold: float) -> Layer:
    """A layer out of its parameters, in the order that `Layer.parameters` gives them."""
    held = [nn.Parameter(one, requires_grad=False) for one in tensors]
    skip = held.pop() if held[-1].ndim == 2 else None
    return Layer(scales, held[0], held[1], held[2:-1], held[-1], skip, idle, threshold)
