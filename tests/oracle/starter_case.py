"""A real model, the prepared starter, with small random transcoders, and how circuit-tracer's side opens it.

Used by both sides, as `tiny_case`. The model's folder is the one that the program prepares; here it is only read.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.oracle.transcoder_case import Case

MODEL = "SmolLM2-135M-Instruct"
TEXT = "The capital of Texas is"
TOKENS = (1, 504, 3575, 282, 5778, 314)  # the same with the model's BOS
MAX_NODES = 200  # feature nodes, which circuit-tracer chooses
TOP_LOGITS, LOGIT_MASS = 5, 0.6

CASES = (
    Case("smollm2-jumprelu-skip", MODEL, "transcoder_set", "mlp.hook_in", "mlp.hook_out", True, True, 30, 576, 256),
    Case(
        "smollm2-cross-layer", MODEL, "cross_layer_transcoder", "mlp.hook_in", "hook_mlp_out", True, False, 30, 576, 64
    ),
)


def hf_config(folder: Path) -> Any:
    """The model's configuration; transformers 4 keeps the rotation's base in a key of its own."""
    import transformers

    raw = json.loads((folder / "config.json").read_text())
    return transformers.LlamaConfig(**raw, rope_theta=raw.pop("rope_parameters")["rope_theta"])


def hf_model(folder: Path) -> Any:
    """The transformers model in float32 with the folder's weights."""
    import torch
    import transformers

    return (
        transformers.LlamaForCausalLM.from_pretrained(
            folder, config=hf_config(folder), dtype=torch.float32, attn_implementation="eager"
        )
        .eval()
        .requires_grad_(False)
    )


def tokenizer(folder: Path) -> Any:
    """Its tokenizer, without the class of a later transformers that its settings name."""
    from transformers import PreTrainedTokenizerFast

    named = json.loads((folder / "tokenizer_config.json").read_text())
    special = {key: value for key, value in named.items() if key.endswith("_token")}
    return PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"), **special)
