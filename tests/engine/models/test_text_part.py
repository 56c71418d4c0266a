"""Gemma 3 from 4B on is stored with a vision part: its text model opens, and computes what transformers computes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from engine.errors import RequestError
from engine.models import load_model
from engine.models.forward import run, unembed
from engine.models.hf_folder import read_folder
from engine.models.prompt import Prompt
from engine.models.starters import STARTER_ID, prepare_starter
from engine.models.weight_files import read_weights

TEXT = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 7,  # the sixth attends to everything
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "sliding_window": 4,
    "max_position_embeddings": 128,
    "query_pre_attn_scalar": 8,
}
VISION = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2}
IDS = torch.randint(3, 49_000, (1, 11), generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory, smollm: object) -> Path:
    """A tiny random model of both parts as transformers saves it, with SmolLM2's tokenizer."""
    from transformers import Gemma3Config, Gemma3ForConditionalGeneration

    folder = tmp_path_factory.mktemp("gemma") / "tiny-gemma-3"
    scaling = {"factor": 8.0, "rope_type": "linear"}
    config = Gemma3Config(
        text_config={**TEXT, "vocab_size": 49152, "rope_scaling": scaling},
        vision_config={**VISION, "image_size": 28, "patch_size": 14},
        mm_tokens_per_image=1,
        eos_token_id=[2, 0],
    )
    torch.manual_seed(0)
    model = Gemma3ForConditionalGeneration(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name:
                parameter.normal_(0, 0.3)
            elif "language_model" in name:
                parameter.normal_(0, 0.2)
    model.save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(prepare_starter(STARTER_ID) / name, folder)
    return folder


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may change."""
    return Path(shutil.copytree(saved, tmp_path / saved.name))


def as_saved(folder: Path) -> None:
    names = set(load_file(folder / "model.safetensors"))
    assert {"language_model.model.embed_tokens.weight", "multi_modal_projector.mm_soft_emb_norm.weight"} <= names


def as_published(folder: Path) -> None:
    """config.json as the hub has it: only what differs from the defaults, the rotary scaling in its older words."""
    path = folder / "config.json"
    values = json.loads(path.read_text())
    text = {**TEXT, "model_type": "gemma3_text", "rope_scaling": {"factor": 8.0, "rope_type": "linear"}}
    path.write_text(json.dumps({**values, "text_config": {**text, "vocab_size": 49152}, "eos_token_id": [2, 0]}))


def as_saved_in_between(folder: Path) -> None:
    """The names of transformers 4.52, with the tied unembedding stored too."""
    change_weights(folder, lambda name: f"model.{name}".replace("model.language_model.model.", "model.language_model."))
    path = folder / "model.safetensors"
    weights = load_file(path)
    weights["lm_head.weight"] = weights["model.language_model.embed_tokens.weight"].clone()
    save_file(weights, path, {"format": "pt"})


def in_shards(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    parts = {f"model-{i}-of-3.safetensors": dict(list(weights.items())[i::3]) for i in range(3)}
    for name, part in parts.items():
        save_file(part, folder / name, {"format": "pt"})
    index = {"metadata": {}, "weight_map": {tensor: name for name, part in parts.items() for tensor in part}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def change_weights(folder: Path, rename: Callable[[str], str | None]) -> None:
    path = folder / "model.safetensors"
    weights = {new: value for name, value in load_file(path).items() if (new := rename(name)) is not None}
    save_file(weights, path, {"format": "pt"})


@pytest.mark.parametrize("layout", [as_saved, as_published, as_saved_in_between, in_shards])
def test_the_text_model_computes_what_transformers_computes(folder: Path, layout: Callable[[Path], None]) -> None:
    from transformers import Gemma3ForConditionalGeneration

    layout(folder)
    whole = Gemma3ForConditionalGeneration.from_pretrained(folder, dtype=torch.float64, attn_implementation="eager")
    assert {"model.norm.weight", "model.layers.6.mlp.up_proj.weight"} <= set(read_folder(folder).shapes)
    weights = read_weights(read_folder(folder), torch.float64, torch.device("cpu"))
    with torch.no_grad():
        expected = whole.eval()(input_ids=IDS).logits[0]
    found = unembed(weights, run(weights, IDS)[0])
    assert found.dtype == torch.float64
    # transformers' norms and softmax are in float32 whatever the model is.
    assert (found - expected).abs().max() < 1e-5 * expected.abs().max()
    assert weights.family == "gemma3_text"


def test_it_is_a_model_like_any_other(folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from engine.models.catalogue import find_models

    monkeypatch.setenv("CIRCUIT_LOUPE_CACHE", str(tmp_path / "cache"))
    as_published(folder)
    model = load_model(folder, device="cpu")
    assert model.weights.family == "gemma3_text"
    assert len(model.weights.layers) == TEXT["num_hidden_layers"]
    assert model.tokenizer.eos_ids == {0, 2}
    assert model.top_tokens(model.tokenizer.encode(Prompt("The capital of Texas is")), 1)
    (entry,) = [one for one in find_models([folder]) if one.id == str(folder)]
    assert entry.family == "Gemma 3"
    # Memory is what the text model takes; on disk both parts lie.
    text = read_folder(folder).n_parameters
    assert text == load_file_sizes(folder, "language_model.")
    assert text < sum(value.numel() for value in load_file(folder / "model.safetensors").values())


def load_file_sizes(folder: Path, start: str) -> int:
    """Numbers in the stored tensors whose names begin so."""
    stored = load_file(folder / "model.safetensors")
    return sum(value.numel() for name, value in stored.items() if name.startswith(start))


def spoil(folder: Path, **fields: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"text_config": None}, "does not describe the text model"),
        ({"text_config": []}, "does not describe the text model"),
        ({"text_config": {"model_type": "llama"}}, "does not describe the text model"),
        ({"quantization_config": {"bits": 4}}, "quantised"),
        ({"text_config": {**TEXT, "num_hidden_layers": 8, "vocab_size": 49152}}, "do not fit|describes"),
    ],
)
def test_a_config_that_does_not_fit_is_refused(folder: Path, fields: dict[str, Any], words: str) -> None:
    spoil(folder, **fields)
    with pytest.raises(RequestError, match=words):
        load_model(folder, device="cpu")


@pytest.mark.parametrize(
    ("rename", "words"),
    [
        (lambda name: None if name.endswith("model.norm.weight") else name, "missing"),
        (lambda name: name.replace("vision_tower", "audio_tower"), "left over"),
    ],
)
def test_tensors_that_lack_or_belong_to_nothing_are_refused(
    folder: Path, rename: Callable[[str], str | None], words: str
) -> None:
    change_weights(folder, rename)
    with pytest.raises(RequestError, match=words):
        load_model(folder, device="cpu")


def test_a_tensor_under_both_names_is_refused(folder: Path) -> None:
    path = folder / "model.safetensors"
    weights = load_file(path)
    weights["model.norm.weight"] = weights["language_model.model.norm.weight"] + 1
    save_file(weights, path, {"format": "pt"})
    with pytest.raises(RequestError, match="a tensor under two names"):
        read_folder(folder)
