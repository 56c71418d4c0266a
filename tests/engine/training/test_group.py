"""A step's gradients against autograd, the sparse products against dense ones, and what folding must not change."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from engine.dictionaries.transcoders import Transcoder
from engine.training.folding import transcoders_of
from engine.training.group import Layer, LayerGroup, started
from engine.training.sparse_code import SparseCode
from engine.training.start import layer_start, ridge
from tests.engine.tracing.tiny_models import tiny_model
from tests.engine.training.tiny_training import SETTINGS

B, D = 96, 24


def data(count: int) -> tuple[list[Tensor], list[Tensor]]:
    generator = torch.Generator().manual_seed(3)
    inputs = [torch.randn(B, D, generator=generator) * 2 + 0.7 for _ in range(count)]
    mixed = torch.randn(D, D, generator=generator)
    return inputs, [(x @ mixed).relu() * 5 - 1 for x in inputs]


def group_for(cross_layer: bool = False, **changes: object) -> tuple[LayerGroup, list[Tensor], list[Tensor]]:
    count = 3 if cross_layer else 1
    inputs, outputs = data(count)
    settings = replace(SETTINGS, cross_layer=cross_layer, **changes)  # type: ignore[arg-type]
    layers = []
    for at in range(count):
        generator = torch.Generator().manual_seed(at)
        weights = tiny_model("llama").weights.layers[at]
        start = layer_start(weights, inputs[at], outputs[at], settings.width, settings.k, settings.skip, generator)
        layers.append(started(start, count - at if cross_layer else 1))
    for layer in layers:
        for parameter in layer.parameters():
            parameter.data += 0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(9))
    return LayerGroup(0, layers, settings, torch.float32), inputs, outputs


def dense_loss(group: LayerGroup, inputs: list[Tensor], outputs: list[Tensor], cut: list[Tensor]) -> Tensor:
    """The loss by plain tensor algebra: `cut` says which features are active."""
    total = torch.zeros(())
    active = []
    for layer, x, mask in zip(group.layers, inputs, cut, strict=True):
        active.append(((layer.scales.x_hat(x) @ layer.w_enc.T + layer.b_enc).relu()) * mask)
    for at, (layer, x, y) in enumerate(zip(group.layers, inputs, outputs, strict=True)):
        made = layer.b_dec + (0 if layer.w_skip is None else layer.scales.x_hat(x) @ layer.w_skip.T)
        for source in range(at + 1):
            if at - source < len(group.layers[source].w_dec):
                made = made + active[source] @ group.layers[source].w_dec[at - source]
        total = total + (made - layer.scales.y_hat(y)).pow(2).mean()
    return total


@pytest.mark.parametrize("cross_layer", [False, True])
@pytest.mark.parametrize("skip", [False, True])
def test_gradients_are_autograds(cross_layer: bool, skip: bool) -> None:
    group, inputs, outputs = group_for(cross_layer, skip=skip)
    cut = []
    for layer, x in zip(group.layers, inputs, strict=True):
        pre = layer.scales.x_hat(x) @ layer.w_enc.T + layer.b_enc
        cut.append(torch.zeros_like(pre).scatter_(-1, pre.topk(group.settings.k, -1).indices, 1.0))
    parameters = [one for layer in group.layers for one in layer.parameters()]
    for one in parameters:
        one.requires_grad_(True)
    expected = torch.autograd.grad(dense_loss(group, inputs, outputs, cut), parameters)
    for one in parameters:
        one.requires_grad_(False)
    group.step(inputs, outputs, 0.0, last_part=False)
    for one, gradient in zip(parameters, expected, strict=True):
        assert one.grad is not None
        torch.testing.assert_close(one.grad, gradient, rtol=1e-4, atol=1e-7)


def test_dead_features_are_trained_on_what_is_left() -> None:
    """Their gradient is the auxiliary loss's, by autograd, and nothing else moves."""
    group, inputs, outputs = group_for(skip=False)
    layer = group.layers[0]
    layer.w_enc.data[:5] *= 0.02  # never among the k largest, and above zero now and then
    layer.b_enc.data[:5] = 0
    group.step(inputs, outputs, 0.0, last_part=False)
    plain = [one.grad.clone() for one in layer.parameters() if one.grad is not None]
    layer.idle[:5] = group.settings.dead_after + 1
    x, y = layer.scales.x_hat(inputs[0]), layer.scales.y_hat(outputs[0])
    pre = x @ layer.w_enc.T + layer.b_enc
    values = torch.zeros_like(pre).scatter_(-1, (kept := pre.topk(group.settings.k, -1)).indices, kept.values.relu())
    error = values @ layer.w_dec[0] + layer.b_dec - y
    dead = [one.data[:5].clone().requires_grad_(True) for one in (layer.w_enc, layer.b_enc, layer.w_dec[0])]
    dead_pre = x @ dead[0].T + dead[1]
    made = dead_pre.relu() @ dead[2]
    expected = torch.autograd.grad(group.settings.auxiliary_share * (made + error).pow(2).mean(), dead)
    before = layer.idle.clone()
    group.step(inputs, outputs, 0.0, last_part=False)
    assert (before[:5] > group.settings.dead_after).all()
    now = [one.grad for one in layer.parameters()]
    for place, gradient in zip((0, 1, 2), expected, strict=True):
        added = now[place] - plain[place]  # type: ignore[operator]
        torch.testing.assert_close(added[:5], gradient, rtol=1e-3, atol=1e-7)
        torch.testing.assert_close(added[5:], torch.zeros_like(added[5:]), rtol=0, atol=1e-8)


