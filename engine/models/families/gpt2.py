"""GPT-2: LayerNorms, learned position embeddings, plain MLP, matrices stored input first."""

from __future__ import annotations

from typing import Any

from engine.models.families.parts import activation_named, layer_norm
from engine.models.weights import AttentionWeights, LayerModules, LayerWeights, MlpWeights, ModelWeights

MODEL_TYPES = ("gpt2",)


def adapt(hf: Any) -> ModelWeights:
    """Describe a transformers GPT2LMHeadModel by role."""
    config, body = hf.config, hf.transformer
    return ModelWeights(
        family="gpt2",
        layers=tuple(
            LayerWeights(
                attention_norm=layer_norm(block.ln_1),
                attention=_attention(block.attn, config),
                attention_post_norm=None,
                mlp_norm=layer_norm(block.ln_2),
                mlp=MlpWeights(
                    activation_named(config.activation_function),
                    w_gate=None,
                    w_up=block.mlp.c_fc.weight.detach().T,
                    w_down=block.mlp.c_proj.weight.detach().T,
                    b_up=block.mlp.c_fc.bias.detach(),
                    b_down=block.mlp.c_proj.bias.detach(),
                ),
                mlp_post_norm=None,
            )
            for block in body.h
        ),
        modules=tuple(LayerModules(block, block.attn, block.mlp) for block in body.h),
        body=body,
        final_norm_module=body.ln_f,
        final_norm=layer_norm(body.ln_f),
        unembed=hf.lm_head.weight,
        position_embedding=body.wpe.weight.detach(),
    )


def _attention(module: Any, config: Any) -> AttentionWeights:
    d, heads = int(config.n_embd), int(config.n_head)
    return AttentionWeights(
        w_v=module.c_attn.weight.detach()[:, 2 * d :].T,
        w_o=module.c_proj.weight.detach().T,
        b_v=module.c_attn.bias.detach()[2 * d :],
        b_o=module.c_proj.bias.detach(),
        n_heads=heads,
        n_kv_heads=heads,
        d_head=d // heads,
    )
