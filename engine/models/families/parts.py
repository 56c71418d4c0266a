"""Pieces that several families share: reading a norm, an attention block, an MLP from transformers modules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from engine.errors import RequestError
from engine.models.weights import (
    Activation,
    AttentionWeights,
    LayerModules,
    LayerWeights,
    MlpWeights,
    ModelWeights,
    NormWeights,
)

# transformers' names for the nonlinearities; each has an analytic phi(z)/z in engine.dictionaries.linearisation.
ACTIVATIONS: dict[str, Activation] = {
    "silu": "silu",
    "swish": "silu",
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "relu": "relu",
}


def activation_named(name: str) -> Activation:
    """The nonlinearity by transformers' name; `RequestError` for one that has no known linearisation."""
    if name not in ACTIVATIONS:
        known = ", ".join(sorted(set(ACTIVATIONS)))
        raise RequestError(f"This model's MLP uses {name!r}, which cannot be traced yet; known are {known}.")
    return ACTIVATIONS[name]


def rms_norm(module: Any, *, unit_offset: bool = False) -> NormWeights:
    """An RMSNorm; `unit_offset` where the module multiplies by 1 + weight."""
    weight = module.weight.detach()
    eps = getattr(module, "variance_epsilon", None)
    return NormWeights(weight + 1 if unit_offset else weight, None, float(module.eps if eps is None else eps))


def layer_norm(module: Any) -> NormWeights:
    """A LayerNorm, with or without its shift."""
    shift = None if module.bias is None else module.bias.detach()
    return NormWeights(module.weight.detach(), shift, float(module.eps), centred=True)


def pre_norm_model(
    hf: Any,
    read_attention: Callable[[Any, Any], AttentionWeights],
    read_mlp: Callable[[Any, str], MlpWeights],
) -> ModelWeights:
    """Llama's skeleton: an RMSNorm before attention, one before the MLP, one at the end, nothing after the branches."""
    config, body = hf.config, hf.model
    return ModelWeights(
        family=str(config.model_type),
        layers=tuple(
            LayerWeights(
                attention_norm=rms_norm(block.input_layernorm),
                attention=read_attention(block.self_attn, config),
                attention_post_norm=None,
                mlp_norm=rms_norm(block.post_attention_layernorm),
                mlp=read_mlp(block.mlp, config.hidden_act),
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


def attention_weights(module: Any, config: Any) -> AttentionWeights:
    """Value and output projections with separate q, k and v modules."""
    d_head = int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)
    return AttentionWeights(
        w_v=module.v_proj.weight.detach(),
        w_o=module.o_proj.weight.detach(),
        b_v=bias_of(module.v_proj),
        b_o=bias_of(module.o_proj),
        n_heads=int(config.num_attention_heads),
        n_kv_heads=int(config.num_key_value_heads),
        d_head=d_head,
    )


def gated_mlp(module: Any, activation: str) -> MlpWeights:
    """gate_proj, up_proj, down_proj."""
    return MlpWeights(
        activation=activation_named(activation),
        w_gate=module.gate_proj.weight.detach(),
        w_up=module.up_proj.weight.detach(),
        w_down=module.down_proj.weight.detach(),
        b_gate=bias_of(module.gate_proj),
        b_up=bias_of(module.up_proj),
        b_down=bias_of(module.down_proj),
    )


def bias_of(linear: Any) -> Any:
    """A linear module's bias, or None."""
    return None if linear.bias is None else linear.bias.detach()
