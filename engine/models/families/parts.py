"""Pieces that several families share: a norm, an attention block, an MLP, Llama's skeleton, from tensors by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from torch import Tensor

from engine.errors import RequestError
from engine.models.families.settings import Settings
from engine.models.rotary import Rotary
from engine.models.weights import (
    Activation,
    AttentionWeights,
    LayerWeights,
    MlpWeights,
    ModelWeights,
    NormWeights,
    wide,
)

# Published names for the nonlinearities; each has an analytic phi(z)/z in engine.dictionaries.linearisation.
ACTIVATIONS: dict[str, Activation] = {
    "silu": "silu",
    "swish": "silu",
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "relu": "relu",
}
# Fields of config.json that older files of Llama's kind leave out.
COMMON_DEFAULTS = {
    "hidden_act": "silu",
    "rms_norm_eps": 1e-6,
    "attention_bias": False,
    "mlp_bias": False,
    "tie_word_embeddings": False,
}


class Tensors(Protocol):
    """A model's tensors by name."""

    def has(self, name: str) -> bool:
        """Whether there is a tensor of that name."""
        ...

    def take(self, name: str, *shape: int) -> Tensor:
        """The tensor of that name in the model's format; what is missing or of another shape is refused."""
        ...


def activation_named(name: object) -> Activation:
    """The nonlinearity by its published name; `RequestError` for one that has no known linearisation."""
    if not isinstance(name, str) or name not in ACTIVATIONS:
        known = ", ".join(sorted(set(ACTIVATIONS)))
        raise RequestError(
            f"This model's MLP uses {str(name)[:40]!r}, which cannot be traced yet; fetch a model with one of: {known}."
        )
    return ACTIVATIONS[name]


def body_prefix(tensors: Tensors, name: str, prefix: str) -> str:
    """`prefix` as files of whole models have it, or nothing where a file holds the body alone (`name` bare)."""
    return "" if tensors.has(name) else prefix


def rms_norm(tensors: Tensors, name: str, width: int, eps: float, *, unit_offset: bool = False) -> NormWeights:
    """An RMSNorm of `width`; `unit_offset` where the model multiplies by 1 + weight."""
    weight = tensors.take(f"{name}.weight", width)
    gain = weight.to(wide(weight.dtype))
    return NormWeights(gain + 1 if unit_offset else gain, None, eps)


def layer_norm(tensors: Tensors, name: str, width: int, eps: float) -> NormWeights:
    """A LayerNorm of `width` with its shift."""
    gain, shift = (tensors.take(f"{name}.{part}", width) for part in ("weight", "bias"))
    return NormWeights(gain.to(wide(gain.dtype)), shift.to(wide(shift.dtype)), eps, centred=True)


def separate_attention(
    settings: Settings,
    tensors: Tensors,
    name: str,
    rotary: Rotary,
    *,
    window: int | None = None,
    biases: tuple[bool, bool] = (False, False),
    scale: float | None = None,
    softcap: float | None = None,
    norms: Callable[[str, int], tuple[NormWeights, NormWeights]] | None = None,
) -> AttentionWeights:
    """Separate q_proj, k_proj, v_proj and o_proj; `biases` of the first three, and of the last.

    `norms` reads q_norm and k_norm, given the block's name and the width of a head.
    """
    d, d_head = settings.whole("hidden_size"), settings.d_head
    of_heads = {"q": settings.n_heads * d_head, "k": settings.n_kv_heads * d_head, "v": settings.n_kv_heads * d_head}
    w = {one: tensors.take(f"{name}.{one}_proj.weight", width, d) for one, width in of_heads.items()}
    b = {one: tensors.take(f"{name}.{one}_proj.bias", width) for one, width in of_heads.items()} if biases[0] else {}
    q_norm, k_norm = (None, None) if norms is None else norms(name, d_head)
    return AttentionWeights(
        w_q=w["q"],
        w_k=w["k"],
        w_v=w["v"],
        w_o=tensors.take(f"{name}.o_proj.weight", d, of_heads["q"]),
        b_q=b.get("q"),
        b_k=b.get("k"),
        b_v=b.get("v"),
        b_o=tensors.take(f"{name}.o_proj.bias", d) if biases[1] else None,
        n_heads=settings.n_heads,
        n_kv_heads=settings.n_kv_heads,
        d_head=d_head,
        scale=d_head**-0.5 if scale is None else scale,
        rotary=rotary,
        q_norm=q_norm,
        k_norm=k_norm,
        window=window,
        softcap=softcap,
    )


def gated_mlp(settings: Settings, tensors: Tensors, name: str, *, activation: str = "hidden_act") -> MlpWeights:
    """gate_proj, up_proj, down_proj; `activation`: the field that names the nonlinearity."""
    d, m, biased = settings.whole("hidden_size"), settings.whole("intermediate_size"), settings.flag("mlp_bias")
    sizes = {"gate": (m, d), "up": (m, d), "down": (d, m)}
    w = {one: tensors.take(f"{name}.{one}_proj.weight", *size) for one, size in sizes.items()}
    b = {one: tensors.take(f"{name}.{one}_proj.bias", size[0]) for one, size in sizes.items()} if biased else {}
    phi = activation_named(settings.get(activation))
    return MlpWeights(phi, w["gate"], w["up"], w["down"], b.get("gate"), b.get("up"), b.get("down"))


def whole_model(
    settings: Settings,
    tensors: Tensors,
    family: str,
    read_layer: Callable[[int, str], LayerWeights],
    *,
    unit_offset: bool = False,
    embed_scale: float = 1.0,
    final_softcap: float | None = None,
) -> ModelWeights:
    """embed_tokens, layers, norm and lm_head, as Llama and its descendants name them.

    `read_layer` is given a layer's number and the name in front of its tensors.
    """
    v, d = settings.whole("vocab_size"), settings.whole("hidden_size")
    body = body_prefix(tensors, "embed_tokens.weight", "model.")
    embed = tensors.take(f"{body}embed_tokens.weight", v, d)
    return ModelWeights(
        family=family,
        embed=embed,
        layers=tuple(read_layer(n, f"{body}layers.{n}") for n in range(settings.whole("num_hidden_layers"))),
        final_norm=rms_norm(tensors, f"{body}norm", d, settings.number("rms_norm_eps"), unit_offset=unit_offset),
        unembed=embed if settings.flag("tie_word_embeddings") else tensors.take("lm_head.weight", v, d),
        context=settings.whole("max_position_embeddings"),
        embed_scale=embed_scale,
        final_softcap=final_softcap,
    )


def pre_norm_layer(
    settings: Settings,
    tensors: Tensors,
    name: str,
    attention: AttentionWeights,
    mlp: MlpWeights,
) -> LayerWeights:
    """Llama's block: an RMSNorm before attention, one before the MLP, nothing after the branches."""
    d, eps = settings.whole("hidden_size"), settings.number("rms_norm_eps")
    return LayerWeights(
        attention_norm=rms_norm(tensors, f"{name}.input_layernorm", d, eps),
        attention=attention,
        attention_post_norm=None,
        mlp_norm=rms_norm(tensors, f"{name}.post_attention_layernorm", d, eps),
        mlp=mlp,
        mlp_post_norm=None,
    )
