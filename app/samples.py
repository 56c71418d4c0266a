"""The prompts a first visitor can run with one click. Each says what the model really answers; a test asks it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.resources import files


@dataclass(frozen=True)
class Sample:
    """A prompt and the token that the starter model finds likeliest after it."""

    text: str
    says: str


@dataclass(frozen=True)
class Samples:
    """The samples and the model they were checked with."""

    model: str
    prompts: tuple[Sample, ...]


def load_samples() -> Samples:
    """Read resources/prompts.json."""
    stored = json.loads((files("resources") / "prompts.json").read_text(encoding="utf-8"))
    return Samples(str(stored["model"]), tuple(Sample(str(p["text"]), str(p["says"])) for p in stored["prompts"]))
