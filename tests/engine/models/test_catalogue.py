"""The catalogue is well made, says what is so, and tells what of it is on this machine."""

from __future__ import annotations

import copy
import json
import re
import subprocess
import sys
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from engine.dictionaries import formats
from engine.errors import RequestError
from engine.models import hub_store, published
from engine.models.families import known_model_types
from engine.models.published import PublishedEntry, find_published, read_catalogue
from engine.models.text_part import text_type
from tests.conftest import REPOSITORY
from tests.engine.models import published_samples as samples

RAW = json.loads((resources.files("resources") / "catalogue.json").read_text(encoding="utf-8"))
ENTRIES = read_catalogue(RAW)
MODELS = [entry for entry in ENTRIES.values() if entry.what == "model"]
DICTIONARIES = [entry for entry in ENTRIES.values() if entry.what == "dictionary"]

MODEL_KEYS = {"id": str, "title": str, "model_type": str, "parameters": int, "size_bytes": (int, type(None)),
              "licence": str, "gated": bool, "chat": bool}  # fmt: skip
DICTIONARY_KEYS = {"id": str, "title": str, "model": (str, type(None)), "repository": str, "folder": str, "kind": str,
                   "format": str, "layers": (int, type(None)), "width": (int, type(None)),
                   "d_model": (int, type(None)), "skip": bool, "size_bytes": (int, type(None)), "licence": str,
                   "gated": bool, "files": list}  # fmt: skip
OPTIONAL = {"revision": str, "note": (str, type(None)), "obstacle": str, "follows": list}


@pytest.mark.parametrize(("part", "keys"), [("models", MODEL_KEYS), ("dictionaries", DICTIONARY_KEYS)])
def test_every_entry_has_the_fields_and_no_others(part: str, keys: dict[str, Any]) -> None:
    for entry in RAW[part]:
        assert keys.keys() <= entry.keys() <= keys.keys() | OPTIONAL.keys(), entry["id"]
        for key, value in entry.items():
            assert isinstance(value, {**keys, **OPTIONAL}[key]), (entry["id"], key)


def test_ids_are_unique_and_say_where_it_is() -> None:
    assert len(ENTRIES) == len(RAW["models"]) + len(RAW["dictionaries"])
    for entry in ENTRIES.values():
        assert entry.id == entry.repository + (f"/{entry.folder}" if entry.folder else "")
        assert re.fullmatch(r"[\w.-]+/[\w.-]+", entry.repository) and "--" not in entry.id
        assert entry.revision is None or re.fullmatch(r"[0-9a-f]{40}|[\w.-]+", entry.revision)
        assert entry.title and entry.licence
        assert entry.size_bytes is None or entry.size_bytes > 1_000_000


def test_every_dictionarys_model_exists() -> None:
    for entry in DICTIONARIES:
        assert entry.model in {model.id for model in MODELS} or (entry.model == "" and entry.obstacle)
        assert entry.kind in ("per-layer", "cross-layer")


def test_every_published_set_is_there() -> None:
    """The sets that circuit-tracer's pages name, and those that exist beside them."""
    qwen = [f"mwhanna/qwen3-{size}" for size in ("0.6b-transcoders-lowl0", "1.7b-transcoders-lowl0", "4b-transcoders",
                                                 "8b-transcoders", "14b-transcoders-lowl0")]  # fmt: skip
    gemma = [
        f"mwhanna/gemma-scope-2-{size}-{kind}" for size in ("270m", "1b", "4b", "12b", "27b") for kind in ("pt", "it")
    ]
    expected = {
        *qwen, *gemma, "mntss/gemma-scope-transcoders", "mntss/clt-gemma-2-2b-426k", "mntss/clt-gemma-2-2b-2.5M",
        "mntss/transcoder-Llama-3.2-1B", "mntss/clt-llama-3.2-1b-524k", "mntss/clt-131k",
        "facebook/crv-8b-instruct-transcoders", "bluelightai/clt-qwen3-0.6b-base-20k",
        "bluelightai/clt-qwen3-1.7b-base-20k", "OpenMOSS-Team/Llama-Scope-2-Qwen3-1.7B",
        "ByteDance-Seed/Cross-Layer-TopK-CLT",
    }  # fmt: skip
    assert expected <= {entry.repository for entry in DICTIONARIES}


