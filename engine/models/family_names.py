"""The families that can be traced, by transformers' `model_type`, under the names people know. Needs no torch.

A test holds the list against the adapters in `families/`.
"""

from __future__ import annotations

FAMILY_NAMES = {
    "gemma2": "Gemma 2",
    "gemma3_text": "Gemma 3",
    "gpt2": "GPT-2",
    "gpt_neox": "GPT-NeoX",
    "llama": "Llama",
    "mistral": "Mistral",
    "olmo2": "OLMo 2",
    "phi3": "Phi-3",
    "qwen2": "Qwen 2",
    "qwen3": "Qwen 3",
}
