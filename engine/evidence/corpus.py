"""The text that features are looked up in: documents as token ids, from a folder, shipped with the program, or sampled.

A context is what the model reads at once: a BOS where the model has one, then consecutive tokens of one document.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import zstandard
from numpy.typing import NDArray

from engine.errors import RequestError
from engine.models.prompt import Prompt
from engine.progress import Progress, checkpoint, silent

if TYPE_CHECKING:
    from engine.models.tokens import ModelTokenizer

ENDINGS = (".txt", ".md", ".text")
# Characters tokenised at a time: bounds memory, and cuts very long files into documents.
PIECE = 200_000
# Between documents of one file.
FORM_FEED = "\f"
SHIPPED = "free_text.txt.zst"
_MOST_UNPACKED = 1 << 24
# The tail of a document is left out below this many tokens: it costs a context and shows little.
SHORTEST = 8


@dataclass(frozen=True)
class Corpus:
    """Documents as token ids one after the other, BOS left out; `starts` (D + 1,) where each begins, and the end."""

    tokens: NDArray[np.uint32]  # (N,)
    starts: NDArray[np.int64]  # (D + 1,)
    name: str

    @cached_property
    def digest(self) -> str:
        """sha256 over tokens and document starts."""
        found = hashlib.sha256(self.tokens.astype("<u4").tobytes())
        found.update(self.starts.astype("<i8").tobytes())
        return found.hexdigest()

    def contexts(self, length: int) -> NDArray[np.int64]:
        """(C, 2) start and end of every context of at most `length` tokens, the longest first."""
        pieces = []
        for start, end in zip(self.starts[:-1].tolist(), self.starts[1:].tolist(), strict=True):
            cuts = np.arange(start, end, length, dtype=np.int64)
            pieces.append(np.stack([cuts, np.minimum(cuts + length, end)], axis=1))
        found = np.concatenate(pieces) if pieces else np.empty((0, 2), dtype=np.int64)
        size = found[:, 1] - found[:, 0]
        found = found[size >= min(SHORTEST, int(size.max(initial=0)))]
        return found[np.argsort(found[:, 0] - found[:, 1], kind="stable")]


def corpus_of(documents: Iterable[NDArray[np.uint32]], name: str) -> Corpus:
    """Documents, empty ones left out. Raises `RequestError` where nothing is left."""
    kept = [one for one in documents if len(one)]
    if not kept:
        raise RequestError(f"There is no text in {name}; choose a folder with .txt or .md files.")
    starts = np.concatenate([[0], np.cumsum([len(one) for one in kept])]).astype(np.int64)
    return Corpus(np.concatenate(kept).astype(np.uint32), starts, name)


def joined(parts: Iterable[Corpus]) -> Corpus:
    """Several corpora as one."""
    found = list(parts)
    documents = [
        one.tokens[start:end]
        for one in found
        for start, end in zip(one.starts[:-1].tolist(), one.starts[1:].tolist(), strict=True)
    ]
    return corpus_of(documents, " and ".join(one.name for one in found))


def read_texts(
    path: Path,
    tokenizer: ModelTokenizer,
    *,
    most_tokens: int | None = None,
    progress: Progress = silent,
    cancel: threading.Event | None = None,
) -> Corpus:
    """The text files of a folder and of those in it, or one file, by name; at most `most_tokens` of them.

    Form feeds separate documents in a file. Bytes that are no UTF-8 become the replacement character. Raises
    `RequestError` where there is no text.
    """
    files = _files(path)
    if not files:
        raise RequestError(f"There is no text in {path}; choose a folder with {', '.join(ENDINGS)} files.")
    texts = (text for file in files for text in _pieces(file))
    return _tokenised(texts, tokenizer, f"the texts in {path.name}", most_tokens, progress, cancel)


def shipped_texts(
    tokenizer: ModelTokenizer,
    *,
    most_tokens: int | None = None,
    progress: Progress = silent,
    cancel: threading.Event | None = None,
) -> Corpus:
    """The free text that comes with the program (where it is from: THIRD_PARTY.md)."""
    packed = (resources.files("resources") / "corpus" / SHIPPED).read_bytes()
    text = zstandard.ZstdDecompressor().decompress(packed, max_output_size=_MOST_UNPACKED).decode("utf-8")
    return _tokenised(text.split(FORM_FEED), tokenizer, "the text that ships", most_tokens, progress, cancel)


def _tokenised(
    texts: Iterable[str],
    tokenizer: ModelTokenizer,
    name: str,
    most_tokens: int | None,
    progress: Progress,
    cancel: threading.Event | None,
) -> Corpus:
    documents, count = [], 0
    for text in texts:
        checkpoint(cancel)
        if not text.strip():
            continue
        ids = np.array(tokenizer.encode(Prompt(text.strip(), bos=False)), dtype=np.uint32)
        if most_tokens is not None:
            ids = ids[: most_tokens - count]
        documents.append(ids)
        count += len(ids)
        progress(f"Reading the text: {count:,} tokens", 0.0 if most_tokens is None else count / most_tokens)
        if most_tokens is not None and count >= most_tokens:
            break
    return corpus_of(documents, name)


def _files(path: Path) -> list[Path]:
    if not path.exists():
        raise RequestError(f"There is no folder {path}; give one with {', '.join(ENDINGS)} files.")
    if path.is_file():
        return [path]
    return sorted(one for one in path.rglob("*") if one.suffix.lower() in ENDINGS and one.is_file())


def _pieces(file: Path) -> Iterator[str]:
    """The documents of one file; a long one in pieces that end at a line's end."""
    try:
        with file.open(encoding="utf-8", errors="replace") as stream:
            while text := stream.read(PIECE):
                yield from (text + stream.readline()).split(FORM_FEED)
    except OSError as error:
        raise RequestError(
            f"{file} cannot be read ({error.strerror}); take it out of the folder or mend that."
        ) from error
