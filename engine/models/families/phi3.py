"""Phi-3: Llama's block with query, key and value in one matrix, and gate and up in another."""

from __future__ import annotations

from typing import Any

import torch

from engine.models.families.parts import COMMON_DEFAULTS, Tensors, activation_named, pre_norm_layer, whole_model
from engine.models.families.settings import Settings
from engine.models.rotary import Rotary
from engine.models.weights import AttentionWeights, LayerWeights, MlpWeights, ModelWeights

DEFAULTS = {
    "phi3": COMMON_DEFAULTS
    | {"max_position_embeddings": 4096, "original_max_position_embeddings": 4096, "rms_norm_eps": 1e-5}
}


def read(family: str, settings: Settings, tensors: Tensors) -> ModelWeights:
    """The weights of a Phi-3 model by role."""
    rotary = settings.rotary(_rotary_parameters(settings))

    def layer(number: int, name: str) -> LayerWeights:
        attention, mlp = _attention(settings, tensors, name, rotary), _mlp(settings, tensors, name)
        return pre_norm_layer(settings, tensors, name, attention, mlp)

    return whole_model(settings, tensors, family, layer)


def _rotary_parameters(settings: Settings) -> dict[str, Any]:
    """Early files call LongRoPE by two other names."""
    parameters = settings.rotary_parameters()
    if parameters["rope_type"] in ("su", "yarn"):
        parameters["rope_type"] = "longrope"
    return parameters


def _attention(settings: Settings, tensors: Tensors, name: str, rotary: Rotary) -> AttentionWeights:
    d, d_head = settings.whole("hidden_size"), settings.d_head
    widths = [settings.n_heads * d_head, settings.n_kv_heads * d_head, settings.n_kv_heads * d_head]
    w_q, w_k, w_v = torch.split(tensors.take(f"{name}.self_attn.qkv_proj.weight", sum(widths), d), widths)
    return AttentionWeights(
        w_q=w_q,
        w_k=w_k,
        w_v=w_v,
        w_o=tensors.take(f"{name}.self_attn.o_proj.weight", d, widths[0]),
        b_q=None,
        b_k=None,
        b_v=None,
        b_o=None,
        n_heads=settings.n_heads,
        n_kv_heads=settings.n_kv_heads,
        d_head=d_head,
        scale=d_head**-0.5,
        rotary=rotary,
        window=None if settings.get("sliding_window") is None else settings.whole("sliding_window"),
    )


def _mlp(settings: Settings, tensors: Tensors, name: str) -> MlpWeights:
    d, m = settings.whole("hidden_size"), settings.whole("intermediate_size")
    gate, up = tensors.take(f"{name}.mlp.gate_up_proj.weight", 2 * m, d).chunk(2)
    down = tensors.take(f"{name}.mlp.down_proj.weight", d, m)
    return MlpWeights(activation_named(settings.get("hidden_act")), gate, up, down)
