"""Gemma 2 and 3 (text): norms times 1 + weight, post-norms after attention and MLP, tanh-GELU gate, scaled embedding.

Soft caps on attention scores and sliding windows live in the recorded pattern; the cap on the final logits is kept.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from engine.models.families.parts import attention_weights, gated_mlp, rms_norm
from engine.models.weights import LayerModules, LayerWeights, ModelWeights

MODEL_TYPES = ("gemma2", "gemma3_text")


def adapt(hf: Any) -> ModelWeights:
    """Describe a transformers Gemma2ForCausalLM or Gemma3ForCausalLM by role."""
    config, body = hf.config, hf.model
    norm = partial(rms_norm, unit_offset=True)
    return ModelWeights(
        family=str(config.model_type),
        layers=tuple(
            LayerWeights(
                attention_norm=norm(block.input_layernorm),
                attention=attention_weights(block.self_attn, config),
                attention_post_norm=norm(block.post_attention_layernorm),
                mlp_norm=norm(block.pre_feedforward_layernorm),
                mlp=gated_mlp(block.mlp, config.hidden_activation),
                mlp_post_norm=norm(block.post_feedforward_layernorm),
            )
            for block in body.layers
        ),
        modules=tuple(LayerModules(block, block.self_attn, block.mlp) for block in body.layers),
        body=body,
        final_norm_module=body.norm,
        final_norm=norm(body.norm),
        unembed=hf.lm_head.weight,
        final_softcap=getattr(config, "final_logit_softcapping", None),
    )
