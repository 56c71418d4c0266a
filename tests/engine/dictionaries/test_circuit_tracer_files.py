"""Per-layer transcoders in circuit-tracer's layout: read exactly, refused clearly, never trusted blindly."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import save_file

from engine.dictionaries import load_features
from engine.dictionaries.circuit_tracer_files import read as read_folder
from engine.dictionaries.transcoder_set import TranscoderFeatures
from engine.dictionaries.transcoders import Transcoder
from engine.errors import RequestError
from engine.progress import silent
from tests.engine.tracing.tiny_models import TinyModel, tiny_model

WIDTH = 30


def write_set(
    folder: Path, layers: int = 3, d: int = 24, config: dict[str, object] | None = None, **extra: torch.Tensor
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    generator = torch.Generator().manual_seed(1)
    for layer in range(layers):
        tensors = {
            "W_enc": torch.randn(WIDTH, d, generator=generator),
            "b_enc": torch.randn(WIDTH, generator=generator),
            "W_dec": torch.randn(WIDTH, d, generator=generator),
            "b_dec": torch.randn(d, generator=generator),
            **extra,
        }
        save_file(tensors, folder / f"layer_{layer}.safetensors")
    full = {"model_kind": "transcoder_set", "model_name": "some/model", **(config or {})}
    (folder / "config.yaml").write_text(yaml.safe_dump(full))
    return folder


def output(transcoder: Transcoder, x: torch.Tensor) -> torch.Tensor:
    """What a per-layer transcoder gives for inputs (T, d)."""
    assert isinstance(transcoder.w_dec, torch.Tensor)
    written = transcoder.activations(x) @ transcoder.w_dec + transcoder.b_dec
    return written if transcoder.w_skip is None else written + x @ transcoder.w_skip.T


def read(folder: Path) -> TranscoderFeatures:
    return read_folder(folder, tiny_model("llama").weights, silent, None)


def test_relu_and_hooks(tmp_path: Path) -> None:
    config = {"feature_input_hook": "ln2.hook_normalized", "feature_output_hook": "mlp.hook_out"}
    first = read(write_set(tmp_path / "a", config=config)).transcoders[0]
    assert first is not None
    assert (first.reads, first.writes) == ("normalised", "mlp_output")
    x = torch.randn(5, 24, dtype=torch.float64)
    pre = x @ first.w_enc.T + first.b_enc
    assert torch.allclose(output(first, x), pre.relu() @ first.w_dec + first.b_dec)


def test_jumprelu_keeps_only_what_is_strictly_above(tmp_path: Path) -> None:
    folder = write_set(tmp_path, **{"activation_function.threshold": torch.full((WIDTH,), 0.7)})
    first = read(folder).transcoders[0]
    assert first is not None
    pre = torch.tensor([[0.7, 0.70001, 0.5] + [0.0] * (WIDTH - 3)], dtype=torch.float64)
    threshold = first.threshold
    assert threshold is not None
    pre[0, 0] = threshold[0]
    assert first.gate(pre)[0, :3].tolist() == [False, True, False]


def test_topk_from_the_config(tmp_path: Path) -> None:
    first = read(write_set(tmp_path, config={"activation": "topk", "k": 4})).transcoders[0]
    assert first is not None
    pre = torch.randn(50, WIDTH, dtype=torch.float64)
    gate = first.gate(pre)
    assert gate.sum(-1).max() == 4
    assert (pre[gate] > 0).all(), "a negative value among the k largest is no activation"


def test_affine_skip(tmp_path: Path) -> None:
    skip = torch.randn(24, 24)
    first = read(write_set(tmp_path, W_skip=skip)).transcoders[0]
    assert first is not None
    x = torch.randn(5, 24, dtype=torch.float64)
    bare = torch.where(first.gate(x @ first.w_enc.T + first.b_enc), x @ first.w_enc.T + first.b_enc, 0)
    assert torch.allclose(output(first, x), bare @ first.w_dec + first.b_dec + x @ skip.double().T)


def test_a_missing_layer_is_an_error_node(tmp_path: Path) -> None:
    folder = write_set(tmp_path)
    (folder / "layer_1.safetensors").unlink()
    assert [one is None for one in read(folder).transcoders] == [False, True, False]


def test_the_fingerprint_follows_the_weights(tmp_path: Path) -> None:
    first = read(write_set(tmp_path / "a")).fingerprint
    assert read(write_set(tmp_path / "b")).fingerprint == first
    assert read(write_set(tmp_path / "c", b_dec=torch.zeros(24))).fingerprint != first


@pytest.mark.parametrize(
    ("kwargs", "says"),
    [
        ({"d": 25}, "some/model"),
        ({"layers": 4}, "layer 3"),
        ({"config": {"model_kind": "cross_layer_transcoder"}}, "model_kind|calls it"),
        ({"config": {"feature_input_hook": "hook_nowhere"}}, "hook_nowhere"),
        ({"config": {"activation": "topk"}}, "k"),
        ({"b_enc": torch.zeros(WIDTH, 2)}, "b_enc|W_enc"),
        ({"threshold": torch.zeros(7)}, "threshold"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, kwargs: dict[str, object], says: str) -> None:
    with pytest.raises(RequestError, match=says):
        read(write_set(tmp_path, **kwargs))  # type: ignore[arg-type]


def test_damaged_and_hostile_files(tmp_path: Path) -> None:
    folder = write_set(tmp_path)
    whole = (folder / "layer_0.safetensors").read_bytes()
    for damage in (b"", whole[:40], whole[:-10], b"\xff" * 64, (1 << 62).to_bytes(8, "little") + whole[8:]):
        (folder / "layer_0.safetensors").write_bytes(damage)
        with pytest.raises(RequestError, match="damaged"):
            read(folder)
    (folder / "layer_0.safetensors").write_bytes(whole)
    (folder / "config.yaml").write_text("!!python/object/apply:os.system ['true']")
    with pytest.raises(RequestError, match="YAML"):
        read(folder)
    (folder / "config.yaml").write_text("- a list")
    with pytest.raises(RequestError, match="config"):
        read(folder)


def test_a_downloaded_dictionary_opens_by_its_id(
    tmp_path: Path, reading_model: TinyModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    from engine.models import published

    folder = Fidelity.fitted(reading_model, tmp_path / "set", "mlp.hook_in")
    monkeypatch.setattr(published, "downloaded_dictionary", {"some/set": folder}.get)
    assert load_features("some/set", reading_model).name == "set"  # type: ignore[arg-type]
    with pytest.raises(RequestError, match="no dictionary at other/set"):
        load_features("other/set", reading_model)  # type: ignore[arg-type]


def test_wrong_places(tmp_path: Path) -> None:
    model = tiny_model("llama")
    with pytest.raises(RequestError, match="no dictionary at"):
        load_features(tmp_path / "absent", model)  # type: ignore[arg-type]
    with pytest.raises(RequestError, match="no dictionary that is known"):
        load_features(tmp_path, model)  # type: ignore[arg-type]


class Fidelity:
    """A transcoder that reproduces the MLP by ridge regression of a skip: FVU well below 1 when hooked rightly."""

    @staticmethod
    def fitted(model: TinyModel, folder: Path, reads: str) -> Path:
        from engine.dictionaries.fidelity import built_in_recording
        from engine.dictionaries.transcoders import site_input, site_output

        recording = built_in_recording(model)  # type: ignore[arg-type]
        folder.mkdir()
        for layer, record in enumerate(recording.layers):
            x = site_input(record, model.weights.layers[layer].mlp_gain, "mlp_input")
            y = site_output(record, "branch_output")
            centred = x - x.mean(0)
            skip = torch.linalg.lstsq(centred, y - y.mean(0)).solution.T
            tensors = {
                "W_enc": torch.zeros(2, 24),
                "b_enc": torch.zeros(2),
                "W_dec": torch.zeros(2, 24),
                "b_dec": (y.mean(0) - x.mean(0) @ skip.T).float(),
                "W_skip": skip.float().contiguous(),
            }
            save_file(tensors, folder / f"layer_{layer}.safetensors")
        (folder / "config.yaml").write_text(yaml.safe_dump({"feature_input_hook": reads}))
        return folder


@pytest.fixture
def reading_model(monkeypatch: pytest.MonkeyPatch) -> TinyModel:
    """The tiny model with a tokenizer that can read the built-in text: a byte is a token."""
    model = tiny_model("llama")
    encode = lambda prompt: [0, *(2 + byte % 37 for byte in prompt.text.encode()[:600])]  # noqa: E731
    monkeypatch.setattr(model.tokenizer, "encode", encode, raising=False)
    return model


def test_a_dictionary_that_fits_is_opened(tmp_path: Path, reading_model: TinyModel) -> None:
    folder = Fidelity.fitted(reading_model, tmp_path / "set", "mlp.hook_in")
    assert load_features(folder, reading_model).kind == "transcoders"  # type: ignore[arg-type]


def test_a_wrong_hook_is_refused_and_the_right_one_named(tmp_path: Path, reading_model: TinyModel) -> None:
    folder = Fidelity.fitted(reading_model, tmp_path / "set", "hook_resid_mid")
    with pytest.raises(RequestError, match=r"mlp\.hook_in"):
        load_features(folder, reading_model)  # type: ignore[arg-type]
    assert load_features(folder, reading_model, trust=True).kind == "transcoders"  # type: ignore[arg-type]


def test_random_weights_are_refused(tmp_path: Path, reading_model: TinyModel) -> None:
    with pytest.raises(RequestError, match="worse than a constant"):
        load_features(write_set(tmp_path), reading_model)  # type: ignore[arg-type]


def test_the_built_in_text_is_long_enough(smollm: object) -> None:
    from engine.dictionaries.fidelity import built_in_recording

    recording = built_in_recording(smollm)  # type: ignore[arg-type]
    assert recording.n_positions - recording.first_position >= 500
