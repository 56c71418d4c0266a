"""The text model in a folder that also holds a vision part: Gemma 3 from 4B on (`Gemma3ForConditionalGeneration`).

Without an image, the language model inside computes exactly what its text-only sibling does. Names of tensors:
`language_model.model.…` in what is published and saved, `model.language_model.…` in what some versions of transformers
saved. A model of text alone passes through unchanged.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

# `model_type` of the whole -> of the text model in it.
_TEXT_TYPES = {"gemma3": "gemma3_text"}
_OTHER_PARTS = ("vision_tower.", "multi_modal_projector.", "model.vision_tower.", "model.multi_modal_projector.")
_TEXT_NAMES = (("language_model.", ""), ("model.language_model.", "model."))
# Given beside `text_config`, and meant for the text model too.
_SHARED = ("bos_token_id", "eos_token_id", "pad_token_id", "quantization_config")


def text_type(model_type: str) -> str:
    """The `model_type` of the text model in a model of this `model_type`."""
    return _TEXT_TYPES.get(model_type, model_type)


def text_config(config: dict[str, Any]) -> dict[str, Any]:
    """The config of the text model; `config` itself where there is no other part.

    Raises `ValueError` where the text model's config is missing.
    """
    inner = _TEXT_TYPES.get(config["model_type"])
    if inner is None:
        return config
    text = config.get("text_config")
    if not isinstance(text, dict) or text.get("model_type", inner) != inner:
        raise ValueError("no config of the text model")
    shared = {name: config[name] for name in _SHARED if config.get(name) is not None}
    return {**text, "model_type": inner, **shared}


def text_names(names: Iterable[str], model_type: str) -> dict[str, str]:
    """The text model's tensors in a folder of this `model_type`: name in the text model -> name in the file.

    Raises `ValueError` where two tensors are the same one of the text model.
    """
    if model_type not in _TEXT_TYPES:
        return {name: name for name in names}
    renamed: dict[str, str] = {}
    for name in names:
        if name.startswith(_OTHER_PARTS):
            continue
        start, instead = next((pair for pair in _TEXT_NAMES if name.startswith(pair[0])), ("", ""))
        text_name = instead + name.removeprefix(start)
        if text_name in renamed:
            raise ValueError(f"{name} and {renamed[text_name]} are the same")
        renamed[text_name] = name
    return renamed
