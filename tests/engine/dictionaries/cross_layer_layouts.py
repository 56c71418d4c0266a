"""Cross-layer sets as each program writes them, with its forward pass written plainly from its formulas."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import yaml
from torch import Tensor

from tests.engine.dictionaries.layout import LAYERS, D, N, Written, batch_top_k, jump, numbers, save, top_k


def circuit_tracer_cross(folder: Path, *, jump_relu: bool, skip: bool) -> Written:
    rand = numbers(1)
    w_enc = [rand(N, D) for _ in range(LAYERS)]
    b_enc, b_dec = [rand(N) for _ in range(LAYERS)], [rand(D) for _ in range(LAYERS)]
    w_dec = [rand(N, LAYERS - i, D) for i in range(LAYERS)]
    threshold, w_skip = [rand(N).abs() for _ in range(LAYERS)], [rand(D, D) for _ in range(LAYERS)]
    for i in range(LAYERS):
        encoder = {f"W_enc_{i}": w_enc[i], f"b_enc_{i}": b_enc[i], f"b_dec_{i}": b_dec[i]}
        encoder |= {f"threshold_{i}": threshold[i]} if jump_relu else {}
        encoder |= {f"W_skip_{i}": w_skip[i]} if skip else {}
        save(encoder, folder / f"W_enc_{i}.safetensors")
        save({f"W_dec_{i}": w_dec[i]}, folder / f"W_dec_{i}.safetensors")
    (folder / "config.yaml").write_text(yaml.safe_dump({"model_kind": "cross_layer_transcoder", "model_name": "tiny"}))

    def forward(x: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        pre = [x[i] @ w_enc[i].T + b_enc[i] for i in range(LAYERS)]
        a = [jump(pre[i], threshold[i]) if jump_relu else pre[i].relu() for i in range(LAYERS)]
        y = []
        for m in range(LAYERS):
            out = b_dec[m] + sum(a[i] @ w_dec[i][:, m - i] for i in range(m + 1))
            y.append(out + x[m] @ w_skip[m] if skip else out)
        return a, y

    return Written(folder, forward)


def gemma_scope_2_cross(folder: Path, *, counts: str) -> Written:
    """`counts`: the second axis of w_dec is every layer, every layer from its own up, or only those there are."""
    rand, parts = numbers(4), []
    for layer in range(LAYERS):
        written = rand(N, LAYERS - layer, D)
        empty = torch.zeros(N, layer, D, dtype=torch.float64)
        w_dec = {"all": [empty, written], "own": [written, empty], "short": [written]}[counts]
        part = {"w_enc": rand(D, N), "b_enc": rand(N), "b_dec": rand(D), "threshold": rand(N).abs()}
        part |= {"affine_skip_connection": rand(D, D), "w_dec": torch.cat(w_dec, 1)}
        parts.append(part | {"written": written})
        save(part, folder / "width_262k_l0_medium_affine" / f"params_layer_{layer}.safetensors")

    def forward(x: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        a = [jump(x[i] @ p["w_enc"] + p["b_enc"], p["threshold"]) for i, p in enumerate(parts)]
        y = []
        for m, p in enumerate(parts):
            total = p["b_dec"] + x[m] @ p["affine_skip_connection"]
            y.append(total + sum(a[i] @ parts[i]["written"][:, m - i] for i in range(m + 1)))
        return a, y

    return Written(folder, forward)


def _clt_tensors(rand: Callable[..., Tensor], count: int, tied: str, sources: int) -> dict[str, Tensor]:
    """One layer's file: `count` targets (0: a per-layer transcoder), `sources` layers that reach it."""
    part = {"encoder.weight": rand(N, D), "encoder.bias": rand(N)}
    part |= {"in_norm": rand(1).abs() + 1, "out_norm": rand(1).abs() + 1}
    many = range(max(count, 1))
    for name in ("post_enc", "post_enc_scale"):
        part |= {name if not count else f"{name}s.{i}": rand(N) for i in many}
    if count and tied in ("none", "source", "twice"):
        part |= {f"b_decs.{i}": rand(D) for i in many}
        return part | ({f"W_decs.{i}": rand(N, D) for i in many} if tied == "none" else {"W_dec": rand(N, D)})
    joined = sources if tied == "per-layer" else 1
    return part | {"W_dec": rand(N * joined, D), "b_dec": rand(D), "W_skip": rand(D, D)}


