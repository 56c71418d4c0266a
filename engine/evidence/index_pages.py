"""From the record of a whole corpus to the pages of an index: examples, histograms, densities, likeness, labels."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from engine.evidence.corpus import Corpus
from engine.evidence.decoders import decoder_vectors
from engine.evidence.feature_index import top_bin
from engine.evidence.identity import identity_of
from engine.evidence.index_file import IndexHead, write_index
from engine.evidence.index_settings import NOT_COUNTED, IndexSettings
from engine.evidence.index_state import IndexState
from engine.evidence.labels import (
    NEAR_BEFORE,
    NEAR_START,
    LabelEvidence,
    Vocabulary,
    automatic_labels,
    vocabulary_of,
)
from engine.evidence.logit_lens import raised_tokens
from engine.evidence.page_blocks import BLOCK, EMPTY, BlockShape, count_code, packed
from engine.evidence.pages import Label
from engine.evidence.tally import BINS, LOWEST, LayerTally
from engine.progress import Progress, checkpoint, part

if TYPE_CHECKING:
    from engine.dictionaries.features import Features
    from engine.models.language_model import LanguageModel

Arrays = dict[str, NDArray[Any]]
QUARTER = 4  # half octaves below the largest: from there a neuron counts as active
# The estimate of a cosine is off by about 1 / 8 (the root of the number of signs): below this it says nothing.
LEAST_LIKENESS = 0.5
MOST_COMPARED = 100_000  # features; the comparison grows with their square
RAISED = 10
# Reading every decoder through the unembedding costs more than the corpus beyond this many products.
MOST_READ = 1e13
_ROWS = 256


def write_pages(
    model: LanguageModel,
    features: Features,
    corpus: Corpus,
    state: IndexState,
    settings: IndexSettings,
    seen: int,
    path: Path,
    progress: Progress,
    cancel: threading.Event | None,
) -> None:
    """Write the index of a corpus that has gone by."""
    first = next(iter(state.layers.values()))
    shape = BlockShape(
        first.sides, settings.top, settings.drawn, settings.before, settings.after, settings.bins, settings.near
    )
    head = IndexHead(
        model=model.fingerprint,
        model_name=model.name,
        dictionary=identity_of(model, features),
        dictionary_name=features.name,
        kind=features.kind,
        corpus=corpus.name,
        corpus_digest=corpus.digest,
        tokens_seen=seen,
        n_tokens=len(corpus.tokens),
        layers=tuple(state.layers),
        widths=tuple(tally.width for tally in state.layers.values()),
        shape=shape,
        settings=asdict(settings),
    )
    near = nearest(state, settings.near, part(progress, 0.0, 0.2), cancel)
    texts = model.tokenizer.texts(range(model.tokenizer.vocab_size))
    vocabulary = vocabulary_of(texts, corpus.tokens)
    blocks: list[bytes] = []
    density, start = [], 0
    with torch.no_grad():
        for number, (layer, tally) in enumerate(state.layers.items()):
            checkpoint(cancel)
            progress(f"Labels and pages of layer {layer}", 0.2 + 0.8 * number / len(state.layers))
            labels = layer_labels(model, features, layer, tally, corpus, settings, vocabulary, cancel)
            arrays = page_arrays(tally, settings)
            own = slice(start, start + tally.width)
            arrays |= {"near": near[0][own], "likeness": near[1][own]}
            blocks += _blocks(shape, arrays, labels)
            density.append(density_of(tally))
            start += tally.width
    used = np.unique(corpus.tokens).tolist()
    starts = corpus.starts[:-1]
    named = {one: texts[one] for one in used}
    write_index(path, head, blocks, np.concatenate(density), corpus.tokens, starts, named)
    progress("The index is written", 1.0)


def page_arrays(tally: LayerTally, settings: IndexSettings) -> Arrays:
    """Everything a page shows but likeness and labels, for all features of a layer: (n, S, ...)."""
    state = {name: one.cpu().numpy() for name, one in tally.state.items()}
    peak, maximum = state["peak"], state["peak"][0]  # (k, c), (c,)
    kept = settings.top
    place = np.where(peak[:kept] > 0, state["place"][:kept], EMPTY)
    strength, window = peak[:kept], state["window"][:kept]
    if settings.drawn:
        drawn = _drawn(state, peak[kept - 1], settings.drawn)
        place, strength, window = (np.concatenate(pair) for pair in zip((place, strength, window), drawn, strict=True))
    reach = tally.reach
    window = window[:, :, reach.before - settings.before : reach.before + settings.after + 1]
    scale = np.where(maximum > 0, maximum, 1.0)
    steps = np.round(np.clip(window.astype(np.float32) / scale[:, None], 0, 1) * settings.levels)
    empty = place == EMPTY
    strength = np.where(empty, 0, np.round(np.clip(strength / scale, 0, 1) * 255))
    steps = np.where(empty[:, :, None], 0, np.round(steps * (255 / settings.levels)))
    by_side = (tally.sides, tally.width)

    def sided(array: NDArray[Any], kind: str) -> NDArray[Any]:
        """(e, c, ...) as (n, S, e, ...)."""
        split = array.reshape(array.shape[0], *by_side, *array.shape[2:])
        return np.ascontiguousarray(np.moveaxis(split, (2, 1), (0, 1)).astype(kind))

    return {
        "maximum": maximum.reshape(by_side).T.astype("<f4"),
        "place": sided(place, "<u4"),
        "strength": sided(strength, "u1"),
        "window": sided(steps, "u1"),
        "histogram": np.moveaxis(
            count_code(_upper_bins(state["histogram"], maximum, settings.bins)).reshape(*by_side, -1), 0, 1
        ),
    }


def _drawn(state: Arrays, below: NDArray[Any], count: int) -> tuple[NDArray[Any], ...]:
    """(count, c, ...) drawn contexts weaker than the weakest that is kept as strongest, the strongest of them first."""
    value = np.where(state["drawn_peak"] < below, state["drawn_peak"], 0.0)
    order = np.argsort(-value, axis=0, kind="stable")[:count]
    value = np.take_along_axis(value, order, 0)
    place = np.where(value > 0, np.take_along_axis(state["drawn_place"], order, 0), EMPTY)
    return place, value, np.take_along_axis(state["drawn_window"], order[:, :, None], 0)


def _first_bin(maximum: NDArray[Any]) -> NDArray[np.int64]:
    """The bin that each maximum lies in; the lowest where there is none."""
    numbers = [top_bin(one) - 2 * LOWEST if one > 0 else 0 for one in maximum.astype(np.float64).tolist()]
    return np.clip(np.array(numbers, dtype=np.int64), 0, BINS - 1)


def _upper_bins(histogram: NDArray[Any], maximum: NDArray[Any], bins: int) -> NDArray[np.int64]:
    """(c, bins) counts of the half octaves up to each column's maximum; the lowest bin of all holds zeros."""
    index = _first_bin(maximum)[:, None] + np.arange(-bins + 1, 1)
    counts = np.take_along_axis(histogram, np.clip(index, 0, BINS - 1), axis=1)
    found: NDArray[np.int64] = np.where(index > 0, counts, 0)
    return found


