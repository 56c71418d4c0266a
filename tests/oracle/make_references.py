"""Write circuit-tracer's own graphs of the tiny cases into tests/oracle/references/. Run by `make references`.

Runs inside an environment that holds circuit-tracer (the registry's 0.5.0, which is a fork of upstream's v0.5.0; the
version and TransformerLens' are stored with every graph) and never inside this project's. It imports nothing of the
engine.
"""

from __future__ import annotations

import sys
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tiny_case import CASES, D_MODEL, N_LAYERS, PROMPT, SIZES, VOCAB, Case, hf_model, write_dictionary


def tokenizer(folder: Path) -> Any:
    """One word a token. TransformerLens opens it again from its folder, so it needs one."""
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({f"w{i}": i for i in range(VOCAB)}, unk_token="w2"))
    names = {"bos_token": "w0", "eos_token": "w1", "pad_token": "w1", "unk_token": "w2"}
    PreTrainedTokenizerFast(tokenizer_object=words, **names).save_pretrained(folder)
    return PreTrainedTokenizerFast.from_pretrained(folder)


def lens_config(family: str) -> Any:
    from transformer_lens import HookedTransformerConfig

    config = {
        "d_model": D_MODEL,
        "d_head": SIZES["head_dim"],
        "n_heads": SIZES["num_attention_heads"],
        "n_key_value_heads": SIZES["num_key_value_heads"],
        "d_mlp": SIZES["intermediate_size"],
        "n_layers": N_LAYERS,
        "n_ctx": SIZES["max_position_embeddings"],
        "eps": 1e-6,
        "d_vocab": VOCAB,
        "act_fn": "silu",
        "normalization_type": "RMS",
        "positional_embedding_type": "rotary",
        "rotary_base": 10000,
        "rotary_adjacent_pairs": False,
        "rotary_dim": SIZES["head_dim"],
        "final_rms": True,
        "gated_mlp": True,
        "use_attn_scale": True,
        "device": "cpu",
        "original_architecture": {"llama": "LlamaForCausalLM", "qwen3": "Qwen3ForCausalLM"}.get(
            family, "Gemma2ForCausalLM"
        ),
        "model_name": "tiny",
        "tokenizer_name": "tiny",
    }
    if family == "qwen3":
        config["use_qk_norm"] = True
    if family == "gemma2":
        config |= {
            "act_fn": "gelu_pytorch_tanh",
            "window_size": 32,
            "use_local_attn": True,
            "attn_types": ["local", "global"] * (N_LAYERS // 2),
            "attn_scores_soft_cap": 50.0,
            "output_logits_soft_cap": 30.0,
            "use_normalization_before_and_after": True,
        }
    return HookedTransformerConfig(**config)


def replacement_model(case: Case, folder: Path) -> tuple[Any, float]:
    """circuit-tracer's model of a case, and the largest difference of its logits to those of transformers."""
    from circuit_tracer.replacement_model.replacement_model_transformerlens import TransformerLensReplacementModel
    from circuit_tracer.transcoder.cross_layer_transcoder import load_clt
    from circuit_tracer.transcoder.single_layer_transcoder import load_transcoder_set
    from transformer_lens.pretrained import weight_conversions as convert

    hf = hf_model(case.family)
    config = lens_config(case.family)
    config.eps = float(hf.config.rms_norm_eps)
    hooks = {"feature_input_hook": case.reads, "feature_output_hook": case.writes}
    if case.kind == "transcoder_set":
        paths = {layer: str(folder / f"layer_{layer}.safetensors") for layer in range(N_LAYERS)}
        transcoders = load_transcoder_set(
            paths, "tiny", case.reads, case.writes, device=torch.device("cpu"), dtype=torch.float32
        )
    else:
        transcoders = load_clt(str(folder), **hooks, device=torch.device("cpu"), dtype=torch.float32)
    model = TransformerLensReplacementModel.from_config(config, transcoders, tokenizer=tokenizer(folder / "tokenizer"))
    weights = {"llama": convert.convert_llama_weights, "qwen3": convert.convert_qwen3_weights}.get(
        case.family, convert.convert_gemma_weights
    )(hf, config)
    # Not load_and_process_state_dict: it fills what is missing, the transcoders' own weights, with zeros.
    unused = model.load_state_dict(rename(model, weights), strict=False).unexpected_keys
    assert not unused, unused
    ids = torch.tensor([list(PROMPT)])
    with torch.no_grad():
        difference = float((model(ids) - hf(ids).logits).abs().max())
    return model, difference


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


def reference(case: Case) -> dict[str, np.ndarray]:
    from circuit_tracer import attribute
    from circuit_tracer.graph import compute_graph_scores, prune_graph

    with tempfile.TemporaryDirectory() as name:
        write_dictionary(case, Path(name))
        model, difference = replacement_model(case, Path(name))
        assert difference < 1e-4, f"{case.name}: the two models differ by {difference}"
        graph = attribute(torch.tensor(PROMPT), model, max_n_logits=5, desired_logit_prob=0.8, batch_size=32)
    replacement, completeness = compute_graph_scores(graph)
    pruned = prune_graph(graph, 0.8, 0.98)
    return {
        "adjacency": graph.adjacency_matrix.numpy().astype(np.float32),
        "active_features": graph.active_features[graph.selected_features].numpy().astype(np.int32),
        "activation_values": graph.activation_values[graph.selected_features].numpy().astype(np.float32),
        "logit_tokens": graph.logit_token_ids.numpy().astype(np.int32),
        "logit_probabilities": graph.logit_probabilities.numpy().astype(np.float32),
        "scores": np.array([float(replacement), float(completeness)]),
        "node_mask": pruned.node_mask.numpy(),
        "edge_mask": np.packbits(pruned.edge_mask.numpy()),
        "logit_difference": np.array(difference),
        "versions": np.array(
            [
                f"{name} {metadata.version(name)}"
                for name in ("circuit-tracer", "transformer-lens", "transformers", "torch")
            ]
        ),
    }


def main() -> None:
    folder = Path(__file__).parent / "references"
    folder.mkdir(exist_ok=True)
    for case in CASES:
        arrays = reference(case)
        np.savez_compressed(folder / f"{case.name}.npz", **arrays)
        sys.stdout.write(
            f"{case.name}: {arrays['adjacency'].shape[0]} nodes, logits agree to {arrays['logit_difference']:.1e}\n"
        )


if __name__ == "__main__":
    main()