def clt_training(
    folder: Path, *, tied: str = "none", reach: int = LAYERS, divide: bool = False, activation: str = "topk"
) -> Written:
    """`tied`: "none", "concat" (by target, with skips), "per-layer" (joined by target, with skips), "source", "twice"
    (by source and then by target), or "alone" (per-layer)."""
    rand, k, parts = numbers(7), 9 if activation == "topk" else 4, []
    choose = top_k if activation == "topk" else batch_top_k
    coalesced = tied in ("concat", "per-layer")
    targets = [0 if tied == "alone" else min(reach, LAYERS - layer) for layer in range(LAYERS)]
    reaching = [[s for s in range(m + 1) if s == m or m < s + targets[s]] for m in range(LAYERS)]
    skip = coalesced or tied == "alone"
    for layer, count in enumerate(targets):
        part = _clt_tensors(rand, count, tied, len(reaching[layer]))
        parts.append(part)
        save(part, folder / f"layers.{layer}.mlp" / "sae.safetensors")
        config = {"activation": activation, "k": k, "transcode": True, "d_in": D, "normalize_io": True}
        config |= {"n_targets": count, "n_sources": len(reaching[layer]), "secondary_target_tied": tied == "twice"}
        config |= {"post_encoder_scale": True, "skip_connection": skip, "divide_cross_layer": divide}
        config |= {"coalesce_topk": tied if coalesced else "none", "per_source_tied": tied in ("source", "twice")}
        (folder / f"layers.{layer}.mlp" / "cfg.json").write_text(json.dumps(config))
    run = {
        "hookpoints": [f"layers.{layer}.mlp" for layer in range(LAYERS)],
        "hookpoints_in": [f"layers.{layer}.post_attention_layernorm" for layer in range(LAYERS)],
    }
    (folder / "config.json").write_text(json.dumps(run))

    def get(layer: int, name: str, i: int) -> Tensor:
        return parts[layer].get(f"{name}s.{i}", parts[layer].get(name))  # type: ignore[return-value]

    def forward(x: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        inner = [x[i] * (D**0.5 / p["in_norm"]) for i, p in enumerate(parts)]
        a = [choose(inner[i] @ p["encoder.weight"].T + p["encoder.bias"], k) for i, p in enumerate(parts)]
        y = []
        for m, own in enumerate(parts):
            sources = reaching[m]
            total = torch.zeros_like(x[m])
            for rank, s in enumerate(sources):
                i = m - s
                value = (a[s] + get(s, "post_enc", i) * (a[s] > 0)) * get(s, "post_enc_scale", i)
                if coalesced:
                    start = rank * N if tied == "per-layer" else 0
                    total = total + value @ own["W_dec"][start : start + N]
                    continue
                out = value @ get(s, "W_dec", i) + get(s, "b_dec", i)
                total = total + (out / max(1, len(sources) - 1) if divide and s != m else out)
                total = total + value @ own["W_dec"] if tied == "twice" else total
            if tied == "twice":
                total = total + own["b_decs.0"]
            if coalesced:
                total = total + own["b_dec"]
            if skip:
                total = total + inner[m] @ own["W_skip"].mT
            y.append(total * (own["out_norm"] / D**0.5))
        return a, y

    return Written(folder, forward)


@dataclass(frozen=True)
class CrosslayerCoding:
    """One set of crosslayer-coding, as the library holds it."""

    tying: str
    norm: str
    jump_relu: bool
    tensors: dict[str, Tensor]
    statistics: list[dict[str, tuple[Tensor, Tensor]]]

    def normalised(self, i: int, x: Tensor) -> Tensor:
        mean, std = self.statistics[i]["inputs"]
        return {"none": x, "sqrt_d_model": x * D**0.5, "mean_std": (x - mean) / (std + 1e-6)}[self.norm]

    def restored(self, i: int, y: Tensor) -> Tensor:
        mean, std = self.statistics[i]["targets"]
        return {"none": y, "sqrt_d_model": y / D**0.5, "mean_std": y * (std + 1e-6) + mean}[self.norm]

    def encode(self, i: int, x: Tensor) -> Tensor:
        name = f"encoder_module.encoders.{i}"
        pre = torch.nn.functional.linear(x, self.tensors[f"{name}.weight"], self.tensors[f"{name}.bias_param"])
        return jump(pre, self.tensors["theta_manager.log_threshold"][i].exp()) if self.jump_relu else pre.relu()

    def written(self, a: Tensor, t: int) -> Tensor:
        if self.tying == "none":
            return a
        offset, scale = (self.tensors[f"decoder_module.feature_{kind}.{t}"] for kind in ("offset", "scale"))
        return torch.where(a != 0, (a + offset) * scale, a)

    def decode(self, a: Tensor, place: str) -> Tensor:
        name = f"decoder_module.decoders.{place}"
        return torch.nn.functional.linear(a, self.tensors[f"{name}.weight"], self.tensors[f"{name}.bias_param"])

    def forward(self, x: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        inner = [self.normalised(i, one) for i, one in enumerate(x)]
        a = [self.encode(i, one) for i, one in enumerate(inner)]
        y = []
        for t in range(LAYERS):
            if self.tying == "per_target":
                out = self.decode(torch.stack([self.written(a[s], t) for s in range(t + 1)]).sum(0), str(t))
            else:
                places = [str(s) if self.tying == "per_source" else f"{s}->{t}" for s in range(t + 1)]
                out = torch.stack([self.decode(self.written(a[s], t), place) for s, place in enumerate(places)]).sum(0)
            skip = self.tensors[f"decoder_module.skip_weights.{f'{t}->{t}' if self.tying == 'none' else t}"]
            y.append(self.restored(t, out + inner[t] @ skip.T))
        return a, y


def crosslayer_coding(folder: Path, *, tying: str = "none", norm: str = "none", jump_relu: bool = True) -> Written:
    rand, pairs = numbers(8), [(s, t) for s in range(LAYERS) for t in range(s, LAYERS)]
    enc, dec = "encoder_module.encoders", "decoder_module"
    tensors = {f"{enc}.{i}.weight": rand(N, D) for i in range(LAYERS)}
    tensors |= {f"{enc}.{i}.bias_param": rand(N) for i in range(LAYERS)}
    for place in [f"{s}->{t}" for s, t in pairs] if tying == "none" else [str(i) for i in range(LAYERS)]:
        tensors |= {f"{dec}.decoders.{place}.weight": rand(D, N), f"{dec}.decoders.{place}.bias_param": rand(D)}
        crossing = "->" in place and place[0] != place[-1]
        tensors |= {f"{dec}.skip_weights.{place}": rand(D, D) * (0 if crossing else 1)}
    if tying != "none":
        tensors |= {f"{dec}.feature_{kind}.{i}": rand(N) for i in range(LAYERS) for kind in ("offset", "scale")}
    tensors |= {"theta_manager.log_threshold": rand(LAYERS, N)} if jump_relu else {}
    save(tensors, folder / ("model.safetensors" if tying == "none" else "clt_checkpoint_latest.safetensors"))
    statistics = [{key: (rand(D), rand(D).abs() + 0.5) for key in ("inputs", "targets")} for _ in range(LAYERS)]
    config: dict[str, object] = {"num_features": N, "num_layers": LAYERS, "d_model": D, "normalization_method": norm}
    config |= {"activation_fn": "jumprelu" if jump_relu else "relu", "decoder_tying": tying, "skip_connection": True}
    config |= {f"enable_feature_{kind}": tying != "none" for kind in ("offset", "scale")}
    config |= {"mlp_input_template": "transformer.h.{}.mlp.c_fc.input", "mlp_output_template": None}
    (folder / "cfg.json").write_text(json.dumps(config))
    if norm == "mean_std":
        listed = [{key: {"mean": m.tolist(), "std": s.tolist()} for key, (m, s) in one.items()} for one in statistics]
        (folder / "norm_stats.json").write_text(json.dumps(dict(enumerate(listed))))
    return Written(folder, CrosslayerCoding(tying, norm, jump_relu, tensors, statistics).forward)
