"""Oracle: the forward pass gives transformers' numbers, for every family and every variant of it, in float64.

The models are tiny, random and saved by transformers itself; ours are read back from those files.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    Gemma2Config,
    Gemma3TextConfig,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    MistralConfig,
    Olmo2Config,
    Phi3Config,
    Qwen2Config,
    Qwen3Config,
)

from engine.errors import Cancelled, RequestError
from engine.models import attention, forward
from engine.models.families import known_model_types, read_model
from engine.models.families.gemma import DEFAULTS as GEMMA
from engine.models.families.gpt2 import DEFAULTS as GPT2
from engine.models.families.gpt_neox import DEFAULTS as NEOX
from engine.models.families.llama import DEFAULTS as LLAMA
from engine.models.families.olmo2 import DEFAULTS as OLMO2
from engine.models.families.phi3 import DEFAULTS as PHI3
from engine.models.hf_folder import read_folder
from engine.models.recording import record
from engine.models.recording_cache import RecordingCache
from engine.models.rotary import read_rotary
from engine.models.weight_files import read_weights
from engine.models.weights import ModelWeights
from tests.engine.models.in_memory import InMemory
from tests.engine.tracing.tiny_models import FAMILIES, SIZES, random_model, tiny_config, tiny_model

IDS = [0, 5, 9, 3, 17, 22, 8, 31, 2, 2, 14, 39, 6, 27, 11, 4, 33, 20]
FACTORS = {"short_factor": [1.0, 1.3, 1.7, 2.0], "long_factor": [2.0, 3.0, 4.5, 6.0]}
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 20,
}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16}
PHI3_SIZES = {key: value for key, value in SIZES.items() if key != "head_dim"} | {"hidden_size": 32}


def longrope(trained: int) -> Phi3Config:
    sizes = PHI3_SIZES | {"original_max_position_embeddings": trained}
    return Phi3Config(**sizes, rope_parameters={"rope_type": "longrope", "rope_theta": 10000.0, **FACTORS})


VARIANTS: dict[str, Callable[[], Any]] = {
    "linear": lambda: LlamaConfig(**SIZES, rope_parameters={"rope_type": "linear", "factor": 4.0, "rope_theta": 500.0}),
    "llama3": lambda: LlamaConfig(**SIZES, rope_parameters=LLAMA3 | {"rope_theta": 300.0}),
    "yarn": lambda: Qwen2Config(**SIZES, rope_parameters=YARN | {"rope_theta": 100.0}),
    "yarn-mscale": lambda: LlamaConfig(
        **SIZES,
        rope_parameters=YARN | {"rope_theta": 100.0, "mscale": 0.7, "mscale_all_dim": 1.1, "truncate": False},
    ),
    "longrope-short": lambda: longrope(40),
    "longrope-long": lambda: longrope(9),
    "partial": lambda: Phi3Config(
        **PHI3_SIZES, rope_parameters={"rope_type": "default", "rope_theta": 50.0, "partial_rotary_factor": 0.5}
    ),
    "neox-half": lambda: GPTNeoXConfig(
        **PHI3_SIZES,
        rope_parameters={"rope_type": "default", "rope_theta": 90.0, "partial_rotary_factor": 0.5},
        attention_bias=False,
    ),
    "gemma3-scaled": lambda: Gemma3TextConfig(
        **SIZES,
        sliding_window=4,
        query_pre_attn_scalar=5,
        layer_types=["sliding_attention", "full_attention", "full_attention"],
        rope_parameters={
            "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 400.0},
            "sliding_attention": {"rope_type": "default", "rope_theta": 20.0},
        },
    ),
    "qwen2-window": lambda: Qwen2Config(**SIZES, use_sliding_window=True, sliding_window=4, max_window_layers=1),
    "qwen3-biased": lambda: Qwen3Config(**SIZES, attention_bias=True, tie_word_embeddings=True),
    "olmo2-biased": lambda: Olmo2Config(**SIZES, attention_bias=True),
    "phi3-window": lambda: Phi3Config(**SIZES, sliding_window=5),
    "gpt2-inverse": lambda: GPT2Config(
        vocab_size=40, n_embd=24, n_layer=3, n_head=4, n_positions=64, scale_attn_by_inverse_layer_idx=True
    ),
    "gpt2-unscaled": lambda: GPT2Config(
        vocab_size=40, n_embd=24, n_layer=3, n_head=4, n_positions=64, scale_attn_weights=False
    ),
    "relu": lambda: LlamaConfig(**SIZES, hidden_act="relu"),
}
CASES = (*FAMILIES, *VARIANTS)


@cache
def reference(case: str) -> Any:
    return random_model(VARIANTS[case](), len(case)) if case in VARIANTS else tiny_model(case).hf


def saved(hf: Any, folder: Path) -> Path:
    hf.save_pretrained(folder)
    (folder / "tokenizer.json").write_text("{}")
    return folder


def from_files(folder: Path, dtype: torch.dtype = torch.float64) -> ModelWeights:
    return read_weights(read_folder(folder), dtype, torch.device("cpu"))


@pytest.fixture
def both(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Any, ModelWeights]:
    """transformers' model of a case, and ours from the files that it writes."""
    hf = reference(request.param)
    return hf, from_files(saved(hf, tmp_path / "model"))


