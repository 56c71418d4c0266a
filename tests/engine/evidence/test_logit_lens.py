"""Logit effects equal a brute-force reading of the decoder vector through the model's own modules."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from engine.dictionaries.transcoder_set import TranscoderFeatures
from engine.errors import RequestError
from engine.evidence import logit_effects
from engine.evidence.logit_lens import raised_tokens
from tests.engine.tracing.tiny_models import FAMILIES, down_rows, features_of, tiny_model


@pytest.mark.parametrize("kind", ["neurons", "relu"])
@pytest.mark.parametrize("family", FAMILIES)
def test_effects_equal_brute_force(family: str, kind: str) -> None:
    model, features = tiny_model(family), features_of(family, kind)
    block, offset = model.blocks[1], 1 if family.startswith("gemma") else 0
    if isinstance(features, TranscoderFeatures):
        transcoder = features.transcoders[1]
        assert transcoder is not None
        vector = transcoder.w_dec[7]
    else:
        vector = down_rows(block.mlp)[7]
        if model.places.branch_end != "mlp":
            vector = vector * (offset + model.places.in_block(block, "branch_end").weight)
    final = model.places.in_model(model.hf, "final_norm")
    if hasattr(final, "bias"):  # LayerNorm
        vector = vector - vector.mean()
    effects = model.hf.get_output_embeddings().weight @ (-2.0 * vector * (final.weight + offset))
    effects = effects - effects.mean()
    found = logit_effects(model, features, 1, 7, k=5, activation=-2.0)  # type: ignore[arg-type]
    order = effects.argsort(descending=True)
    assert [text for text, _ in found.top] == [f"<{int(token)}>" for token in order[:5]]
    assert [text for text, _ in found.bottom] == [f"<{int(token)}>" for token in order.flip(0)[:5]]
    assert torch.allclose(torch.tensor([v for _, v in found.top], dtype=torch.float64), effects[order[:5]])


@pytest.mark.parametrize(("layer", "feature"), [(9, 0), (0, 10**6), (-1, 0)])
def test_what_is_not_there_is_refused(layer: int, feature: int) -> None:
    model = tiny_model("llama")
    with pytest.raises(RequestError):
        logit_effects(model, features_of("llama", "neurons"), layer, feature)  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_tokens_raised_most_are_in_float32s_order(dtype: torch.dtype) -> None:
    """Found by products in bfloat16, whose own order differs, and then put right."""
    generator = torch.Generator().manual_seed(0)
    unembed = torch.randn(4000, 64, generator=generator).to(dtype)
    norm = SimpleNamespace(centred=True, gain=torch.rand(64, generator=generator).to(dtype))
    model = SimpleNamespace(weights=SimpleNamespace(unembed=unembed, final_norm=norm))
    vectors = torch.randn(20, 64, generator=generator)
    read = (vectors - vectors.mean(-1, keepdim=True)) * norm.gain.float()
    changes = (read @ unembed.float().T)[:, :3900]
    up, down = raised_tokens(model, vectors, 10, 3900, 2)  # type: ignore[arg-type]
    assert torch.equal(up, changes.topk(10, dim=1).indices)
    assert torch.equal(down, changes.topk(10, dim=1, largest=False).indices)
    if dtype == torch.bfloat16:
        plain = (read.to(dtype) @ unembed.T)[:, :3900].topk(10, dim=1).indices
        assert not torch.equal(up, plain)
