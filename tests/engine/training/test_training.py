"""A whole training of a tiny model: FVU falls, a kill loses nothing before the last checkpoint, it is read back."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from engine.dictionaries import load_features
from engine.dictionaries.transcoder_set import TranscoderFeatures
from engine.dictionaries.transcoders import Transcoder
from engine.errors import Cancelled, MachineError, RequestError
from engine.tracing.run import trace
from engine.tracing.spec import Prompt, TraceSpec
from engine.training import Measured, TrainSettings, plan, train
from engine.training import activations as activations_module
from engine.training.keeping import strongest
from engine.training.run import WORK_NAME
from tests.engine.training.tiny_training import SETTINGS, small_model, text_folder

IDS = (0, 5, 9, 13, 30, 22, 7, 18)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return text_folder(tmp_path_factory.mktemp("text"))


@pytest.fixture(scope="module")
def trained(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Measured]]:
    out = tmp_path_factory.mktemp("trained") / "set"
    return out, train(small_model(), SETTINGS, out, folder=folder)


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


def test_fvu_falls_and_l0_is_k(trained: tuple[Path, list[Measured]]) -> None:
    _, history = trained
    means = [mean(one["fvu"]) for one in history]
    assert means[-1] < 0.6 * means[0]
    assert means[-1] < 0.4
    assert sum(later < earlier for earlier, later in pairwise(means)) >= len(means) - 2
    assert abs(mean(history[-1]["l0"]) - SETTINGS.k) < 0.15 * SETTINGS.k
    assert [one["share"] for one in history] == sorted(one["share"] for one in history)
    assert history[-1]["share"] == 1
    assert history[-1]["positions"] > 2000


def test_our_loader_opens_it_and_a_trace_conserves(trained: tuple[Path, list[Measured]]) -> None:
    out, history = trained
    model = small_model()
    features = load_features(out, model, trust=True)
    assert isinstance(features, TranscoderFeatures)
    assert all(one is not None and one.threshold is not None for one in features.transcoders)
    result = trace(model, features, TraceSpec(Prompt(token_ids=IDS), max_nodes=40))
    assert result.report["conservation_error"] < 1e-5
    assert not (out / WORK_NAME).exists()
    assert history


@pytest.mark.parametrize("change", [{"cross_layer": True}, {"skip": False}], ids=["cross-layer", "no skip"])
def test_the_other_kinds_are_trained_and_traced(change: dict[str, bool], folder: Path, tmp_path: Path) -> None:
    model = small_model("gpt2")
    history = train(model, replace(SETTINGS, **change), tmp_path / "set", folder=folder)
    assert mean(history[-1]["fvu"]) < 0.75 * mean(history[0]["fvu"])
    features = load_features(tmp_path / "set", model, trust=True)
    assert isinstance(features, TranscoderFeatures)
    first = features.transcoders[0]
    assert first is not None and first.layers_written == (3 if "cross_layer" in change else 1)
    result = trace(model, features, TraceSpec(Prompt(token_ids=IDS), max_nodes=40))
    assert result.report["conservation_error"] < 1e-5


@pytest.mark.parametrize("storage", ["bfloat16", "int8", "int4"])
def test_a_smaller_storage_is_nearly_as_good(
    storage: str, trained: tuple[Path, list[Measured]], folder: Path, tmp_path: Path
) -> None:
    """Read back, 8 bits cost next to nothing and 4 bits little; both are read by rows too, with the same numbers."""
    model = small_model()
    train(model, replace(SETTINGS, storage=storage), tmp_path / "set", folder=folder)  # type: ignore[arg-type]
    exact, small = load_features(trained[0], model, trust=True), load_features(tmp_path / "set", model, trust=True)
    assert isinstance(exact, TranscoderFeatures) and isinstance(small, TranscoderFeatures)
    bound = {"bfloat16": 0.02, "int8": 0.02, "int4": 0.35}[storage]
    for one, other in zip(exact.transcoders, small.transcoders, strict=True):
        assert one is not None and other is not None
        if storage == "int4":  # trained as it is stored, so that only the kind of weights is alike
            assert other.w_enc.shape == one.w_enc.shape  # type: ignore[union-attr]
            continue
        a, b = torch.as_tensor(one.w_enc), torch.as_tensor(other.w_enc)
        assert float((a - b).norm() / a.norm()) < bound
    result = trace(model, small, TraceSpec(Prompt(token_ids=IDS), max_nodes=40))
    assert result.report["conservation_error"] < 1e-5


def test_a_killed_training_goes_on_from_its_checkpoint(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.training.run._CHECKPOINT_EVERY", 0.0)
    out, cancel, seen = tmp_path / "set", threading.Event(), list[Measured]()

    def stop_after_six(measured: Measured) -> None:
        seen.append(measured)
        if len(seen) == 6:
            cancel.set()

    with pytest.raises(Cancelled):
        train(small_model(), SETTINGS, out, folder=folder, on_round=stop_after_six, cancel=cancel)
    work = out / WORK_NAME
    assert [path.name for path in work.iterdir()] == ["checkpoint.safetensors"]
    assert not (out / "config.yaml").exists()
    with pytest.raises(RequestError, match="another width"):
        train(small_model(), replace(SETTINGS, width=48), out, folder=folder)
    # With other text what was held out would be trained on.
    with pytest.raises(RequestError, match="another text;"):
        train(small_model(), SETTINGS, out, folder=text_folder(tmp_path / "other", 4100))
    with pytest.raises(RequestError, match="another text, tokens;"):
        train(small_model(), replace(SETTINGS, tokens=2500), out, folder=folder)
    went_on: list[Measured] = []
    history = train(small_model(), SETTINGS, out, folder=folder, on_round=went_on.append)
    assert history[:6] == seen and history[6:] == went_on
    assert went_on[0]["steps"] > seen[-1]["steps"] and went_on[0]["positions"] > seen[-1]["positions"]
    assert mean(went_on[0]["fvu"]) < mean(seen[-1]["fvu"]) * 1.05
    assert mean(history[-1]["fvu"]) < 0.4
    assert not work.exists()


def test_a_damaged_checkpoint_is_said(folder: Path, tmp_path: Path) -> None:
    work = tmp_path / "set" / WORK_NAME
    work.mkdir(parents=True)
    (work / "checkpoint.safetensors").write_bytes(b"nothing of the kind")
    with pytest.raises(RequestError, match="is damaged; delete it"):
        train(small_model(), SETTINGS, tmp_path / "set", folder=folder)


def test_time_ends_a_training_with_its_whole_schedule(folder: Path, tmp_path: Path) -> None:
    """However little is read until then, the last part has been: there is a threshold."""
    settings = replace(SETTINGS, minutes=0.001)
    history = train(small_model(), settings, tmp_path / "set", folder=folder)
    assert len(history) < 5 and history[-1]["share"] == 1
    features = load_features(tmp_path / "set", small_model(), trust=True)
    assert isinstance(features, TranscoderFeatures)
    assert all(one is not None and one.threshold is not None for one in features.transcoders)


def test_bad_input_is_refused_in_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = small_model()
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(RequestError, match="no text"):
        train(model, SETTINGS, tmp_path / "set", folder=empty)
    with pytest.raises(RequestError, match="too few to train on"):
        train(model, SETTINGS, tmp_path / "set", folder=text_folder(tmp_path / "few", 12))
    with pytest.raises(RequestError, match="smaller than the width"):
        replace(SETTINGS, k=64)
    with pytest.raises(RequestError, match="too small for a batch"):
        plan(replace(SETTINGS, buffer_gb=1e-5), model.weights)
    with pytest.raises(MachineError, match="choose a smaller width"):
        train(model, replace(SETTINGS, width=1 << 33), tmp_path / "set", folder=empty)
    (tmp_path / "file").write_text("")
    with pytest.raises(MachineError, match="choose another folder"):
        train(model, SETTINGS, tmp_path / "file" / "set", folder=empty)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(activations_module.os, "posix_fallocate", full)
    with pytest.raises(MachineError, match="disk is full"):
        train(model, SETTINGS, tmp_path / "set", folder=text_folder(tmp_path / "text"))


def test_the_plan_bounds_what_is_held() -> None:
    """Parameters by counting, and the buffer's file by its shape."""
    weights = small_model().weights
    made = plan(SETTINGS, weights)
    d, n, layers = weights.d_model, SETTINGS.width, weights.n_layers
    assert made.parameters == layers * (2 * n * d + d * d + n + d)
    assert made.disk_bytes >= made.slot * SETTINGS.passes * layers * 2 * d * 2
    assert made.slot % SETTINGS.batch == 0
    crossing = plan(TrainSettings(width=n, k=4, cross_layer=True, skip=False), weights)
    assert crossing.parameters == layers * (n * d + n + d) + n * d * layers * (layers + 1) // 2


