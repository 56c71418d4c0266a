"""A labeller of one's own: a local language model, or anything that reads texts; its words are tested like rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from engine.evidence.labels import LEAST_GAIN, LEAST_SCORE
from engine.evidence.pages import Example, FeaturePage, Label, Side
from engine.progress import Progress, silent

RULE = "model"
FEWEST_HELD_OUT = 2
OTHERS = 6  # features whose texts the words of one are tested against


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
    anywhere reach. None where there are no words, fewer than two examples to test them on, or where they do not reach
    what a rule's label must (`LEAST_SCORE`, and `LEAST_GAIN` above the control).
    """
    side = page.side(activation)
    own = () if side is None else side.examples
    held_out = own[1::2]
    strange = [one for other in others for one in _of(other.side(activation))]
    if len(held_out) < FEWEST_HELD_OUT or len(strange) < 2:
        return None
    words = labeller.label(own[::2])
    if not words:
        return None
    chance = [labeller.holds(words, one) for one in strange]
    score = _area([labeller.holds(words, one) for one in held_out], chance)
    control = _area(chance[::2], chance[1::2])
    if score < LEAST_SCORE or score - control < LEAST_GAIN:
        return None
    return Label(words, RULE, round(score, 3), round(control, 3))


def label_features(
    labeller: Labeller,
    pages: Mapping[int, tuple[FeaturePage, float]],
    asked: Sequence[int],
    progress: Progress = silent,
    seed: int = 0,
) -> dict[int, Label]:
    """Labels for some of the features that `pages` holds by node, each with its activation; those without are left out.

    Words are tested against texts of OTHERS other features of `pages`, drawn anew for each. Raises what the labeller
    raises.
    """
    labels: dict[int, Label] = {}
    for done, node in enumerate(asked):
        progress(f"Asking about {done + 1:,} of {len(asked):,} features", done / len(asked))
        page, activation = pages[node]
        strange = [one for one, _ in pages.values() if (one.layer, one.feature) != (page.layer, page.feature)]
        generator = np.random.default_rng([seed, page.layer, page.feature])
        picked = generator.choice(len(strange), min(OTHERS, len(strange)), replace=False).tolist()
        label = label_with(labeller, page, [strange[one] for one in picked], activation)
        if label is not None:
            labels[node] = label
    return labels


def _of(side: Side | None) -> tuple[Example, ...]:
    return () if side is None else side.examples


def _area(hits: Sequence[bool], chance: Sequence[bool]) -> float:
    return (1.0 + sum(hits) / len(hits) - sum(chance) / len(chance)) / 2.0
