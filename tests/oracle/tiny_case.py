"""The small models and transcoders that circuit-tracer and this engine are compared on, from numbered random draws.

Used by both sides: by `make_references.py` inside circuit-tracer's own environment and by the tests here. NumPy's
generator gives the same numbers everywhere, so only the graphs need to be kept. It knows neither program.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.oracle.transcoder_case import Case

D_MODEL, N_LAYERS, VOCAB = 32, 4, 60
PROMPT = (0, 17, 4, 33, 52, 9, 21)  # token 0 is the beginning of a sequence
SIZES = {
    "vocab_size": VOCAB,
    "hidden_size": D_MODEL,
    "intermediate_size": 48,
    "num_hidden_layers": N_LAYERS,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 64,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 1,
}


CASES = (
    Case("llama-relu", "llama", "transcoder_set", "mlp.hook_in", "mlp.hook_out"),
    Case("llama-jumprelu-skip", "llama", "transcoder_set", "ln2.hook_normalized", "hook_mlp_out", True, True),
    Case("llama-cross-layer", "llama", "cross_layer_transcoder", "hook_resid_mid", "hook_mlp_out"),
    Case("qwen3-relu", "qwen3", "transcoder_set", "mlp.hook_in", "mlp.hook_out"),
    Case("gemma2-jumprelu", "gemma2", "transcoder_set", "ln2.hook_normalized", "hook_mlp_out", True),
    Case("gemma2-cross-layer", "gemma2", "cross_layer_transcoder", "hook_resid_mid", "hook_mlp_out", True),
)


def hf_config(family: str) -> Any:
    """The transformers configuration of a family at these sizes."""
    import transformers

    if family == "llama":
        return transformers.LlamaConfig(**SIZES, tie_word_embeddings=False)
    if family == "qwen3":
        return transformers.Qwen3Config(**SIZES, tie_word_embeddings=False)
    return transformers.Gemma2Config(
        **SIZES, query_pre_attn_scalar=8, sliding_window=32, attn_logit_softcapping=50.0, final_logit_softcapping=30.0
    )


def hf_model(family: str, attention: str = "eager") -> Any:
    """A transformers model in float32 with numbered random weights."""
    import torch
    import transformers

    model = (
        transformers.AutoModelForCausalLM.from_config(hf_config(family), attn_implementation=attention).float().eval()
    )
    rng = np.random.default_rng(sum(map(ord, family)))
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            values = rng.standard_normal(tuple(parameter.shape)) * (0.2 if "norm" in name else 0.35)
            if "norm" in name and family != "gemma2":
                values = values + 1
            parameter.copy_(torch.from_numpy(values.astype(np.float32)))
    return model.requires_grad_(False)