def test_features_that_write_least_are_left_out(
    trained: tuple[Path, list[Measured]], folder: Path, tmp_path: Path
) -> None:
    """Those kept are the trained ones, unchanged; what leaves is what costs least, and its mean stays."""
    model = small_model()
    train(model, replace(SETTINGS, keep=40), tmp_path / "set", folder=folder)
    whole, small = (load_features(path, model, trust=True) for path in (trained[0], tmp_path / "set"))
    assert isinstance(whole, TranscoderFeatures) and isinstance(small, TranscoderFeatures)
    card = (tmp_path / "set" / "README.md").read_text(encoding="utf-8")
    assert "40 features, of 64 that were trained those that write most" in card
    x = torch.randn(4000, model.weights.d_model, generator=torch.Generator().manual_seed(3))
    for one, other in zip(whole.transcoders, small.transcoders, strict=True):
        assert one is not None and other is not None
        before, after = torch.as_tensor(one.w_enc), torch.as_tensor(other.w_enc)
        rows = [int((before == row).all(1).nonzero()[0, 0]) for row in after]
        assert rows == sorted(set(rows)) and len(rows) == 40
        acts = one.activations(x)
        left = [number for number in range(64) if number not in rows]
        # Decoder rows have length 1: activations are what is written.
        assert acts[:, left].pow(2).sum() < acts[:, rows].pow(2).sum() * 24 / 40
    about = [json.loads((path / "metrics.json").read_text())["layers"] for path in (trained[0], tmp_path / "set")]
    for one, other in zip(*about, strict=True):
        assert one["fvu"] < other["fvu"] < one["fvu"] + 0.15


def test_what_is_kept_is_ranked_by_what_it_writes() -> None:
    """Against one activation at a time, for a layer by itself."""
    generator = torch.Generator().manual_seed(5)
    w_enc, w_dec = (torch.randn(6, 4, generator=generator) for _ in range(2))
    layer = Transcoder(w_enc, torch.zeros(6), w_dec, torch.ones(4), threshold=torch.full((6,), 0.5))
    x = torch.randn(50, 4, generator=generator)
    recorded: Any = SimpleNamespace(rows=lambda number, some: (x[some], x[some]), filled=50)
    size, mean_of = [0.0] * 6, torch.zeros(6, 4)
    for row in x:
        for number in range(6):
            value = float(row @ w_enc[number])
            value = value if value > 0.5 else 0.0
            size[number] += float((value * w_dec[number]).pow(2).sum())
            mean_of[number] += value * w_dec[number] / 50
    kept = sorted(sorted(range(6), key=lambda number: -size[number])[:3])
    (found,) = strongest([layer], recorded, 3)
    assert torch.equal(torch.as_tensor(found.w_enc), w_enc[kept])
    left = [number for number in range(6) if number not in kept]
    torch.testing.assert_close(found.b_dec, 1 + mean_of[left].sum(0))
