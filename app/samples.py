"""Prompts that a first visitor can run with one click, and projects to read; tests ask whether they say what is so."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

# A circuit is called needed below this.
NEEDED_P = 0.01


@dataclass(frozen=True)
class Sample:
    """A prompt and the token that the starter model finds likeliest after it."""

    text: str
    says: str


@dataclass(frozen=True)
class Several:
    """Prompts that are traced one after the other, to see what their graphs share."""

    model: str
    title: str
    prompts: tuple[Sample, ...]


@dataclass(frozen=True)
class Samples:
    """The samples and the model they were checked with."""

    model: str
    prompts: tuple[Sample, ...]
    several: Several


def load_samples() -> Samples:
    """Read resources/prompts.json."""
    stored = json.loads((files("resources") / "prompts.json").read_text(encoding="utf-8"))
    several = stored["several"]
    return Samples(
        str(stored["model"]),
        _prompts(stored["prompts"]),
        Several(str(several["model"]), str(several["title"]), _prompts(several["prompts"])),
    )


def _prompts(stored: Sequence[Mapping[str, str]]) -> tuple[Sample, ...]:
    return tuple(Sample(str(one["text"]), str(one["says"])) for one in stored)


@dataclass(frozen=True)
class SampleProject:
    """A project that ships with the program: a traced prompt, its circuit, and what was measured of it."""

    name: str
    prompt: str
    says: str
    model: str
    circuit: int
    universe: int
    p: float

    @property
    def needed(self) -> bool:
        """Whether its circuit was shown to be needed."""
        return self.p < NEEDED_P

    def copy_to(self, path: Path) -> None:
        """Write the project where it may be changed; the one that ships stays as it is."""
        path.write_bytes((_folder() / f"{self.name}.loupe").read_bytes())


def load_sample_projects() -> tuple[SampleProject, ...]:
    """Read resources/samples/samples.json."""
    stored = json.loads((_folder() / "samples.json").read_text(encoding="utf-8"))
    return tuple(
        SampleProject(
            str(one["name"]),
            str(one["prompt"]),
            str(one["says"]),
            str(one["model"]),
            int(one["circuit"]),
            int(one["universe"]),
            float(one["p"]),
        )
        for one in stored
    )


def _folder() -> Traversable:
    return files("resources") / "samples"
