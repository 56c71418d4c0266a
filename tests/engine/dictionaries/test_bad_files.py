"""Damaged, foreign and hostile files of every layout: one sentence naming the file or key, nothing unpacked before."""

from __future__ import annotations

import io
import json
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from engine.dictionaries import formats, load_features
from engine.dictionaries.layer_files import weight_files
from engine.dictionaries.matrices import in_memory
from engine.dictionaries.npz_files import open_npz
from engine.dictionaries.settings_files import read_json, read_yaml
from engine.dictionaries.tensor_headers import read_header
from engine.errors import RequestError
from tests.engine.dictionaries.layout import Layout
from tests.engine.dictionaries.layouts import LAYOUTS
from tests.engine.dictionaries.test_layouts import read
from tests.engine.tracing.tiny_models import tiny_model

Change = Callable[[Tensor], Tensor]
EACH = pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
# Tensors without which a set is another one, but whole.
MAY_BE_MISSING = ("activation_function.threshold", "threshold_", "W_skip_", "post_enc", "affine_skip_connection")
# Skips into a later layer: what is not there carries nothing.
NO_SKIPS = tuple(f"decoder_module.skip_weights.{pair}" for pair in ("0->1", "0->2", "1->2"))


def tensors_of(file: Path) -> dict[str, Tensor]:
    if file.suffix == ".npz":
        return {name: torch.from_numpy(array) for name, array in np.load(file).items()}
    return load_file(file)


def rewrite(file: Path, tensors: dict[str, Tensor]) -> None:
    if file.suffix == ".npz":
        np.savez(file, **{name: tensor.numpy() for name, tensor in tensors.items()})
    else:
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, file)


def poisoned(value: float) -> Change:
    def change(tensor: Tensor) -> Tensor:
        tensor = tensor.contiguous().clone()
        tensor.view(-1)[-1] = value
        return tensor

    return change


BAD: dict[str, Change] = {
    "nan": poisoned(float("nan")),
    "infinity": poisoned(float("-inf")),
    "integers": lambda tensor: tensor.to(torch.int64),
    "one more": lambda tensor: torch.cat([tensor, tensor[:1]]),
    "one axis more": lambda tensor: tensor[None],
    "empty": lambda tensor: tensor[:0],
}


@EACH
@pytest.mark.parametrize("how", BAD)
def test_a_bad_tensor_is_refused_by_name(layout: Layout, how: str, tmp_path: Path) -> None:
    path = layout.write(tmp_path).path
    for file in weight_files(path)[:2]:
        kept = file.read_bytes()
        for name, tensor in tensors_of(file).items():
            if how == "one axis more" and "threshold" in name:
                continue  # some files keep thresholds as (1, n)
            rewrite(file, {**tensors_of(file), name: BAD[how](tensor)})
            with pytest.raises(RequestError) as caught:
                read(layout, path)
            # Where a bias gives the number of features, the matrices are what then does not fit.
            assert file.name in caught.value.sentence or path.name in caught.value.sentence, caught.value.sentence
            file.write_bytes(kept)


@EACH
def test_a_missing_tensor_is_refused_by_name(layout: Layout, tmp_path: Path) -> None:
    path = layout.write(tmp_path).path
    file = weight_files(path)[0]
    kept = file.read_bytes()
    for name in tensors_of(file):
        if name.startswith(MAY_BE_MISSING) or name in NO_SKIPS or (layout.name, name) == ("circuit-tracer", "W_skip"):
            continue
        rewrite(file, {other: tensor for other, tensor in tensors_of(file).items() if other != name})
        with pytest.raises(RequestError, match=r"lacks|needs"):
            read(layout, path)
        file.write_bytes(kept)


