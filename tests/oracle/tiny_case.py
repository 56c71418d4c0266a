"""The small models and transcoders that circuit-tracer and this engine are compared on, from numbered random draws.

Used by both sides: by `make_references.py` inside circuit-tracer's own environment and by the tests here. NumPy's
generator gives the same numbers everywhere, so only the graphs need to be kept. It knows neither program.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

D_MODEL, N_LAYERS, N_FEATURES, VOCAB = 32, 4, 40, 60
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


@dataclass(frozen=True)
class Case:
    """A model family, and a set of transcoders in circuit-tracer's layout."""

    name: str
    family: str
    kind: str  # transcoder_set or cross_layer_transcoder
    reads: str
    writes: str
    threshold: bool = False
    skip: bool = False


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


def write_dictionary(case: Case, folder: Path) -> None:
    """The case's transcoders as files in circuit-tracer's layout."""
    from safetensors.numpy import save_file

    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(sum(map(ord, case.name)))

    def draw(*shape: int, scale: float = 0.3) -> np.ndarray:
        return (rng.standard_normal(shape) * scale).astype(np.float32)

    for layer in range(N_LAYERS):
        tail = f"_{layer}" if case.kind == "cross_layer_transcoder" else ""
        encoder = {
            f"W_enc{tail}": draw(N_FEATURES, D_MODEL),
            f"b_enc{tail}": draw(N_FEATURES) - 1.0,
            f"b_dec{tail}": draw(D_MODEL),
        }
        if case.threshold:
            name = f"threshold{tail}" if tail else "activation_function.threshold"
            encoder[name] = np.abs(draw(N_FEATURES))
        if case.skip:
            encoder["W_skip"] = draw(D_MODEL, D_MODEL, scale=0.1)
        if tail:
            save_file(encoder, folder / f"W_enc{tail}.safetensors")
            save_file(
                {f"W_dec{tail}": draw(N_FEATURES, N_LAYERS - layer, D_MODEL)}, folder / f"W_dec{tail}.safetensors"
            )
        else:
            save_file({**encoder, "W_dec": draw(N_FEATURES, D_MODEL)}, folder / f"layer_{layer}.safetensors")
    lines = {
        "model_name": "tiny",
        "model_kind": case.kind,
        "feature_input_hook": case.reads,
        "feature_output_hook": case.writes,
    }
    (folder / "config.yaml").write_text("".join(f"{key}: {value}\n" for key, value in lines.items()))
