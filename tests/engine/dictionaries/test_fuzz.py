"""Whatever bytes a file holds, a reader gives a dictionary of finite numbers or one sentence, and nothing else.

FUZZ_EXAMPLES sets how many files are tried for each layout; the suite tries a few, a person some ten thousand.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.dictionaries import formats
from engine.dictionaries.layer_files import weight_files
from engine.dictionaries.matrices import in_memory
from engine.errors import LoupeError
from engine.progress import silent
from tests.engine.dictionaries.layout import Layout
from tests.engine.dictionaries.layouts import LAYOUTS
from tests.engine.tracing.tiny_models import tiny_model

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "12"))
QUICKLY = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=EXAMPLES < 100,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
NAMES = [
    "circuit-tracer",
    "ct-cross-skip",
    "gemma-scope",
    "gemma-scope-compressed",
    "gemma-scope-2-cross",
    "saelens-jump-skip",
    "clt-training",
    "clt-training-concat",
    "clt-training-joined",
    "clt-training-batch",
    "sparsify-groups",
    "crosslayer-none-mean_std",
    "crosslayer-per_source-sqrt_d_model",
]
EACH = pytest.mark.parametrize("layout", [one for one in LAYOUTS if one.name in NAMES], ids=lambda one: one.name)


@pytest.fixture
def folder(layout: Layout) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield layout.write(Path(name) / "layers").path


def attempt(path: Path) -> None:
    """Open it as the program does, and run what it gives."""
    weights = tiny_model("llama").weights
    try:
        for reader in formats().values():
            if reader.matches(path):
                features = reader.read(path, weights, silent, None)
                x = torch.ones(2, weights.d_model, dtype=torch.float64)
                for one in features.transcoders:
                    if one is not None:
                        assert one.activations(x).shape == (2, one.width)
                        assert torch.isfinite(in_memory(one.w_dec)).all()
    except LoupeError as error:
        said = error.sentence
    else:
        return
    assert said.endswith(".")
    assert "\n" not in said


def scrambled(data: st.DataObject, whole: bytes) -> bytes:
    """A file with bytes changed, taken out or put in: at its ends, where formats say what they hold, or anywhere."""
    length = len(whole)
    near_start, near_end = st.integers(0, min(900, length)), st.integers(max(0, length - 900), length)
    raw = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 4), "edits")):
        at = min(data.draw(st.one_of(near_start, near_end, st.integers(0, length)), "at"), len(raw))
        how = data.draw(st.sampled_from(["set", "insert", "cut", "truncate"]), "how")
        some = data.draw(st.binary(min_size=1, max_size=9), "bytes")
        if how == "set":
            raw[at : at + len(some)] = some
        elif how == "insert":
            raw[at:at] = some
        elif how == "cut":
            del raw[at : at + data.draw(st.integers(1, 64), "length")]
        else:
            del raw[at:]
    return bytes(raw)


@EACH
@given(data=st.data())
@QUICKLY
def test_scrambled_weights(layout: Layout, folder: Path, data: st.DataObject) -> None:
    file = data.draw(st.sampled_from(weight_files(folder)), "file")
    whole = file.read_bytes()
    file.write_bytes(scrambled(data, whole))
    try:
        attempt(folder)
    finally:
        file.write_bytes(whole)


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(
        ["topk", "relu", "mean_std", "concat", "per_target", "layers.0.mlp", "blocks.1.hook_mlp_in", "2"]
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@EACH
@given(data=st.data())
@QUICKLY
def test_scrambled_settings(layout: Layout, folder: Path, data: st.DataObject) -> None:
    files = sorted(one for one in folder.rglob("*") if one.suffix in (".json", ".yaml"))
    # A file that the layout may have, where it wrote none.
    file = data.draw(st.sampled_from(files or [folder / "config.yaml"]), "file")
    whole = file.read_bytes() if file.exists() else b"{}"
    if data.draw(st.booleans(), "bytes"):
        file.write_bytes(scrambled(data, whole))
    else:
        known = json.loads(whole) if file.suffix == ".json" else {"activation": "topk", "k": 2, "transcoders": []}
        keys = st.sampled_from([*known, "model_kind", "feature_input_hook", "k", "model_name"])
        changed = data.draw(st.dictionaries(keys, VALUES, min_size=1, max_size=3), "changed")
        file.write_text(json.dumps({**known, **changed}))
    try:
        attempt(folder)
    finally:
        file.write_bytes(whole)


@pytest.mark.parametrize(
    "layout", [one for one in LAYOUTS if one.name in NAMES and one.format != "Gemma Scope"], ids=lambda one: one.name
)
@given(data=st.data())
@QUICKLY
def test_scrambled_tensor_tables(layout: Layout, folder: Path, data: st.DataObject) -> None:
    """safetensors headers that are whole JSON and say something else."""
    file = data.draw(st.sampled_from(weight_files(folder, ".safetensors")), "file")
    whole = file.read_bytes()
    length = int.from_bytes(whole[:8], "little")
    header = json.loads(whole[8 : 8 + length])
    sizes = st.integers(-2, 40) | st.sampled_from([0, 24, 30, 2**40, 2**63]) | VALUES
    for name in data.draw(st.lists(st.sampled_from([*header]), min_size=1, max_size=2), "names"):
        entry = header[name] if isinstance(header[name], dict) else {}
        field = data.draw(st.sampled_from(["dtype", "shape", "data_offsets", "all"]), "field")
        new = data.draw(st.lists(sizes, max_size=4) | st.sampled_from(["F16", "BF16", "I8", "F8_E5M2"]) | VALUES, "new")
        header[name] = new if field == "all" else {**entry, field: new}
    text = json.dumps(header).encode()
    file.write_bytes(len(text).to_bytes(8, "little") + text + whole[8 + length :])
    try:
        attempt(folder)
    finally:
        file.write_bytes(whole)


def test_the_fuzzers_folder_is_left_whole(tmp_path: Path) -> None:
    """What the fuzzers start from is read: else every example would be refused for the same reason."""
    for layout in LAYOUTS:
        if layout.name in NAMES:
            here = tmp_path / layout.name
            path = layout.write(here / "layers").path
            assert formats()[layout.format].read(path, tiny_model("llama").weights, silent, None)
            shutil.rmtree(here)
