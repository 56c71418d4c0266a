"""Per-layer sets as each program writes them, with its forward pass written plainly from its formulas."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import yaml
from torch import Tensor

from tests.engine.dictionaries.layout import LAYERS, D, N, Written, group_max, jump, numbers, save, top_k


def circuit_tracer_plain(folder: Path) -> Written:
    rand, parts = numbers(9), []
    for layer in range(LAYERS):
        part = {"W_enc": rand(N, D), "b_enc": rand(N), "W_dec": rand(N, D), "b_dec": rand(D), "W_skip": rand(D, D)}
        part |= {"activation_function.threshold": rand(N).abs()}
        parts.append(part)
        save(part, folder / f"layer_{layer}.safetensors")
    (folder / "config.yaml").write_text(yaml.safe_dump({"model_kind": "transcoder_set", "model_name": "tiny"}))

    def forward(x: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        a = [jump(x[i] @ p["W_enc"].T + p["b_enc"], p["activation_function.threshold"]) for i, p in enumerate(parts)]
        return a, [a[i] @ p["W_dec"] + p["b_dec"] + x[i] @ p["W_skip"].T for i, p in enumerate(parts)]

    return Written(folder, forward)


def gemma_scope(folder: Path, *, compressed: bool = False, fortran: bool = False) -> Written:
    rand, parts = numbers(2), []
    for layer in range(LAYERS):
        part = {
            "W_enc": rand(D, N),
            "W_dec": rand(N, D),
            "b_enc": rand(N),
            "b_dec": rand(D),
            "threshold": rand(N).abs(),
        }
        parts.append(part)
        file = folder / f"layer_{layer}" / "width_30" / f"average_l0_{70 + layer}" / "params.npz"
        file.parent.mkdir(parents=True)
        arrays = {name: np.asarray(tensor.numpy(), order="F" if fortran else "C") for name, tensor in part.items()}
        (np.savez_compressed if compressed else np.savez)(file, **arrays)

    def forward(x: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        a = [jump(x[i] @ p["W_enc"] + p["b_enc"], p["threshold"]) for i, p in enumerate(parts)]
        return a, [a[i] @ p["W_dec"] + p["b_dec"] for i, p in enumerate(parts)]

    return Written(folder, forward)


def gemma_scope_2(folder: Path, *, affine: bool) -> Written:
    rand, parts = numbers(3), []
    for layer in range(LAYERS):
        part = {
            "w_enc": rand(D, N),
            "w_dec": rand(N, D),
            "b_enc": rand(N),
            "b_dec": rand(D),
            "threshold": rand(N).abs(),
        }
        part |= {"affine_skip_connection": rand(D, D)} if affine else {}
        parts.append(part)
        here = folder / f"layer_{layer}_width_16k_l0_small{'_affine' if affine else ''}"
        save(part, here / "params.safetensors")
        config = {
            "hf_hook_point_in": f"model.layers.{layer}.pre_feedforward_layernorm.output",
            "hf_hook_point_out": f"model.layers.{layer}.post_feedforward_layernorm.output",
            "architecture": "jump_relu",
        }
        (here / "config.json").write_text(json.dumps(config))

    def forward(x: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        a = [jump(x[i] @ p["w_enc"] + p["b_enc"], p["threshold"]) for i, p in enumerate(parts)]
        y = [a[i] @ p["w_dec"] + p["b_dec"] for i, p in enumerate(parts)]
        return a, [y[i] + x[i] @ parts[i]["affine_skip_connection"] if affine else y[i] for i in range(LAYERS)]

    return Written(folder, forward)


def saelens(folder: Path, *, architecture: str, nested: bool = True) -> Written:
    rand, parts = numbers(5), []
    for layer in range(LAYERS):
        part = {"W_enc": rand(D, N), "W_dec": rand(N, D), "b_enc": rand(N), "b_dec": rand(D)}
        part |= {"threshold": rand(N) * 0.5} if "jumprelu" in architecture else {}
        part |= {"W_skip": rand(D, D)} if "skip" in architecture else {}
        parts.append(part)
        hooks = {
            "hook_name": f"blocks.{layer}.ln2.hook_normalized",
            "hook_name_out": f"blocks.{layer}.mlp.hook_out",
            "model_name": "tiny",
        }
        config = {"architecture": architecture, "d_in": D, "d_sae": N, "d_out": D, "apply_b_dec_to_input": False}
        config |= {"normalize_activations": "none", **({"metadata": hooks} if nested else hooks)}
        here = folder / f"some_run_{'abc'[layer]}"
        save(part, here / "sae_weights.safetensors")
        (here / "cfg.json").write_text(json.dumps(config))

    def forward(x: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        pre = [x[i] @ p["W_enc"] + p["b_enc"] for i, p in enumerate(parts)]
        a = [jump(pre[i], p["threshold"]) if "threshold" in p else pre[i].relu() for i, p in enumerate(parts)]
        y = [a[i] @ p["W_dec"] + p["b_dec"] for i, p in enumerate(parts)]
        return a, [y[i] + x[i] @ p["W_skip"].T if "W_skip" in p else y[i] for i, p in enumerate(parts)]

    return Written(folder, forward)


def sparsify(folder: Path, *, skip: bool, activation: str = "topk") -> Written:
    rand, parts, k = numbers(6), [], 10 if activation == "groupmax" else 7
    choose = group_max if activation == "groupmax" else top_k
    for layer in range(LAYERS):
        part = {"encoder.weight": rand(N, D), "encoder.bias": rand(N), "W_dec": rand(N, D), "b_dec": rand(D)}
        part |= {"W_skip": rand(D, D)} if skip else {}
        parts.append(part)
        here = folder / f"layers.{layer}.mlp"
        save(part, here / "sae.safetensors")
        config = {"activation": activation, "k": k, "skip_connection": skip, "transcode": True, "d_in": D}
        (here / "cfg.json").write_text(json.dumps(config))

    def forward(x: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        a = [choose(x[i] @ p["encoder.weight"].T + p["encoder.bias"], k) for i, p in enumerate(parts)]
        y = [a[i] @ p["W_dec"] + p["b_dec"] for i, p in enumerate(parts)]
        return a, [y[i] + x[i] @ p["W_skip"].mT if skip else y[i] for i, p in enumerate(parts)]

    return Written(folder, forward)
