"""A transformers model's own tensors, read by name as the engine reads them from files."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from engine.models.families import read_model
from engine.models.weights import ModelWeights


class InMemory:
    """The tensors of a state dict."""

    def __init__(self, tensors: dict[str, Tensor]) -> None:
        self.tensors = tensors

    def has(self, name: str) -> bool:
        return name in self.tensors

    def take(self, name: str, *shape: int) -> Tensor:
        assert tuple(self.tensors[name].shape) == shape, name
        return self.tensors[name]


def weights_of(hf: Any) -> ModelWeights:
    """The weights of a transformers model by role, sharing its memory where layouts allow."""
    return read_model(hf.config.to_dict(), InMemory(hf.state_dict()))