def all_logits(weights: ModelWeights, ids: list[int]) -> torch.Tensor:
    return forward.unembed(weights, forward.run(weights, torch.tensor([ids]))[0])


def distance(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    """The largest difference, relative to the largest value."""
    return float((ours - theirs).abs().max() / theirs.abs().max())


@pytest.mark.parametrize("both", CASES, indirect=True)
def test_logits_are_those_of_transformers(both: tuple[Any, ModelWeights]) -> None:
    hf, weights = both
    with torch.no_grad():
        theirs = hf(input_ids=torch.tensor([IDS]), use_cache=False).logits[0]
    assert distance(all_logits(weights, IDS), theirs) < 1e-10
    assert weights.context == hf.config.max_position_embeddings


@pytest.mark.parametrize("both", CASES, indirect=True)
def test_patterns_are_those_of_transformers_kept_or_computed_again(both: tuple[Any, ModelWeights]) -> None:
    hf, weights = both
    with torch.no_grad():
        hf(input_ids=torch.tensor([IDS]), use_cache=False)
    seen = [module.seen[0] for name, module in hf.named_modules() if name.endswith((".attn", "attention", "self_attn"))]
    kept, again = record(weights, IDS), record(weights, IDS, pattern_bytes=0)
    assert len(seen) == weights.n_layers
    for theirs, one, other in zip(seen, kept.layers, again.layers, strict=True):
        assert one.kept_pattern is not None
        assert other.kept_pattern is None
        assert distance(one.pattern, theirs) < 1e-10
        assert torch.equal(other.pattern, one.pattern)
    assert torch.equal(again.final, kept.final)


@pytest.mark.parametrize("both", CASES, indirect=True)
def test_a_cache_changes_nothing(both: tuple[Any, ModelWeights]) -> None:
    """In pieces of several lengths, over the edges of windows. LongRoPE keeps what it turned at a shorter length."""
    _, weights = both
    ids = IDS[:8] if weights.layers[0].attention.rotary and weights.layers[0].attention.rotary.beyond else IDS
    cache, pieces, start = forward.KeyValueCache(weights.n_layers), [], 0
    for length in (1, 4, 1, 1, len(ids) - 7):
        pieces.append(forward.run(weights, torch.tensor([ids[start : start + length]]), cache=cache)[0])
        start += length
    assert cache.length == len(ids)
    assert distance(torch.cat(pieces), forward.run(weights, torch.tensor([ids]))[0]) < 1e-12


@pytest.mark.parametrize("both", ["gemma2", "gpt2", "neox", "qwen3"], indirect=True)
def test_several_runs_go_through_at_once(both: tuple[Any, ModelWeights]) -> None:
    _, weights = both
    ids = torch.tensor([IDS, IDS[::-1], [7] * len(IDS)])
    together, blocks = forward.run(weights, ids), list[forward.BlockValues]()
    forward.run(weights, ids, keep_patterns=True, each=lambda number, values: blocks.append(values))
    for row, one in enumerate(ids):
        assert distance(together[row], forward.run(weights, one[None])[0]) < 1e-12
        alone = record(weights, one.tolist())
        for values, layer in zip(blocks, alone.layers, strict=True):
            assert values.pattern is not None
            assert distance(values.pattern[row], layer.pattern) < 1e-12
            assert distance(values.mlp_output[row], layer.mlp_output) < 1e-12


@pytest.mark.parametrize("both", ["gemma2", "llama", "gpt2"], indirect=True)
def test_long_prompts_go_band_by_band(both: tuple[Any, ModelWeights], monkeypatch: pytest.MonkeyPatch) -> None:
    _, weights = both
    whole, patterns = all_logits(weights, IDS), [layer.pattern for layer in record(weights, IDS).layers]
    largest = 0
    compute = attention._pattern

    def counted(w: Any, queries: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
        nonlocal largest
        found = compute(w, queries, keys)
        largest = max(largest, found.numel())
        return found

    monkeypatch.setattr(attention, "_pattern", counted)
    monkeypatch.setattr(attention, "PATTERN_NUMBERS", 4 * len(IDS) * 4)
    recording = record(weights, IDS, pattern_bytes=0)
    assert distance(all_logits(weights, IDS), whole) < 1e-12
    for layer, pattern in zip(recording.layers, patterns, strict=True):
        assert distance(layer.pattern, pattern) < 1e-12
    assert 0 < largest <= 4 * len(IDS) * 4


def test_patterns_are_kept_up_to_the_bound() -> None:
    weights = tiny_model("llama").weights
    room = 3 * 4 * len(IDS) ** 2 * 8
    assert record(weights, IDS, pattern_bytes=room).layers[0].kept_pattern is not None
    assert record(weights, IDS, pattern_bytes=room - 1).layers[0].kept_pattern is None


def test_more_tokens_than_there_are_learned_positions_are_refused() -> None:
    with pytest.raises(RequestError, match="has 65 tokens and the model reads at most 64; shorten it"):
        record(tiny_model("gpt2").weights, [1] * 65)
    cache = RecordingCache()
    cache.record(tiny_model("gpt2").weights, [1] * 64)
    with pytest.raises(RequestError, match="has 65 tokens"):
        cache.record(tiny_model("gpt2").weights, [1] * 65)


def test_a_recording_stops_within_a_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    cancel, begun, shares = threading.Event(), 0, list[float]()
    block = forward.run_block

    def counted(*args: Any, **named: Any) -> forward.BlockValues:
        nonlocal begun
        begun += 1
        if begun == 2:
            cancel.set()
        return block(*args, **named)

    monkeypatch.setattr(forward, "run_block", counted)
    with pytest.raises(Cancelled):
        record(tiny_model("llama").weights, IDS, cancel=cancel, progress=lambda stage, share: shares.append(share))
    assert begun == 2
    assert shares == [pytest.approx(1 / 3)]


CONFIG_CLASSES = {
    "llama": LlamaConfig,
    "mistral": MistralConfig,
    "qwen2": Qwen2Config,
    "qwen3": Qwen3Config,
    "gemma2": Gemma2Config,
    "gemma3_text": Gemma3TextConfig,
    "phi3": Phi3Config,
    "olmo2": Olmo2Config,
    "gpt2": GPT2Config,
    "gpt_neox": GPTNeoXConfig,
}


@pytest.mark.parametrize("model_type", CONFIG_CLASSES)
def test_a_field_that_is_left_out_means_what_it_means_to_transformers(model_type: str) -> None:
    assert set(CONFIG_CLASSES) == set(known_model_types())
    defaults = (LLAMA | GEMMA | PHI3 | OLMO2 | GPT2 | NEOX)[model_type]
    theirs = CONFIG_CLASSES[model_type]
    for name, value in defaults.items():
        if name in ("mlp_bias", "attention_bias") and not hasattr(theirs, name):
            assert value is False  # not a field of this type: never on
        elif name == "rotary_pct":
            assert theirs().rope_parameters["partial_rotary_factor"] == value
        elif name == "use_bidirectional_attention":
            assert not getattr(theirs, name)
        else:
            assert getattr(theirs, name) == value, name


OLD_STYLE: dict[str, dict[str, Any]] = {
    "llama": {"rope_theta": 700.0, "rope_scaling": {"type": "linear", "factor": 2.0}},
    "mistral": {"rope_theta": 700.0, "rope_scaling": None, "head_dim": 8},
    "gemma2": {"rope_theta": 700.0, "layer_types": None},
    "gemma3": {
        "rope_theta": 700.0,
        "rope_local_base_freq": 30.0,
        "rope_scaling": {"rope_type": "linear", "factor": 8.0},
        "layer_types": None,
        "sliding_window_pattern": 2,
    },
    "neox": {"rotary_emb_base": 700, "rotary_pct": 0.5, "head_dim": None},
    "longrope-long": {"rope_theta": 700.0, "rope_scaling": {"type": "longrope", **FACTORS}},
    "qwen3": {"rope_theta": 700.0, "rope_scaling": {"rope_type": "yarn", "factor": 4.0, "attention_factor": 1.2}},
    "llama-biased": {"rope_scaling": {"type": "default"}, "rms_norm_eps": None},
}


@pytest.mark.parametrize("family", OLD_STYLE)
def test_a_config_as_it_was_written_years_ago(family: str, tmp_path: Path) -> None:
    """Rotary fields beside each other at the top, none of today's; transformers reads the same file."""
    hf = reference(family)
    folder = saved(hf, tmp_path / "model")
    path = folder / "config.json"
    config = json.loads(path.read_text())
    del config["rope_parameters"], config["dtype"]
    config |= OLD_STYLE[family]
    path.write_text(json.dumps({key: value for key, value in config.items() if value is not None}))
    theirs = random_model(AutoConfig.from_pretrained(folder), 1)
    theirs.load_state_dict(hf.state_dict())
    with torch.no_grad():
        expected = theirs(input_ids=torch.tensor([IDS]), use_cache=False).logits[0]
    assert distance(all_logits(from_files(folder), IDS), expected) < 1e-10


def test_longrope_by_its_early_names(tmp_path: Path) -> None:
    """Phi-3's first files say "su"; transformers' own check no longer lets them through."""
    folder = saved(reference("longrope-long"), tmp_path / "model")
    before, path = all_logits(from_files(folder), IDS), folder / "config.json"
    for name in ("su", "yarn"):
        config = json.loads(path.read_text())
        config["rope_parameters"]["rope_type"] = name
        path.write_text(json.dumps(config))
        assert torch.equal(all_logits(from_files(folder), IDS), before)


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_a_file_that_holds_the_body_alone(family: str, tmp_path: Path) -> None:
    """GPT-2's published weights have no name in front."""
    hf = random_model(tiny_config(family), 3)
    tensors, body = hf.state_dict(), f"{hf.base_model_prefix}."
    bare = {name.removeprefix(body): tensor for name, tensor in tensors.items()}
    weights = read_model(hf.config.to_dict(), InMemory(bare))
    with torch.no_grad():
        expected = hf(input_ids=torch.tensor([IDS]), use_cache=False).logits[0]
    assert distance(all_logits(weights, IDS), expected) < 1e-10


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"rope_parameters": {"rope_type": "dynamic", "factor": 2.0}}, "of the kind 'dynamic', which is not computed"),
        ({"rope_parameters": {"rope_type": "linear"}}, "describes its rotary positions with values that fit no model"),
        ({"rope_parameters": {"rope_type": "yarn", "factor": 0.0, "original_max_position_embeddings": 0}}, "fit no"),
        ({"rope_parameters": {"rope_theta": "many"}}, "fit no model"),
        ({"rope_parameters": [1]}, "gives rope_parameters as"),
        ({"num_key_value_heads": 3}, "gives num_key_value_heads as '3'"),
        ({"num_attention_heads": True}, "gives num_attention_heads as 'True'"),
        ({"rms_norm_eps": -1}, "gives rms_norm_eps as '-1'"),
        ({"rms_norm_eps": float("nan")}, "gives rms_norm_eps as 'nan'"),
        ({"hidden_act": ["silu"]}, "MLP uses"),
        ({"attention_bias": "yes"}, "gives attention_bias"),
        ({"model_type": "qwen2", "use_sliding_window": True, "layer_types": ["full_attention"]}, "gives layer_types"),
        ({"model_type": "qwen2", "use_sliding_window": True, "layer_types": ["chunked"] * 3}, "gives layer_types"),
        ({"model_type": "qwen2", "use_sliding_window": True, "max_window_layers": "all"}, "max_window_layers"),
        ({"model_type": "gemma2", "use_bidirectional_attention": True}, "turns on use_bidirectional_attention"),
        ({"model_type": "gpt2", "add_cross_attention": True}, "turns on add_cross_attention"),
        ({"model_type": "gpt2", "n_embd": 24, "n_head": 5, "n_positions": 64, "n_layer": 3}, "gives n_head as '5'"),
        ({"model_type": "mamba"}, "'mamba' cannot be traced yet"),
    ],
)
def test_what_is_not_computed_is_refused(fields: dict[str, Any], words: str, tmp_path: Path) -> None:
    folder = saved(reference("llama"), tmp_path / "model")
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))
    with pytest.raises(RequestError, match=words) as caught:
        from_files(folder)
    assert "\n" not in caught.value.sentence