@pytest.mark.parametrize(
    ("repository", "model", "kind", "layers", "width"),
    [
        ("mntss/gemma-scope-transcoders", "google/gemma-2-2b", "per-layer", 26, 16_384),
        ("mntss/clt-gemma-2-2b-426k", "google/gemma-2-2b", "cross-layer", 26, 16_384),
        ("mntss/clt-gemma-2-2b-2.5M", "google/gemma-2-2b", "cross-layer", 26, 98_304),
        ("mntss/transcoder-Llama-3.2-1B", "meta-llama/Llama-3.2-1B", "per-layer", 16, 131_072),
        ("mntss/clt-llama-3.2-1b-524k", "meta-llama/Llama-3.2-1B", "cross-layer", 16, 32_768),
        ("mwhanna/qwen3-0.6b-transcoders-lowl0", "Qwen/Qwen3-0.6B", "per-layer", 28, 163_840),
        ("mwhanna/qwen3-1.7b-transcoders-lowl0", "Qwen/Qwen3-1.7B", "per-layer", 28, 163_840),
        ("mwhanna/qwen3-4b-transcoders", "Qwen/Qwen3-4B", "per-layer", 36, 163_840),
        ("mwhanna/qwen3-8b-transcoders", "Qwen/Qwen3-8B", "per-layer", 36, None),
        ("mwhanna/qwen3-14b-transcoders-lowl0", "Qwen/Qwen3-14B", "per-layer", 40, None),
        ("mntss/clt-131k", "openai/gpt-oss-20b", "cross-layer", 24, 131_072),
        ("facebook/crv-8b-instruct-transcoders", "meta-llama/Llama-3.1-8B-Instruct", "per-layer", 32, None),
        ("bluelightai/clt-qwen3-0.6b-base-20k", "Qwen/Qwen3-0.6B-Base", "cross-layer", 28, 20_480),
        ("bluelightai/clt-qwen3-1.7b-base-20k", "Qwen/Qwen3-1.7B-Base", "cross-layer", 28, 20_480),
    ],
)
def test_a_published_set_is_what_its_authors_say(
    repository: str, model: str, kind: str, layers: int, width: int | None
) -> None:
    """circuit-tracer's list of published sets; a None is nowhere said and is not guessed."""
    entry = ENTRIES[repository]
    assert (entry.model, entry.kind, entry.layers, entry.width) == (model, kind, layers, width)


def test_gemma_scope_2_is_there_for_every_size() -> None:
    """16K and 262K features a layer with and without skip; cross-layer sets for the two smallest sizes only."""
    layers = {"270m": 18, "1b": 26, "4b": 34, "12b": 48, "27b": 62}
    expected = {
        (f"mwhanna/gemma-scope-2-{size}-{kind}/transcoder_all/width_{width}_l0_small{affine}", count)
        for size, count in layers.items()
        for kind in ("pt", "it")
        for width in ("16k", "262k")
        for affine in ("", "_affine")
    } | {
        (f"mwhanna/gemma-scope-2-{size}-{kind}/clt/width_262k_l0_medium_affine", layers[size])
        for size in ("270m", "1b")
        for kind in ("pt", "it")
    }
    assert {(entry.id, entry.layers) for entry in DICTIONARIES if "gemma-scope-2" in entry.id} == expected


def test_what_is_not_known_for_sure_says_so() -> None:
    for entry in DICTIONARIES:
        if entry.downloadable and (entry.size_bytes is None or entry.width is None):
            assert any(word in entry.note for word in ("uncertain", "asked from the hub")), entry.id


def test_a_models_obstacle_is_that_its_family_is_unknown() -> None:
    """Where a family is learned, the catalogue has to say so."""
    for entry in MODELS:
        assert (entry.obstacle is None) == (text_type(entry.format) in known_model_types()), entry.id


def test_a_formats_obstacle_is_that_nothing_reads_it() -> None:
    for name, known in RAW["formats"].items():
        assert (known.get("reader") in formats()) != bool(known.get("obstacle")), name


def test_only_files_that_run_no_code_are_named() -> None:
    for entry in ENTRIES.values():
        for name in entry.files:
            assert hub_store.safe_name(f"{entry.folder}/{name}".lstrip("/").replace("*", "00001"))
        assert entry.files or entry.obstacle
        assert all(re.fullmatch(r"[\w.-]+/[\w.-]+", repository) for repository in entry.follows)


@pytest.mark.parametrize(
    ("entry_id", "parameters"),
    [
        ("mntss/clt-gemma-2-2b-426k", 14.2e9),  # said on the published lists
        ("mwhanna/qwen3-0.6b-transcoders-lowl0", 28 * 671e6 / 2),  # 671 MB a layer in bfloat16
        ("mntss/transcoder-Llama-3.2-1B", 17.2e9 / 2),
        ("mntss/gemma-scope-transcoders", 7.8e9 / 4),
        ("mwhanna/gemma-scope-2-270m-pt/transcoder_all/width_16k_l0_small", 1_512_362_420 / 4),
        ("mntss/clt-131k", 245e9 / 2),
    ],
)
def test_numbers_in_a_dictionary(entry_id: str, parameters: float) -> None:
    found = ENTRIES[entry_id].parameters
    assert found is not None
    assert found == pytest.approx(parameters, rel=0.01)