@EACH
def test_a_file_cut_short_is_refused(layout: Layout, tmp_path: Path) -> None:
    path = layout.write(tmp_path).path
    file = weight_files(path)[0]
    whole = file.read_bytes()
    for length in (0, 4, 40, len(whole) // 2, len(whole) - 1):
        file.write_bytes(whole[:length])
        with pytest.raises(RequestError, match=file.name):
            read(layout, path)


@EACH
def test_another_models_dictionary_is_refused(layout: Layout, tmp_path: Path) -> None:
    """Files of a model half as wide: every tensor whose axis is the width is cut."""
    path = layout.write(tmp_path).path
    for file in weight_files(path):
        halved = {}
        for name, tensor in tensors_of(file).items():
            for axis, size in enumerate(tensor.shape):
                tensor = tensor.narrow(axis, 0, 12) if size == 24 else tensor
            halved[name] = tensor
        rewrite(file, halved)
    with pytest.raises(RequestError, match="this model needs"):
        read(layout, path)


@pytest.mark.parametrize("name", ["ct-cross-relu", "gemma-scope-2-cross", "clt-training"])
def test_a_cross_layer_set_without_a_layer_is_refused(name: str, tmp_path: Path) -> None:
    layout = next(one for one in LAYOUTS if one.name == name)
    path = layout.write(tmp_path).path
    for file in weight_files(path):
        if "1" in file.relative_to(path).as_posix():
            file.unlink()
    with pytest.raises(RequestError, match="every layer"):
        read(layout, path)


def test_a_cross_layer_decoder_with_too_many_layers_is_refused(tmp_path: Path) -> None:
    layout = next(one for one in LAYOUTS if one.name == "ct-cross-relu")
    path = layout.write(tmp_path).path
    save_file({"W_dec_1": torch.zeros(30, 3, 24)}, path / "W_dec_1.safetensors")
    with pytest.raises(RequestError, match=r"W_dec_1.*\(30, 3, 24\).*\(30, 2, 24\)"):
        read(layout, path)


@EACH
def test_settings_that_say_nonsense(layout: Layout, tmp_path: Path) -> None:
    path = layout.write(tmp_path).path
    for file in (one for one in path.rglob("*") if one.suffix in (".json", ".yaml")):
        kept = file.read_bytes()
        for nonsense in (b"", b"[]", b"\xff\xfe", b"{", b"[" * 200_000, b'{"a": ' + b"9" * 5000 + b"}", b"x" * 2**21):
            file.write_bytes(nonsense)
            if file.suffix == ".yaml" and nonsense == b"":
                continue  # an empty YAML file says nothing, and that is allowed
            with pytest.raises(RequestError, match=file.name):
                read(layout, path)
        file.write_bytes(kept)


def edit(path: Path, name: str, **settings: object) -> None:
    file = next(iter(sorted(path.rglob(name))))
    file.write_text(json.dumps({**json.loads(file.read_text()), **settings}))


@pytest.mark.parametrize(
    ("name", "file", "settings", "says"),
    [
        ("saelens", "cfg.json", {"architecture": "gated"}, "architecture"),
        ("saelens", "cfg.json", {"normalize_activations": "layer_norm"}, "normalize_activations"),
        ("saelens", "cfg.json", {"normalize_activations": "expected_average_only_in"}, "scaling factor"),
        ("saelens", "cfg.json", {"apply_b_dec_to_input": True}, "apply_b_dec_to_input"),
        ("saelens", "cfg.json", {"activation_fn": "tanh-relu"}, "activation_fn"),
        ("saelens", "cfg.json", {"metadata": {"hook_name": "blocks.0.attn.hook_z"}}, "hook_name"),
        ("saelens", "cfg.json", {"metadata": {"hook_name": "blocks.7.hook_mlp_in"}}, "layer 7"),
        ("saelens", "cfg.json", {"metadata": {"hook_name": "blocks.1.hook_mlp_in"}}, "more than one"),
        ("saelens", "cfg.json", {"metadata": 3}, "metadata"),
        ("sparsify", "cfg.json", {"transcode": False}, "transcode"),
        ("sparsify", "cfg.json", {"activation": "relu"}, "activation"),
        ("sparsify", "cfg.json", {"activation": "groupmax"}, "k of .* does not divide"),
        ("sparsify", "cfg.json", {"k": 0}, "k of"),
        ("sparsify", "cfg.json", {"k": True}, "k of"),
        ("sparsify", "cfg.json", {"k": 1e400}, "k of"),
        ("sparsify", "cfg.json", {"normalize_io": True}, "in_norm"),
        ("sparsify", "cfg.json", {"skip_connection": True}, "W_skip"),
        ("clt-training-concat", "cfg.json", {"topk_coalesced": True}, "topk_coalesced"),
        ("clt-training-concat", "cfg.json", {"coalesce_topk": "group"}, "coalesce_topk"),
        ("clt-training-concat", "cfg.json", {"secondary_target_tied": True}, "secondary_target_tied"),
        ("clt-training-joined", "cfg.json", {"n_sources": 2}, "W_dec of"),
        ("clt-training-joined", "cfg.json", {"n_sources": -1}, "n_sources"),
        ("clt-training", "config.json", {"hookpoints_in": ["layers.0.self_attn"]}, "hookpoints_in"),
        ("crosslayer-none-none", "cfg.json", {"activation_fn": "batchtopk"}, "activation_fn"),
        ("crosslayer-none-none", "cfg.json", {"decoder_tying": "all"}, "decoder_tying"),
        ("crosslayer-none-none", "cfg.json", {"num_layers": 12}, "12 layers"),
        ("crosslayer-none-none", "cfg.json", {"normalization_method": "mean_std"}, "norm_stats.json"),
        ("crosslayer-none-none", "cfg.json", {"normalization_method": "quantile"}, "normalization_method"),
        ("crosslayer-none-none", "cfg.json", {"mlp_input_template": "h.{}.attn"}, "mlp_input_template"),
        ("crosslayer-none-mean_std", "norm_stats.json", {"1": {}}, "std of .*norm_stats"),
        ("crosslayer-none-mean_std", "norm_stats.json", {"1": {"inputs": {"std": [float("nan")] * 24}}}, "finite"),
        ("crosslayer-none-mean_std", "norm_stats.json", {"1": {"inputs": {"std": [-1] * 24}}}, "not positive"),
        ("gemma-scope-2", "config.json", {"hf_hook_point_in": "model.layers.0.self_attn.output"}, "hf_hook_point_in"),
    ],
)
def test_what_cannot_be_folded_is_refused_by_key(
    name: str, file: str, settings: dict[str, object], says: str, tmp_path: Path
) -> None:
    layout = next(one for one in LAYOUTS if one.name == name)
    path = layout.write(tmp_path).path
    edit(path, file, **settings)
    with pytest.raises(RequestError, match=says):
        read(layout, path)


def test_a_joined_decoder_has_rows_for_every_layer_that_reaches_it(tmp_path: Path) -> None:
    layout = next(one for one in LAYOUTS if one.name == "clt-training-joined")
    path = layout.write(tmp_path).path
    edit(path / "layers.2.mlp", "cfg.json", n_sources=2)
    file = path / "layers.2.mlp" / "sae.safetensors"
    tensors = tensors_of(file)
    rewrite(file, {**tensors, "W_dec": tensors["W_dec"][:60].contiguous()})
    with pytest.raises(RequestError, match="n_sources of .* for 3 layers of 30 features"):
        read(layout, path)


@pytest.mark.parametrize(
    ("name", "tensor"),
    [
        ("clt-training", "W_decs.1"),
        ("clt-training-concat", "W_dec"),
        ("clt-training", "b_decs.0"),
        ("crosslayer-per_source-sqrt_d_model", "encoder_module.encoders.0.weight"),
        ("crosslayer-none-mean_std", "decoder_module.decoders.0->0.weight"),
    ],
)
def test_weights_that_scales_make_infinite_are_refused(name: str, tensor: str, tmp_path: Path) -> None:
    layout = next(one for one in LAYOUTS if one.name == name)
    path = layout.write(tmp_path).path
    file = weight_files(path)[0]
    tensors = tensors_of(file)
    scales = [key for key in tensors if "scale" in key or "out_norm" in key]
    huge = {key: torch.full_like(tensors[key], 1e10) for key in scales}
    rewrite(file, {**tensors, **huge, tensor: torch.full_like(tensors[tensor], 1.7e308)})
    with pytest.raises(RequestError, match=r"not finite"):
        [(in_memory(one.w_enc), in_memory(one.w_dec)) for one in read(layout, path).transcoders if one is not None]


def test_a_compressed_array_whose_bytes_are_damaged_is_refused(tmp_path: Path) -> None:
    layout = next(one for one in LAYOUTS if one.name == "gemma-scope-compressed")
    path = layout.write(tmp_path).path
    file = weight_files(path)[1]
    raw = bytearray(file.read_bytes())
    raw[2000:2040] = bytes(40)
    file.write_bytes(raw)
    with pytest.raises(RequestError, match=r"layer_1/.*params\.npz"):
        read(layout, path)


@pytest.mark.parametrize("name", ["clt-training", "crosslayer-none-none"])
def test_a_skip_into_a_later_layer_is_refused_by_key(name: str, tmp_path: Path) -> None:
    layout = next(one for one in LAYOUTS if one.name == name)
    path = layout.write(tmp_path).path
    file = weight_files(path)[0]
    if name == "clt-training":
        edit(path, "cfg.json", skip_connection=True)
        added = {f"W_skips.{i}": torch.randn(24, 24, dtype=torch.float64) for i in range(3)}
    else:
        added = {"decoder_module.skip_weights.0->2": torch.randn(24, 24, dtype=torch.float64)}
    rewrite(file, {**tensors_of(file), **added})
    with pytest.raises(RequestError, match=next(iter(added)) if len(added) == 1 else r"W_skips\.1"):
        read(layout, path)


def npz_with(folder: Path, member: str, data: bytes, compression: int = zipfile.ZIP_STORED) -> Path:
    file = folder / "layer_0" / "params.npz"
    file.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(file, "w", compression) as archive:
        archive.writestr(member, data)
    return file


def npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=True)
    return stream.getvalue()


