"""Small random models of every family, in float64, and random transcoders for them.

For autograd their attention patterns and norm denominators are constants; their values are those of transformers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface, AutoModelForCausalLM, Gemma3TextConfig, LlamaConfig
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, AttentionMaskInterface

from engine.dictionaries.neurons import NeuronFeatures
from engine.dictionaries.transcoders import Transcoder, TranscoderFeatures
from engine.errors import RequestError
from engine.models.families import adapt
from engine.models.weights import ModelWeights
from engine.tracing.spec import Prompt

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
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, scaling: float, **_: Any
) -> tuple[Tensor, Tensor]:
    groups = module.num_key_value_groups
    key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    scores = query @ key.transpose(2, 3) * scaling
    if attention_mask is not None:
        scores = scores + attention_mask[..., : key.shape[-2]]
    pattern = scores.softmax(-1).detach()
    return (pattern @ value).transpose(1, 2).contiguous(), pattern


AttentionInterface.register("detached", _detached_attention)
AttentionMaskInterface.register("detached", ALL_MASK_ATTENTION_FUNCTIONS["eager"])


def _hold_norms(hf: Any) -> None:
    """Norms in float64 with constant denominators: transformers computes them in float32 whatever the model is."""
    for norm in [module for module in hf.modules() if type(module).__name__.endswith("RMSNorm")]:
        offset = 1.0 if "Gemma" in type(norm).__name__ else 0.0
        eps = getattr(norm, "variance_epsilon", None) or norm.eps

        def forward(x: Tensor, norm: Any = norm, offset: float = offset, eps: float = eps) -> Tensor:
            return x / (x.detach().pow(2).mean(-1, keepdim=True) + eps).sqrt() * (norm.weight + offset)

        norm.forward = forward


@dataclass
class TinyModel:
    """What the tracer uses of a LanguageModel."""

    hf: Any
    weights: ModelWeights
    name: str
    tokenizer: TinyTokenizer
    fingerprint: str = "tiny"
    source: str = "tests"

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")

    @property
    def dtype(self) -> torch.dtype:
        return self.weights.unembed.dtype


def _config(family: str) -> Any:
    if family == "llama":
        return LlamaConfig(**SIZES, rms_norm_eps=1e-5, tie_word_embeddings=True)
    if family == "llama-biased":
        return LlamaConfig(**SIZES, rms_norm_eps=1e-5, attention_bias=True, mlp_bias=True, tie_word_embeddings=False)
    softcap = {"final_logit_softcapping": 5.0} if family == "gemma3-capped" else {}
    return Gemma3TextConfig(
        **SIZES,
        rms_norm_eps=1e-6,
        sliding_window=3,
        query_pre_attn_scalar=8,
        layer_types=["sliding_attention", "full_attention", "sliding_attention"],
        **softcap,
    )


FAMILIES = ("llama", "llama-biased", "gemma3", "gemma3-capped")


@cache
def tiny_model(family: str) -> TinyModel:
    torch.manual_seed(sum(map(ord, family)))
    hf = AutoModelForCausalLM.from_config(_config(family), attn_implementation="detached").double().eval()
    with torch.no_grad():
        for name, parameter in hf.named_parameters():
            # Norm weights away from their neutral value, biases away from zero: a forgotten one must show.
            parameter.copy_(torch.randn_like(parameter) * (0.3 if "norm" in name else 0.5))
            if "norm" in name and family.startswith("llama"):
                parameter.add_(1)
    hf.requires_grad_(False)
    _hold_norms(hf)
    return TinyModel(hf, adapt(hf), family, TinyTokenizer())


KINDS = ("neurons", "relu", "jumprelu", "topk", "skip", "normalised", "residual", "before-post-norm", "one-layer")


@cache
def features_of(family: str, kind: str) -> NeuronFeatures | TranscoderFeatures:
    weights = tiny_model(family).weights
    if kind == "neurons":
        return NeuronFeatures(weights)
    generator = torch.Generator().manual_seed(len(kind))
    sets: list[Transcoder | None] = [_transcoder(weights.d_model, kind, generator) for _ in weights.layers]
    if kind == "one-layer":
        sets[0] = sets[2] = None
    return TranscoderFeatures(kind, kind, sets, [layer.mlp_norm.gain for layer in weights.layers])


def _transcoder(d: int, kind: str, generator: torch.Generator) -> Transcoder:
    def random(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64) * 0.4

    n = 30
    return Transcoder(
        w_enc=random(n, d),
        b_enc=random(n) - 0.2,
        w_dec=random(n, d),
        b_dec=random(d),
        threshold=random(n).abs() if kind == "jumprelu" else None,
        top_k=7 if kind == "topk" else None,
        w_skip=random(d, d) if kind in ("skip", "before-post-norm") else None,
        reads={"normalised": "normalised", "residual": "residual"}.get(kind, "mlp_input"),  # type: ignore[arg-type]
        writes="mlp_output" if kind == "before-post-norm" else "branch_output",
    )
