"""Gemma 2 and 3 (text): norms times 1 + weight, post-norms after attention and MLP, tanh-GELU gate, scaled embedding.

Gemma 2 bounds scores and logits softly; Gemma 3 has query and key norms and other rotary positions in sliding layers.
"""

from __future__ import annotations

from functools import partial

from engine.models.families.parts import Tensors, gated_mlp, rms_norm, separate_attention, whole_model
from engine.models.families.settings import Settings
from engine.models.rotary import Rotary
from engine.models.weights import LayerWeights, ModelWeights, NormWeights

_BOTH = {
    # Sizes too: the text model's config in a model with a vision part leaves out what its class has.
    "hidden_size": 2304,
    "intermediate_size": 9216,
    "num_hidden_layers": 26,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 256,
    "hidden_activation": "gelu_pytorch_tanh",
    "rms_norm_eps": 1e-6,
    "tie_word_embeddings": True,
    "attention_bias": False,
    "query_pre_attn_scalar": 256,
    "sliding_window": 4096,
    "use_bidirectional_attention": False,
}
DEFAULTS = {
    "gemma2": _BOTH
    | {
        "vocab_size": 256000,
        "max_position_embeddings": 8192,
        "final_logit_softcapping": 30.0,
        "attn_logit_softcapping": 50.0,
    },
    "gemma3_text": _BOTH | {"vocab_size": 262208, "max_position_embeddings": 131072},
}


def read(family: str, settings: Settings, tensors: Tensors) -> ModelWeights:
    """The weights of a Gemma 2 or 3 language model by role."""
    settings.must_be_off("use_bidirectional_attention")
    newer = family == "gemma3_text"
    windows = _windows(settings, settings.whole("sliding_window_pattern", 6) if newer else 2)
    everywhere, sliding = _rotary(settings, newer)
    d, eps, biased = settings.whole("hidden_size"), settings.number("rms_norm_eps"), settings.flag("attention_bias")
    norm = partial(rms_norm, tensors, eps=eps, unit_offset=True)
    # Gemma 3's attention has no cap, whatever its config says.
    cap = None if newer else settings.number_or_none("attn_logit_softcapping")

    def norms(name: str, d_head: int) -> tuple[NormWeights, NormWeights]:
        return norm(f"{name}.q_norm", d_head), norm(f"{name}.k_norm", d_head)

    def layer(number: int, name: str) -> LayerWeights:
        attention = separate_attention(
            settings,
            tensors,
            f"{name}.self_attn",
            everywhere if windows[number] is None else sliding,
            window=windows[number],
            biases=(biased, biased),
            scale=settings.number("query_pre_attn_scalar") ** -0.5,
            softcap=cap,
            norms=norms if newer else None,
        )
        return LayerWeights(
            attention_norm=norm(f"{name}.input_layernorm", d),
            attention=attention,
            attention_post_norm=norm(f"{name}.post_attention_layernorm", d),
            mlp_norm=norm(f"{name}.pre_feedforward_layernorm", d),
            mlp=gated_mlp(settings, tensors, f"{name}.mlp", activation="hidden_activation"),
            mlp_post_norm=norm(f"{name}.post_feedforward_layernorm", d),
        )

    return whole_model(
        settings,
        tensors,
        family,
        layer,
        unit_offset=True,
        embed_scale=d**0.5,
        final_softcap=settings.number_or_none("final_logit_softcapping"),
    )


def _windows(settings: Settings, every: int) -> list[int | None]:
    """By `layer_types`, or as the family began: each layer slides but every second or sixth."""
    if settings.get("layer_types") is not None:
        return settings.windows()
    window, count = settings.whole("sliding_window"), settings.whole("num_hidden_layers")
    return [window if (number + 1) % every else None for number in range(count)]


def _rotary(settings: Settings, newer: bool) -> tuple[Rotary, Rotary]:
    """Rotary positions of full layers and of sliding ones: in Gemma 3 they differ."""
    if not newer:
        both = settings.rotary(settings.rotary_parameters())
        return both, both
    kinds = settings.mapping("rope_parameters")
    full, sliding = dict(kinds.get("full_attention") or {}), dict(kinds.get("sliding_attention") or {})
    full |= settings.mapping("rope_scaling")
    full.setdefault("rope_theta", settings.get("rope_theta") or 1_000_000.0)
    sliding.setdefault("rope_theta", settings.get("rope_local_base_freq") or 10_000.0)
    return settings.rotary(settings.completed(full)), settings.rotary(settings.completed(sliding))
