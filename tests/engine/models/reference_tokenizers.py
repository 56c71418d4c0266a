"""Independent tokenizers: byte-level BPE in plain Python for SmolLM2, and SentencePiece itself for Gemma."""

from __future__ import annotations

import io
import itertools
import struct
from typing import Any

import regex  # type: ignore[import-untyped]  # it has no types; transformers brings it
import sentencepiece

from engine.models.gguf_file import GgufFile
from tests.engine.models.gguf_samples import byte_characters

# The pattern of GPT-2's encoder.py.
_GPT2 = regex.compile(r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+")


class PlainBpe:
    """SmolLM2's tokenizer from the lists of its file: digits one by one, then GPT-2's pattern, then merges by rank."""

    def __init__(self, file: GgufFile) -> None:
        self.ids = {token: index for index, token in enumerate(file.metadata["tokenizer.ggml.tokens"])}
        merges = file.metadata["tokenizer.ggml.merges"]
        self.ranks = {tuple(merge.split(" ")): rank for rank, merge in enumerate(merges)}

    def encode(self, text: str) -> list[int]:
        pieces = [piece for piece in regex.split(r"(\p{N})", text) if piece]
        return [index for piece in pieces for word in _GPT2.findall(piece) for index in self._word(word)]

    def _word(self, word: str) -> list[int]:
        table = byte_characters()
        # Bytes that the vocabulary lacks are dropped, as llama.cpp does.
        parts = [table[byte] for byte in word.encode() if table[byte] in self.ids]
        while True:
            pairs = [(self.ranks.get(pair, 1 << 30), at) for at, pair in enumerate(itertools.pairwise(parts))]
            rank, at = min(pairs, default=(1 << 30, 0))
            if rank == 1 << 30:
                return [self.ids[part] for part in parts]
            parts[at : at + 2] = [parts[at] + parts[at + 1]]


def trained_sentencepiece(text: str, vocabulary: int) -> sentencepiece.SentencePieceProcessor:
    """SentencePiece trained on a text with the settings of Llama's: BPE, bytes, digits alone, a blank in front."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(text.splitlines()),
        model_writer=model,
        vocab_size=vocabulary,
        model_type="bpe",
        byte_fallback=True,
        split_digits=True,
        allow_whitespace_only_pieces=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        add_dummy_prefix=True,
        character_coverage=1.0,
        minloglevel=2,
    )
    processor = sentencepiece.SentencePieceProcessor()
    processor.LoadFromSerializedProto(model.getvalue())
    return processor


def gguf_fields(processor: sentencepiece.SentencePieceProcessor) -> dict[str, Any]:
    """Its vocabulary as llama.cpp's converter writes it (convert_hf_to_gguf.py, `_create_vocab_sentencepiece`)."""
    types = []
    for index in range(processor.vocab_size()):
        flags = (processor.IsUnknown(index), processor.IsControl(index), processor.IsUnused(index))
        types.append(next((kind for kind, flag in zip((2, 3, 5), flags, strict=True) if flag), 1))
        if processor.IsByte(index):
            types[index] = 6
    return {
        "model": "llama",
        "pre": "default",
        "tokens": [processor.IdToPiece(index) for index in range(processor.vocab_size())],
        "scores": [processor.GetScore(index) for index in range(processor.vocab_size())],
        "token_type": types,
        "merges": None,
        "unknown_token_id": processor.unk_id(),
        "bos_token_id": processor.bos_id(),
        "eos_token_id": processor.eos_id(),
        "padding_token_id": None,
    }


def _field(number: int, kind: int, payload: bytes) -> bytes:
    """One protobuf field: varint (kind 0), length-delimited (2) or 32 bits (5)."""
    return _varint(number << 3 | kind) + (_varint(len(payload)) if kind == 2 else b"") + payload


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def sentencepiece_of(file: GgufFile) -> sentencepiece.SentencePieceProcessor:
    """SentencePiece with the model rebuilt from vocabulary, scores and types (sentencepiece_model.proto)."""
    metadata = file.metadata
    tokens, scores, types = (metadata[f"tokenizer.ggml.{name}"] for name in ("tokens", "scores", "token_type"))
    model = bytearray()
    for index, (token, score, kind) in enumerate(zip(tokens, scores, types, strict=True)):
        piece = "\u2581" * len(token) if not token.strip(" ") else token
        kind = 2 if index == metadata["tokenizer.ggml.unknown_token_id"] else int(kind)
        entry = _field(1, 2, piece.encode()) + _field(2, 5, struct.pack("<f", score)) + _field(3, 0, _varint(kind))
        model += _field(1, 2, entry)
    settings = {3: 2, 4: len(tokens), 35: 1, 40: 3, 41: 2, 42: 1, 43: 0}  # BPE, size, byte fallback, unk bos eos pad
    trainer = b"".join(_field(number, 0, _varint(value)) for number, value in settings.items())
    trainer += _field(45, 2, b"<unk>") + _field(46, 2, b"<bos>") + _field(47, 2, b"<eos>") + _field(48, 2, b"<pad>")
    # No dummy prefix, blanks neither removed nor added, blanks made visible.
    normaliser = _field(1, 2, b"identity") + b"".join(_field(n, 0, _varint(v)) for n, v in ((3, 0), (4, 0), (5, 1)))
    model += _field(2, 2, trainer) + _field(3, 2, normaliser)
    processor = sentencepiece.SentencePieceProcessor()
    processor.LoadFromSerializedProto(bytes(model))
    return processor
