"""Llama and its like: pre-norms, rotary positions, gated MLP, grouped key/value heads, separate projections.

Mistral's sliding window, Qwen2's attention biases and Qwen3's query and key norms need nothing more: they live in the
attention pattern, which is recorded, or in the biases, which every reader of an attention block looks for.
"""

from __future__ import annotations

from typing import Any

from engine.models.families.parts import attention_weights, gated_mlp, pre_norm_model
from engine.models.weights import ModelWeights

MODEL_TYPES = ("llama", "mistral", "qwen2", "qwen3")


def adapt(hf: Any) -> ModelWeights:
    """Describe a transformers causal language model of these types by role."""
    return pre_norm_model(hf, attention_weights, gated_mlp)
