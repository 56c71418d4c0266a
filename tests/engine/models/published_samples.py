"""A small catalogue and what its repositories hold: a tiny Llama and dictionaries for it, and a machine of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import numpy as np
import pytest
from safetensors.numpy import save

from engine.models import hub_fetch, published
from engine.models.prepared import Origin, prepare_gguf
from tests.engine.models.gguf_samples import INNER, LAYERS, WIDTH, write_llama
from tests.engine.models.hub_stand_in import Repository

MODEL, PLAIN, NESTED, JOINED = "some/tiny", "some/plt", "some/many/sets/small", "some/joined"
LOOSE, PICKLED = "some/loose/deep/set", "some/pickled"
N_FEATURES = 2 * INNER

_DICTIONARY = {
    "model": MODEL,
    "kind": "per-layer",
    "format": "plain",
    "layers": LAYERS,
    "width": N_FEATURES,
    "d_model": WIDTH,
    "skip": False,
    "size_bytes": None,
    "licence": "MIT",
    "gated": False,
    "folder": "",
    "files": ["config.yaml", "layer_{layer}.safetensors"],
}

RAW: dict[str, Any] = {
    "format": 1,
    "model_files": [
        "config.json",
        "model.safetensors",
        "model-*-of-*.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ],
    "formats": {"plain": {"title": "plain"}, "pickled": {"title": "pickles", "obstacle": "its files are pickles"}},
    "models": [
        {
            "id": MODEL,
            "title": "Tiny",
            "model_type": "llama",
            "parameters": 5000,
            "size_bytes": 10_000,
            "licence": "MIT",
            "gated": False,
            "chat": False,
        }
    ],
    "dictionaries": [
        {**_DICTIONARY, "id": PLAIN, "title": "Plain", "repository": PLAIN},
        {**_DICTIONARY, "id": NESTED, "title": "Nested", "repository": "some/many", "folder": "sets/small"},
        {
            **_DICTIONARY,
            "id": JOINED,
            "title": "Joined",
            "repository": JOINED,
            "files": ["config.yaml"],
            "follows": ["other/weights"],
        },
        {
            **_DICTIONARY,
            "id": LOOSE,
            "title": "Loose",
            "repository": "some/loose",
            "folder": "deep/set",
            "files": ["config.yaml", "*.safetensors"],
            "follows": ["other/weights", "some/loose"],
        },
        {**_DICTIONARY, "id": PICKLED, "title": "Pickled", "repository": PICKLED, "format": "pickled", "files": []},
    ],
}


def own_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty hub cache and an empty cache of ours; the small catalogue; no waiting. Gives the hub cache."""
    hub = tmp_path / "hub"
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(hub))
    monkeypatch.setattr(huggingface_hub.constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setenv("CIRCUIT_LOUPE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("CIRCUIT_LOUPE_HOME", str(tmp_path / "home"))
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(hub_fetch, "WAITS", (0.01, 0.01, 0.01))
    entries = published.read_catalogue(RAW)
    monkeypatch.setattr(published, "_catalogue", lambda: entries)
    return hub


def incomplete(hub_cache: Path) -> list[Path]:
    """Contents that came in part."""
    return sorted(hub_cache.rglob("*.incomplete"))


def left_over(hub_cache: Path) -> list[Path]:
    """Files of the cache that are neither contents nor names of them nor locks."""
    known = {"blobs", "refs", "snapshots", ".locks"}
    return [path for path in hub_cache.rglob("*") if path.is_file() and not known & set(path.parts)]


def model_files(folder: Path) -> dict[str, bytes]:
    """A tiny Llama as a repository holds it, with what must not be fetched beside it."""
    origin = Origin("tiny", "tiny.gguf", "0" * 64, "MIT", {})
    prepare_gguf(write_llama(folder / "tiny.gguf"), folder / "tiny", origin)
    wanted = ("config.json", "model.safetensors", "tokenizer.json")
    settings = json.loads((folder / "tiny" / "tokenizer_config.json").read_text())
    return {
        **{name: (folder / "tiny" / name).read_bytes() for name in wanted},
        "tokenizer_config.json": json.dumps({**settings, "chat_template": "{{ messages[0]['content'] }}"}).encode(),
        "pytorch_model.bin": b"a pickle" * 100,
        "README.md": b"Tiny.",
        "original/model.safetensors": b"not this one" * 100,
    }


def layer_files(prefix: str = "") -> dict[str, bytes]:
    """A per-layer set in circuit-tracer's layout for the tiny Llama, with feature pages beside it."""
    random = np.random.default_rng(1)
    files = {f"{prefix}config.yaml": b"model_kind: transcoder_set\nmodel_name: some/tiny\n"}
    for layer in range(LAYERS):
        tensors = {
            "W_enc": random.standard_normal((N_FEATURES, WIDTH)).astype(np.float32),
            "W_dec": random.standard_normal((N_FEATURES, WIDTH)).astype(np.float32),
            "b_enc": np.zeros(N_FEATURES, np.float32),
            "b_dec": np.zeros(WIDTH, np.float32),
        }
        files[f"{prefix}layer_{layer}.safetensors"] = save(tensors)
    files[f"{prefix}features/layer_0.bin"] = b"pages" * 100
    return files


def repositories(folder: Path) -> dict[str, Repository]:
    """What the stand-in hub holds."""
    arrays = {f"layer_{layer}/w/l0_{layer}/params.npz": bytes([layer]) * 5000 for layer in range(LAYERS)}
    named = [f"hf://other/weights/{name}?revision=main" for name in arrays]
    return {
        MODEL: Repository(model_files(folder)),
        PLAIN: Repository(layer_files(), commit="ab" * 20),
        "some/many": Repository({**layer_files("sets/small/"), **layer_files("sets/large/")}, commit="cd" * 20),
        "some/loose": Repository(layer_files("deep/set/"), commit="34" * 20),
        JOINED: Repository({"config.yaml": json.dumps({"transcoders": named}).encode()}, commit="ef" * 20),
        "other/weights": Repository({**arrays, "layer_0/w/l0_99/params.npz": b"not named" * 99}, commit="12" * 20),
    }
