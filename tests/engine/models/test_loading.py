"""load_model: every way to name a model, and every way in which that can go wrong."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from engine.errors import Cancelled, MachineError, RequestError
from engine.models import load_model, memory
from engine.models.cache import models_folder
from engine.models.catalogue import find_models
from engine.models.devices import choose_device, choose_dtype
from engine.models.prompt import Prompt
from engine.models.starters import STARTER_ID, prepare_starter
from tests.engine.models.gguf_samples import llama_tensors, write_llama


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CIRCUIT_LOUPE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory, smollm: object) -> Path:
    """A tiny random Llama as transformers itself saves it, with SmolLM2's tokenizer files."""
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("saved") / "tiny-llama"
    config = LlamaConfig(
        vocab_size=49152,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        tie_word_embeddings=True,
        eos_token_id=[2, 0],
    )
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(prepare_starter(STARTER_ID) / name, folder)
    return folder


@pytest.fixture
def folder(saved: Path, tmp_path: Path, own_cache: Path) -> Path:
    """A copy of it that a test may spoil."""
    return Path(shutil.copytree(saved, tmp_path / "tiny-llama"))


def change(path: Path, **fields: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def test_a_folder_saved_by_transformers_loads(saved: Path, own_cache: Path) -> None:
    from transformers import LlamaForCausalLM

    model = load_model(saved, device="cpu")
    reference = LlamaForCausalLM.from_pretrained(saved, dtype=torch.float32).eval()
    ids = model.tokenizer.encode(Prompt("The capital of Texas is"))
    with torch.no_grad():
        expected = reference(input_ids=torch.tensor([ids])).logits[0, -1].numpy()
    assert np.allclose(model.next_token_logits(ids), expected, atol=1e-5)
    assert model.name == "tiny-llama"
    assert model.source == str(saved)
    assert model.tokenizer.eos_ids == {0, 2}
    assert model.tokenizer.has_chat_template
    assert model.context == 64


def test_the_fingerprint_follows_what_makes_the_numbers(folder: Path, own_cache: Path) -> None:
    first = load_model(folder, device="cpu").fingerprint
    assert load_model(folder, device="cpu").fingerprint == first
    (folder / "README.md").write_text("words")
    assert load_model(folder, device="cpu").fingerprint == first
    moved = folder.rename(folder.parent / "other")
    assert load_model(moved, device="cpu").fingerprint == first
    weights = load_file(moved / "model.safetensors")
    weights["model.norm.weight"] = weights["model.norm.weight"] + 1
    save_file(weights, moved / "model.safetensors", metadata={"format": "pt"})
    assert load_model(moved, device="cpu").fingerprint != first


def test_a_starter_by_its_folder_is_the_starter(smollm: Any) -> None:
    model = load_model(models_folder() / STARTER_ID, device="cpu")
    assert model.name == smollm.name
    assert model.fingerprint == smollm.fingerprint


def test_a_gguf_file_is_prepared_once_and_known_by_its_content(tmp_path: Path, own_cache: Path) -> None:
    path = write_llama(tmp_path / "tiny.gguf")
    seen: list[float] = []
    first = load_model(path, device="cpu", progress=lambda stage, share: seen.append(share))
    assert seen == sorted(seen)
    assert seen[-1] == 1.0
    (prepared,) = (own_cache / "models").iterdir()
    assert first.name == "tiny"
    assert prepared.name.startswith("tiny-")
    before = (prepared / "model.safetensors").stat().st_mtime_ns
    by_id = load_model(prepared.name, device="cpu")
    assert by_id.name == "tiny"
    assert by_id.fingerprint == first.fingerprint
    load_model(path, device="cpu")
    assert (prepared / "model.safetensors").stat().st_mtime_ns == before
    (prepared / "model.safetensors").write_bytes(b"")
    assert load_model(prepared.name, device="cpu").fingerprint == first.fingerprint  # made again from the file
    path.unlink()
    (prepared / "model.safetensors").write_bytes(b"")
    with pytest.raises(RequestError, match=r"is damaged .*open its GGUF file again"):
        load_model(prepared.name, device="cpu")


def test_a_tiny_gguf_gives_the_model_it_was_made_from(tmp_path: Path, own_cache: Path) -> None:
    tensors = llama_tensors()
    model = load_model(write_llama(tmp_path / "tiny.gguf", tensors=tensors), device="cpu")
    for number, layer in enumerate(model.weights.layers):
        for name, weight in (("attn_q", layer.attention.w_q), ("attn_k", layer.attention.w_k)):
            expected = torch.from_numpy(tensors[f"blk.{number}.{name}.weight"]).to(torch.bfloat16).float()
            assert torch.equal(weight, expected)


def test_bfloat16_is_what_was_asked_for(saved: Path, own_cache: Path) -> None:
    model = load_model(saved, device="cpu", dtype="bfloat16")
    layer = model.weights.layers[0]
    assert model.dtype == layer.mlp.w_up.dtype == layer.attention.w_q.dtype == torch.bfloat16
    assert model.next_token_logits([1, 2, 3]).dtype == np.float32
    # The rotary frequencies stay in float32: bfloat16 would move every position.
    assert layer.attention.rotary is not None
    assert layer.attention.rotary.frequencies.dtype == torch.float32


def test_another_family_is_refused_with_the_known_ones(folder: Path) -> None:
    change(folder / "config.json", model_type="mamba", auto_map={"AutoModelForCausalLM": "evil.Model"})
    (folder / "evil.py").write_text("raise SystemExit('ran')")
    with pytest.raises(RequestError, match=r"'mamba'.*gemma3_text, .*llama"):
        load_model(folder)


def test_code_that_comes_with_a_model_is_never_run(folder: Path) -> None:
    change(folder / "config.json", auto_map={"AutoModelForCausalLM": "evil.Model", "AutoConfig": "evil.Config"})
    (folder / "evil.py").write_text("raise SystemExit('ran')")
    (folder / "custom_generate").mkdir()
    (folder / "custom_generate" / "generate.py").write_text("raise SystemExit('ran')")
    assert load_model(folder, device="cpu").context == 64


def drop(folder: Path, name: str) -> None:
    weights = load_file(folder / "model.safetensors")
    del weights[name]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def test_weights_that_lack_a_tensor_are_refused_not_made_up(folder: Path) -> None:
    drop(folder, "model.layers.1.mlp.up_proj.weight")
    with pytest.raises(RequestError, match=r"1 tensors are missing, model\.layers\.1\.mlp\.up_proj\.weight"):
        load_model(folder)


@pytest.mark.parametrize(
    "fields",
    [
        {"num_hidden_layers": 1},
        {"num_hidden_layers": 3},
        {"num_hidden_layers": 10**9},
        {"num_hidden_layers": "two"},
        {"intermediate_size": 1 << 40},
        {"hidden_size": 64},
        {"vocab_size": 1 << 40},
        {"num_attention_heads": 5},
        {"rope_parameters": {"rope_type": "unheard of"}},
        {"hidden_act": "unheard of"},
    ],
)
def test_a_config_that_does_not_fit_costs_no_memory(folder: Path, fields: dict[str, Any]) -> None:
    change(folder / "config.json", **fields)
    with pytest.raises(RequestError, match="fetch") as caught:
        load_model(folder)
    assert "\n" not in caught.value.sentence


def test_a_damaged_tokenizer_is_one_sentence(folder: Path) -> None:
    for content in ("", "{}", '{"model": {"type": "BPE", "vocab": 3}}', "[" * 1000):
        (folder / "tokenizer.json").write_text(content)
        with pytest.raises(RequestError, match=r"tokenizer\.json is damaged"):
            load_model(folder)


def test_damaged_weights_are_one_sentence(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(RequestError, match="damaged or cut short"):
        load_model(folder)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("no-such-model", "No model 'no-such-model' was found"),
        ("someone/something", "No model 'someone/something' was found"),
        ("../../no-such-place", "No model"),
        ("/nowhere/at/all", "No model"),
        (Path("/nowhere/at/all.gguf"), "No model"),
    ],
)
def test_what_is_not_there_is_not_found(own_cache: Path, source: str | Path, words: str) -> None:
    with pytest.raises(RequestError, match=words):
        load_model(source)


