"""How a feature index is made; kept in it, so that it can be made again."""

from __future__ import annotations

from dataclasses import dataclass

from engine.errors import RequestError

# Positions at the beginning of a context, a BOS among them: what a model parks at its first tokens is a hundred times
# as large as anything it does elsewhere, and says nothing about the text.
NOT_COUNTED = 2


@dataclass(frozen=True)
class Reach:
    """What is kept of a context: `top` contexts a column, each with tokens around its peak."""

    top: int = 16
    before: int = 15
    after: int = 8

    @property
    def window(self) -> int:
        """W."""
        return self.before + 1 + self.after


DEFAULT_REACH = Reach()


@dataclass(frozen=True)
class IndexSettings:
    """How an index is made; kept in it.

    `reach` is what is kept of the corpus while it goes by; of that, `top` examples and `drawn` samples a side are
    written, each with `before` + 1 + `after` activations in `levels` steps of the feature's maximum.
    """

    context: int = 127  # tokens of text the model reads at once, a BOS not counted
    batch_tokens: int = 2048
    layers: tuple[int, ...] | None = None
    reach: Reach = DEFAULT_REACH
    top: int = 12
    drawn: int = 4
    before: int = 15
    after: int = 8
    levels: int = 255
    bins: int = 16
    near: int = 6
    seed: int = 0

    def __post_init__(self) -> None:
        if not (0 < self.top <= self.reach.top and 0 <= self.drawn <= 4 and 2 <= self.levels <= 255):
            raise RequestError(f"An index keeps 1 to {self.reach.top} examples and at most 4 samples of each feature.")
        if self.before > self.reach.before or self.after > self.reach.after or self.context < 8:
            raise RequestError(
                f"An index keeps at most {self.reach.before} tokens before a peak and {self.reach.after} after it, of "
                "contexts of at least 8 tokens."
            )