class RunsCode:
    def __reduce__(self) -> tuple[object, ...]:
        return (pytest.fail, ("a pickle was loaded",))


def test_pickled_objects_are_never_loaded(tmp_path: Path) -> None:
    file = npz_with(tmp_path, "W_enc.npy", npy(np.array([RunsCode()], dtype=object)))
    with pytest.raises(RequestError, match=r"W_enc of .*params\.npz holds pickled objects"):
        open_npz(file)


def test_an_array_that_is_not_as_long_as_it_says_is_refused(tmp_path: Path) -> None:
    good = npy(np.zeros((3, 4)))
    for data in (good[:-8], good + b"\0", good[:20], good.replace(b"(3, 4)", b"(9, 9)"), b"", b"\x93NUMPY\x09\x00"):
        with pytest.raises(RequestError, match=r"params\.npz is damaged"):
            open_npz(npz_with(tmp_path, "W_enc.npy", data))


@pytest.mark.parametrize("dtype", ["i8", ">f4", "c8", "S4", "f4,f4"])
def test_foreign_numbers_are_refused(dtype: str, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="W_enc of .*params"):
        open_npz(npz_with(tmp_path, "W_enc.npy", npy(np.zeros(3, dtype=dtype))))


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    header = npy(np.zeros((1, 4)))[:128].replace(b"(1, 4), }", b"(8000000, 4), }"[:9].ljust(9))
    big = header + bytes(64 << 20)
    file = npz_with(tmp_path, "W_enc.npy", big, zipfile.ZIP_DEFLATED)
    del big
    tracemalloc.start()
    with pytest.raises(RequestError, match=r"W_enc of .*params\.npz would unpack to \d+ times its size"):
        open_npz(file)
    assert tracemalloc.get_traced_memory()[1] < 2_000_000
    tracemalloc.stop()


