"""A small random model with a text of numbers, and settings that train a dictionary for it in a second."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from engine.models.language_model import LanguageModel
from engine.models.prompt import Prompt
from engine.training import TrainSettings
from tests.engine.tracing.tiny_models import TinyTokenizer, tiny_model

SETTINGS = TrainSettings(
    width=64,
    k=6,
    tokens=3000,
    passes=3,
    sampled_share=0.0,
    context=24,
    batch=128,
    warm_up=5,
    dead_after=1500,
    storage="float32",
    buffer_gb=0.01,
)


class NumberTokenizer(TinyTokenizer):
    """TinyTokenizer with what a corpus asks for; other words than numbers are some token too."""

    bos_id = 0
    eos_ids = frozenset({1})
    has_chat_template = False

    def encode(self, prompt: Prompt) -> list[int]:
        words = prompt.text.split()
        numbers = [word if word.isdigit() and int(word) < 40 else str(2 + sum(map(ord, word)) % 38) for word in words]
        return super().encode(replace(prompt, text=" ".join(numbers)))


def small_model(family: str = "llama") -> LanguageModel:
    model: Any = replace(tiny_model(family), tokenizer=NumberTokenizer())
    return model


def text_folder(folder: Path, tokens: int = 4000) -> Path:
    """Numbers, half of which follow from the one before, so that there is something to learn."""
    generator = torch.Generator().manual_seed(0)
    folder.mkdir(parents=True, exist_ok=True)
    noise = torch.randint(2, 40, (tokens,), generator=generator).tolist()
    coin = torch.rand(tokens, generator=generator).tolist()
    numbers = [7]
    for number, chance in zip(noise, coin, strict=True):
        numbers.append(number if chance < 0.5 else 2 + (numbers[-1] * 7) % 38)
    (folder / "numbers.txt").write_text(" ".join(map(str, numbers)), encoding="utf-8")
    return folder
