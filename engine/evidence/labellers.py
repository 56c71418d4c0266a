"""A labeller of one's own: a local language model, or anything that reads texts; its words are tested like rules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from engine.evidence.pages import Example, FeaturePage, Label, Side

RULE = "model"


class Labeller(Protocol):
    """Finds words for texts, and says whether words hold for a text. Both may be slow; neither may need a network."""

    def label(self, examples: Sequence[Example]) -> str | None:
        """What these texts have in common where the feature is active; None where it sees nothing."""

    def holds(self, words: str, example: Example) -> bool:
        """Whether the words say that a feature is active at this text's peak."""


def label_with(
    labeller: Labeller, page: FeaturePage, others: Sequence[FeaturePage], activation: float = 1.0
) -> Label | None:
    """The labeller's words for one side of a feature, tested on every second example, which it was not shown.

    The score is the area under the ROC curve of its yes or no, held-out examples against those of other features; the
    control is the same for examples of one half of the other features against the other half: what words that hold
    anywhere reach. None where there are no words, or fewer than two examples to test them on.
    """
    side = page.side(activation)
    own = () if side is None else side.examples
    words = labeller.label(own[::2]) if own else None
    held_out = own[1::2]
    strange = [one for other in others for one in _of(other.side(activation))]
    if not words or len(held_out) < 2 or len(strange) < 2:
        return None
    chance = [labeller.holds(words, one) for one in strange]
    score = _area([labeller.holds(words, one) for one in held_out], chance)
    return Label(words, RULE, round(score, 3), round(_area(chance[::2], chance[1::2]), 3))


def _of(side: Side | None) -> tuple[Example, ...]:
    return () if side is None else side.examples


def _area(hits: Sequence[bool], chance: Sequence[bool]) -> float:
    return (1.0 + sum(hits) / len(hits) - sum(chance) / len(chance)) / 2.0
