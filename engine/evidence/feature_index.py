"""An index as it is used: which model and dictionary it belongs to, and the page of a feature within milliseconds."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import RequestError
from engine.evidence.index_file import IndexFile
from engine.evidence.page_blocks import EMPTY, counts_of, unpacked
from engine.evidence.pages import TOP, Example, FeaturePage, Label, Near, Side
from engine.graphs.visible_text import visible_text

ENDING = ".features"
# Text shown around a peak, in tokens; activations are there for fewer of them.
TEXT_BEFORE, TEXT_AFTER = 24, 10


class FeatureIndex:
    """A feature index on disk. Raises `RequestError` where the file is none, or damaged.

    Not safe for several threads at once; opening is cheap, so each opens its own.
    """

    def __init__(self, path: Path) -> None:
        self.file = IndexFile(path)
        self.head = self.file.head

    def close(self) -> None:
        """Let go of the file."""
        self.file.close()

    def warm(self) -> None:
        """Read now what every page needs, so that the first comes as fast as the others."""
        _ = self._texts

    def belongs_to(self, dictionary: str | None) -> bool:
        """Whether it was made with this dictionary, told by its content."""
        return dictionary is not None and self.head.dictionary == dictionary

    def require(self, model: str, dictionary: str | None) -> None:
        """Raise `RequestError` unless it was made with this model and this dictionary."""
        if self.head.model != model:
            raise RequestError(
                f"This index was made with another model, {self.head.model_name}, whose tokens and weights differ; "
                "make one for this model (Trace, Index the text that ships; or circuit-loupe index)."
            )
        if not self.belongs_to(dictionary):
            raise RequestError(
                f"This index was made with another dictionary, or {self.head.dictionary_name} has changed since; make "
                "it again (Trace, Index the text that ships; or circuit-loupe index)."
            )

    def density(self, layer: int) -> NDArray[np.float32]:
        """(n,) the share of tokens at which each feature of a layer is active (docs/feature-index.md)."""
        return self.file.density(layer)

    def densities(self, layer: Iterable[int], feature: Iterable[int]) -> NDArray[np.float32]:
        """(n,) densities of features, given as n layers and n numbers; nan for those that are not in the index."""
        known = {one: self.density(one) for one in self.head.layers}
        found = [
            float(known[one][number]) if one in known and 0 <= number < len(known[one]) else math.nan
            for one, number in zip(layer, feature, strict=True)
        ]
        return np.array(found, dtype=np.float32)

    def label(self, layer: int, feature: int, activation: float = 1.0) -> Label | None:
        """The automatic label of one side of a feature."""
        side = self.page(layer, feature).side(activation)
        return None if side is None else side.label

    def page(self, layer: int, feature: int) -> FeaturePage:
        """All that is known of a feature. Raises `RequestError` for one that is not in the index."""
        head = self.head
        data, count, at = self.file.page(layer, feature)
        arrays, labels = unpacked(head.shape, count, data)
        own = labels[at] if at < len(labels) and isinstance(labels[at], list) else []
        sides = tuple(
            self._side(arrays, at, side, _label(own[side] if side < len(own) else None))
            for side in range(head.shape.sides)
        )
        near = [
            Near(*found, likeness / 255)
            for number, likeness in zip(arrays["near"][at].tolist(), arrays["likeness"][at].tolist(), strict=True)
            if likeness and (found := self.file.layer_feature(number)) is not None
        ]
        density = float(self.density(layer)[feature])
        source = f"{head.tokens_seen:,} tokens: {head.corpus}"
        return FeaturePage(layer, feature, sides, density, source, head.tokens_seen, tuple(near))

    def _side(self, arrays: dict[str, NDArray[Any]], at: int, side: int, label: Label | None) -> Side:
        shape, maximum = self.head.shape, float(arrays["maximum"][at, side])
        places = arrays["place"][at, side].tolist()
        examples = []
        for number, place in enumerate(places):
            if place == EMPTY or place >= self.head.n_tokens:
                continue
            value = maximum * float(arrays["strength"][at, side, number]) / 255
            section = TOP if number < shape.top else octave_name(value)
            window = arrays["window"][at, side, number].astype(np.float64) * (maximum / 255)
            examples.append(self._example(section, place, value, window))
        edges = histogram_edges(maximum, shape.bins)
        counts = tuple(counts_of(arrays["histogram"][at, side]).tolist())
        return Side(maximum, edges, counts, tuple(examples), label)

    def _example(self, section: str, place: int, value: float, window: NDArray[np.float64]) -> Example:
        shape, documents = self.head.shape, self.file.documents
        row = int(np.searchsorted(documents, place, side="right")) - 1
        start = int(documents[max(row, 0)]) if len(documents) else 0
        # What is before the context was not read by the model.
        first = max(place - TEXT_BEFORE, start + max(place - start, 0) // self._context * self._context)
        last = int(documents[row + 1]) if 0 <= row < len(documents) - 1 else self.head.n_tokens
        last = max(min(place + TEXT_AFTER + 1, last, self.head.n_tokens), first)
        ids = self.file.tokens(first, last).tolist()
        activations = np.full(len(ids), np.nan)
        for offset, activation in enumerate(window.tolist(), start=-shape.before):
            if first <= place + offset < last:
                activations[place + offset - first] = activation
        tokens = tuple(self._texts.get(number, "\ufffd") for number in ids)
        return Example(section, tokens, tuple(activations.tolist()), place - first, value, place)

    @cached_property
    def _context(self) -> int:
        """Tokens of text that the model read at once."""
        stored = self.head.settings.get("context")
        return stored if isinstance(stored, int) and stored > 0 else self.head.n_tokens + 1

    @cached_property
    def _texts(self) -> dict[int, str]:
        return self.file.texts()


def octave_name(value: float) -> str:
    """The octave of a value, as a person reads it."""
    low = 2.0 ** math.floor(math.log2(value)) if value > 0 else 0.0
    return f"{low:.3g} to {2 * low:.3g}"


def top_bin(maximum: float) -> int:
    """The half octave that a positive number lies in, counted from [1, 1.5)."""
    octave = math.floor(math.log2(maximum))
    return 2 * octave + (maximum >= 1.5 * 2.0**octave)


def histogram_edges(maximum: float, bins: int) -> tuple[float, ...]:
    """(bins + 1,) edges of half octaves, the last above the maximum."""
    if maximum <= 0:
        return ()
    last = top_bin(maximum)
    return tuple(half_octave_edge(number) for number in range(last - bins + 1, last + 2))


def half_octave_edge(number: int) -> float:
    """The lower edge of a half octave."""
    return (1.5 if number % 2 else 1.0) * 2.0 ** (number // 2)


def _label(stored: Any) -> Label | None:
    if not isinstance(stored, list) or len(stored) != 4:
        return None
    try:
        # Words are tokens in quotation marks: what is a blank or a line's end there is made visible.
        words = visible_text(str(stored[0])).replace("“ ”", "“␣”")
        return Label(words, str(stored[1]), float(stored[2]), float(stored[3]))
    except (TypeError, ValueError):
        return None
