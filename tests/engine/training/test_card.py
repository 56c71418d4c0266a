"""What a card says, against independent computation: rivals, CE recovered, and the two files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import yaml

from engine.models.mlp import mlp
from engine.training import train
from engine.training.card import beats_neurons, card_text, costly_layers, losing_layers
from engine.training.measuring import baseline
from engine.training.rivals import fit_linear, recovered_by_layer, strongest_neurons
from engine.training.splicing import cross_entropy, nothing
from engine.training.text import Pieces
from tests.engine.tracing.tiny_models import tiny_model
from tests.engine.training.tiny_training import SETTINGS, small_model, text_folder


def pieces(count: int = 6, length: int = 12) -> Pieces:
    ids = torch.randint(2, 40, (count, length), generator=torch.Generator().manual_seed(0))
    ids[:, 0] = 0
    sizes = torch.full((count,), length)
    sizes[0] = 7  # one is shorter: what fills it up must not count
    return Pieces(ids, sizes, 1)


def peers_loss(cut: list[int]) -> float:
    """Mean -log p of the next token by transformers, with the MLPs of some layers written to be zero after BOS."""
    tiny, held = tiny_model("llama"), pieces()

    def without(module: torch.nn.Module, args: object, output: torch.Tensor) -> torch.Tensor:
        changed = output.clone()
        changed[:, 1:] = 0
        return changed

    hooks = [tiny.blocks[layer].mlp.register_forward_hook(without) for layer in cut]
    try:
        with torch.no_grad():
            logits = tiny.hf(held.ids).logits
    finally:
        for hook in hooks:
            hook.remove()
    losses = [
        torch.nn.functional.cross_entropy(logits[row, 1 : size - 1], held.ids[row, 2:size], reduction="none")
        for row, size in enumerate(held.length.tolist())
    ]
    return float(torch.cat(losses).mean())


def test_cross_entropies_are_transformers() -> None:
    weights, held = small_model().weights, pieces()
    assert cross_entropy(weights, held) == pytest.approx(peers_loss([]), abs=1e-9)
    assert cross_entropy(weights, held, nothing) == pytest.approx(peers_loss([0, 1, 2]), abs=1e-9)
    assert cross_entropy(weights, held, nothing, layers=[1]) == pytest.approx(peers_loss([1]), abs=1e-9)


def test_recovered_is_the_share_of_what_removing_costs() -> None:
    """The MLP itself recovers all, nothing recovers nothing, half of it what replacing that layer alone says."""
    weights, held = small_model().weights, pieces()
    base = baseline(weights, held, None)
    assert base.recovered(base.clean) == 1 and base.recovered(base.zero) == 0
    found = recovered_by_layer(
        weights, held, {"same": lambda _, x, y: y, "none": nothing, "half": lambda _, x, y: y / 2}
    )
    assert found["same"] == pytest.approx([1, 1, 1]) and found["none"] == pytest.approx([0, 0, 0])
    clean, zero = peers_loss([]), peers_loss([2])
    half = cross_entropy(weights, held, lambda _, x, y: y / 2, layers=[2])
    assert abs(zero - clean) > 1e-3
    assert found["half"][2] == pytest.approx((zero - half) / (zero - clean), rel=1e-6)


def test_rivals_are_what_they_are_called() -> None:
    layer = tiny_model("llama").weights.layers[0]
    x = torch.randn(4000, 24, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    y = mlp(layer.mlp, x).float()
    x = x.float()
    linear = fit_linear(x, y)
    design = torch.cat([x, torch.ones(len(x), 1, dtype=x.dtype)], dim=1)
    best = torch.linalg.lstsq(design, y).solution
    rest, bound = (y - linear(x)).pow(2).sum(), (y - design @ best).pow(2).sum()
    assert bound <= rest < 1.01 * bound
    # All neurons are the MLP; two are those two that write most, by hand at one position.
    assert torch.allclose(strongest_neurons(layer, 20, x, y)(x), y, atol=1e-4)
    two = strongest_neurons(layer, 2, x, y)
    w = layer.mlp
    assert w.w_gate is not None
    hidden = torch.nn.functional.silu(x[0].double() @ w.w_gate.T) * (x[0].double() @ w.w_up.T)
    writes = hidden[:, None] * w.w_down.T
    picked = writes[writes.norm(dim=-1).argsort(descending=True)[:2]].sum(0)
    torch.testing.assert_close(two(x[:1])[0] - two.constant, picked.float(), rtol=1e-4, atol=1e-4)


def test_a_training_leaves_its_card(tmp_path: Path) -> None:
    out, model = tmp_path / "set", small_model()
    history = train(model, SETTINGS, out, folder=text_folder(tmp_path / "text"))
    about = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
    assert about["settings"]["width"] == 64 and about["model"] == "llama"
    assert sum(about["text"].values()) > 2500
    for number, one in enumerate(about["layers"]):
        # Stored in float32 the files are as good as what was trained.
        assert one["fvu"] == pytest.approx(history[-1]["fvu"][number], abs=2e-3)
        assert one["neurons"]["k"] == round(one["l0"])
        assert 0 < one["linear"]["fvu"] < 1
    card = (out / "README.md").read_text(encoding="utf-8")
    front = yaml.safe_load(card.split("---")[1])
    assert front["base_model"] == "llama"
    assert card.count("\n| ") > 8
    seen = about["steps"] * about["settings"]["batch"] / about["positions"]
    assert f"each seen about {seen:.1f} times" in card and 2 < seen < 4
    assert f"{about['seconds'] / 60:,.1f} minutes on cpu" in card
    losing = losing_layers(about)
    assert losing == [one["layer"] for one in about["layers"] if one["fvu"] >= one["neurons"]["fvu"]]
    assert ("Every layer leaves less over" in card) == (not losing)
    # The verdict is by means over layers and by all layers at once, and says so where the set is not worth having.
    rivals = [one["neurons"] for one in about["layers"]]
    for one, rival in zip(about["layers"], rivals, strict=True):
        one["fvu"], rival["fvu"], one["ce_recovered"], rival["ce_recovered"] = 0.2, 0.3, 0.8, 0.7
    about["layers"][1] |= {"fvu": 0.3, "ce_recovered": 0.6}
    about["together"] |= {"transcoders": 0.9, "neurons": 0.85}
    assert costly_layers(about) == losing_layers(about) == [1]
    said = card_text(about)
    assert "On the whole it beats as many neurons: mean FVU 0.233 beside 0.300" in said
    assert "as little or less of the CE, replaced alone: 1." in said
    for worse in ({"together": {**about["together"], "neurons": 0.91}}, {"layers": [about["layers"][1]]}):
        assert not beats_neurons(about | worse)
        assert "It does not beat as many neurons" in card_text(about | worse)
