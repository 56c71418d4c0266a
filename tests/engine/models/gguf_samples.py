"""Small GGUF files for tests: real ones written by the gguf library, and raw headers for hostile ones."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from numpy.typing import NDArray

WIDTH, INNER, LAYERS, HEADS, KV_HEADS, HEAD = 32, 64, 2, 4, 2, 8
MERGES = ["h e", "l l", "he ll", "hell o", "Ġ t", "Ġt h"]


def byte_characters() -> list[str]:
    """GPT-2's character for each byte, in the order of the bytes."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = iter(range(0x100, 0x200))
    return [chr(byte) if byte in printable else chr(next(others)) for byte in range(256)]


def llama_tensors(seed: int = 0) -> dict[str, NDArray[np.float32]]:
    """The tensors of a tiny Llama by GGUF name, as transformers would hold them (rows of Q and K in its order)."""
    draw = np.random.default_rng(seed)

    def matrix(*shape: int) -> NDArray[np.float32]:
        return (draw.standard_normal(shape) * 0.2).astype(np.float32)

    tensors = {"token_embd.weight": matrix(vocabulary_size(), WIDTH), "output_norm.weight": matrix(WIDTH) + 1}
    for layer in range(LAYERS):
        at = f"blk.{layer}."
        tensors |= {
            f"{at}attn_q.weight": matrix(HEADS * HEAD, WIDTH),
            f"{at}attn_k.weight": matrix(KV_HEADS * HEAD, WIDTH),
            f"{at}attn_v.weight": matrix(KV_HEADS * HEAD, WIDTH),
            f"{at}attn_output.weight": matrix(WIDTH, HEADS * HEAD),
            f"{at}ffn_gate.weight": matrix(INNER, WIDTH),
            f"{at}ffn_up.weight": matrix(INNER, WIDTH),
            f"{at}ffn_down.weight": matrix(WIDTH, INNER),
            f"{at}attn_norm.weight": matrix(WIDTH) + 1,
            f"{at}ffn_norm.weight": matrix(WIDTH) + 1,
        }
    return tensors


def vocabulary() -> list[str]:
    return ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *byte_characters(), *(m.replace(" ", "") for m in MERGES)]


def vocabulary_size() -> int:
    return len(vocabulary())


def interleave(weight: NDArray[np.float32], heads: int) -> NDArray[np.float32]:
    """llama.cpp's `permute` (convert_hf_to_gguf.py): what the Llama converter does to Q and K."""
    shape = weight.shape
    return weight.reshape(heads, 2, shape[0] // heads // 2, *shape[1:]).swapaxes(1, 2).reshape(shape)


def write_llama(
    path: Path,
    *,
    tensors: dict[str, NDArray[np.float32]] | None = None,
    architecture: str = "llama",
    changes: dict[str, Any] | None = None,
    quantise: gguf.GGMLQuantizationType | None = None,
) -> Path:
    """Write a tiny Llama as llama.cpp's converter would. `changes`: metadata keys to override, None leaves one out."""
    tensors = llama_tensors() if tensors is None else tensors
    tokens = vocabulary()
    metadata: dict[str, Any] = {
        f"{architecture}.block_count": LAYERS,
        f"{architecture}.context_length": 64,
        f"{architecture}.embedding_length": WIDTH,
        f"{architecture}.feed_forward_length": INNER,
        f"{architecture}.attention.head_count": HEADS,
        f"{architecture}.attention.head_count_kv": KV_HEADS,
        f"{architecture}.rope.dimension_count": HEAD,
        f"{architecture}.rope.freq_base": 10000.0,
        f"{architecture}.attention.layer_norm_rms_epsilon": 1e-5,
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "smollm",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": [3, 3, 3] + [1] * (len(tokens) - 3),
        "tokenizer.ggml.merges": MERGES,
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.unknown_token_id": 0,
        "tokenizer.ggml.padding_token_id": 2,
    } | (changes or {})
    writer = gguf.GGUFWriter(path, architecture)
    for key, value in metadata.items():
        _add(writer, key, value)
    for name, weight in tensors.items():
        if "attn_q.weight" in name or "attn_k.weight" in name:
            weight = interleave(weight, HEADS if "attn_q" in name else KV_HEADS)
        if quantise is not None and weight.ndim == 2:
            writer.add_tensor(name, gguf.quants.quantize(weight, quantise), raw_dtype=quantise)
        else:
            writer.add_tensor(name, weight)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add(writer: gguf.GGUFWriter, key: str, value: Any) -> None:
    if value is None:
        return
    if isinstance(value, str):
        writer.add_string(key, value)
    elif isinstance(value, bool):
        writer.add_bool(key, value)
    elif isinstance(value, int):
        writer.add_uint32(key, value)
    elif isinstance(value, float):
        writer.add_float32(key, value)
    else:
        writer.add_array(key, value)


def text(value: str) -> bytes:
    """A GGUF string."""
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def header(n_tensors: int, n_entries: int, *, version: int = 3, magic: bytes = b"GGUF") -> bytes:
    """The first 24 bytes of a GGUF file."""
    return magic + struct.pack("<IQQ", version, n_tensors, n_entries)


def tensor_entry(name: str, dims: tuple[int, ...], kind: int, offset: int) -> bytes:
    """One line of the tensor table; `dims` as in the file, fastest first."""
    return text(name) + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, kind, offset)
