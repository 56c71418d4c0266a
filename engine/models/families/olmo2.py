"""OLMo 2: no norms before attention and MLP, one after each, before their outputs join the residual stream.

Queries and keys are normed over all heads together, before they are cut into heads.
"""

from __future__ import annotations

from engine.models.families.parts import (
    COMMON_DEFAULTS,
    Tensors,
    gated_mlp,
    rms_norm,
    separate_attention,
    whole_model,
)
from engine.models.families.settings import Settings
from engine.models.weights import LayerWeights, ModelWeights, NormWeights

DEFAULTS = {"olmo2": COMMON_DEFAULTS | {"max_position_embeddings": 2048, "rms_norm_eps": 1e-5}}


def read(family: str, settings: Settings, tensors: Tensors) -> ModelWeights:
    """The weights of an OLMo 2 model by role."""
    rotary, biased = settings.rotary(settings.rotary_parameters()), settings.flag("attention_bias")
    d, eps = settings.whole("hidden_size"), settings.number("rms_norm_eps")

    def norms(name: str, d_head: int) -> tuple[NormWeights, NormWeights]:
        return (
            rms_norm(tensors, f"{name}.q_norm", settings.n_heads * d_head, eps),
            rms_norm(tensors, f"{name}.k_norm", settings.n_kv_heads * d_head, eps),
        )

    def layer(number: int, name: str) -> LayerWeights:
        attention = separate_attention(
            settings, tensors, f"{name}.self_attn", rotary, biases=(biased, biased), norms=norms
        )
        return LayerWeights(
            attention_norm=None,
            attention=attention,
            attention_post_norm=rms_norm(tensors, f"{name}.post_attention_layernorm", d, eps),
            mlp_norm=None,
            mlp=gated_mlp(settings, tensors, f"{name}.mlp"),
            mlp_post_norm=rms_norm(tensors, f"{name}.post_feedforward_layernorm", d, eps),
        )

    return whole_model(settings, tensors, family, layer)
