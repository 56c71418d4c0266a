"""OLMo 2: no norms before attention and MLP, one after each, before their outputs join the residual stream."""

from __future__ import annotations

from typing import Any

from engine.models.families.parts import attention_weights, gated_mlp, rms_norm
from engine.models.weights import LayerModules, LayerWeights, ModelWeights

MODEL_TYPES = ("olmo2",)


def adapt(hf: Any) -> ModelWeights:
    """Describe a transformers Olmo2ForCausalLM by role."""
    config, body = hf.config, hf.model
    return ModelWeights(
        family="olmo2",
        layers=tuple(
            LayerWeights(
                attention_norm=None,
                attention=attention_weights(block.self_attn, config),
                attention_post_norm=rms_norm(block.post_attention_layernorm),
                mlp_norm=None,
                mlp=gated_mlp(block.mlp, config.hidden_act),
                mlp_post_norm=rms_norm(block.post_feedforward_layernorm),
            )
            for block in body.layers
        ),
        modules=tuple(LayerModules(block, block.self_attn, block.mlp) for block in body.layers),
        body=body,
        final_norm_module=body.norm,
        final_norm=rms_norm(body.norm),
        unembed=hf.lm_head.weight,
    )
