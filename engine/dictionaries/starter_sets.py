"""Dictionaries that come with the program: transcoders for the starter model, made by `circuit-loupe train`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
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

    @cached_property
    def measured(self) -> str:
        """How good it is, in two sentences, by its card's metrics.json."""
        about = json.loads((self.path / "metrics.json").read_text(encoding="utf-8"))
        layers, scores = about["layers"], [one["replacement"] for one in about["prompts"]]
        ours, neurons, linear = (
            f"{100 * sum(values) / len(layers):.0f} %"
            for values in (
                [one["fvu"] for one in layers],
                [one["neurons"]["fvu"] for one in layers],
                [one["linear"]["fvu"] for one in layers],
            )
        )
        worse = sum(one["fvu"] >= one["neurons"]["fvu"] for one in layers)
        return (
            f"It leaves over {ours} of what an MLP writes (mean of {len(layers)} layers; as many of its own neurons "
            f"{neurons}, a linear map {linear}), in {worse} layers more than the neurons. Graphs of the sample prompts "
            f"have a replacement score of {min(scores):.2f} to {max(scores):.2f}: the rest runs through "
            "error nodes, which neurons do not have."
        )


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
