"""Language models as the tracer sees them: what the rest may use. torch is imported only when it is needed."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine.models.catalogue import ModelEntry, find_models
    from engine.models.devices import choose_device, choose_dtype
    from engine.models.language_model import LanguageModel
    from engine.models.loading import load_model
    from engine.models.memory import available_bytes
    from engine.models.recording import Recording, record
    from engine.models.starters import STARTER_ID, prepare_starter
    from engine.models.tokens import GeneratedToken, ModelTokenizer, TokenProbability
    from engine.models.weights import ModelWeights

_WHERE = {
    "GeneratedToken": "tokens",
    "LanguageModel": "language_model",
    "ModelEntry": "catalogue",
    "ModelTokenizer": "tokens",
    "ModelWeights": "weights",
    "Recording": "recording",
    "STARTER_ID": "starters",
    "TokenProbability": "tokens",
    "available_bytes": "memory",
    "choose_device": "devices",
    "choose_dtype": "devices",
    "find_models": "catalogue",
    "load_model": "loading",
    "prepare_starter": "starters",
    "record": "recording",
}

__all__ = [
    "STARTER_ID",
    "GeneratedToken",
    "LanguageModel",
    "ModelEntry",
    "ModelTokenizer",
    "ModelWeights",
    "Recording",
    "TokenProbability",
    "available_bytes",
    "choose_device",
    "choose_dtype",
    "find_models",
    "load_model",
    "prepare_starter",
    "record",
]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)
