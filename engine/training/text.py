"""The text that a dictionary is trained on: half from the model itself, half from a folder or from what ships.

Pieces of `context` tokens, BOS in front; shorter ones are filled up on the right, which no earlier position sees. What
the model has written is kept in the work folder part by part, so that a kill loses one part at most.
"""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from engine.errors import RequestError
from engine.evidence.corpus import Corpus, joined, read_texts, shipped_texts
from engine.evidence.sampling import SamplingSettings, kept_sample
from engine.progress import Progress, part
from engine.training.settings import TrainSettings

if TYPE_CHECKING:
    from engine.models.language_model import LanguageModel

# Tokens sampled between two savings.
PART_TOKENS = 20_000
HELD_OUT_SHARE, HELD_OUT_TOKENS = 0.1, 6000


@dataclass(frozen=True)
class Pieces:
    """N pieces of text. Positions from `first` to before `length` are trained on."""

    ids: Tensor  # (N, C) long
    length: Tensor  # (N,) long
    first: int  # 1 where a BOS stands in front, else 0

    @property
    def n_tokens(self) -> int:
        """Tokens that are trained on."""
        return int((self.length - self.first).sum())

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, index: Tensor | slice) -> Pieces:
        """Some of the pieces."""
        return Pieces(self.ids[index], self.length[index], self.first)


@dataclass(frozen=True)
class TrainingText:
    """Pieces in a random order, those held out for measuring, and how many tokens came from where."""

    train: Pieces
    held_out: Pieces
    sources: dict[str, int]

    @property
    def digest(self) -> str:
        """sha256 of all of it, in order: a training that went on with other text might see what is held out."""
        found = hashlib.sha256()
        for one in (self.train, self.held_out):
            for tensor in (one.ids, one.length):
                found.update(tensor.numpy().astype("<i8").tobytes())
        return found.hexdigest()


def gather(
    model: LanguageModel,
    settings: TrainSettings,
    folder: Path | None,
    work: Path,
    progress: Progress,
    cancel: threading.Event | None,
) -> TrainingText:
    """The text for a training: `folder`, or what ships where it is None, and the model's own.

    Raises
    ------
    RequestError
        No text, or too little of it to hold some out.
    Cancelled
        The user asked to stop; whole parts that were sampled until then are kept.
    """
    wanted = round(settings.tokens * settings.sampled_share)
    limits: list[tuple[Corpus, int]] = []
    if wanted < settings.tokens:

        def reading(_: str, fraction: float) -> None:
            progress("Reading the text", 0.1 * fraction)

        if folder is None:
            corpus = shipped_texts(model.tokenizer, progress=reading, cancel=cancel)
        else:
            corpus = read_texts(folder, model.tokenizer, progress=reading, cancel=cancel)
        limits.append((corpus, settings.tokens - wanted))
    if wanted:
        limits.append((_sampled(model, wanted, settings.seed, work, part(progress, 0.1, 1.0), cancel), wanted))
    pieces: list[Pieces] = []
    sources: dict[str, int] = {}
    for corpus, limit in limits:
        some = _shuffled(_pieces(corpus, model, settings.context), settings.seed)
        # A tenth more than is trained on: that is held out.
        count = int(((some.length - some.first).cumsum(0) < limit * (1 + HELD_OUT_SHARE)).sum()) + 1
        pieces.append(some.take(slice(0, count)))
        sources[corpus.name] = pieces[-1].n_tokens
    return _split(_joined(pieces), settings.seed, sources)


def _sampled(
    model: LanguageModel, wanted: int, seed: int, work: Path, progress: Progress, cancel: threading.Event | None
) -> Corpus:
    """`wanted` tokens of the model's own, in parts with a seed and a file each."""
    parts: list[Corpus] = []
    found = 0
    while found < wanted:
        kept = work / f"sampled-{seed}-{len(parts)}"
        kept.mkdir(exist_ok=True)
        done = part(progress, found / wanted, min(1.0, (found + PART_TOKENS) / wanted))
        settings = SamplingSettings(PART_TOKENS, seed * 1000 + len(parts))
        parts.append(kept_sample(model, settings, kept, done, cancel))
        found += len(parts[-1].tokens)
    whole = joined(parts)
    return Corpus(whole.tokens, whole.starts, f"written by the model (seed {seed})")


def _pieces(corpus: Corpus, model: LanguageModel, context: int) -> Pieces:
    bos = model.tokenizer.bos_id
    first = 0 if bos is None else 1
    places = corpus.contexts(min(context, model.context) - first)
    ids = torch.zeros(len(places), context, dtype=torch.long)
    if bos is not None:
        ids[:, 0] = bos
    for row, (start, end) in enumerate(places.tolist()):
        tokens = torch.from_numpy(corpus.tokens[start:end].astype(np.int64))
        ids[row, first : first + len(tokens)] = tokens
    return Pieces(ids, torch.from_numpy(places[:, 1] - places[:, 0]) + first, first)


def _shuffled(pieces: Pieces, seed: int) -> Pieces:
    return pieces.take(torch.randperm(len(pieces), generator=torch.Generator().manual_seed(seed)))


def _joined(pieces: list[Pieces]) -> Pieces:
    ids, length = (torch.cat([getattr(one, name) for one in pieces]) for name in ("ids", "length"))
    return Pieces(ids, length, pieces[0].first)


def _split(pieces: Pieces, seed: int, sources: dict[str, int]) -> TrainingText:
    pieces = _shuffled(pieces, seed + 1)
    wanted = min(int(pieces.n_tokens * HELD_OUT_SHARE), HELD_OUT_TOKENS)
    held = int(((pieces.length - pieces.first).cumsum(0) < wanted).sum()) + 1
    if held >= len(pieces):
        raise RequestError(
            f"The text has {pieces.n_tokens:,} tokens in {len(pieces)} pieces, too few to train on and to measure by; "
            "give more of it."
        )
    return TrainingText(pieces.take(slice(held, None)), pieces.take(slice(0, held)), sources)