def density_of(tally: LayerTally) -> NDArray[np.float32]:
    """(n,) the share of tokens at which a feature is active; of a neuron, above about a quarter of its largest size."""
    state = {name: one.cpu().numpy() for name, one in tally.state.items() if name in ("histogram", "active", "tokens")}
    tokens = max(int(state["tokens"][0]), 1)
    if tally.sides == 1:
        return (state["active"] / tokens).astype(np.float32)
    histogram = state["histogram"].reshape(tally.sides, tally.width, BINS).sum(0)
    largest = tally.state["peak"][0].view(tally.sides, tally.width).amax(0).cpu().numpy()
    at_least = np.maximum(_first_bin(largest) - QUARTER, 1)
    counted = np.where(np.arange(BINS) >= at_least[:, None], histogram, 0).sum(1)
    found: NDArray[np.float32] = (counted / tokens).astype(np.float32)
    return found


def nearest(
    state: IndexState, count: int, progress: Progress, cancel: threading.Event | None
) -> tuple[NDArray[np.uint32], NDArray[np.uint8]]:
    """(N, count) numbers of the features most alike by what they do all over the corpus, and cosines in 255ths."""
    sketch = torch.cat([tally.state["sketch"] for tally in state.layers.values()])
    total = len(sketch)
    number = np.zeros((total, count), dtype=np.uint32)
    likeness = np.zeros((total, count), dtype=np.uint8)
    if not count or not 1 < total <= MOST_COMPARED:
        return number, likeness
    unit = torch.nn.functional.normalize(sketch, dim=1)
    for start in range(0, total, _ROWS):
        checkpoint(cancel)
        progress("Comparing features over the corpus", start / total)
        rows = slice(start, min(start + _ROWS, total))
        cosine = unit[rows] @ unit.T
        cosine[torch.arange(cosine.shape[0]), torch.arange(rows.start, rows.stop)] = -1.0
        value, index = cosine.topk(min(count, total - 1), dim=1)
        value = torch.where(value >= LEAST_LIKENESS, value, 0.0).clamp(0, 1)
        width = value.shape[1]
        number[rows, :width] = torch.where(value > 0, index, 0).cpu().numpy()
        likeness[rows, :width] = value.mul(255).round().cpu().numpy()
    return number, likeness


