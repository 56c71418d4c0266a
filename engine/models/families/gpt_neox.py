"""GPT-NeoX and Pythia: LayerNorms, plain MLP, attention and MLP in parallel (or in turn), fused query-key-value."""

from __future__ import annotations

from engine.models.families.parts import Tensors, activation_named, body_prefix, layer_norm
from engine.models.families.settings import Settings
from engine.models.rotary import Rotary
from engine.models.weights import AttentionWeights, LayerWeights, MlpWeights, ModelWeights

DEFAULTS = {
    "gpt_neox": {
        "max_position_embeddings": 2048,
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-5,
        "rotary_pct": 0.25,
        "use_parallel_residual": True,
        "attention_bias": True,
        "tie_word_embeddings": False,
    }
}


def read(family: str, settings: Settings, tensors: Tensors) -> ModelWeights:
    """The weights of a GPT-NeoX model by role."""
    v, d, eps = settings.whole("vocab_size"), settings.whole("hidden_size"), settings.number("layer_norm_eps")
    body = body_prefix(tensors, "embed_in.weight", "gpt_neox.")
    rotary = settings.rotary(settings.rotary_parameters(theta="rotary_emb_base", partial="rotary_pct"))
    embed = tensors.take(f"{body}embed_in.weight", v, d)
    # Published files name the unembedding in the family's own way, newly written ones in everyone's.
    head = "embed_out.weight" if tensors.has("embed_out.weight") else "lm_head.weight"
    return ModelWeights(
        family=family,
        embed=embed,
        layers=tuple(
            LayerWeights(
                attention_norm=layer_norm(tensors, f"{name}.input_layernorm", d, eps),
                attention=_attention(settings, tensors, f"{name}.attention", rotary),
                attention_post_norm=None,
                mlp_norm=layer_norm(tensors, f"{name}.post_attention_layernorm", d, eps),
                mlp=_mlp(settings, tensors, f"{name}.mlp"),
                mlp_post_norm=None,
                parallel=settings.flag("use_parallel_residual"),
            )
            for name in (f"{body}layers.{n}" for n in range(settings.whole("num_hidden_layers")))
        ),
        final_norm=layer_norm(tensors, f"{body}final_layer_norm", d, eps),
        unembed=embed if settings.flag("tie_word_embeddings") else tensors.take(head, v, d),
        context=settings.whole("max_position_embeddings"),
    )


def _attention(settings: Settings, tensors: Tensors, name: str, rotary: Rotary) -> AttentionWeights:
    d, heads = settings.whole("hidden_size"), settings.n_heads
    if d % heads:
        raise settings.refuse("num_attention_heads")
    biased, h = settings.flag("attention_bias"), d // heads
    # Rows lie head by head, each head's query, key and value together: taking them apart is a copy.
    fused = tensors.take(f"{name}.query_key_value.weight", 3 * d, d).view(heads, 3, h, d)
    w_q, w_k, w_v = (fused[:, part].reshape(d, d) for part in range(3))
    b_q = b_k = b_v = None
    if biased:
        shifts = tensors.take(f"{name}.query_key_value.bias", 3 * d).view(heads, 3, h)
        b_q, b_k, b_v = (shifts[:, part].reshape(d) for part in range(3))
    return AttentionWeights(
        w_q=w_q,
        w_k=w_k,
        w_v=w_v,
        w_o=tensors.take(f"{name}.dense.weight", d, d),
        b_q=b_q,
        b_k=b_k,
        b_v=b_v,
        b_o=tensors.take(f"{name}.dense.bias", d) if biased else None,
        n_heads=heads,
        n_kv_heads=heads,
        d_head=h,
        scale=h**-0.5,
        rotary=rotary,
    )


def _mlp(settings: Settings, tensors: Tensors, name: str) -> MlpWeights:
    d, m = settings.whole("hidden_size"), settings.whole("intermediate_size")
    return MlpWeights(
        activation_named(settings.get("hidden_act")),
        w_gate=None,
        w_up=tensors.take(f"{name}.dense_h_to_4h.weight", m, d),
        w_down=tensors.take(f"{name}.dense_4h_to_h.weight", d, m),
        b_up=tensors.take(f"{name}.dense_h_to_4h.bias", m),
        b_down=tensors.take(f"{name}.dense_4h_to_h.bias", d),
    )
