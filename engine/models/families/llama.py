"""Llama: pre-norms, rotary positions, gated SiLU MLP, grouped key/value heads."""

from __future__ import annotations

from typing import Any

from engine.models.families.parts import attention_weights, gated_mlp, rms_norm
from engine.models.weights import LayerModules, LayerWeights, ModelWeights

MODEL_TYPES = ("llama",)


def adapt(hf: Any) -> ModelWeights:
    """Describe a transformers LlamaForCausalLM by role."""
    config, body = hf.config, hf.model
    return ModelWeights(
        family="llama",
        layers=tuple(
            LayerWeights(
                attention_norm=rms_norm(block.input_layernorm),
                attention=attention_weights(block.self_attn, config),
                attention_post_norm=None,
                mlp_norm=rms_norm(block.post_attention_layernorm),
                mlp=gated_mlp(block.mlp, config.hidden_act),
                mlp_post_norm=None,
            )
            for block in body.layers
        ),
        modules=tuple(LayerModules(block, block.self_attn, block.mlp) for block in body.layers),
        body=body,
        final_norm_module=body.norm,
        final_norm=rms_norm(body.norm),
        unembed=hf.lm_head.weight,
    )
