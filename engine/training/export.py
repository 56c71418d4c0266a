"""A trained set as files in circuit-tracer's layout, which other programs read, with its card.

Per-layer: config.yaml and layer_{i}.safetensors. Cross-layer: config.yaml, W_enc_{i} and W_dec_{i}.safetensors, skip
as y += x W. Stored in 8 or 4 bits only this program reads it; the card says so. config.yaml is written last: a folder
with it is whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors.torch import save
from torch import Tensor

from engine.dictionaries.matrices import in_memory
from engine.dictionaries.quantised import SCALE
from engine.dictionaries.transcoders import Transcoder
from engine.models.devices import DTYPES
from engine.progress import Progress
from engine.training.quantising import packed, row_scales, whole_numbers
from engine.training.settings import Storage
from engine.whole_files import written_whole

if TYPE_CHECKING:
    from engine.models.language_model import LanguageModel

CONFIG_NAME = "config.yaml"


def write_set(
    out: Path, transcoders: Sequence[Transcoder], model: LanguageModel, storage: Storage, progress: Progress
) -> None:
    """Write the weights and config.yaml into a folder that exists; `MachineError` for a full disk."""
    import yaml

    crossing = len(in_memory(transcoders[0].w_dec).shape) == 3
    (out / CONFIG_NAME).unlink(missing_ok=True)
    names: list[str] = []
    for number, one in enumerate(transcoders):
        progress(f"Writing layer {number}", number / len(transcoders))
        files = _cross_layer_files(number, one, storage) if crossing else _layer_file(number, one, storage)
        for name, tensors in files.items():
            names.append(name)
            with written_whole(out / name) as file:
                file.write(save(tensors, {"format": "pt"}))
    config: dict[str, object] = {
        "model_kind": "cross_layer_transcoder" if crossing else "transcoder_set",
        "model_name": model.name,
        "feature_input_hook": "mlp.hook_in",
        "feature_output_hook": "hook_mlp_out",
        "scan": out.name,
    }
    if not crossing:
        config["transcoders"] = names
    if transcoders[0].top_k is not None:
        config |= {"activation": "topk", "k": transcoders[0].top_k}
    with written_whole(out / CONFIG_NAME) as file:
        file.write(yaml.safe_dump(config, sort_keys=False).encode())


def _layer_file(number: int, one: Transcoder, storage: Storage) -> dict[str, dict[str, Tensor]]:
    small = "float32" if storage in ("int8", "int4") else storage
    tensors = _matrix("W_enc", in_memory(one.w_enc), storage) | _matrix("W_dec", in_memory(one.w_dec), storage)
    tensors |= {"b_enc": _float(one.b_enc, small), "b_dec": _float(one.b_dec, small)}
    if one.threshold is not None:
        tensors["activation_function.threshold"] = _float(one.threshold, small)
    if one.w_skip is not None:
        tensors |= _matrix("W_skip", one.w_skip, storage)
    return {f"layer_{number}.safetensors": tensors}


def _cross_layer_files(number: int, one: Transcoder, storage: Storage) -> dict[str, dict[str, Tensor]]:
    encoder = {
        f"W_enc_{number}": _float(in_memory(one.w_enc), storage),
        f"b_enc_{number}": _float(one.b_enc, storage),
        f"b_dec_{number}": _float(one.b_dec, storage),
    }
    if one.threshold is not None:
        encoder[f"threshold_{number}"] = _float(one.threshold, storage)
    if one.w_skip is not None:
        encoder[f"W_skip_{number}"] = _float(one.w_skip.T, storage)
    decoder = {f"W_dec_{number}": _float(in_memory(one.w_dec), storage)}
    return {f"W_enc_{number}.safetensors": encoder, f"W_dec_{number}.safetensors": decoder}


def _float(tensor: Tensor, storage: Storage) -> Tensor:
    return tensor.detach().to("cpu", DTYPES[storage]).contiguous()


def _matrix(name: str, matrix: Tensor, storage: Storage) -> dict[str, Tensor]:
    if storage not in ("int8", "int4"):
        return {name: _float(matrix, storage)}
    scales = row_scales(matrix, storage)
    numbers = whole_numbers(matrix, scales, storage)
    stored = packed(numbers) if storage == "int4" else numbers
    return {name: stored.cpu().contiguous(), name + SCALE: scales[:, 0].float().cpu().contiguous()}
