"""The model families the tracer knows. One module a family, about a screenful each; nothing copied between them.

To add one: a module with MODEL_TYPES (transformers' `model_type`s) and `adapt(hf) -> ModelWeights`, named here.
"""

from __future__ import annotations

from typing import Any

from engine.errors import RequestError
from engine.models.families import gemma, gpt2, gpt_neox, llama, olmo2, phi3
from engine.models.weights import ModelWeights

_MODULES = (llama, gemma, phi3, olmo2, gpt2, gpt_neox)
_FAMILIES = {model_type: module for module in _MODULES for model_type in module.MODEL_TYPES}


def known_model_types() -> tuple[str, ...]:
    """The `model_type`s, in transformers' words, of every family that can be traced."""
    return tuple(sorted(_FAMILIES))


def adapt(hf: Any) -> ModelWeights:
    """The weights of a transformers model by role; `RequestError` for a family that is not known."""
    model_type = str(hf.config.model_type)
    if model_type not in _FAMILIES:
        raise RequestError(
            f"Models of the family {model_type!r} cannot be traced yet; open one of: {', '.join(known_model_types())}."
        )
    weights: ModelWeights = _FAMILIES[model_type].adapt(hf)
    return weights


__all__ = ["adapt", "known_model_types"]
