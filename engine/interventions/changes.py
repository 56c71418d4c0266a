"""What is changed in a run, how, and what then answers. Plain values only: stored, sent to another thread, run again.

A change gives nodes of the graph another value. A node's value is a feature's activation (a neuron's value), or the
vector that an error node, a token embedding or an attention head writes. Multiples are always those of the recorded
run. What each mode holds constant: docs/interventions.md.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

# "random": a random direction of a given length, written after a layer's MLP; the number is its seed.
Kind = Literal["feature", "error", "embedding", "head", "random"]
How = Literal["set", "scale", "flip", "ablate", "swap"]
Mode = Literal["constrained", "iterative", "direct"]
AttentionMode = Literal["frozen", "live"]
LETTERS: dict[Kind, str] = {"feature": "F", "error": "E", "embedding": "T", "head": "H", "random": "R"}


@dataclass(frozen=True)
class Elsewhere:
    """A position of another prompt, whose value is swapped in: the same feature, error, embedding or head there."""

    token_ids: tuple[int, ...]
    position: int


@dataclass(frozen=True)
class Change:
    """One node, or one feature along a span of positions, and what becomes of it.

    `index` is the feature's, the neuron's or the head's number, or a random direction's seed. Positions are `position`
    alone, or `position` to `last` inclusive, or with `onward` all from `position` on, those that are generated too.

    `how`: "set" gives `value` itself (a random direction: its length), "scale" `value` times the recorded value at the
    same position, "flip" -1 times it, "ablate" nothing, "swap" `value` times the value that the same node has
    elsewhere. At generated positions, which have no record, multiples are those of what the run itself has there.
    """

    kind: Kind
    layer: int  # embeddings: any, it does not count
    position: int
    index: int = 0
    how: How = "scale"
    value: float = 1.0
    last: int | None = None
    onward: bool = False
    source: Elsewhere | None = None

    @property
    def multiple(self) -> float | None:
        """What the recorded value is multiplied by; None where the new value does not come from it."""
        return {"scale": self.value, "flip": -1.0, "ablate": 0.0}.get(self.how)

    @property
    def name(self) -> str:
        """The node or span as the command line writes it, such as L12/P5/F1034."""
        end = "-" if self.onward else "" if self.last is None else f"-{self.last}"
        place = f"P{self.position}{end}"
        if self.kind == "embedding":
            return f"{place}/T"
        number = "" if self.kind == "error" else str(self.index)
        return f"L{self.layer}/{place}/{LETTERS[self.kind]}{number}"

    def positions(self, n_positions: int) -> range:
        """The positions of a prompt that it touches."""
        if self.onward:
            return range(self.position, n_positions)
        return range(self.position, (self.position if self.last is None else self.last) + 1)

    def plain(self) -> dict[str, Any]:
        """Plain JSON values: `read_change` gives the same change again."""
        return asdict(self)


def read_change(plain: dict[str, Any]) -> Change:
    """The change that `plain` wrote; raises `ValueError` for anything else."""
    try:
        source = plain.get("source")
        if source is not None:
            source = Elsewhere(tuple(int(one) for one in source["token_ids"]), int(source["position"]))
        change = Change(**{**plain, "source": source})
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"no change ({error})") from error
    numbers = (change.layer, change.position, change.index, 0 if change.last is None else change.last)
    if change.kind not in LETTERS or change.how not in ("set", "scale", "flip", "ablate", "swap"):
        raise ValueError("no change of a known kind")
    if any(type(one) is not int for one in numbers) or type(change.value) not in (int, float):
        raise ValueError("a change whose numbers are none")
    return change


@dataclass(frozen=True)
class Settings:
    """What answers to the changes.

    `layers` (first and last, inclusive) is the range of "constrained", by default from a set's first changed layer to
    its last one.
    """

    mode: Mode = "constrained"
    attention: AttentionMode = "frozen"
    layers: tuple[int, int] | None = None

    def range_for(self, changes: Iterable[Change], n_layers: int) -> range:
        """The layers whose MLP outputs are held for a set of changes."""
        if self.mode == "iterative":
            return range(0)
        if self.mode == "direct":
            return range(n_layers)
        if self.layers is not None:
            return range(self.layers[0], self.layers[1] + 1)
        changed = [one.layer for one in changes if one.kind != "embedding"]
        return range(min(changed), max(changed) + 1) if changed else range(0)

    def plain(self) -> dict[str, Any]:
        """Plain JSON values: `Settings(**plain)`, a list of layers made a tuple, is the same again."""
        return asdict(self)


@dataclass(frozen=True)
class Watched:
    """A feature at a position whose answer is asked for.

    `divided`: of a neuron not its value, but the linear form of it that edges divide; of other features the same.
    """

    layer: int
    position: int
    feature: int
    divided: bool = False


@dataclass(frozen=True)
class Outcome:
    """What S sets of changes did, beside the recorded run. P positions asked for, V tokens, W watched features.

    `linear` is each watched feature's pre-activation (a neuron's value), which edges predict; `activation` what its
    encoder then gives, without what a change of that very feature puts in its place.
    """

    positions: tuple[int, ...]
    recorded_logits: NDArray[np.float32]  # (P, V)
    logits: NDArray[np.float32]  # (S, P, V); (0, P, V) where they were handed over instead
    recorded_linear: NDArray[np.float64]  # (W,)
    recorded_activation: NDArray[np.float64]  # (W,)
    linear: NDArray[np.float64]  # (S, W)
    activation: NDArray[np.float64]  # (S, W)