def test_files_of_other_kinds_are_told_apart(tmp_path: Path, own_cache: Path) -> None:
    (tmp_path / "notes.txt").write_text("words")
    (tmp_path / "model.safetensors").write_text("words")
    with pytest.raises(RequestError, match="not a GGUF file"):
        load_model(tmp_path / "notes.txt")
    with pytest.raises(RequestError, match="choose the folder"):
        load_model(tmp_path / "model.safetensors")
    with pytest.raises(RequestError, match=r"holds no config\.json"):
        load_model(tmp_path)


def test_too_little_memory_is_known_before_loading(
    saved: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "_BASE_BYTES", 1 << 60)
    with pytest.raises(
        MachineError, match=r"needs about .* GB in memory and .* close other programs, or choose bfloat16"
    ):
        load_model(saved, device="cpu")


def test_a_container_bounds_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_CGROUP", tmp_path)
    free, total = memory.available_bytes(), memory.total_bytes()
    assert 0 < free <= total
    (tmp_path / "memory.max").write_text("max\n")
    assert memory.total_bytes() == total
    (tmp_path / "memory.max").write_text("1000000\n")
    (tmp_path / "memory.current").write_text("700000\n")
    (tmp_path / "memory.stat").write_text("anon 5\ninactive_file 100000\n")
    assert memory.total_bytes() == 1_000_000
    assert memory.available_bytes() == 400_000