def layer_labels(
    model: LanguageModel,
    features: Features,
    layer: int,
    tally: LayerTally,
    corpus: Corpus,
    settings: IndexSettings,
    vocabulary: Vocabulary,
    cancel: threading.Event | None,
) -> list[list[Label | None]]:
    """The automatic labels of every feature of a layer, side by side."""
    peak, place = (tally.state[name].cpu().numpy() for name in ("peak", "place"))
    raised = _raised(model, features, layer, tally, vocabulary, cancel)
    evidence = _evidence(model, corpus, np.where(peak > 0, place, -1).T, raised, settings, vocabulary)
    found = automatic_labels(evidence, vocabulary, settings.seed + layer, cancel)
    return [[found[side * tally.width + number] for side in range(tally.sides)] for number in range(tally.width)]


def _evidence(
    model: LanguageModel,
    corpus: Corpus,
    place: NDArray[np.int64],
    raised: NDArray[np.int64],
    settings: IndexSettings,
    vocabulary: Vocabulary,
) -> LabelEvidence:
    """What rules look at, for peaks at (c, e) places of the corpus, -1 where there is none."""
    row = np.searchsorted(corpus.starts, place, side="right") - 1
    start = corpus.starts[np.maximum(row, 0)]
    first = start + (place - start) // settings.context * settings.context
    last = corpus.starts[np.minimum(np.maximum(row, 0) + 1, len(corpus.starts) - 1)]
    index = place[:, :, None] + np.arange(-NEAR_BEFORE, 2)
    inside = (index >= first[:, :, None]) & (index < last[:, :, None]) & (place >= 0)[:, :, None]
    tokens = corpus.tokens[np.clip(index, 0, len(corpus.tokens) - 1)]
    shift = NOT_COUNTED - (model.tokenizer.bos_id is not None)
    contexts = corpus.contexts(settings.context)
    counted = np.maximum(contexts[:, 1] - contexts[:, 0] - shift, 0)
    return LabelEvidence(
        around=np.where(inside, vocabulary.form[tokens], -1),
        raised=raised,
        kind=np.where(inside, vocabulary.kind[tokens], 0)[:, :, -3:],
        offset=place - first - shift,
        start_share=float(np.minimum(counted, NEAR_START).sum() / max(int(counted.sum()), 1)),
    )


def _raised(
    model: LanguageModel,
    features: Features,
    layer: int,
    tally: LayerTally,
    vocabulary: Vocabulary,
    cancel: threading.Event | None,
) -> NDArray[np.int64]:
    """(c, RAISED) forms that each column's activation raises most, by the logit lens; -1 where that is not read."""
    weights, columns = model.weights, tally.width * tally.sides
    found = np.full((columns, RAISED), -1, dtype=np.int64)
    if float(tally.width) * weights.n_layers * weights.d_model * weights.vocab_size > MOST_READ:
        return found
    known = min(weights.vocab_size, len(vocabulary.form))
    for start in range(0, tally.width, _ROWS):
        checkpoint(cancel)
        numbers = range(start, min(start + _ROWS, tally.width))
        written = decoder_vectors(model, features, layer, numbers).float()
        for side, best in enumerate(raised_tokens(model, written, RAISED, known, tally.sides)):
            rows = slice(side * tally.width + start, side * tally.width + start + len(numbers))
            found[rows, : best.shape[1]] = _each_once(vocabulary.form[best.cpu().numpy()])
    return found


def _each_once(forms: NDArray[np.int64]) -> NDArray[np.int64]:
    """A form counts once a row: later ones become -1, and go to the end."""
    again = np.tril(forms[:, :, None] == forms[:, None, :], -1).any(2)
    order = np.argsort(again, axis=1, kind="stable")
    return np.take_along_axis(np.where(again, -1, forms), order, 1)


def _blocks(shape: BlockShape, arrays: Arrays, labels: list[list[Label | None]]) -> Iterator[bytes]:
    for start in range(0, len(labels), BLOCK):
        some = slice(start, start + BLOCK)
        own = [
            [label and [label.text, label.rule, label.score, label.control] for label in one] for one in labels[some]
        ]
        yield packed(shape, {name: array[some] for name, array in arrays.items()}, own)
