"""Llama and its like: pre-norms, rotary positions, gated MLP, grouped key/value heads, separate projections.

Mistral's sliding window, Qwen2's attention biases and Qwen3's query and key norms need nothing more: they live in the
attention pattern, which is recorded, or in the biases, which every reader of an attention block looks for.
"""

from __future__ import annotations

from typing import Any

from engine.models.families.parts import attention_weights, gated_mlp, rms_norm
from engine.models.weights import LayerModules, LayerWeights, ModelWeights

MODEL_TYPES = ("llama", "mistral", "qwen2", "qwen3")


def adapt(hf: Any) -> ModelWeights:
    """Describe a transformers causal language model of these types by role."""
    config, body = hf.config, hf.model
    return ModelWeights(
        family=str(config.model_type),
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
