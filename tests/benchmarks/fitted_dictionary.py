"""Transcoders for the benchmark: random JumpReLU encoders whose decoders are fitted to the MLPs of a real model.

Random directions are no features anyone would read, but they cost what real ones cost: so many active at a token, and
an FVU below 1, which both programs' loaders take. Written once, in circuit-tracer's layout, so that both read one file.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import save_file

from engine.models.recording import Recording

if TYPE_CHECKING:
    from engine.models.language_model import LanguageModel

# Fewer on the text that sets the thresholds than on the short prompts, whose first tokens excite more.
WIDTH, ACTIVE = 4096, 36
CHUNK = 250
RIDGE = 10.0


def write(model: LanguageModel, text: str, folder: Path) -> list[float]:
    """Write a set for `model` into `folder`; returns each layer's FVU on text that the fit did not see."""
    from engine.models.prompt import Prompt
    from tests.benchmarks.loaded import record_ids

    ids = model.tokenizer.encode(Prompt(text, bos=False))
    chunks = [ids[start : start + CHUNK] for start in range(0, len(ids) - CHUNK + 1, CHUNK)]
    recordings = [record_ids(model, (model.tokenizer.bos_id or 0, *chunk)) for chunk in chunks]
    seen, held = recordings[:-2], recordings[-2:]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(
        "model_name: benchmark\nmodel_kind: transcoder_set\n"
        "feature_input_hook: mlp.hook_in\nfeature_output_hook: hook_mlp_out\n"
    )
    generator = torch.Generator().manual_seed(0)
    return [_write_layer(layer, seen, held, folder, generator) for layer in range(model.weights.n_layers)]


def _inputs(recordings: list[Recording], layer: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(N, d) what the MLP reads and writes at all positions but the first."""
    records = [recording.layers[layer] for recording in recordings]
    return torch.cat([one.mlp_input[1:] for one in records]), torch.cat([one.mlp_output[1:] for one in records])


def _write_layer(
    layer: int, seen: list[Recording], held: list[Recording], folder: Path, generator: torch.Generator
) -> float:
    x, y = _inputs(seen, layer)
    encoder = torch.randn(WIDTH, x.shape[1], generator=generator)
    encoder = encoder / encoder.norm(dim=-1, keepdim=True) / x.pow(2).mean().sqrt()
    pre = x @ encoder.T
    threshold = (
        pre.quantile(1 - ACTIVE / WIDTH, dim=0) if len(pre) < 4000 else pre[:4000].quantile(1 - ACTIVE / WIDTH, dim=0)
    )
    active = torch.where(pre > threshold, pre, 0)
    mean = y.mean(0)
    # Ridge in the space of tokens: there are fewer of them than features.
    gram = active @ active.T
    gram.diagonal().add_(RIDGE * gram.diagonal().mean())
    decoder = active.T @ torch.linalg.solve(gram, y - mean)
    save_file(
        {
            "W_enc": encoder.contiguous(),
            "b_enc": torch.zeros(WIDTH),
            "W_dec": decoder.contiguous(),
            "b_dec": mean.contiguous(),
            "activation_function.threshold": threshold.clamp_min(1e-3).contiguous(),
        },
        folder / f"layer_{layer}.safetensors",
    )
    x, y = _inputs(held, layer)
    pre = x @ encoder.T
    guess = torch.where(pre > threshold.clamp_min(1e-3), pre, 0) @ decoder + mean
    return float((y - guess).pow(2).sum() / (y - y.mean(0)).pow(2).sum())
