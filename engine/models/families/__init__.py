"""The model families that can be run and traced: one module each, about a screenful; nothing copied between them.

To add one: a module with DEFAULTS (config fields by `model_type`) and `read(family, settings, tensors)`, named here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.errors import RequestError
from engine.models.families import gemma, gpt2, gpt_neox, llama, olmo2, phi3
from engine.models.families.parts import Tensors
from engine.models.families.settings import Settings
from engine.models.weights import ModelWeights

_MODULES = (llama, gemma, phi3, olmo2, gpt2, gpt_neox)
_FAMILIES = {model_type: module for module in _MODULES for model_type in module.DEFAULTS}


def known_model_types() -> tuple[str, ...]:
    """The `model_type`s, as config.json names them, of every family that can be run and traced."""
    return tuple(sorted(_FAMILIES))


def read_model(config: Mapping[str, Any], tensors: Tensors, where: str = "config.json") -> ModelWeights:
    """A model's weights by role, from its config and its tensors by name.

    Raises
    ------
    RequestError
        A family that is not known, a config that fits no model, or what `tensors` refuses. `where` names the config.
    """
    family = str(config.get("model_type"))
    if family not in _FAMILIES:
        raise RequestError(
            f"Models of the family {family[:40]!r} cannot be traced yet; open one of: {', '.join(known_model_types())}."
        )
    module = _FAMILIES[family]
    weights: ModelWeights = module.read(family, Settings(config, module.DEFAULTS[family], where), tensors)
    return weights


__all__ = ["Tensors", "known_model_types", "read_model"]