def test_cancel_before_loading(saved: Path, own_cache: Path) -> None:
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(Cancelled):
        load_model(saved, cancel=cancel)


def test_devices_and_formats_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    for wrong in ("gpu", "cpu:0", "cuda:x", "cuda:-1", ""):
        with pytest.raises(RequestError, match="choose auto, cpu, cuda or mps"):
            choose_device(wrong)
    with pytest.raises(RequestError, match="choose float32 or bfloat16"):
        choose_dtype("float16")
    cuda, mps = [False], [False]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda[0])
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps[0])
    assert choose_device("auto").type == "cpu"
    for wrong in ("cuda", "cuda:0", "mps"):
        with pytest.raises(MachineError, match="choose auto or cpu"):
            choose_device(wrong)
    mps[0] = True
    assert choose_device("auto").type == "mps" == choose_device("mps").type
    cuda[0] = True
    assert choose_device("auto").type == "cuda"
    assert choose_device("cuda:0") == torch.device("cuda:0")
    with pytest.raises(MachineError, match="1 GPUs"):
        choose_device("cuda:1")


@pytest.fixture
def hub(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A hub cache that holds the tiny model as someone/tiny."""
    from huggingface_hub import constants

    repository = tmp_path / "hub" / "models--someone--tiny"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("abc")
    folder.rename(tmp_path / "moved")
    shutil.copytree(tmp_path / "moved", repository / "snapshots" / "abc")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return repository


def test_a_hub_id_is_found_in_the_local_cache_only(hub: Path) -> None:
    model = load_model("someone/tiny", device="cpu")
    assert model.name == "someone/tiny" == model.source
    with pytest.raises(RequestError, match="No model"):
        load_model("someone/else")


def test_the_catalogue_lists_what_can_be_opened(hub: Path, saved: Path, tmp_path: Path) -> None:
    path = write_llama(tmp_path / "mine.gguf")
    (tmp_path / "broken.gguf").write_bytes(b"GGUF")
    opened = [path, saved, tmp_path / "broken.gguf", tmp_path / "gone"]
    found = {entry.id: entry for entry in find_models(opened)}
    assert list(found) == [STARTER_ID, "Gemma-3-270m", str(path), str(saved), "someone/tiny"]
    starter = found[STARTER_ID]
    assert starter.kind == "starter"
    assert not starter.prepared
    assert starter.path is None
    assert starter.chat
    assert starter.fits
    assert starter.licence == "Apache-2.0"
    assert starter.memory_bytes > 4 * 134_515_008
    assert found[str(path)].kind == "gguf"
    assert not found[str(path)].prepared
    assert found[str(path)].family == "Llama"
    assert found[str(saved)].kind == "folder"
    assert found[str(saved)].prepared
    assert found["someone/tiny"].kind == "hub-cache"
    assert found["someone/tiny"].chat
    load_model(path, device="cpu")
    found = {entry.id: entry for entry in find_models(opened)}
    assert found[str(path)].prepared
    assert len(found) == 5
    (ours,) = [entry for entry in find_models() if entry.kind == "gguf"]
    assert ours.title == "mine"
    assert ours.prepared


def test_loading_needs_no_transformers_and_never_opens_a_connection(saved: Path) -> None:
    """Without HF_HUB_OFFLINE, in a fresh process where every connection and transformers' import fail loudly."""
    code = """
import socket, sys
sys.modules["transformers"] = None
def refuse(*args, **kwargs):
    print("connection", args, file=sys.stderr)
    raise SystemExit(9)
socket.socket.connect = socket.getaddrinfo = socket.create_connection = refuse
from engine.models import load_model
from engine.errors import RequestError
from engine.tracing import Prompt
model = load_model(sys.argv[1], device="cpu")
model.generate(model.tokenizer.encode(Prompt("Hello", chat=True)), 2)
try:
    load_model("someone/something")
except RequestError:
    sys.exit(7)
"""
    environment = {
        key: value for key, value in os.environ.items() if key not in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
    }
    done = subprocess.run(
        [sys.executable, "-c", code, str(saved)],
        env=environment,
        timeout=120,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 7, done.stderr
    assert done.stderr == ""
    assert done.stdout == ""
