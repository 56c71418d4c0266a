"""circuit-tracer's side of the comparison; runs in an environment that holds it; of ours it imports `spoken`.

python side_circuit_tracer.py MODEL_FOLDER TRANSCODER_FOLDER
"""

from __future__ import annotations

import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import spoken
import torch


def load(model_folder: Path, transcoders: Path) -> Any:
    """Its replacement model with the weights that transformers reads from the folder."""
    import transformers
    from circuit_tracer.replacement_model.replacement_model_transformerlens import TransformerLensReplacementModel
    from circuit_tracer.transcoder.single_layer_transcoder import load_transcoder_set
    from transformer_lens import HookedTransformerConfig
    from transformer_lens.pretrained import weight_conversions as convert

    its = transformers.AutoConfig.from_pretrained(model_folder)
    # The transformers that this version needs is older than the folder's way of writing it.
    its.rope_theta = float(its.rope_parameters["rope_theta"])
    hf = transformers.AutoModelForCausalLM.from_pretrained(model_folder, config=its, dtype=torch.float32).eval()
    config = HookedTransformerConfig(
        d_model=its.hidden_size,
        d_head=its.head_dim,
        n_heads=its.num_attention_heads,
        n_key_value_heads=its.num_key_value_heads,
        d_mlp=its.intermediate_size,
        n_layers=its.num_hidden_layers,
        n_ctx=2048,
        eps=its.rms_norm_eps,
        d_vocab=its.vocab_size,
        act_fn="silu",
        normalization_type="RMS",
        positional_embedding_type="rotary",
        rotary_base=int(its.rope_theta),
        rotary_adjacent_pairs=False,
        rotary_dim=its.head_dim,
        final_rms=True,
        gated_mlp=True,
        use_attn_scale=True,
        device="cpu",
        original_architecture="LlamaForCausalLM",
        model_name="benchmark",
        tokenizer_name="benchmark",
    )
    reads, writes = "mlp.hook_in", "mlp.hook_out"
    paths = {layer: str(transcoders / f"layer_{layer}.safetensors") for layer in range(its.num_hidden_layers)}
    dictionary = load_transcoder_set(
        paths, "benchmark", reads, writes, device=torch.device("cpu"), dtype=torch.float32, lazy_encoder=False
    )
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_file=str(model_folder / "tokenizer.json"))
    tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token = "<|im_start|>", "<|im_end|>", "<|im_end|>"
    # TransformerLens opens the tokenizer again from where it came.
    own = transcoders / "tokenizer"
    tokenizer.save_pretrained(own)
    tokenizer = transformers.PreTrainedTokenizerFast.from_pretrained(own)
    model = TransformerLensReplacementModel.from_config(config, dictionary, tokenizer=tokenizer)
    have, renamed = set(model.state_dict()), {}
    for name, value in convert.convert_llama_weights(hf, config).items():
        for known in (name, name.replace(".mlp.", ".mlp.old_mlp."), name.replace("unembed.", "unembed.old_unembed.")):
            if known in have:
                renamed[known] = value
                break
    unused = model.load_state_dict(renamed, strict=False).unexpected_keys
    assert not unused, unused
    ids = torch.tensor([[1, 504, 3575, 282, 8848, 314]])
    with torch.no_grad():
        apart = float((model(ids) - hf(ids).logits).abs().max())
    assert apart < 1e-2, f"the two models differ by {apart}"
    return model


class Answers:
    """What can be asked."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def about(self) -> dict[str, Any]:
        """Versions and threads."""
        names = ("circuit-tracer", "transformer-lens", "transformers", "torch")
        return {"versions": {name: metadata.version(name) for name in names}, "threads": torch.get_num_threads()}

    def trace(self, ids: list[int], nodes: int, batch: int, out: str | None) -> dict[str, Any]:
        """One attribution with its own choice of `nodes` features; the graph's arrays go to `out`."""
        from circuit_tracer import attribute

        before = spoken.peak_reset()
        started, worked = time.perf_counter(), time.process_time()
        graph = attribute(
            torch.tensor(ids),
            self.model,
            max_n_logits=10,
            desired_logit_prob=0.95,
            batch_size=batch,
            max_feature_nodes=nodes,
        )
        seconds, work = time.perf_counter() - started, time.process_time() - worked
        used = spoken.peak() - before
        if out is not None:
            np.savez(
                out,
                adjacency=graph.adjacency_matrix.numpy(),
                features=graph.active_features[graph.selected_features].numpy().astype(np.int32),
                logit_tokens=graph.logit_token_ids.numpy().astype(np.int32),
            )
        return {"seconds": seconds, "work": work, "memory": used, "active": len(graph.active_features)}


if __name__ == "__main__":
    answers = Answers(load(Path(sys.argv[1]), Path(sys.argv[2])))
    spoken.answer({"about": answers.about, "trace": answers.trace})