def test_a_revived_feature_is_active_where_the_error_was_largest() -> None:
    group, inputs, outputs = group_for()
    layer = group.layers[0]
    group.step(inputs, outputs, 1e-3, last_part=False)
    layer.idle[3] = 2 * group.settings.dead_after + 1
    x, y = layer.scales.x_hat(inputs[0]), layer.scales.y_hat(outputs[0])
    before = transcoders_of([group])[0]
    rest = (outputs[0] - made_by(before, inputs[0])).pow(2).sum(-1)
    assert group.revive(inputs, outputs) == 1
    worst = int(rest.argmax())
    assert float(x[worst] @ layer.w_enc[3] + layer.b_enc[3]) > 0
    assert int(layer.idle[3]) == 0
    left = y[worst] - layer.scales.y_hat(made_by(before, inputs[0]))[worst]
    assert float(torch.nn.functional.cosine_similarity(layer.w_dec[0][3], left, 0)) > 0.99
    assert float(group.optimiser.state[layer.w_enc]["exp_avg"][3].abs().max()) == 0


def made_by(one: Transcoder, x: Tensor) -> Tensor:
    """What a transcoder writes, as every other program computes it."""
    skip = 0 if one.w_skip is None else x @ one.w_skip.T
    decoder = one.w_dec
    assert isinstance(decoder, Tensor)
    return one.activations(x) @ decoder + one.b_dec + skip


def reconstruction(layer: Layer, group: LayerGroup, x: Tensor, mask: Tensor) -> Tensor:
    """The layer's output in the model's units, from scaled units and a mask of active features."""
    hat = layer.scales.x_hat(x)
    values = (hat @ layer.w_enc.T + layer.b_enc) * mask
    made = values @ layer.w_dec[0] + layer.b_dec
    if layer.w_skip is not None:
        made = made + hat @ layer.w_skip.T
    return made * layer.scales.y_scale + layer.scales.y_mean


@pytest.mark.parametrize("last_part", [False, True])
def test_what_is_exported_is_what_was_trained(last_part: bool) -> None:
    """Folded: JumpReLU has the features above the trained threshold, TopK the k largest, and both write the same."""
    group, inputs, outputs = group_for()
    for _ in range(4):
        group.step(inputs, outputs, 1e-3, last_part=last_part)
    layer, x = group.layers[0], inputs[0]
    pre = layer.scales.x_hat(x) @ layer.w_enc.T + layer.b_enc
    one = transcoders_of([group])[0]
    if last_part:
        mask = pre > layer.threshold
        assert one.threshold is not None and one.top_k is None
    else:
        kept = pre.topk(group.settings.k, -1).indices
        mask = torch.zeros_like(pre, dtype=torch.bool).scatter_(-1, kept, True) & (pre > 0)
        assert one.threshold is None and one.top_k == group.settings.k
    near = (pre - layer.threshold).abs() < 1e-4
    assert ((one.activations(x) > 0) == mask)[~near].all()
    torch.testing.assert_close(made_by(one, x), reconstruction(layer, group, x, mask), rtol=1e-3, atol=1e-3)
    if last_part:
        assert isinstance(one.w_dec, Tensor)
        torch.testing.assert_close(one.w_dec.norm(dim=-1), torch.ones(group.settings.width))


