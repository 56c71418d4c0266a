"""Small random models of every family, in float64, and random transcoders for them.

For autograd their attention patterns and norm denominators are constants; their values are those of transformers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import torch
from torch import Tensor
from transformers import (
    AttentionInterface,
    AutoModelForCausalLM,
    Gemma2Config,
    Gemma3TextConfig,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    MistralConfig,
    Olmo2Config,
    Phi3Config,
    Qwen2Config,
    Qwen3Config,
)
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, AttentionMaskInterface

from engine.dictionaries.neurons import NeuronFeatures
from engine.dictionaries.transcoder_set import TranscoderFeatures
from engine.dictionaries.transcoders import Transcoder
from engine.errors import RequestError
from engine.models.recording_cache import RecordingCache
from engine.models.weights import ModelWeights
from engine.tracing.spec import Prompt
from tests.engine.models.in_memory import weights_of

SIZES = {
    "vocab_size": 40,
    "hidden_size": 24,
    "intermediate_size": 20,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 64,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 1,
}


class TinyTokenizer:
    """One token a number: the prompt '3 5 7' is tokens 3, 5, 7 behind token 0."""

    vocab_size = 40
    eos_ids = frozenset[int]()
    bos_id = 0
    has_chat_template = False

    def encode(self, prompt: Prompt) -> list[int]:
        if prompt.token_ids is not None:
            return list(prompt.token_ids)
        return [0] * prompt.bos + [int(one) for one in prompt.text.split()]

    def is_special(self, token: int) -> bool:
        return token in (0, 1)

    def token_text(self, token: int) -> str:
        return f"<{token}>"

    def texts(self, ids: Sequence[int]) -> list[str]:
        return [self.token_text(one) for one in ids]

    def single_token(self, text: str) -> int:
        if not text.isdigit():
            raise RequestError(f"{text} is not one token.")
        return int(text)


def _detached_attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float,
    softcap: float | None = None,
    **_: Any,
) -> tuple[Tensor, Tensor]:
    groups = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    scores = query @ key.transpose(2, 3) * scaling
    if softcap is not None:
        scores = (scores / softcap).tanh() * softcap
    if attention_mask is not None:
        scores = scores + attention_mask[..., : key.shape[-2]]
    held = getattr(module, "held", None)
    pattern = scores.softmax(-1).detach() if held is None else held
    module.seen = pattern
    return (pattern @ value).transpose(1, 2).contiguous(), pattern


AttentionInterface.register("detached", _detached_attention)
AttentionMaskInterface.register("detached", ALL_MASK_ATTENTION_FUNCTIONS["eager"])


def _scale_of(norm: Any, x: Tensor, eps: float) -> Tensor:
    """The denominator: what `held` says while everything is frozen, else that of x; kept in `seen`."""
    held = getattr(norm, "held", None)
    norm.seen = (x.detach().pow(2).mean(-1, keepdim=True) + eps).sqrt() if held is None else held
    result: Tensor = norm.seen
    return result


def hold_norms(hf: Any) -> None:
    """Norms in float64 with constant denominators: transformers computes them in float32 whatever the model is."""
    for norm in hf.modules():
        name = type(norm).__name__
        if name.endswith("RMSNorm"):
            offset = 1.0 if "Gemma" in name else 0.0
            eps = getattr(norm, "variance_epsilon", None) or norm.eps

            def forward(x: Tensor, norm: Any = norm, offset: float = offset, eps: float = eps) -> Tensor:
                scale = _scale_of(norm, x, eps)
                return x / scale * (norm.weight + offset)

            norm.forward = forward
        elif name == "LayerNorm":

            def centred(x: Tensor, norm: Any = norm) -> Tensor:
                spread = x - x.mean(-1, keepdim=True)
                return spread / _scale_of(norm, spread, norm.eps) * norm.weight + norm.bias

            norm.forward = centred


@dataclass(frozen=True)
class Places:
    """Where a family's parts are, told apart from the engine's own adapters."""

    blocks: str = "model.layers"
    attention: str = "self_attn"
    attention_end: str = "self_attn"  # its output joins the residual stream
    mlp_reads: str = "post_attention_layernorm"  # its input is the residual that the MLP's branch reads
    branch_end: str = "mlp"  # its output joins the residual stream
    final_norm: str = "model.norm"
    down: str = "down_proj"

    def in_model(self, hf: Any, name: str) -> Any:
        return hf.get_submodule(getattr(self, name))

    def in_block(self, block: Any, name: str) -> Any:
        return block.get_submodule(getattr(self, name))


_POST_NORMS = Places(
    attention_end="post_attention_layernorm",
    mlp_reads="pre_feedforward_layernorm",
    branch_end="post_feedforward_layernorm",
)
PLACES = {
    "llama": Places(),
    "mistral": Places(),
    "qwen2": Places(),
    "qwen3": Places(),
    "phi3": Places(),
    "gemma2": _POST_NORMS,
    "gemma3_text": _POST_NORMS,
    "olmo2": Places(attention_end="post_attention_layernorm", mlp_reads="mlp", branch_end="post_feedforward_layernorm"),
    "gpt2": Places("transformer.h", "attn", "attn", "ln_2", "mlp", "transformer.ln_f", "c_proj"),
    "gpt_neox": Places(
        "gpt_neox.layers",
        "attention",
        "attention",
        "post_attention_layernorm",
        "mlp",
        "gpt_neox.final_layer_norm",
        "dense_4h_to_h",
    ),
}


def neuron_inputs(mlp: Any, x: Tensor) -> tuple[Tensor | None, Tensor]:
    """Gate and up of every neuron (None: a plain MLP, whose only pre-activation comes second)."""
    if hasattr(mlp, "gate_proj"):
        return mlp.gate_proj(x), mlp.up_proj(x)
    if hasattr(mlp, "gate_up_proj"):
        gate, up = mlp.gate_up_proj(x).chunk(2, dim=-1)
        return gate, up
    return None, (mlp.c_fc if hasattr(mlp, "c_fc") else mlp.dense_h_to_4h)(x)


def nonlinearity(mlp: Any) -> Any:
    """The MLP's phi."""
    return next(getattr(mlp, name) for name in ("act_fn", "activation_fn", "act") if hasattr(mlp, name))


