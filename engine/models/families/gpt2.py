"""GPT-2: LayerNorms, learned position embeddings, plain MLP, matrices stored input first."""

from __future__ import annotations

from engine.models.families.parts import Tensors, activation_named, body_prefix, layer_norm
from engine.models.families.settings import Settings
from engine.models.weights import AttentionWeights, LayerWeights, MlpWeights, ModelWeights

DEFAULTS = {
    "gpt2": {
        "n_positions": 1024,
        "activation_function": "gelu_new",
        "layer_norm_epsilon": 1e-5,
        "scale_attn_weights": True,
        "scale_attn_by_inverse_layer_idx": False,
        "add_cross_attention": False,
        "tie_word_embeddings": True,
    }
}


def read(family: str, settings: Settings, tensors: Tensors) -> ModelWeights:
    """The weights of a GPT-2 model by role."""
    settings.must_be_off("add_cross_attention")
    v, d, context = settings.whole("vocab_size"), settings.whole("n_embd"), settings.whole("n_positions")
    eps, body = settings.number("layer_norm_epsilon"), body_prefix(tensors, "wte.weight", "transformer.")
    embed = tensors.take(f"{body}wte.weight", v, d)
    return ModelWeights(
        family=family,
        embed=embed,
        layers=tuple(
            LayerWeights(
                attention_norm=layer_norm(tensors, f"{name}.ln_1", d, eps),
                attention=_attention(settings, tensors, f"{name}.attn", number),
                attention_post_norm=None,
                mlp_norm=layer_norm(tensors, f"{name}.ln_2", d, eps),
                mlp=_mlp(settings, tensors, f"{name}.mlp"),
                mlp_post_norm=None,
            )
            for number, name in ((n, f"{body}h.{n}") for n in range(settings.whole("n_layer")))
        ),
        final_norm=layer_norm(tensors, f"{body}ln_f", d, eps),
        unembed=embed if settings.flag("tie_word_embeddings") else tensors.take("lm_head.weight", v, d),
        context=context,
        position_embedding=tensors.take(f"{body}wpe.weight", context, d),
    )


def _attention(settings: Settings, tensors: Tensors, name: str, number: int) -> AttentionWeights:
    d, heads = settings.whole("n_embd"), settings.whole("n_head")
    if d % heads:
        raise settings.refuse("n_head")
    w_q, w_k, w_v = tensors.take(f"{name}.c_attn.weight", d, 3 * d).T.chunk(3)
    b_q, b_k, b_v = tensors.take(f"{name}.c_attn.bias", 3 * d).chunk(3)
    scale = (d // heads) ** -0.5 if settings.flag("scale_attn_weights") else 1.0
    return AttentionWeights(
        w_q=w_q,
        w_k=w_k,
        w_v=w_v,
        w_o=tensors.take(f"{name}.c_proj.weight", d, d).T,
        b_q=b_q,
        b_k=b_k,
        b_v=b_v,
        b_o=tensors.take(f"{name}.c_proj.bias", d),
        n_heads=heads,
        n_kv_heads=heads,
        d_head=d // heads,
        scale=scale / (number + 1) if settings.flag("scale_attn_by_inverse_layer_idx") else scale,
    )


def _mlp(settings: Settings, tensors: Tensors, name: str) -> MlpWeights:
    d = settings.whole("n_embd")
    m = settings.whole("n_inner", 4 * d)
    return MlpWeights(
        activation_named(settings.get("activation_function")),
        w_gate=None,
        w_up=tensors.take(f"{name}.c_fc.weight", d, m).T,
        w_down=tensors.take(f"{name}.c_proj.weight", m, d).T,
        b_up=tensors.take(f"{name}.c_fc.bias", m),
        b_down=tensors.take(f"{name}.c_proj.bias", d),
    )
