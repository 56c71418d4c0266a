"""Dictionaries that come with the program: transcoders for the starter model, made by `circuit-loupe train`."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from pathlib import Path


@dataclass(frozen=True)
class StarterSet:
    """A set that ships. `folder`: its place below resources/transcoders."""

    id: str
    model: str
    title: str
    folder: str
    licence: str

    @property
    def path(self) -> Path:
        """Where its files lie."""
        return Path(str(resources.files("resources") / "transcoders" / self.folder))

    @property
    def size_bytes(self) -> int:
        """What its files take."""
        return sum(file.stat().st_size for file in self.path.glob("*.safetensors"))


STARTER_SETS = (
    StarterSet(
        id="SmolLM2-135M-transcoders",
        model="SmolLM2-135M-Instruct",
        title="SmolLM2 135M transcoders",
        folder="smollm2-135m",
        licence="Apache-2.0",
    ),
)


def find_starter_set(name: str) -> StarterSet | None:
    """The set of this id, or None; capitals do not matter."""
    return next((one for one in STARTER_SETS if one.id.lower() == name.lower()), None)


def starter_sets_for(model: str) -> list[StarterSet]:
    """The sets for a model's id."""
    return [one for one in STARTER_SETS if one.model == model]
