"""Llama, Mistral, Qwen 2 and 3: pre-norms, rotary positions, gated MLP, grouped key/value heads, separate projections.

They differ in biases (Qwen 2: queries, keys, values), query and key norms (Qwen 3: over each head) and windows.
"""

from __future__ import annotations

from engine.models.families.parts import (
    COMMON_DEFAULTS,
    Tensors,
    gated_mlp,
    pre_norm_layer,
    rms_norm,
    separate_attention,
    whole_model,
)
from engine.models.families.settings import Settings
from engine.models.weights import LayerWeights, ModelWeights, NormWeights

_QWEN = {
    "max_position_embeddings": 32768,
    "num_key_value_heads": 32,
    "use_sliding_window": False,
    "sliding_window": 4096,
    "max_window_layers": 28,
}
DEFAULTS = {
    "llama": COMMON_DEFAULTS | {"max_position_embeddings": 2048},
    "mistral": COMMON_DEFAULTS | {"max_position_embeddings": 131072, "num_key_value_heads": 8, "sliding_window": 4096},
    "qwen2": COMMON_DEFAULTS | _QWEN,
    "qwen3": COMMON_DEFAULTS | _QWEN | {"head_dim": 128},
}


def read(family: str, settings: Settings, tensors: Tensors) -> ModelWeights:
    """The weights of a model of one of these types by role."""
    rotary, windows = settings.rotary(settings.rotary_parameters()), _windows(family, settings)
    biased = settings.flag("attention_bias") and family != "mistral"
    biases = (True, False) if family == "qwen2" else (biased, biased)

    def norms(name: str, d_head: int) -> tuple[NormWeights, NormWeights]:
        eps = settings.number("rms_norm_eps")
        return rms_norm(tensors, f"{name}.q_norm", d_head, eps), rms_norm(tensors, f"{name}.k_norm", d_head, eps)

    def layer(number: int, name: str) -> LayerWeights:
        attention = separate_attention(
            settings,
            tensors,
            f"{name}.self_attn",
            rotary,
            window=windows[number],
            biases=biases,
            norms=norms if family == "qwen3" else None,
        )
        return pre_norm_layer(settings, tensors, name, attention, gated_mlp(settings, tensors, f"{name}.mlp"))

    return whole_model(settings, tensors, family, layer)


def _windows(family: str, settings: Settings) -> list[int | None]:
    """Mistral: every layer. Qwen: where it is turned on, the layers named, or those from `max_window_layers` on."""
    count = settings.whole("num_hidden_layers")
    if family == "mistral" and settings.get("sliding_window") is not None:
        return [settings.whole("sliding_window")] * count
    if not family.startswith("qwen") or not settings.flag("use_sliding_window"):
        return [None] * count
    if settings.get("layer_types") is not None:
        return settings.windows()
    window, first = settings.whole("sliding_window"), settings.get("max_window_layers")
    if not isinstance(first, int):
        raise settings.refuse("max_window_layers")
    return [window if number >= first else None for number in range(count)]