def test_a_kind_of_rotary_positions_is_named() -> None:
    with pytest.raises(RequestError, match="one of: default, linear, llama3, yarn, longrope"):
        read_rotary({"rope_type": "proportional", "rope_theta": 1.0}, 8, 64)


def test_weights_stored_in_bfloat16_are_widened_exactly(tmp_path: Path) -> None:
    hf = AutoModelForCausalLM.from_config(tiny_config("gemma3")).to(torch.bfloat16)
    folder = saved(hf, tmp_path / "model")
    wide, narrow = from_files(folder, torch.float32), from_files(folder, torch.bfloat16)
    theirs = hf.model.layers[1].self_attn.q_proj.weight
    assert narrow.layers[1].attention.w_q.dtype is torch.bfloat16
    assert torch.equal(narrow.layers[1].attention.w_q, theirs)
    assert torch.equal(wide.layers[1].attention.w_q, theirs.float())
    # 1 + weight would lose the weight's last bits in bfloat16.
    gain = hf.model.layers[1].input_layernorm.weight.float() + 1
    for weights in (wide, narrow):
        norm = weights.layers[1].attention_norm
        assert norm is not None
        assert torch.equal(norm.gain, gain)


def test_tied_embeddings_are_one_tensor(tmp_path: Path) -> None:
    tied = from_files(saved(reference("gemma2"), tmp_path / "tied"))
    assert tied.embed is tied.unembed
    apart = from_files(saved(reference("llama-biased"), tmp_path / "apart"))
    assert not torch.equal(apart.embed, apart.unembed)
