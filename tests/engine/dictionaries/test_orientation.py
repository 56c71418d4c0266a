"""Which way round a tensor lies: found from its shape, and where the shape cannot tell, from the fit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from engine.dictionaries import formats, load_features
from engine.dictionaries.fidelity import Reconstructions, built_in_recording
from engine.dictionaries.transcoders import site_input, site_output
from engine.errors import RequestError
from engine.progress import silent
from tests.engine.dictionaries.layout import save
from tests.engine.dictionaries.layouts import LAYOUTS
from tests.engine.dictionaries.test_layouts import read
from tests.engine.tracing.tiny_models import TinyModel, tiny_model

D = 24


@pytest.mark.parametrize("name", ["W_enc", "W_dec"])
def test_a_tensor_stored_the_other_way_round_is_turned(tmp_path: Path, name: str) -> None:
    layout = next(one for one in LAYOUTS if one.name == "circuit-tracer")
    before = read(layout, layout.write(tmp_path / "a").path)
    path = layout.write(tmp_path / "b").path
    for file in path.glob("*.safetensors"):
        tensors = load_file(file)
        save_file({**tensors, name: tensors[name].T.contiguous()}, file)
    after = read(layout, path)
    for one, other in zip(before.transcoders, after.transcoders, strict=True):
        assert one is not None
        assert other is not None
        assert torch.equal(torch.as_tensor(one.w_enc), torch.as_tensor(other.w_enc))  # type: ignore[arg-type]
        assert torch.equal(torch.as_tensor(one.w_dec), torch.as_tensor(other.w_dec))  # type: ignore[arg-type]


@pytest.fixture
def reading_model(monkeypatch: pytest.MonkeyPatch) -> TinyModel:
    """The tiny model with a tokenizer that can read the built-in text: a byte is a token."""
    model = tiny_model("llama")
    encode = lambda prompt: [0, *(2 + byte % 37 for byte in prompt.text.encode()[:600])]  # noqa: E731
    monkeypatch.setattr(model.tokenizer, "encode", encode, raising=False)
    return model


def fitted(model: TinyModel, folder: Path, turn: Callable[[dict[str, Tensor]], dict[str, Tensor]]) -> Path:
    """A square dictionary (n = d) that describes the model well: features and a skip that together fit each MLP.

    The features split W x into n rectified halves: ReLU(W x) of an encoder W = M, decoded by its inverse, with the
    other half in the skip.
    """
    recording = built_in_recording(model)  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(0)
    for layer, one in enumerate(recording.layers):
        x = site_input(one, model.weights.layers[layer].mlp_gain, "mlp_input")
        y = site_output(one, "branch_output")
        w_enc = torch.randn(D, D, generator=generator, dtype=torch.float64)
        active = (x @ w_enc.T).relu()
        known = torch.cat([active, x, torch.ones(len(x), 1, dtype=torch.float64)], dim=1)
        solution = torch.linalg.lstsq(known, y).solution
        tensors = {
            "W_enc": w_enc,
            "b_enc": torch.zeros(D, dtype=torch.float64),
            "W_dec": solution[:D],
            "W_skip": solution[D : 2 * D].T,
            "b_dec": solution[-1],
        }
        save(turn(tensors), folder / f"layer_{layer}.safetensors")
    return folder


@pytest.mark.parametrize(
    ("tensor", "says"),
    [("W_enc", "encoder transposed"), ("W_dec", "decoder transposed"), ("W_skip", "skip connection transposed")],
)
def test_a_square_tensor_the_wrong_way_round_is_named(
    tmp_path: Path, reading_model: TinyModel, tensor: str, says: str
) -> None:
    right = fitted(reading_model, tmp_path / "right", lambda tensors: tensors)
    load_features(right, reading_model)  # type: ignore[arg-type]
    wrong = fitted(reading_model, tmp_path / "wrong", lambda tensors: {**tensors, tensor: tensors[tensor].T})
    features = formats()["circuit-tracer"].read(wrong, reading_model.weights, silent, None)
    recording = built_in_recording(reading_model)  # type: ignore[arg-type]
    assert Reconstructions(features, recording).unexplained(0) > 1
    with pytest.raises(RequestError, match=f"With its {says} it would fit"):
        load_features(wrong, reading_model)  # type: ignore[arg-type]


def test_hook_and_orientation_are_found_together(tmp_path: Path, reading_model: TinyModel) -> None:
    wrong = fitted(reading_model, tmp_path, lambda tensors: {**tensors, "W_enc": tensors["W_enc"].T})
    (wrong / "config.yaml").write_text("feature_input_hook: hook_resid_mid\n")
    with pytest.raises(RequestError, match=r"encoder transposed and hooks mlp\.hook_in and .* it would fit"):
        load_features(wrong, reading_model)  # type: ignore[arg-type]