def test_a_size_that_the_archive_lies_about_is_refused(tmp_path: Path) -> None:
    """A compressed array that says it is small and goes on: no more than it said is ever read."""
    layout = next(one for one in LAYOUTS if one.name == "gemma-scope-compressed")
    path = layout.write(tmp_path).path
    file = weight_files(path)[0]
    raw = bytearray(file.read_bytes())
    with zipfile.ZipFile(file) as archive:
        real = next(one for one in archive.infolist() if one.filename == "W_dec.npy").file_size
    directory = raw.rfind(b"PK\x01\x02", 0, raw.rfind(b"W_dec.npy"))
    assert struct.unpack_from("<I", raw, directory + 24)[0] == real
    struct.pack_into("<I", raw, directory + 24, real - 8)
    file.write_bytes(raw)
    with pytest.raises(RequestError, match=r"params\.npz"):
        read(layout, path)


def test_members_that_are_no_arrays_or_named_twice_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="no array"):
        open_npz(npz_with(tmp_path, "../evil.py", b"print()"))
    file = tmp_path / "twice.npz"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.npy", npy(np.zeros(3)))
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("a.npy", npy(np.zeros(3)))
    with pytest.raises(RequestError, match="arrays"):
        open_npz(file)


def header_of(value: object, data: bytes = b"") -> bytes:
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    return len(text).to_bytes(8, "little") + text + data


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "F32", "shape": [1.5], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [True], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [float("inf")], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [2**70], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [1] * 50, "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [1], "data_offsets": [0, 4, 8]},
        {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]},
        {"dtype": "F32", "shape": [1], "data_offsets": [0, 400]},
        {"dtype": 3, "shape": [1], "data_offsets": [0, 4]},
        {"shape": [1], "data_offsets": [0, 4]},
        [],
        None,
        "text",
    ],
)
def test_headers_that_lie(entry: object, tmp_path: Path) -> None:
    file = tmp_path / "layer_0.safetensors"
    file.write_bytes(header_of({"W_enc": entry}, bytes(8)))
    with pytest.raises(RequestError, match="layer_0.safetensors is damaged"):
        read_header(file)