def neuron_values(mlp: Any, x: Tensor) -> Tensor:
    """(T, m) what goes into the down projection."""
    gate, up = neuron_inputs(mlp, x)
    result: Tensor = nonlinearity(mlp)(up) if gate is None else nonlinearity(mlp)(gate) * up
    return result


def down_rows(mlp: Any) -> Tensor:
    """(m, d) what each neuron writes for a value of 1."""
    if hasattr(mlp, "c_proj"):
        return mlp.c_proj.weight
    down = mlp.dense_4h_to_h if hasattr(mlp, "dense_4h_to_h") else mlp.down_proj
    return down.weight.T


@dataclass
class TinyModel:
    """What the tracer uses of a LanguageModel."""

    hf: Any
    weights: ModelWeights
    name: str
    tokenizer: TinyTokenizer
    fingerprint: str = "tiny"
    source: str = "tests"
    recordings: RecordingCache = field(default_factory=RecordingCache)

    @property
    def device(self) -> torch.device:
        return self.weights.unembed.device

    @property
    def places(self) -> Places:
        return PLACES[self.hf.config.model_type]

    @property
    def blocks(self) -> Any:
        return self.places.in_model(self.hf, "blocks")

    @property
    def dtype(self) -> torch.dtype:
        return self.weights.unembed.dtype

    @property
    def context(self) -> int:
        return self.weights.context


