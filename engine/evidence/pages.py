"""What is known of a feature, as plain values: the one form that own indexes and published pages are shown in."""

from __future__ import annotations

from dataclasses import dataclass

TOP = "Strongest"


@dataclass(frozen=True)
class Example:
    """Consecutive tokens of a text and what the feature does there.

    `activations` has a number for each token, nan where none was kept; `peak` is the token it is about.
    """

    section: str
    tokens: tuple[str, ...]
    activations: tuple[float, ...]
    peak: int
    value: float
    place: int = -1  # of the peak in the corpus; -1 where that is not known
    repeated: bool = False


@dataclass(frozen=True)
class Label:
    """A label that a rule gave: its words, which rule, and how well it tells held-out examples from other text.

    `score` is an area under the ROC curve, from 0.5 (chance) to 1; `control` the same for labels of other features.
    """

    text: str
    rule: str
    score: float
    control: float


@dataclass(frozen=True)
class Side:
    """One side of zero; transcoders have one. `counts` are tokens by size of activation, between `edges`."""

    maximum: float
    edges: tuple[float, ...]
    counts: tuple[float, ...]
    examples: tuple[Example, ...]
    label: Label | None = None


@dataclass(frozen=True)
class Near:
    """A feature that is active at the same tokens; `likeness` is the cosine of the two over the corpus, estimated."""

    layer: int
    feature: int
    likeness: float


@dataclass(frozen=True)
class FeaturePage:
    """A feature's page. `density`, in [0, 1], is None where nobody measured it; `source` says what it rests on."""

    layer: int
    feature: int
    sides: tuple[Side, ...]
    density: float | None
    source: str
    tokens_seen: int = 0
    near: tuple[Near, ...] = ()
    top_logits: tuple[str, ...] = ()
    bottom_logits: tuple[str, ...] = ()

    def side(self, activation: float) -> Side | None:
        """The side that an activation lies on."""
        if not self.sides:
            return None
        return self.sides[1] if activation < 0 and len(self.sides) > 1 else self.sides[0]
