"""Making a feature index: the corpus once through model and dictionary, everything kept by feature as it goes by.

The forward pass is the model's own; neurons are read from it, transcoders cost their encoders. What is kept has a fixed
size for each feature. Nothing depends on how often the work was interrupted: random numbers belong to a batch.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from engine.errors import MachineError, RequestError
from engine.evidence.activations import ActivationReader
from engine.evidence.corpus import Corpus
from engine.evidence.identity import identity_of
from engine.evidence.index_pages import write_pages
from engine.evidence.index_settings import NOT_COUNTED, IndexSettings
from engine.evidence.index_state import IndexState
from engine.evidence.tally import SKETCH
from engine.models.forward import BlockValues, run
from engine.models.memory import available_bytes
from engine.progress import Progress, checkpoint, part, silent
from engine.sizes import byte_words

if TYPE_CHECKING:
    from engine.dictionaries.features import Features
    from engine.models.language_model import LanguageModel

SAVE_SECONDS = 90.0
_PASS_SHARE = 0.9  # of the whole work; the rest is labels and the file


def build_index(
    model: LanguageModel,
    features: Features,
    corpus: Corpus,
    path: Path,
    settings: IndexSettings | None = None,
    progress: Progress = silent,
    cancel: threading.Event | None = None,
    *,
    work: Path | None = None,
    save_seconds: float = SAVE_SECONDS,
) -> Path:
    """Make the index of a dictionary over a corpus and write it to `path`; gives `path`.

    With `work`, a folder, what was done is kept there now and then, and taken up when it is there already. Memory: the
    record of every feature (`index_bytes`), one batch, and as much again while it is written down.

    Raises `RequestError` for a corpus of another tokenizer or work of something else, `MachineError` where memory or
    the disk do not suffice, `Cancelled` within one layer.
    """
    settings = settings or IndexSettings()
    _check_tokens(model, corpus)
    reader = ActivationReader(features, model.weights)
    widths = _widths(model, reader, settings)
    _require_memory(model, widths, reader.sides, settings)
    identity = {
        "model": model.fingerprint,
        "dictionary": identity_of(model, features),
        "corpus": corpus.digest,
        "settings": asdict(settings),
    }
    state = IndexState(widths, reader.sides, settings.reach, model.weights.device)
    if work is not None:
        state.load(work, identity)
    batches = list(_batches(corpus, settings))
    if max((len(one) for batch in batches for one in batch), default=0) <= NOT_COUNTED:
        raise RequestError("The text is too short: no part of it has three tokens; give more text.")
    seen = sum(len(one) for batch in batches for one in batch)
    done = sum(len(one) for batch in batches[: state.batches] for one in batch)
    step, saved = part(progress, 0.0, _PASS_SHARE), time.monotonic()
    for number in range(state.batches, len(batches)):
        step(f"Indexing: {done:,} of {seen:,} tokens", done / seen)
        _take_in(model, reader, state, corpus, batches[number], settings, number, cancel)
        state.batches, done = number + 1, done + sum(len(one) for one in batches[number])
        if work is not None and time.monotonic() - saved > save_seconds:
            state.save(work, identity, cancel)
            saved = time.monotonic()
    step("Indexing", 1.0)
    if work is not None:
        state.save(work, identity, cancel)
    write_pages(model, features, corpus, state, settings, seen, path, part(progress, _PASS_SHARE, 1.0), cancel)
    return path


def index_bytes(model: LanguageModel, features: Features, settings: IndexSettings | None = None) -> int:
    """Bytes of memory that the records of all features take while an index is made."""
    settings = settings or IndexSettings()
    reader = ActivationReader(features, model.weights)
    return IndexState.bytes_of(_widths(model, reader, settings), reader.sides, settings.reach)


def _take_in(
    model: LanguageModel,
    reader: ActivationReader,
    state: IndexState,
    corpus: Corpus,
    batch: Sequence[range],
    settings: IndexSettings,
    number: int,
    cancel: threading.Event | None,
) -> None:
    """One batch through the model, and every layer's activations into its tally."""
    bos, device = model.tokenizer.bos_id, model.weights.device
    lead = [] if bos is None else [bos]
    length, shift = max(len(one) for one in batch), NOT_COUNTED - len(lead)
    rows = [lead + corpus.tokens[one.start : one.stop].tolist() + [0] * (length - len(one)) for one in batch]
    ids = torch.tensor(rows, device=device)
    places = torch.tensor([one.start + shift for one in batch], device=device)
    sizes = torch.tensor([len(one) - shift for one in batch], device=device)
    counted = ids.shape[1] - NOT_COUNTED
    generator = torch.Generator().manual_seed(settings.seed * 1_000_003 + number)
    signs = torch.randint(0, 2, (len(rows), counted, SKETCH), generator=generator, dtype=torch.int8)
    signs = signs.to(device, torch.float32).mul_(2).sub_(1)

    def each(layer: int, values: BlockValues) -> None:
        tally = state.layers.get(layer)
        if tally is None:
            return
        for some, activations in reader.read(layer, values, first=NOT_COUNTED):
            checkpoint(cancel)
            tally.add(activations, places[some], sizes[some], signs[some].flatten(0, 1), generator)

    run(model.weights, ids, each=each, cancel=cancel)


def _batches(corpus: Corpus, settings: IndexSettings) -> Iterator[list[range]]:
    """Contexts of about one length, so many that their tokens make a batch."""
    contexts = corpus.contexts(settings.context).tolist()
    at = 0
    while at < len(contexts):
        start, end = contexts[at]
        count = max(1, settings.batch_tokens // (end - start + 1))
        yield [range(*one) for one in contexts[at : at + count]]
        at += count


def _check_tokens(model: LanguageModel, corpus: Corpus) -> None:
    largest = int(corpus.tokens.max(initial=0))
    if largest >= model.tokenizer.vocab_size:
        raise RequestError(
            f"The text was cut into tokens by another tokenizer: it holds token {largest} and {model.name} has "
            f"{model.tokenizer.vocab_size:,}; give the text itself again."
        )


def _widths(model: LanguageModel, reader: ActivationReader, settings: IndexSettings) -> dict[int, int]:
    wanted = range(model.weights.n_layers) if settings.layers is None else settings.layers
    outside = [layer for layer in wanted if not 0 <= layer < model.weights.n_layers]
    if outside:
        raise RequestError(
            f"There is no layer {outside[0]}; the layers of {model.name} are 0 to {model.weights.n_layers - 1}."
        )
    widths = {layer: reader.width(layer) for layer in wanted}
    if not any(widths.values()):
        raise RequestError("The dictionary has no features in these layers; choose others.")
    return widths


def _require_memory(model: LanguageModel, widths: dict[int, int], sides: int, settings: IndexSettings) -> None:
    needed = IndexState.bytes_of(widths, sides, settings.reach)
    device: Any = model.weights.device
    free = available_bytes(device)
    if needed > free:
        raise MachineError(
            f"An index of {sum(widths.values()):,} features needs {byte_words(needed)} of memory and "
            f"{byte_words(free)} are free; index some layers at a time with --layers, or keep fewer examples."
        )
