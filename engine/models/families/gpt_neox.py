"""GPT-NeoX and Pythia: LayerNorms, plain MLP, attention and MLP in parallel (or in turn), fused query-key-value."""

from __future__ import annotations

from typing import Any

from engine.models.families.parts import activation_named, bias_of, layer_norm
from engine.models.weights import AttentionWeights, LayerModules, LayerWeights, MlpWeights, ModelWeights

MODEL_TYPES = ("gpt_neox",)


def adapt(hf: Any) -> ModelWeights:
    """Describe a transformers GPTNeoXForCausalLM by role."""
    config, body = hf.config, hf.gpt_neox
    return ModelWeights(
        family="gpt_neox",
        layers=tuple(
            LayerWeights(
                attention_norm=layer_norm(block.input_layernorm),
                attention=_attention(block.attention, config),
                attention_post_norm=None,
                mlp_norm=layer_norm(block.post_attention_layernorm),
                mlp=MlpWeights(
                    activation_named(config.hidden_act),
                    w_gate=None,
                    w_up=block.mlp.dense_h_to_4h.weight.detach(),
                    w_down=block.mlp.dense_4h_to_h.weight.detach(),
                    b_up=bias_of(block.mlp.dense_h_to_4h),
                    b_down=bias_of(block.mlp.dense_4h_to_h),
                ),
                mlp_post_norm=None,
                parallel=bool(config.use_parallel_residual),
            )
            for block in body.layers
        ),
        modules=tuple(LayerModules(block, block.attention, block.mlp) for block in body.layers),
        body=body,
        final_norm_module=body.final_layer_norm,
        final_norm=layer_norm(body.final_layer_norm),
        unembed=hf.get_output_embeddings().weight,
    )


def _attention(module: Any, config: Any) -> AttentionWeights:
    d, heads = int(config.hidden_size), int(config.num_attention_heads)
    d_head = d // heads
    # Rows lie head by head, each head's query, key and value together: taking the values out is a copy.
    fused = module.query_key_value.weight.detach().view(heads, 3, d_head, d)
    bias = bias_of(module.query_key_value)
    return AttentionWeights(
        w_v=fused[:, 2].reshape(d, d),
        w_o=module.dense.weight.detach(),
        b_v=None if bias is None else bias.view(heads, 3, d_head)[:, 2].reshape(d),
        b_o=bias_of(module.dense),
        n_heads=heads,
        n_kv_heads=heads,
        d_head=d_head,
    )
