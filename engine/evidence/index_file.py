"""The file of a feature index: a header, sections, nothing that can run; mapped into memory and read block by block.

Layout, little-endian: 8 bytes "LOUPEFIX"; version (u4); length of the header (u4); the header as JSON; sections, where
the header says. docs/feature-index.md lists them. Every size is checked when the file is opened, before anything is
read from a section.
"""

from __future__ import annotations

import json
import mmap
import struct
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import zstandard
from numpy.typing import NDArray

from engine.errors import RequestError
from engine.evidence.page_blocks import BLOCK, BlockShape
from engine.whole_files import written_whole

MAGIC, VERSION = b"LOUPEFIX", 1
_HEAD = struct.Struct("<8sII")
_MOST_HEADER = 1 << 24
TOKEN_BLOCK = 1 << 14
_LEVEL = 19
_MOST_TEXTS = 1 << 26
# Blocks of tokens that stay unpacked, the latest used: at most 4 MB.
_KEPT_BLOCKS = 64
_LARGEST = {"sides": 2, "top": 256, "drawn": 64, "before": 256, "after": 256, "bins": 64, "near": 64}
SECTIONS = ("pages", "page_ends", "tokens", "token_ends", "documents", "density", "texts")


@dataclass(frozen=True)
class IndexHead:
    """What an index is of: plain values, written into the header as they are."""

    model: str  # fingerprint
    model_name: str
    dictionary: str  # identity: a content hash, or "neurons:" and the model's
    dictionary_name: str
    kind: str
    corpus: str  # what a person reads about the text
    corpus_digest: str
    tokens_seen: int
    n_tokens: int
    layers: tuple[int, ...]
    widths: tuple[int, ...]
    shape: BlockShape
    settings: Mapping[str, Any]

    @property
    def blocks(self) -> list[int]:
        """Number of blocks of each layer."""
        return [-(-width // BLOCK) for width in self.widths]


def write_index(
    path: Path,
    head: IndexHead,
    pages: Iterable[bytes],
    density: NDArray[np.float32],
    tokens: NDArray[np.uint32],
    documents: NDArray[np.int64],
    texts: Mapping[int, str],
) -> None:
    """Write an index whole or not at all; `pages` gives every block, layer by layer.

    Raises `MachineError` where the disk is full or cannot be written.
    """
    blocks = list(pages)
    packer = zstandard.ZstdCompressor(level=_LEVEL)
    narrow = "<u2" if int(tokens.max(initial=0)) < 1 << 16 else "<u4"
    pieces = [
        packer.compress(tokens[start : start + TOKEN_BLOCK].astype(narrow).tobytes())
        for start in range(0, len(tokens), TOKEN_BLOCK)
    ]
    listed = json.dumps([list(texts), list(texts.values())], ensure_ascii=False).encode("utf-8", "replace")
    parts = {
        "pages": b"".join(blocks),
        "page_ends": np.cumsum([len(one) for one in blocks]).astype("<u8").tobytes(),
        "tokens": b"".join(pieces),
        "token_ends": np.cumsum([len(one) for one in pieces]).astype("<u8").tobytes(),
        "documents": documents.astype("<u8").tobytes(),
        "density": density.astype("<f4").tobytes(),
        "texts": packer.compress(listed),
    }
    places, at = {}, 0
    for name in SECTIONS:
        places[name] = [at, len(parts[name])]
        at += len(parts[name])
    header = json.dumps({**asdict(head), "token_type": narrow, "sections": places}, ensure_ascii=False).encode()
    with written_whole(path) as file:
        file.write(_HEAD.pack(MAGIC, VERSION, len(header)))
        file.write(header)
        for name in SECTIONS:
            file.write(parts[name])


class IndexFile:
    """An open index: sections as views of the mapped file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with path.open("rb") as file:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:
            raise RequestError(
                f"{path} cannot be read as a feature index; make one with circuit-loupe index."
            ) from error
        try:
            self.head, self._token_type, places, start = _header(self._map)
            self._sections = {name: (start + at, size) for name, (at, size) in places.items()}
            self._check()
        except (KeyError, TypeError, ValueError, OverflowError, RecursionError, struct.error) as error:
            self._map.close()
            raise RequestError(
                f"{path.name} is no whole feature index of this version; make it again with circuit-loupe index."
            ) from error
        self._first = np.concatenate([[0], np.cumsum(self.head.blocks)]).tolist()
        self._features = np.concatenate([[0], np.cumsum(self.head.widths)]).tolist()
        self._page_ends = self._array("page_ends", "<u8")
        self._token_ends = self._array("token_ends", "<u8")
        self.documents: NDArray[np.int64] = self._array("documents", "<u8").astype(np.int64)
        self._token_block = lru_cache(_KEPT_BLOCKS)(self._unpacked_tokens)

    def close(self) -> None:
        """Let go of the file."""
        self._page_ends = self._token_ends = np.empty(0, dtype="<u8")
        self._map.close()

    def page(self, layer: int, feature: int) -> tuple[bytes, int, int]:
        """The compressed block that holds a feature, how many features are in it, and which of them it is."""
        row = self._row(layer)
        if not 0 <= feature < self.head.widths[row]:
            raise RequestError(f"Layer {layer} has no feature {feature} in this index.")
        block, place = divmod(feature, BLOCK)
        number = self._first[row] + block
        count = min(BLOCK, self.head.widths[row] - block * BLOCK)
        return self._block("pages", self._page_ends, number), count, place

    def density(self, layer: int) -> NDArray[np.float32]:
        """(n,) how often each feature of a layer is active."""
        row = self._row(layer)
        start, _ = self._sections["density"]
        first, last = (start + 4 * self._features[one] for one in (row, row + 1))
        return np.frombuffer(self._map[first:last], "<f4").astype(np.float32)

    def layer_feature(self, number: int) -> tuple[int, int] | None:
        """Layer and feature of a feature's number among all of them."""
        if not 0 <= number < self._features[-1]:
            return None
        row = int(np.searchsorted(self._features, number, side="right")) - 1
        return self.head.layers[row], number - self._features[row]

    def first_number(self, layer: int) -> int:
        """The number among all of them of a layer's first feature."""
        return int(self._features[self._row(layer)])

    def tokens(self, start: int, end: int) -> NDArray[np.uint32]:
        """Token ids [start, end) of the corpus."""
        if end <= start:
            return np.empty(0, dtype=np.uint32)
        first = start // TOKEN_BLOCK
        found = [self._token_block(number) for number in range(first, -(-end // TOKEN_BLOCK))]
        at = first * TOKEN_BLOCK
        return np.concatenate(found)[start - at : end - at].astype(np.uint32)

    def _unpacked_tokens(self, number: int) -> NDArray[Any]:
        length = min(TOKEN_BLOCK, self.head.n_tokens - number * TOKEN_BLOCK)
        raw = _decompressed(self._block("tokens", self._token_ends, number), length * self._token_type.itemsize)
        return np.frombuffer(raw, self._token_type)

    def texts(self) -> dict[int, str]:
        """Text of every token of the corpus."""
        raw = _decompressed(self._bytes("texts"), _MOST_TEXTS, exact=False)
        try:
            numbers, texts = json.loads(raw.decode("utf-8"))
            return {int(number): str(text) for number, text in zip(numbers, texts, strict=True)}
        except (ValueError, TypeError, RecursionError) as error:
            raise _damaged() from error

    def _row(self, layer: int) -> int:
        try:
            return self.head.layers.index(layer)
        except ValueError as error:
            raise RequestError(f"This index holds nothing of layer {layer}; index that layer, too.") from error

    def _bytes(self, name: str) -> bytes:
        start, size = self._sections[name]
        return self._map[start : start + size]

    def _array(self, name: str, kind: str) -> NDArray[Any]:
        return np.frombuffer(self._bytes(name), kind)

    def _block(self, name: str, ends: NDArray[Any], number: int) -> bytes:
        start, size = self._sections[name]
        begin, end = (int(ends[number - 1]) if number else 0), int(ends[number])
        if not 0 <= begin <= end <= size:
            raise _damaged()
        return self._map[start + begin : start + end]

    def _check(self) -> None:
        """Every section lies in the file and has the size that the header's figures give it."""
        head, sizes = self.head, {name: size for name, (_, size) in self._sections.items()}
        if any(start < 0 or size < 0 or start + size > len(self._map) for start, size in self._sections.values()):
            raise ValueError("a section lies outside the file")
        wanted = {
            "page_ends": 8 * sum(head.blocks),
            "density": 4 * sum(head.widths),
            "token_ends": 8 * -(-head.n_tokens // TOKEN_BLOCK),
        }
        if any(sizes[name] != size for name, size in wanted.items()) or sizes["documents"] % 8:
            raise ValueError("a section has another size")


def _header(mapped: mmap.mmap) -> tuple[IndexHead, np.dtype[Any], dict[str, tuple[int, int]], int]:
    magic, version, length = _HEAD.unpack(mapped[: _HEAD.size])
    if magic != MAGIC or version != VERSION or length > _MOST_HEADER or _HEAD.size + length > len(mapped):
        raise ValueError("not such a file")
    stored = json.loads(mapped[_HEAD.size : _HEAD.size + length].decode("utf-8"))
    places = {name: (_whole(stored["sections"][name][0]), _whole(stored["sections"][name][1])) for name in SECTIONS}
    sizes = {name: _whole(stored["shape"][name]) for name in _LARGEST}
    if any(sizes[name] > most for name, most in _LARGEST.items()) or not sizes["sides"]:
        raise ValueError("a size is too large")
    names = ("model", "model_name", "dictionary", "dictionary_name", "kind", "corpus", "corpus_digest")
    layers, widths = ([_whole(one) for one in stored[name]] for name in ("layers", "widths"))
    if len(layers) != len(widths) or len(set(layers)) != len(layers):
        raise ValueError("layers and widths differ")
    head = IndexHead(
        **{name: str(stored[name]) for name in names},
        tokens_seen=_whole(stored["tokens_seen"]),
        n_tokens=_whole(stored["n_tokens"]),
        layers=tuple(layers),
        widths=tuple(widths),
        shape=BlockShape(**sizes),
        settings=dict(stored["settings"]),
    )
    kind = stored["token_type"]
    if kind not in ("<u2", "<u4"):
        raise ValueError("tokens of another type")
    return head, np.dtype(kind), places, _HEAD.size + length


def _whole(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 48:
        raise ValueError("not a size")
    return value


def _decompressed(data: bytes, size: int, *, exact: bool = True) -> bytes:
    try:
        found = zstandard.ZstdDecompressor().decompress(data, max_output_size=size)
    except zstandard.ZstdError as error:
        raise _damaged() from error
    if len(found) > size or (exact and len(found) != size):
        raise _damaged()
    return bytes(found)


def _damaged() -> RequestError:
    return RequestError("The feature index is damaged; make it again with circuit-loupe index.")