def test_the_threshold_keeps_k_active_on_average() -> None:
    group, inputs, outputs = group_for()
    for _ in range(200):
        group.step(inputs, outputs, 1e-4, last_part=True)
    active = (transcoders_of([group])[0].activations(inputs[0]) > 0).sum(-1).float().mean()
    assert abs(float(active) - group.settings.k) < 0.1 * group.settings.k


def test_sparse_products_are_the_dense_ones() -> None:
    generator = torch.Generator().manual_seed(0)
    pre, rows, left = torch.randn(40, 30, generator=generator), torch.randn(30, D), torch.randn(40, D)
    for code in (SparseCode.largest(pre, 5), SparseCode.above(pre, 1.0)):
        values = pre[code.position, code.feature]
        dense = torch.zeros_like(pre)
        dense[code.position, code.feature] = values
        torch.testing.assert_close(code.decode(values, rows), dense @ rows)
        torch.testing.assert_close(code.products(left, rows), (left @ rows.T)[code.position, code.feature])
        torch.testing.assert_close(code.collect(values, left), dense.T @ left)
        torch.testing.assert_close(code.sums(values), dense.sum(0))
    assert (SparseCode.above(pre, 1.0).count, SparseCode.largest(pre, 5).count) == (int((pre > 1).sum()), 200)


def test_the_ridge_is_the_least_squares_map_where_there_is_enough() -> None:
    generator = torch.Generator().manual_seed(0)
    x, wanted = torch.randn(20_000, D, generator=generator), torch.randn(D, D, generator=generator)
    torch.testing.assert_close(ridge(x, x @ wanted.T), wanted, rtol=0.02, atol=0.02)


def test_starting_from_neurons_beats_starting_from_noise() -> None:
    """On the MLP's own inputs and outputs the start explains something before a single step."""
    from engine.models.mlp import mlp

    layer = tiny_model("llama").weights.layers[1]
    x = torch.randn(2000, D, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    y = mlp(layer.mlp, x)
    start = layer_start(layer, x, y, 64, 8, False, torch.Generator().manual_seed(0))
    group = LayerGroup(0, [started(start, 1)], replace(SETTINGS, skip=False, k=8), torch.float32)
    one = transcoders_of([group])[0]
    rest = (y.float() - made_by(one, x.float())).pow(2).sum()
    assert float(rest / (y - y.mean(0)).pow(2).sum()) < 0.8


@pytest.mark.parametrize("cross_layer", [False, True])
def test_what_a_model_parks_at_some_tokens_is_not_trained_on(cross_layer: bool) -> None:
    """A position a thousand times as large as the others changes neither the start nor a step."""
    inputs, outputs = data(3 if cross_layer else 1)
    parked = [torch.cat([y[:40], y[:1] * 1000, y[40:]]) for y in outputs]
    beside = [torch.cat([x[:40], -x[:1], x[40:]]) for x in inputs]
    weights = tiny_model("llama").weights.layers[0]
    arguments = (SETTINGS.width, SETTINGS.k, True)
    one = layer_start(weights, inputs[0], outputs[0], *arguments, torch.Generator().manual_seed(0))
    other = layer_start(weights, beside[0], parked[0], *arguments, torch.Generator().manual_seed(0))
    assert one.scales.y_scale == pytest.approx(other.scales.y_scale)
    torch.testing.assert_close(one.w_skip, other.w_skip, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(one.w_dec, other.w_dec, rtol=1e-3, atol=1e-5)
    groups = [group_for(cross_layer)[0] for _ in range(2)]
    found = [
        group.step(*batch, 1e-3, last_part=False)
        for group, batch in zip(groups, [(inputs, outputs), (beside, parked)], strict=True)
    ]
    assert found[0] == pytest.approx(found[1], rel=1e-4)
    for layer, same in zip(groups[0].layers, groups[1].layers, strict=True):
        for parameter, twin in zip(layer.parameters(), same.parameters(), strict=True):
            torch.testing.assert_close(parameter, twin, rtol=1e-4, atol=1e-5)
    groups[0].layers[0].idle += 10**6
    assert groups[0].revive(beside, parked) > 0  # as many as there are positions, the parked one last
    assert all(float(layer.w_dec[0].norm(dim=1).max()) < 50 for layer in groups[0].layers)