def test_giant_headers(tmp_path: Path) -> None:
    file = tmp_path / "layer_0.safetensors"
    file.write_bytes(header_of(b"[" * 1_000_000))
    with pytest.raises(RequestError, match="damaged"):
        read_header(file)
    with file.open("wb") as stream:
        stream.write((90 << 20).to_bytes(8, "little"))
        stream.truncate(100 << 20)
    with pytest.raises(RequestError, match="claims 94 MB"):
        read_header(file)


def test_yaml_that_unfolds_is_refused_at_once(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    levels = "\n".join(f"l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * 9)}]" for i in range(1, 12))
    merges = "\n".join(f"m{i}: &m{i} {{<<: [{', '.join([f'*m{i - 1}'] * 9)}]}}" for i in range(1, 12))
    for bomb in (f"l0: &l0 [x, x]\n{levels}\nmodel_name: *l11\n", f"m0: &m0 {{a: b}}\n{merges}\n"):
        file.write_text(bomb)
        with pytest.raises(RequestError, match=r"config\.yaml"):
            read_yaml(file)


def test_json_keys_and_values_are_bounded(tmp_path: Path) -> None:
    file = tmp_path / "cfg.json"
    file.write_text(json.dumps({"architecture": ["x"] * 1000}))
    with pytest.raises(RequestError, match="architecture of .*cfg.json is not a text"):
        read_json(file).text("architecture")


def test_folders_that_hold_several_dictionaries_or_none(tmp_path: Path) -> None:
    layout = next(one for one in LAYOUTS if one.name == "gemma-scope")
    path = layout.write(tmp_path).path
    twin = path / "layer_1" / "width_30" / "average_l0_12"
    twin.mkdir()
    (twin / "params.npz").write_bytes((path / "layer_1/width_30/average_l0_71/params.npz").read_bytes())
    with pytest.raises(RequestError, match="more than one dictionary for layer 1"):
        read(layout, path)
    listed = [f"hf://google/some-repo/layer_{i}/width_30/average_l0_{70 + i}/params.npz" for i in range(3)]
    (path / "config.yaml").write_text(json.dumps({"transcoders": listed}))
    assert all(one is not None for one in read(layout, path).transcoders)
    for wrong, says in (("hf://a/b/../../etc/passwd.npz", "no file"), ("hf://a/b/absent.npz", "lacks")):
        (path / "config.yaml").write_text(json.dumps({"transcoders": [wrong]}))
        with pytest.raises(RequestError, match=says):
            read(layout, path)


def test_an_unknown_dictionary_says_what_it_holds(tmp_path: Path) -> None:
    model = tiny_model("llama")
    save_file({"W_E": torch.zeros(3), "b_E": torch.zeros(3)}, tmp_path / "sae_weights.safetensors")
    with pytest.raises(RequestError, match=r"W_E, b_E.*Gemma Scope 2, SAELens"):
        load_features(tmp_path, model)  # type: ignore[arg-type]
    (tmp_path / "sae_weights.safetensors").write_bytes(b"damaged")
    with pytest.raises(RequestError, match=r"sae_weights\.safetensors is damaged"):
        load_features(tmp_path, model)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["layer_²", "layer_", "layer_x", "elsewhere"])
def test_a_file_that_names_no_layer_is_refused(name: str, tmp_path: Path) -> None:
    layout = next(one for one in LAYOUTS if one.name == "circuit-tracer")
    path = layout.write(tmp_path).path
    (path / "layer_0.safetensors").rename(path / f"{name}.safetensors")
    with pytest.raises(RequestError, match="not named after a layer"):
        read(layout, path)


def test_every_format_is_known_under_one_name() -> None:
    assert {layout.format for layout in LAYOUTS} == set(formats())
