"""Phi-3: Llama's block with query, key and value in one matrix, and gate and up in another."""

from __future__ import annotations

from typing import Any

from engine.models.families.parts import activation_named, pre_norm_model
from engine.models.weights import AttentionWeights, MlpWeights, ModelWeights

MODEL_TYPES = ("phi3",)


def adapt(hf: Any) -> ModelWeights:
    """Describe a transformers Phi3ForCausalLM by role."""
    return pre_norm_model(hf, _attention, _mlp)


def _attention(module: Any, config: Any) -> AttentionWeights:
    d_head = int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)
    before_value = (int(config.num_attention_heads) + int(config.num_key_value_heads)) * d_head
    return AttentionWeights(
        w_v=module.qkv_proj.weight.detach()[before_value:],
        w_o=module.o_proj.weight.detach(),
        b_v=None,
        b_o=None,
        n_heads=int(config.num_attention_heads),
        n_kv_heads=int(config.num_key_value_heads),
        d_head=d_head,
    )


def _mlp(module: Any, activation: str) -> MlpWeights:
    gate, up = module.gate_up_proj.weight.detach().chunk(2)
    return MlpWeights(activation_named(activation), gate, up, module.down_proj.weight.detach())
