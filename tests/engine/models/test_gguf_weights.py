"""From GGUF tensors to transformers' tensors: order of rows, norms, config; and what must be refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from engine.errors import RequestError
from engine.models.gguf_file import GgufFile
from engine.models.gguf_weights import plan_conversion, read_slot
from tests.engine.models import gguf_samples
from tests.engine.models.gguf_samples import llama_tensors, write_llama

NAMES = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.layers.1.self_attn.q_proj.weight": "blk.1.attn_q.weight",
    "model.layers.1.self_attn.k_proj.weight": "blk.1.attn_k.weight",
    "model.layers.1.self_attn.v_proj.weight": "blk.1.attn_v.weight",
    "model.layers.0.post_attention_layernorm.weight": "blk.0.ffn_norm.weight",
    "model.norm.weight": "output_norm.weight",
}


def converted(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    with GgufFile(path) as file:
        return {
            slot.name: np.concatenate(list(read_slot(file, slot))).reshape(slot.shape)
            for slot in plan_conversion(file).slots
        }


def test_a_llama_gets_its_own_rows_back(tmp_path: Path) -> None:
    tensors, found = llama_tensors(), converted(write_llama(tmp_path / "tiny.gguf"))
    assert len(found) == len(tensors)
    for name, source in NAMES.items():
        assert np.array_equal(found[name], tensors[source]), name


def test_rows_are_put_in_order_before_they_are_unpacked(tmp_path: Path) -> None:
    kind = gguf.GGMLQuantizationType.Q8_0
    found = converted(write_llama(tmp_path / "tiny.gguf", quantise=kind))
    weight = llama_tensors()["blk.1.attn_q.weight"]
    expected = gguf.quants.dequantize(gguf.quants.quantize(weight, kind), kind)
    assert np.array_equal(found["model.layers.1.self_attn.q_proj.weight"], expected)
    assert not np.array_equal(expected, weight)


def test_a_gemma_norm_is_stored_plus_one(tmp_path: Path) -> None:
    draw, tensors = np.random.default_rng(1), llama_tensors()
    for layer in range(gguf_samples.LAYERS):
        for name, size in (("post_attention_norm", 32), ("post_ffw_norm", 32), ("attn_q_norm", 8), ("attn_k_norm", 8)):
            tensors[f"blk.{layer}.{name}.weight"] = draw.standard_normal(size).astype(np.float32)
    changes = {"gemma3.attention.key_length": 8, "gemma3.attention.sliding_window": 16}
    path = write_llama(tmp_path / "tiny.gguf", tensors=tensors, architecture="gemma3", changes=changes)
    found = converted(path)
    norm = "model.layers.1.pre_feedforward_layernorm.weight"
    assert np.array_equal(found[norm], tensors["blk.1.ffn_norm.weight"] - np.float32(1))
    # Q is not put in order here: the Gemma converter leaves it alone, so the sample's interleaving stays.
    stored = gguf_samples.interleave(tensors["blk.1.attn_q.weight"], gguf_samples.HEADS)
    assert np.array_equal(found["model.layers.1.self_attn.q_proj.weight"], stored)
    with GgufFile(path) as file:
        config = plan_conversion(file).config
    assert config["rope_parameters"]["sliding_attention"]["rope_theta"] == 10000
    assert config["query_pre_attn_scalar"] == 8
    assert config["layer_types"] == ["sliding_attention"] * 2


def test_the_config_says_what_the_file_says(tmp_path: Path) -> None:
    with GgufFile(write_llama(tmp_path / "tiny.gguf")) as file:
        config = plan_conversion(file).config
    assert config["model_type"] == "llama"
    assert config["rms_norm_eps"] == 1e-5
    assert config["tie_word_embeddings"]
    assert config["vocab_size"] == gguf_samples.vocabulary_size()
    assert config["bos_token_id"] == 1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"llama.block_count": None}, "llama.block_count"),
        ({"llama.block_count": 1 << 23}, "llama.block_count"),
        ({"llama.embedding_length": 0}, "llama.embedding_length"),
        ({"llama.embedding_length": 64}, "shape"),
        ({"llama.attention.head_count_kv": 3}, "make no sense"),
        ({"llama.attention.layer_norm_rms_epsilon": float("nan")}, "epsilon"),
        ({"llama.rope.freq_base": "ten"}, "freq_base"),
        ({"llama.rope.scaling.type": "yarn"}, "Hugging Face folder"),
        ({"llama.expert_count": 8}, "experts"),
        ({"tokenizer.ggml.tokens": None}, "no tokenizer"),
    ],
)
def test_fields_that_make_no_sense_are_named(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    path = write_llama(tmp_path / "tiny.gguf", changes=changes)
    with GgufFile(path) as file, pytest.raises(RequestError, match=words):
        plan_conversion(file)


def test_another_architecture_is_refused_with_those_that_can_be_read(tmp_path: Path) -> None:
    path = write_llama(tmp_path / "tiny.gguf", architecture="mamba")
    with GgufFile(path) as file, pytest.raises(RequestError, match=r"'mamba'.*gemma3 and llama"):
        plan_conversion(file)


def test_tensors_missing_or_left_over_are_named(tmp_path: Path) -> None:
    less, more = llama_tensors(), llama_tensors()
    del less["blk.1.ffn_up.weight"]
    more["blk.0.attn_q.bias"] = np.zeros(32, np.float32)
    for tensors, words in ((less, r"blk\.1\.ffn_up\.weight is missing"), (more, r"blk\.0\.attn_q\.bias")):
        path = write_llama(tmp_path / "tiny.gguf", tensors=tensors)
        with GgufFile(path) as file, pytest.raises(RequestError, match=words):
            plan_conversion(file)