def tiny_config(family: str) -> Any:
    kind, _, variant = family.partition("-")
    if kind == "gpt2":
        return GPT2Config(
            vocab_size=40, n_embd=24, n_inner=20, n_layer=3, n_head=4, n_positions=64, bos_token_id=0, eos_token_id=1
        )
    if kind == "neox":
        return GPTNeoXConfig(**SIZES, use_parallel_residual=variant != "serial", rotary_pct=0.25)
    if kind == "llama" and variant:
        return LlamaConfig(**SIZES, attention_bias=True, mlp_bias=True, tie_word_embeddings=False)
    if kind in ("gemma2", "gemma3"):
        gemma = {
            "sliding_window": 3,
            "query_pre_attn_scalar": 8,
            "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
        }
        if kind == "gemma2":
            return Gemma2Config(**SIZES, **gemma, final_logit_softcapping=6.0, attn_logit_softcapping=4.0)
        return Gemma3TextConfig(**SIZES, **gemma, **({"final_logit_softcapping": 5.0} if variant else {}))
    plain = {"llama": LlamaConfig, "mistral": MistralConfig, "qwen2": Qwen2Config, "qwen3": Qwen3Config}
    plain |= {"phi3": Phi3Config, "olmo2": Olmo2Config}
    window = {"sliding_window": 3} if kind == "mistral" else {}
    return plain[kind](**SIZES, **window)


FAMILIES = (
    "llama",
    "llama-biased",
    "mistral",
    "qwen2",
    "qwen3",
    "gemma2",
    "gemma3",
    "gemma3-capped",
    "phi3",
    "olmo2",
    "gpt2",
    "neox",
    "neox-serial",
)


def random_model(config: Any, seed: int) -> Any:
    """A transformers model of that config in float64 with random weights, held as the module says."""
    torch.manual_seed(seed)
    hf = AutoModelForCausalLM.from_config(config, attn_implementation="detached").double().eval()
    with torch.no_grad():
        for name, parameter in hf.named_parameters():
            # Norm weights away from their neutral value, biases away from zero: a forgotten one must show.
            is_norm = "norm" in name or ".ln_" in name
            parameter.copy_(torch.randn_like(parameter) * (0.3 if is_norm else 0.5))
            if is_norm and name.endswith("weight") and not config.model_type.startswith("gemma"):
                parameter.add_(1)
    hf.requires_grad_(False)
    hold_norms(hf)
    return hf


@cache
def tiny_model(family: str) -> TinyModel:
    hf = random_model(tiny_config(family), sum(map(ord, family)))
    return TinyModel(hf, weights_of(hf), family, TinyTokenizer())


KINDS = (
    "neurons",
    "relu",
    "jumprelu",
    "topk",
    "skip",
    "normalised",
    "residual",
    "before-post-norm",
    "one-layer",
    "cross-layer",
    "cross-layer-skip-before-post-norm",
)


@cache
def features_of(family: str, kind: str) -> NeuronFeatures | TranscoderFeatures:
    weights = tiny_model(family).weights
    if kind == "neurons":
        return NeuronFeatures(weights)
    generator = torch.Generator().manual_seed(len(kind))
    count = weights.n_layers
    sets: list[Transcoder | None] = [
        _transcoder(weights.d_model, kind, generator, count - layer if kind.startswith("cross") else None)
        for layer in range(count)
    ]
    if kind == "one-layer":
        sets[0] = sets[2] = None
    return TranscoderFeatures(kind, kind, sets, [layer.mlp_gain for layer in weights.layers])


def _transcoder(d: int, kind: str, generator: torch.Generator, written: int | None) -> Transcoder:
    def random(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64) * 0.4

    n = 30
    return Transcoder(
        w_enc=random(n, d),
        b_enc=random(n) - 0.2,
        w_dec=random(n, d) if written is None else random(n, written, d),
        b_dec=random(d),
        threshold=random(n).abs() if kind == "jumprelu" else None,
        top_k=7 if kind == "topk" else None,
        w_skip=random(d, d) if "skip" in kind or kind == "before-post-norm" else None,
        reads={"normalised": "normalised", "residual": "residual"}.get(kind, "mlp_input"),  # type: ignore[arg-type]
        writes="mlp_output" if kind.endswith("before-post-norm") else "branch_output",
    )