def test_memory_and_what_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    model, dictionary = ENTRIES["meta-llama/Llama-3.2-1B"], ENTRIES["mntss/transcoder-Llama-3.2-1B"]
    assert dictionary.memory_bytes() == 4 * (dictionary.parameters or 0) + (model.memory_bytes() or 0)
    assert model.memory_bytes() == pytest.approx(4 * 1235814400, rel=0.1)
    assert model.memory_bytes("bfloat16") == pytest.approx(2 * 1235814400, rel=0.2)
    both = dictionary.memory_bytes("bfloat16")
    assert both is not None
    assert both == 2 * (dictionary.parameters or 0) + (model.memory_bytes("bfloat16") or 0)
    monkeypatch.setattr(published, "total_bytes", lambda: both)
    assert (dictionary.fits("bfloat16"), dictionary.fits("float32"), model.fits("float32")) == (True, False, True)
    monkeypatch.setattr(published, "total_bytes", lambda: both - 1)
    assert dictionary.fits("bfloat16") is False
    assert ENTRIES["facebook/crv-8b-instruct-transcoders"].fits() is None
    assert ENTRIES["facebook/crv-8b-instruct-transcoders"].memory_bytes() is None
    assert ENTRIES["ByteDance-Seed/Cross-Layer-TopK-CLT"].fits() is None


def test_an_unfit_model_is_an_obstacle_of_its_dictionary() -> None:
    raw = copy.deepcopy(samples.RAW)
    raw["models"][0]["obstacle"] = "nobody can"
    entry = read_catalogue(raw)[samples.PLAIN]
    assert entry.obstacle == "its model, Tiny, cannot be opened: nobody can"
    assert read_catalogue(samples.RAW)[samples.PLAIN].obstacle is None


@pytest.mark.parametrize(
    "change",
    [
        lambda raw: raw.update(format=2),
        lambda raw: raw["models"].append(raw["models"][0]),
        lambda raw: raw["dictionaries"][0].update(model="nobody/knows"),
        lambda raw: raw["dictionaries"][0].update(format="unheard of"),
        lambda raw: raw["models"][0].pop("licence"),
    ],
)
def test_a_badly_made_catalogue_is_seen(change: Any) -> None:
    raw = copy.deepcopy(samples.RAW)
    change(raw)
    with pytest.raises((ValueError, KeyError)):
        read_catalogue(raw)


def test_an_entry_is_found_in_any_case() -> None:
    assert find_published("GOOGLE/gemma-2-2B").id == "google/gemma-2-2b"
    with pytest.raises(RequestError, match="circuit-loupe models"):
        find_published("google/gemma")


def test_what_is_here_and_what_is_only_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = samples.own_machine(tmp_path, monkeypatch)
    commit, layers = "ab" * 20, samples.layer_files()

    def entry() -> PublishedEntry:
        return next(one for one in published.published() if one.id == samples.PLAIN)

    assert entry().path is None
    snapshot = cache / "models--some--plt" / "snapshots" / commit
    snapshot.mkdir(parents=True)
    for name in ("config.yaml", "layer_0.safetensors"):
        (snapshot / name).write_bytes(layers[name])
    (snapshot.parent.parent / "refs").mkdir()
    (snapshot.parent.parent / "refs" / "main").write_text(commit)
    assert entry().path is None  # a layer is missing
    (snapshot / "layer_1.safetensors").write_bytes(layers["layer_1.safetensors"])
    assert entry().path == snapshot
    for ref in ("../../..", "main", "", "AB" * 20):
        (snapshot.parent.parent / "refs" / "main").write_text(ref)
        assert entry().path is None


def test_a_damaged_note_of_a_download_does_no_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    samples.own_machine(tmp_path, monkeypatch)
    path = published.state_file(published.find_published(samples.PLAIN))
    path.parent.mkdir(parents=True)
    for text in ("", "[]", "{", '{"a/b": 7}', '{"a/b": ["x"]}', "null"):
        path.write_text(text)
        assert published.find_published(samples.PLAIN).partial_bytes == 0


def test_the_catalogue_is_read_without_torch_and_without_what_speaks_to_networks() -> None:
    code = (
        "import sys; from engine.models.published import published; from engine.models import downloads;"
        "assert len(published()) > 50;"
        "sys.exit(' '.join({'torch', 'transformers', 'httpx2', 'PySide6'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=REPOSITORY, timeout=60)
    assert done.returncode == 0, done.stderr
