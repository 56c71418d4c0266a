"""circuit-tracer's model of local weights and transcoders, without a hub: for the references and for the benchmark.

Runs inside an environment that holds circuit-tracer, and imports nothing of the engine.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from tests.oracle.transcoder_case import Case


def reopened(words: Any, folder: Path) -> Any:
    """A tokenizer that knows the folder it lies in: TransformerLens opens it again from there."""
    from transformers import PreTrainedTokenizerFast

    words.save_pretrained(folder)
    return PreTrainedTokenizerFast.from_pretrained(folder)


def lens_config(hf: Any, family: str, context: int) -> Any:
    """TransformerLens' configuration of a transformers model, which it would else look up on the hub by name."""
    from transformer_lens import HookedTransformerConfig

    own = hf.config
    config = {
        "d_model": own.hidden_size,
        "d_head": own.head_dim,
        "n_heads": own.num_attention_heads,
        "n_key_value_heads": own.num_key_value_heads,
        "d_mlp": own.intermediate_size,
        "n_layers": own.num_hidden_layers,
        "n_ctx": min(own.max_position_embeddings, context),
        "eps": float(own.rms_norm_eps),
        "d_vocab": own.vocab_size,
        "act_fn": "silu",
        "normalization_type": "RMS",
        "positional_embedding_type": "rotary",
        "rotary_base": int(own.rope_theta),
        "rotary_adjacent_pairs": False,
        "rotary_dim": own.head_dim,
        "final_rms": True,
        "gated_mlp": True,
        "use_attn_scale": True,
        "device": "cpu",
        "original_architecture": own.architectures[0] if own.architectures else type(hf).__name__,
        "model_name": "local",
        "tokenizer_name": "local",
    }
    if family == "qwen3":
        config["use_qk_norm"] = True
    if family == "gemma2":
        config |= {
            "act_fn": "gelu_pytorch_tanh",
            "window_size": 32,
            "use_local_attn": True,
            "attn_types": ["local", "global"] * (own.num_hidden_layers // 2),
            "attn_scores_soft_cap": 50.0,
            "output_logits_soft_cap": 30.0,
            "use_normalization_before_and_after": True,
        }
    return HookedTransformerConfig(**config)


def replacement_model(
    case: Case, folder: Path, hf: Any, words: Any, *, context: int = 64, lazy_encoder: bool | None = None
) -> Any:
    """circuit-tracer's model: a transformers model's weights, a tokenizer, and the transcoders of `folder`.

    `context`: the most tokens of a prompt. `lazy_encoder` of per-layer sets: circuit-tracer's own default where None.
    """
    from circuit_tracer.replacement_model.replacement_model_transformerlens import TransformerLensReplacementModel
    from circuit_tracer.transcoder.cross_layer_transcoder import load_clt
    from circuit_tracer.transcoder.single_layer_transcoder import load_transcoder_set
    from transformer_lens.pretrained import weight_conversions as convert

    config = lens_config(hf, case.family, context)
    hooks = {"feature_input_hook": case.reads, "feature_output_hook": case.writes}
    if case.kind == "transcoder_set":
        paths = {layer: str(folder / f"layer_{layer}.safetensors") for layer in range(case.n_layers)}
        lazy = {} if lazy_encoder is None else {"lazy_encoder": lazy_encoder}
        transcoders = load_transcoder_set(
            paths, "local", case.reads, case.writes, device=torch.device("cpu"), dtype=torch.float32, **lazy
        )
    else:
        transcoders = load_clt(str(folder), **hooks, device=torch.device("cpu"), dtype=torch.float32)
    model = TransformerLensReplacementModel.from_config(config, transcoders, tokenizer=words)
    convert_weights = {"gemma2": convert.convert_gemma_weights, "qwen3": convert.convert_qwen3_weights}.get(
        case.family, convert.convert_llama_weights
    )
    # Not load_and_process_state_dict: it fills what is missing, the transcoders' own weights, with zeros.
    unused = model.load_state_dict(rename(model, convert_weights(hf, config)), strict=False).unexpected_keys
    assert not unused, unused
    return model


def rename(model: Any, weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """circuit-tracer wraps the MLPs and the unembedding: their parameters have longer names."""
    have = set(model.state_dict())
    out = {}
    for name, value in weights.items():
        for wrapped in (name, name.replace(".mlp.", ".mlp.old_mlp."), name.replace("unembed.", "unembed.old_unembed.")):
            if wrapped in have:
                out[wrapped] = value
                break
    return out
